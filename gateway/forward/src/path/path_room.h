// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "gateway/forward/mtu.h"
#include "gateway/forward/src/tables/table_state.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"

namespace simplon::forward {

[[nodiscard]] inline std::size_t outer_ip_bytes(const WireAddress& outer) noexcept {
  return outer.family == 4 ? sizeof(wire::Ipv4Header) : sizeof(wire::Ipv6Header);
}

/// Inner IP bytes that fit into the VPC; `ip_bytes`: of the outer IP header.
[[nodiscard]] inline std::uint16_t vpc_mtu(const Attachment& vpc, const Adjacency& adjacency, std::size_t ip_bytes) noexcept {
  return static_cast<std::uint16_t>(std::min<std::size_t>(vxlan_inner_mtu(adjacency.path_mtu, ip_bytes), vpc.mtu));
}

/// Inner IP bytes that fit into the tunnel.
[[nodiscard]] inline std::uint16_t tunnel_mtu(const Attachment& tunnel, const Sa& sa, const CompiledSaPath& path,
                                       const Adjacency& adjacency) noexcept {
  const std::size_t room =
      esp_inner_mtu(adjacency.path_mtu, path.ip_bytes, path.adds_udp(), sa.key().layout());
  return static_cast<std::uint16_t>(tunnel.mtu == 0 ? room : std::min<std::size_t>(room, tunnel.mtu));
}

}  // namespace simplon::forward
