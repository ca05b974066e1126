// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/netlink/src/parse.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

namespace simplon::netlink {
namespace {

template <std::size_t kMax>
using Attributes = std::array<nlattr*, kMax + 1>;

template <std::size_t kMax, class Header>
bool split(const nlmsghdr& message, Attributes<kMax>& attributes) {
  attributes.fill(nullptr);
  // libnl does not write through the pointer.
  auto* header = const_cast<nlmsghdr*>(&message);
  return nlmsg_parse(header, static_cast<int>(sizeof(Header)), attributes.data(), static_cast<int>(kMax), nullptr) == 0;
}

std::span<const std::uint8_t> bytes_of(const nlattr* attribute) {
  return {static_cast<const std::uint8_t*>(nla_data(attribute)), static_cast<std::size_t>(nla_len(attribute))};
}

std::optional<IpAddress> address_of(const nlattr* attribute) {
  if (attribute == nullptr) return std::nullopt;
  auto address = IpAddress::from_bytes(bytes_of(attribute));
  if (!address) return std::nullopt;
  return *address;
}

std::optional<std::uint32_t> number_of(const nlattr* attribute) {
  if (attribute == nullptr || nla_len(attribute) < 4) return std::nullopt;
  return nla_get_u32(attribute);
}

MacAddress mac_of(const nlattr* attribute) {
  MacAddress mac;
  if (attribute != nullptr && nla_len(attribute) == 6) std::memcpy(mac.bytes.data(), nla_data(attribute), 6);
  return mac;
}

}  // namespace

std::optional<LinkState> parse_link_state(const nlmsghdr& message) {
  Attributes<IFLA_MAX> attributes;
  if (!split<IFLA_MAX, ifinfomsg>(message, attributes)) return std::nullopt;
  const auto* header = static_cast<const ifinfomsg*>(nlmsg_data(&message));
  if (header->ifi_family != AF_UNSPEC) return std::nullopt;
  const bool up = (header->ifi_flags & IFF_UP) != 0 && (header->ifi_flags & IFF_RUNNING) != 0;
  return LinkState{static_cast<std::uint32_t>(header->ifi_index), up && message.nlmsg_type != RTM_DELLINK};
}

std::optional<Interface> parse_link(const nlmsghdr& message) {
  Attributes<IFLA_MAX> attributes;
  if (!split<IFLA_MAX, ifinfomsg>(message, attributes) || attributes[IFLA_IFNAME] == nullptr) return std::nullopt;
  const auto* header = static_cast<const ifinfomsg*>(nlmsg_data(&message));
  Interface link;
  link.index = static_cast<std::uint32_t>(header->ifi_index);
  const auto name = bytes_of(attributes[IFLA_IFNAME]);
  link.name.assign(reinterpret_cast<const char*>(name.data()), ::strnlen(reinterpret_cast<const char*>(name.data()), name.size()));
  link.mac = mac_of(attributes[IFLA_ADDRESS]);
  link.mtu_bytes = number_of(attributes[IFLA_MTU]).value_or(0);
  link.rx_queues = number_of(attributes[IFLA_NUM_RX_QUEUES]).value_or(1);
  link.promiscuous = (header->ifi_flags & IFF_PROMISC) != 0;
  link.running = (header->ifi_flags & IFF_UP) != 0 && (header->ifi_flags & IFF_RUNNING) != 0;
  return link;
}

std::optional<AddressMessage> parse_address(const nlmsghdr& message) {
  Attributes<IFA_MAX> attributes;
  if (!split<IFA_MAX, ifaddrmsg>(message, attributes)) return std::nullopt;
  const auto* header = static_cast<const ifaddrmsg*>(nlmsg_data(&message));
  // On point-to-point links IFA_ADDRESS is the peer and IFA_LOCAL is ours; IPv6 has IFA_ADDRESS only.
  auto address = address_of(attributes[IFA_LOCAL]);
  if (!address) address = address_of(attributes[IFA_ADDRESS]);
  if (!address || header->ifa_prefixlen > address->bits()) return std::nullopt;
  return AddressMessage{header->ifa_index, {*address, header->ifa_prefixlen}};
}

std::optional<Neighbor> parse_neighbor(const nlmsghdr& message) {
  Attributes<NDA_MAX> attributes;
  if (!split<NDA_MAX, ndmsg>(message, attributes)) return std::nullopt;
  const auto* header = static_cast<const ndmsg*>(nlmsg_data(&message));
  const auto address = address_of(attributes[NDA_DST]);
  if (!address || (header->ndm_flags & NTF_PROXY) != 0) return std::nullopt;
  Neighbor neighbor;
  neighbor.interface = static_cast<std::uint32_t>(header->ndm_ifindex);
  neighbor.address = *address;
  neighbor.mac = mac_of(attributes[NDA_LLADDR]);
  neighbor.stale = (header->ndm_state & NUD_STALE) != 0;
  neighbor.fixed = (header->ndm_state & (NUD_PERMANENT | NUD_NOARP)) != 0;
  constexpr unsigned kUsable = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
  if (message.nlmsg_type == RTM_DELNEIGH) {
    neighbor.state = NeighborState::kFailed;
  } else if ((header->ndm_state & kUsable) != 0 && !neighbor.mac.is_zero()) {
    neighbor.state = NeighborState::kValid;
  } else if ((header->ndm_state & NUD_INCOMPLETE) != 0) {
    neighbor.state = NeighborState::kResolving;
  }
  return neighbor;
}

std::optional<RouteLookup> parse_route(const nlmsghdr& message) {
  Attributes<RTA_MAX> attributes;
  if (!split<RTA_MAX, rtmsg>(message, attributes)) return std::nullopt;
  const auto* header = static_cast<const rtmsg*>(nlmsg_data(&message));
  RouteLookup route;
  switch (header->rtm_type) {
    case RTN_UNICAST:
      route.kind = RouteKind::kUnicast;
      break;
    case RTN_LOCAL:
      route.kind = RouteKind::kLocal;
      break;
    default:
      route.kind = RouteKind::kUnreachable;
  }
  route.interface = number_of(attributes[RTA_OIF]).value_or(0);
  route.gateway = address_of(attributes[RTA_GATEWAY]);
  if (!route.gateway && attributes[RTA_VIA] != nullptr) {
    // struct rtvia: an address of another family than the destination's (RFC 8950 routes).
    const auto via = bytes_of(attributes[RTA_VIA]);
    if (via.size() > 2) {
      if (auto gateway = IpAddress::from_bytes(via.subspan(2))) route.gateway = *gateway;
    }
  }
  route.source = address_of(attributes[RTA_PREFSRC]);
  if (attributes[RTA_METRICS] != nullptr) {
    Attributes<RTAX_MAX> metrics;
    metrics.fill(nullptr);
    if (nla_parse_nested(metrics.data(), RTAX_MAX, attributes[RTA_METRICS], nullptr) == 0) {
      route.mtu_bytes = number_of(metrics[RTAX_MTU]).value_or(0);
    }
  }
  // An answer of IPv6 is a clone only then; one of IPv4 always, and has an end then.
  if (header->rtm_family == AF_INET6) {
    route.mtu_learned = (header->rtm_flags & RTM_F_CLONED) != 0;
  } else if (attributes[RTA_CACHEINFO] != nullptr) {
    rta_cacheinfo info{};
    const auto bytes = bytes_of(attributes[RTA_CACHEINFO]);
    std::memcpy(&info, bytes.data(), std::min(bytes.size(), sizeof info));
    route.mtu_learned = info.rta_expires != 0;
  }
  return route;
}

}  // namespace simplon::netlink
