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

/// The headers from the outer IP checksum on.
struct VxlanTail4 {
  static constexpr std::size_t kAt = offsetof(VxlanHeaders4, ip.checksum);
  std::array<std::uint64_t, (sizeof(VxlanHeaders4) - kAt) / sizeof(std::uint64_t)> words{};

  [[nodiscard]] static VxlanTail4 of(const VxlanHeaders4& headers) noexcept {
    VxlanTail4 tail;
    std::memcpy(tail.words.data(), reinterpret_cast<const std::uint8_t*>(&headers) + kAt, sizeof tail);
    return tail;
  }
  /// By as few and large pieces as there are; all is read before anything is written.
  void put(VxlanHeaders4& headers) const noexcept {
    using Piece = std::uint64_t __attribute__((vector_size(16)));
    Piece first;
    Piece second;
    std::memcpy(&first, words.data(), sizeof first);
    std::memcpy(&second, words.data() + 2, sizeof second);
    const std::uint64_t last = words[4];
    auto* bytes = reinterpret_cast<std::uint8_t*>(&headers) + kAt;
    std::memcpy(bytes, &first, sizeof first);
    std::memcpy(bytes + 16, &second, sizeof second);
    std::memcpy(bytes + 32, &last, sizeof last);
  }
};
static_assert(sizeof(VxlanTail4) == 40 && VxlanTail4::kAt + sizeof(VxlanTail4) == sizeof(VxlanHeaders4));

/// The outer IP header up to its checksum; the same for all packets but for the arguments. An atomic datagram without identification:
/// RFC 6864 section 4.1.
inline void put_vxlan_front4(wire::Ipv4Header& ip, std::uint8_t traffic_class, Be16 total_length) noexcept {
  ip.version_ihl = 0x45;
  ip.tos = traffic_class;
  ip.total_length = total_length;
  ip.id = Be16{};
  ip.flags_offset = wire::kIpv4DontFragment;
  ip.ttl = kOuterTtl;
  ip.protocol = wire::kProtocolUdp;
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
