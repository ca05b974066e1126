// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "bgp/rib.h"

namespace simplon::bgp {

using Bytes = std::vector<std::uint8_t>;

/// Builds rtnetlink route messages and FPM frames, also wrong ones.
class FpmBuilder {
 public:
  static void append(Bytes& to, const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    to.insert(to.end(), bytes, bytes + size);
  }
  static void attribute(Bytes& to, std::uint16_t type, const void* data, std::size_t size) {
    rtattr header{};
    header.rta_len = static_cast<std::uint16_t>(sizeof header + size);
    header.rta_type = type;
    append(to, &header, sizeof header);
    append(to, data, size);
    while (to.size() % 4 != 0) to.push_back(0);
  }
  static void attribute(Bytes& to, std::uint16_t type, std::uint32_t value) { attribute(to, type, &value, sizeof value); }
  static void attribute(Bytes& to, std::uint16_t type, const IpAddress& address) {
    attribute(to, type, address.bytes().data(), address.bytes().size());
  }
  static void gateway(Bytes& to, bool v4_route, const IpAddress& address) {
    if (address.is_v4() == v4_route) return attribute(to, RTA_GATEWAY, address);
    Bytes via;
    const std::uint16_t family = address.is_v4() ? AF_INET : AF_INET6;
    append(via, &family, sizeof family);
    append(via, address.bytes().data(), address.bytes().size());
    attribute(to, RTA_VIA, via.data(), via.size());
  }

  static rtmsg route_header(const IpPrefix& prefix) {
    rtmsg header{};
    header.rtm_family = prefix.address().is_v4() ? AF_INET : AF_INET6;
    header.rtm_dst_len = static_cast<std::uint8_t>(prefix.length());
    header.rtm_table = RT_TABLE_MAIN;
    header.rtm_protocol = RTPROT_BGP;
    header.rtm_type = RTN_UNICAST;
    return header;
  }

  static Bytes netlink(std::uint16_t type, const Bytes& body) {
    nlmsghdr header{};
    header.nlmsg_len = static_cast<std::uint32_t>(sizeof header + body.size());
    header.nlmsg_type = type;
    Bytes message;
    append(message, &header, sizeof header);
    append(message, body.data(), body.size());
    return message;
  }

  static Bytes body(const rtmsg& header, const IpPrefix& prefix, std::span<const FpmNextHop> nexthops) {
    Bytes bytes;
    append(bytes, &header, sizeof header);
    attribute(bytes, RTA_DST, prefix.address());
    attribute(bytes, RTA_PRIORITY, 20U);  // zebra's, of every route
    const bool v4 = prefix.address().is_v4();
    if (nexthops.size() == 1 && nexthops[0].weight == 1) {
      if (nexthops[0].gateway) gateway(bytes, v4, *nexthops[0].gateway);
      attribute(bytes, RTA_OIF, nexthops[0].ifindex);
    } else if (!nexthops.empty()) {
      Bytes multipath;
      for (const auto& nexthop : nexthops) {
        Bytes nested;
        if (nexthop.gateway) gateway(nested, v4, *nexthop.gateway);
        rtnexthop entry{};
        entry.rtnh_len = static_cast<std::uint16_t>(sizeof entry + nested.size());
        entry.rtnh_hops = static_cast<std::uint8_t>(nexthop.weight - 1);
        entry.rtnh_ifindex = static_cast<int>(nexthop.ifindex);
        append(multipath, &entry, sizeof entry);
        append(multipath, nested.data(), nested.size());
      }
      attribute(bytes, RTA_MULTIPATH | 0x8000, multipath.data(), multipath.size());
    }
    return bytes;
  }

  static Bytes add(const IpPrefix& prefix, std::span<const FpmNextHop> nexthops) {
    return netlink(RTM_NEWROUTE, body(route_header(prefix), prefix, nexthops));
  }
  static Bytes remove(const IpPrefix& prefix) {
    return netlink(RTM_DELROUTE, body(route_header(prefix), prefix, {}));
  }

  static Bytes frame(const Bytes& payload) {
    const std::size_t length = payload.size() + 4;
    Bytes bytes = {1, 1, static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length & 0xff)};
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }
};

inline Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

}  // namespace simplon::bgp
