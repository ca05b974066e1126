// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests over one NETLINK_ROUTE socket, built and parsed with libnl's message functions. libnl's caches are not used:
// they copy the kernel's tables and must be kept in step, while everything asked here is a single object.
//
// Each request is answered before the next is made (NLM_F_ACK is always set by libnl), so the socket is blocking and
// replies cannot be confused; notifications have their own socket (monitor.cpp).
#include "platform/netlink/netlink.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

#include "platform/netlink/src/parse.h"
#include "platform/sys/netns.h"

namespace simplon::netlink {
namespace {

struct SocketDeleter {
  void operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }
};
using Socket = std::unique_ptr<nl_sock, SocketDeleter>;

struct MessageDeleter {
  void operator()(nl_msg* message) const noexcept { nlmsg_free(message); }
};
using Message = std::unique_ptr<nl_msg, MessageDeleter>;

template <class Header>
Message make_request(int type, int flags, const Header& header) {
  Message message(nlmsg_alloc_simple(type, NLM_F_REQUEST | flags));
  SIMPLON_CHECK(message != nullptr);
  SIMPLON_CHECK(nlmsg_append(message.get(), const_cast<Header*>(&header), sizeof header, NLMSG_ALIGNTO) == 0);
  return message;
}

void put_address(nl_msg* message, int attribute, const IpAddress& address) {
  const auto bytes = address.bytes();
  SIMPLON_CHECK(nla_put(message, attribute, static_cast<int>(bytes.size()), bytes.data()) == 0);
}

std::uint8_t family_of(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

// Chosen by us: a list is read in less than a millisecond, and changes seldom come that close.
constexpr int kReadings = 10;

struct Exchange {
  const std::function<void(const nlmsghdr&)>* on_message = nullptr;
  bool done = false;
  int error = 0;  // positive errno
};

int on_valid(nl_msg* message, void* context) {
  auto* exchange = static_cast<Exchange*>(context);
  if (*exchange->on_message) (*exchange->on_message)(*nlmsg_hdr(message));
  return NL_OK;
}

int on_done(nl_msg*, void* context) {
  static_cast<Exchange*>(context)->done = true;
  return NL_STOP;
}

int on_error(sockaddr_nl*, nlmsgerr* error, void* context) {
  auto* exchange = static_cast<Exchange*>(context);
  exchange->error = -error->error;
  exchange->done = true;
  return NL_STOP;
}

}  // namespace

struct Netlink::Impl {
  Socket socket;

  /// 0 or a positive errno; EINTR: what was listed changed meanwhile, so that something may be missing.
  int exchange(Message message, const std::function<void(const nlmsghdr&)>& on_message = {}) {
    Exchange state;
    state.on_message = &on_message;
    nl_cb* callbacks = nl_cb_alloc(NL_CB_DEFAULT);
    SIMPLON_CHECK(callbacks != nullptr);
    nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &state);
    nl_cb_set(callbacks, NL_CB_FINISH, NL_CB_CUSTOM, on_done, &state);
    nl_cb_set(callbacks, NL_CB_ACK, NL_CB_CUSTOM, on_done, &state);
    nl_cb_err(callbacks, NL_CB_CUSTOM, on_error, &state);
    if (nl_send_auto(socket.get(), message.get()) < 0) {
      state.error = EIO;
      state.done = true;
    }
    while (!state.done) {
      const int result = nl_recvmsgs(socket.get(), callbacks);
      // libnl tells of it when it has read all, so `done` is set.
      if (result == -NLE_DUMP_INTR && state.error == 0) state.error = EINTR;
      if (result < 0 && !state.done) {
        if (state.error == 0) state.error = EIO;
        break;
      }
    }
    nl_cb_put(callbacks);
    return state.error;
  }

  /// A whole list. `begin`: what was heard so far counts no more. 0 or a positive errno.
  template <class Header>
  int list(int type, const Header& header, const std::function<void()>& begin,
           const std::function<void(const nlmsghdr&)>& on_message) {
    int error = EINTR;
    for (int attempt = 0; attempt < kReadings && error == EINTR; ++attempt) {
      begin();
      error = exchange(make_request(type, NLM_F_DUMP, header), on_message);
    }
    return error;
  }
};

Netlink::Netlink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Netlink::~Netlink() = default;

Result<std::unique_ptr<Netlink>> Netlink::open(const std::optional<std::string>& netns) {
  auto impl = std::make_unique<Impl>();
  const auto connect = [&]() -> Result<void> {
    impl->socket.reset(nl_socket_alloc());
    SIMPLON_CHECK(impl->socket != nullptr);
    if (const int error = nl_connect(impl->socket.get(), NETLINK_ROUTE); error < 0) {
      return fail(ErrorCode::kUnavailable, std::string("cannot open a netlink socket: ") + nl_geterror(error));
    }
    return {};
  };
  if (auto ok = netns ? sys::run_in_netns(*netns, connect) : connect(); !ok) return Unexpected(ok.error());
  return std::unique_ptr<Netlink>(new Netlink(std::move(impl)));
}

Result<std::vector<Interface>> Netlink::interfaces() {
  std::vector<Interface> found;
  ifinfomsg links{};
  int error = impl_->list(RTM_GETLINK, links, [&] { found.clear(); }, [&](const nlmsghdr& message) {
    if (auto link = parse_link(message)) found.push_back(*std::move(link));
  });
  if (error != 0) return fail_errno("cannot list interfaces", error);
  ifaddrmsg addresses{};
  const auto forget = [&] {
    for (Interface& link : found) link.addresses.clear();
  };
  error = impl_->list(RTM_GETADDR, addresses, forget, [&](const nlmsghdr& message) {
    const auto address = parse_address(message);
    if (!address) return;
    const auto owner = std::find_if(found.begin(), found.end(),
                                    [&](const Interface& link) { return link.index == address->interface; });
    if (owner != found.end()) owner->addresses.push_back(address->address);
  });
  if (error != 0) return fail_errno("cannot list addresses", error);
  return found;
}

Result<Interface> Netlink::interface(const std::string& name) {
  auto all = interfaces();
  if (!all) return Unexpected(all.error());
  for (auto& link : *all) {
    if (link.name == name) return std::move(link);
  }
  return fail(ErrorCode::kUnavailable, "interface " + name + " does not exist");
}

Result<RouteLookup> Netlink::route_to(const IpAddress& destination, const std::optional<IpAddress>& source) {
  const auto ask = [&](unsigned flags, RouteLookup& route) {
    rtmsg header{};
    header.rtm_family = family_of(destination);
    header.rtm_dst_len = static_cast<unsigned char>(destination.bits());
    header.rtm_flags = flags;
    const bool from = source && source->family() == destination.family();
    if (from) header.rtm_src_len = static_cast<unsigned char>(source->bits());
    Message message = make_request(RTM_GETROUTE, 0, header);
    if (from) put_address(message.get(), RTA_SRC, *source);
    put_address(message.get(), RTA_DST, destination);
    return impl_->exchange(std::move(message), [&](const nlmsghdr& reply) {
      if (auto parsed = parse_route(reply)) route = *parsed;
    });
  };
  RouteLookup route;
  int error = ask(0, route);
  if (error == 0 && route.mtu_learned) {
    RouteLookup configured;
    error = ask(RTM_F_FIB_MATCH, configured);
    route.mtu_bytes = configured.mtu_bytes;
    route.mtu_learned = false;
  }
  if (error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EINVAL) return RouteLookup{};
  if (error != 0) return fail_errno("cannot look up the route to " + destination.to_string(), error);
  return route;
}

Result<std::optional<Neighbor>> Netlink::neighbor(std::uint32_t interface, const IpAddress& address) {
  ndmsg header{};
  header.ndm_family = family_of(address);
  header.ndm_ifindex = static_cast<int>(interface);
  auto message = make_request(RTM_GETNEIGH, 0, header);
  put_address(message.get(), NDA_DST, address);
  std::optional<Neighbor> neighbor;
  const int error = impl_->exchange(std::move(message), [&](const nlmsghdr& reply) {
    if (auto parsed = parse_neighbor(reply)) neighbor = parsed;
  });
  if (error == ENOENT) return std::optional<Neighbor>{};
  if (error != 0) return fail_errno("cannot look up neighbor " + address.to_string(), error);
  return neighbor;
}

Result<std::vector<Neighbor>> Netlink::neighbors(std::uint32_t interface) {
  std::vector<Neighbor> found;
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    ndmsg header{};
    header.ndm_family = family;
    const std::size_t before = found.size();
    const int error = impl_->list(RTM_GETNEIGH, header, [&] { found.resize(before); }, [&](const nlmsghdr& reply) {
      const auto neighbor = parse_neighbor(reply);
      if (neighbor && neighbor->interface == interface) found.push_back(*neighbor);
    });
    if (error != 0) return fail_errno("cannot list neighbors", error);
  }
  return found;
}

Result<void> Netlink::resolve(std::uint32_t interface, const IpAddress& address) {
  auto known = neighbor(interface, address);
  if (known && known->has_value() && (*known)->fixed) return {};
  ndmsg header{};
  header.ndm_family = family_of(address);
  header.ndm_ifindex = static_cast<int>(interface);
  header.ndm_flags = NTF_USE;
  auto message = make_request(RTM_NEWNEIGH, NLM_F_CREATE, header);
  put_address(message.get(), NDA_DST, address);
  if (const int error = impl_->exchange(std::move(message)); error != 0) {
    return fail_errno("cannot resolve neighbor " + address.to_string(), error);
  }
  return {};
}

Result<void> Netlink::forget_neighbor(std::uint32_t interface, const IpAddress& address) {
  ndmsg header{};
  header.ndm_family = family_of(address);
  header.ndm_ifindex = static_cast<int>(interface);
  auto message = make_request(RTM_DELNEIGH, 0, header);
  put_address(message.get(), NDA_DST, address);
  if (const int error = impl_->exchange(std::move(message)); error != 0 && error != ENOENT) {
    return fail_errno("cannot forget neighbor " + address.to_string(), error);
  }
  return {};
}

namespace {

Message address_request(int type, int flags, std::uint32_t interface, const InterfaceAddress& address) {
  ifaddrmsg header{};
  header.ifa_family = family_of(address.address);
  header.ifa_prefixlen = address.length;
  header.ifa_flags = address.address.is_v6() ? IFA_F_NODAD : 0;
  header.ifa_index = interface;
  auto message = make_request(type, flags, header);
  put_address(message.get(), IFA_LOCAL, address.address);
  put_address(message.get(), IFA_ADDRESS, address.address);
  return message;
}

Message link_request(std::uint32_t interface, unsigned flags, unsigned change) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(interface);
  header.ifi_flags = flags;
  header.ifi_change = change;
  return make_request(RTM_NEWLINK, 0, header);
}

}  // namespace

Result<void> Netlink::add_address(std::uint32_t interface, const InterfaceAddress& address) {
  const int error = impl_->exchange(address_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, interface, address));
  if (error != 0 && error != EEXIST) return fail_errno("cannot add address " + address.to_string(), error);
  return {};
}

Result<void> Netlink::delete_address(std::uint32_t interface, const InterfaceAddress& address) {
  const int error = impl_->exchange(address_request(RTM_DELADDR, 0, interface, address));
  if (error != 0 && error != EADDRNOTAVAIL) return fail_errno("cannot delete address " + address.to_string(), error);
  return {};
}

Result<void> Netlink::set_up(std::uint32_t interface, bool up) {
  const int error = impl_->exchange(link_request(interface, up ? IFF_UP : 0, IFF_UP));
  if (error != 0) return fail_errno("cannot set interface " + std::to_string(interface) + (up ? " up" : " down"), error);
  return {};
}

Result<void> Netlink::take_all_multicast(std::uint32_t interface) {
  const int error = impl_->exchange(link_request(interface, IFF_ALLMULTI, IFF_ALLMULTI));
  if (error != 0) return fail_errno("cannot let interface " + std::to_string(interface) + " take all multicast", error);
  return {};
}

Result<void> Netlink::set_mac(std::uint32_t interface, const MacAddress& mac) {
  auto message = link_request(interface, 0, 0);
  SIMPLON_CHECK(nla_put(message.get(), IFLA_ADDRESS, static_cast<int>(mac.bytes.size()), mac.bytes.data()) == 0);
  const int error = impl_->exchange(std::move(message));
  if (error != 0) {
    return fail_errno("cannot set address " + mac.to_string() + " on interface " + std::to_string(interface), error);
  }
  return {};
}

Result<void> Netlink::set_mtu(std::uint32_t interface, std::uint32_t mtu_bytes) {
  auto message = link_request(interface, 0, 0);
  SIMPLON_CHECK(nla_put_u32(message.get(), IFLA_MTU, mtu_bytes) == 0);
  const int error = impl_->exchange(std::move(message));
  if (error != 0) {
    return fail_errno("cannot set MTU " + std::to_string(mtu_bytes) + " on interface " + std::to_string(interface), error);
  }
  return {};
}

Result<void> Netlink::set_queue_length(std::uint32_t interface, std::uint32_t packets) {
  auto message = link_request(interface, 0, 0);
  SIMPLON_CHECK(nla_put_u32(message.get(), IFLA_TXQLEN, packets) == 0);
  if (const int error = impl_->exchange(std::move(message)); error != 0) {
    return fail_errno("cannot give interface " + std::to_string(interface) + " a queue of " + std::to_string(packets), error);
  }
  return {};
}

Result<void> configure_interface(Netlink& netlink, const std::string& name,
                                 const std::vector<InterfaceAddress>& addresses, std::uint32_t mtu_bytes) {
  auto link = netlink.interface(name);
  if (!link) return Unexpected(link.error());
  // Before the addresses: IPv6 disappears from an interface below 1280 bytes.
  if (link->mtu_bytes != mtu_bytes) {
    if (auto ok = netlink.set_mtu(link->index, mtu_bytes); !ok) return ok;
  }
  if (!link->running) {
    if (auto ok = netlink.set_up(link->index, true); !ok) return ok;
  }
  for (const auto& present : link->addresses) {
    const bool wanted = std::find(addresses.begin(), addresses.end(), present) != addresses.end();
    if (wanted || present.address.is_link_local()) continue;
    if (auto ok = netlink.delete_address(link->index, present); !ok) return ok;
  }
  for (const auto& wanted : addresses) {
    if (std::find(link->addresses.begin(), link->addresses.end(), wanted) != link->addresses.end()) continue;
    if (auto ok = netlink.add_address(link->index, wanted); !ok) return ok;
  }
  return {};
}

}  // namespace simplon::netlink
