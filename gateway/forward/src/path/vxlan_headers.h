// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"
#include "platform/wire/vxlan.h"

namespace simplon::forward {

/// Of the headers that we put around a packet: RFC 1700's default.
inline constexpr std::uint8_t kOuterTtl = 64;

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

/// The headers from the outer IP source on.
using VxlanTail4 = std::array<std::uint8_t, sizeof(VxlanHeaders4) - offsetof(VxlanHeaders4, ip.source)>;

/// The outer IP header up to its source; the same for all packets but for the arguments. An atomic datagram without identification:
/// RFC 6864 section 4.1.
inline void put_vxlan_front4(wire::Ipv4Header& ip, std::uint8_t traffic_class, Be16 total_length, Be16 checksum) noexcept {
  ip.version_ihl = 0x45;
  ip.tos = traffic_class;
  ip.total_length = total_length;
  ip.id = Be16{};
  ip.flags_offset = wire::kIpv4DontFragment;
  ip.ttl = kOuterTtl;
  ip.protocol = wire::kProtocolUdp;
  ip.checksum = checksum;
}

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
