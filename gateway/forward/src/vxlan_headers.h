// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "platform/wire/ethernet.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"
#include "platform/wire/vxlan.h"

namespace simplon::forward {

/// All headers in front of the inner packet, outermost first (RFC 7348 section 5).
template <class Ip>
struct VxlanHeaders {
  wire::EthernetHeader ethernet;
  Ip ip;
  wire::UdpHeader udp;
  wire::VxlanHeader vxlan;
  wire::EthernetHeader inner;
};
using VxlanHeaders4 = VxlanHeaders<wire::Ipv4Header>;
using VxlanHeaders6 = VxlanHeaders<wire::Ipv6Header>;
static_assert(sizeof(VxlanHeaders4) == 64);
static_assert(sizeof(VxlanHeaders6) == 84);

/// Outer destination and UDP destination port, in one word.
[[nodiscard]] inline std::uint64_t plain_outer_words(const VxlanHeaders4& headers) noexcept {
  constexpr std::uint64_t kWithoutSourcePort = 0xffff0000ffffffff;
  static_assert(offsetof(VxlanHeaders4, ip.destination) + 4 == offsetof(VxlanHeaders4, udp.source_port));
  std::uint64_t word;
  std::memcpy(&word, reinterpret_cast<const std::uint8_t*>(&headers) + offsetof(VxlanHeaders4, ip.destination), sizeof word);
  return word & kWithoutSourcePort;
}
/// Destination of the inner frame, in one word.
[[nodiscard]] inline std::uint64_t plain_inner_words(const VxlanHeaders4& headers) noexcept {
  std::uint64_t word;
  std::memcpy(&word, reinterpret_cast<const std::uint8_t*>(&headers) + offsetof(VxlanHeaders4, inner) - 2, sizeof word);
  return word >> 16;
}

}  // namespace simplon::forward
