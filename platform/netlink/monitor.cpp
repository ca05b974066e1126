// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/netlink/monitor.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <iterator>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "platform/netlink/src/parse.h"
#include "platform/sys/netns.h"
#include "platform/sys/unique_fd.h"

namespace simplon::netlink {
namespace {

namespace asio = boost::asio;

constexpr int kGroups[] = {RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
constexpr int kRouteGroups[] = {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
// A full BGP table may arrive in one burst; losing events only costs a fresh look.
constexpr int kReceiveBuffer = 4 << 20;

Result<sys::UniqueFd> open_socket(const std::optional<std::string>& netns, bool routes) {
  constexpr int kType = SOCK_RAW | SOCK_NONBLOCK;
  auto opened = [&]() -> Result<sys::UniqueFd> {
    if (netns) return sys::open_socket_in_netns(*netns, AF_NETLINK, kType, NETLINK_ROUTE);
    sys::UniqueFd fd(::socket(AF_NETLINK, kType | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!fd.valid()) return fail_errno("cannot open a netlink socket", errno);
    return fd;
  }();
  if (!opened) return opened;
  static_cast<void>(::setsockopt(opened->get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(opened->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("cannot bind a netlink socket", errno);
  }
  std::vector<int> groups(std::begin(kGroups), std::end(kGroups));
  if (routes) groups.insert(groups.end(), std::begin(kRouteGroups), std::end(kRouteGroups));
  for (const int group : groups) {
    if (::setsockopt(opened->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
      return fail_errno("cannot join netlink group " + std::to_string(group), errno);
    }
  }
  return opened;
}

class AsioMonitor final : public Monitor {
 public:
  AsioMonitor(asio::io_context& io, int fd, Events events) : descriptor_(io, fd), events_(std::move(events)) { wait(); }

 private:
  void wait() {
    descriptor_.async_wait(asio::posix::descriptor_base::wait_read, [this](const boost::system::error_code& error) {
      // Aborted by the destructor: `this` is gone.
      if (error) return;
      receive();
      wait();
    });
  }

  void receive() {
    bool link = false;
    bool route = false;
    for (;;) {
      const ssize_t got = ::recv(descriptor_.native_handle(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC);
      if (got < 0) {
        if (errno == EINTR) continue;
        if (errno == ENOBUFS) {
          if (events_.on_resync) events_.on_resync();
          continue;
        }
        break;
      }
      if (got == 0) break;
      if (static_cast<std::size_t>(got) > buffer_.size()) {
        if (events_.on_resync) events_.on_resync();
        continue;
      }
      each_message(static_cast<int>(got), link, route);
    }
    if (link && events_.on_link) events_.on_link();
    if (route && events_.on_route) events_.on_route();
  }

  void each_message(int length, bool& link, bool& route) {
    auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    while (length >= static_cast<int>(sizeof(nlmsghdr)) && message->nlmsg_len >= sizeof(nlmsghdr) &&
           message->nlmsg_len <= static_cast<unsigned>(length)) {
      switch (message->nlmsg_type) {
        case RTM_NEWNEIGH:
        case RTM_DELNEIGH:
          if (const auto neighbor = parse_neighbor(*message); neighbor && events_.on_neighbor) {
            events_.on_neighbor(*neighbor);
          }
          break;
        case RTM_NEWROUTE:
        case RTM_DELROUTE:
          route = true;
          break;
        case RTM_NEWLINK:
        case RTM_DELLINK:
          link = true;
          if (const auto state = parse_link_state(*message); state && events_.on_carrier) {
            events_.on_carrier(state->interface, state->running);
          }
          break;
        default:
          link = true;
      }
      const int step = static_cast<int>(NLMSG_ALIGN(message->nlmsg_len));
      length -= step;
      message = reinterpret_cast<const nlmsghdr*>(reinterpret_cast<const char*>(message) + step);
    }
  }

  asio::posix::stream_descriptor descriptor_;
  Events events_;
  alignas(nlmsghdr) std::array<char, 65536> buffer_{};
};

}  // namespace

Result<std::unique_ptr<Monitor>> Monitor::open(asio::io_context& io, Events events,
                                               const std::optional<std::string>& netns) {
  auto fd = open_socket(netns, events.on_route != nullptr);
  if (!fd) return Unexpected(fd.error());
  return std::unique_ptr<Monitor>(std::make_unique<AsioMonitor>(io, fd->release(), std::move(events)));
}

}  // namespace simplon::netlink
