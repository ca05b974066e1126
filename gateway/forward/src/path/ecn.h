// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "gateway/forward/src/path/burst.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"

namespace simplon::forward {

inline constexpr std::uint8_t kEcnMask = 3;
inline constexpr std::uint8_t kEcnNotCapable = 0;  ///< Not-ECT
inline constexpr std::uint8_t kEcnCapable1 = 1;  ///< ECT(1)
inline constexpr std::uint8_t kEcnCapable0 = 2;  ///< ECT(0)
inline constexpr std::uint8_t kEcnCongestion = 3;  ///< CE

/// DSCP and ECN of an IP header.
[[nodiscard]] inline std::uint8_t traffic_class(const std::uint8_t* ip, unsigned family) noexcept {
  if (family == 4) return reinterpret_cast<const wire::Ipv4Header*>(ip)->tos;
  return reinterpret_cast<const wire::Ipv6Header*>(ip)->traffic_class();
}

/// CE and ECT(1), the two with the low bit: `carry_congestion` has something to look at.
[[nodiscard]] inline bool may_carry_congestion(unsigned outer_class) noexcept { return (outer_class & 1U) != 0; }

/// Carries a congestion mark of the outer header over to the packet that came out (RFC 6040 section 4.2, figure 4): CE, and
/// ECT(1) on what was sent with ECT(0), a mark less severe. False if the packet cannot carry CE and is to be dropped.
/// `packet` is decapsulated; its header is whole.
[[nodiscard]] inline bool carry_congestion(Transit& packet, const std::uint8_t* outer, unsigned inner_family) noexcept {
  const unsigned mark = traffic_class(outer, packet.outer_family) & kEcnMask;
  if (!may_carry_congestion(mark)) return true;
  const std::uint8_t inner = traffic_class(packet.data, inner_family);
  if (mark == kEcnCapable1 && (inner & kEcnMask) != kEcnCapable0) return true;
  if ((inner & kEcnMask) == 0) return false;
  const auto marked = static_cast<std::uint8_t>((inner & ~unsigned{kEcnMask}) | mark);
  if (inner_family == 4) {
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(packet.data);
    const Be16 before(static_cast<std::uint16_t>((ip->version_ihl << 8) | ip->tos));
    const Be16 after(static_cast<std::uint16_t>((ip->version_ihl << 8) | marked));
    ip->tos = marked;
    ip->checksum = wire::update_checksum(ip->checksum, before, after);
  } else {
    auto* ip = reinterpret_cast<wire::Ipv6Header*>(packet.data);
    ip->version_class_flow = (ip->version_class_flow.host() & 0xf00fffffU) | (std::uint32_t{marked} << 20);
  }
  return true;
}

}  // namespace simplon::forward
