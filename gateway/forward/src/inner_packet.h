// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <span>

#include "gateway/forward/drop.h"
#include "gateway/forward/src/address_key.h"
#include "platform/wire/checksum.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"

namespace simplon::forward {

/// What the stages need to know of an IP packet that passed all checks.
struct InnerPacket {
  WireAddress source;
  WireAddress destination;
  /// Source and destination port as they lie in memory; 0 without `has_ports`.
  std::uint32_t ports = 0;
  /// Without link padding.
  std::uint16_t length = 0;
  /// Where the transport header starts; at most `length`.
  std::uint16_t l4_offset = 0;
  std::uint8_t family = 0;
  std::uint8_t protocol = 0;
  /// TTL or hop limit, as it came.
  std::uint8_t hops = 0;
  bool fragment = false;
  bool later_fragment = false;
  /// Why it must be dropped, if `ok` is false.
  Drop drop = Drop::kIpv4Malformed;
  bool ok = false;

  [[nodiscard]] bool has_ports() const noexcept {
    return !fragment && (protocol == wire::kProtocolTcp || protocol == wire::kProtocolUdp) && l4_offset + 4 <= length;
  }
};

namespace detail {

/// `wire`: an address as it lies in memory. 0/8, 127/8 (RFC 1812 section 5.3.7), 224/4 (RFC 1112) and 240/4 with the
/// limited broadcast.
[[nodiscard]] inline bool is_martian4(std::uint32_t wire) noexcept {
  const auto first = static_cast<std::uint8_t>(wire);
  return first == 0 || first == 127 || first >= 224;
}

/// Unspecified, loopback, multicast, link-local (RFC 4291 sections 2.5.2, 2.5.3, 2.7 and 2.5.6: never forwarded).
[[nodiscard]] inline bool is_martian6(const WireAddress& address) noexcept {
  const auto first = static_cast<std::uint8_t>(address.low);
  const auto second = static_cast<std::uint8_t>(address.low >> 8);
  if (first == 0xff || (first == 0xfe && (second & 0xc0) == 0x80)) return true;
  constexpr std::uint64_t kLoopbackLow = std::uint64_t{1} << 56;  // ::1, as loaded
  return address.low == 0 && (address.high == 0 || address.high == kLoopbackLow);
}

[[nodiscard]] inline bool has_source_route(const wire::Ipv4Header& header) noexcept {
  bool found = false;
  wire::for_each_ipv4_option(header, [&found](std::uint8_t type, std::span<const std::uint8_t>) {
    found = found || type == wire::kIpv4OptionLooseSourceRoute || type == wire::kIpv4OptionStrictSourceRoute;
  });
  return found;
}

}  // namespace detail

/// Checks and describes the IP packet at the start of `bytes`, which came out of a tunnel or a host port; false: it is to be
/// dropped as `packet.drop` says. Pure. Written in place, since a copy would wait for its own stores.
inline bool parse_inner(std::span<const std::uint8_t> bytes, InnerPacket& packet) noexcept {
  packet.ok = false;
  const auto refuse = [&packet](Drop reason) {
    packet.drop = reason;
    return false;
  };
  const auto finish = [&packet, bytes] {
    packet.ports = packet.has_ports() ? load32(bytes.data() + packet.l4_offset) : 0;
    packet.ok = true;
    return true;
  };
  if (!bytes.empty() && (bytes[0] >> 4) == 6) {
    const wire::Ipv6Header* header = wire::parse_ipv6(bytes);
    if (header == nullptr) return refuse(Drop::kIpv6Malformed);
    packet.family = 6;
    packet.hops = header->hop_limit;
    packet.length = static_cast<std::uint16_t>(sizeof *header + header->payload_length.host());
    packet.source = WireAddress::v6(header->source.data());
    packet.destination = WireAddress::v6(header->destination.data());
    if (detail::is_martian6(packet.source)) return refuse(Drop::kIpSource);
    if (detail::is_martian6(packet.destination)) return refuse(Drop::kIpDestination);
    const wire::UpperLayer upper = wire::find_upper_layer(bytes.first(packet.length));
    packet.protocol = upper.protocol;
    packet.l4_offset = upper.offset;
    packet.fragment = upper.fragment;
    packet.later_fragment = upper.later_fragment;
    return finish();
  }
  const wire::Ipv4Header* header = wire::parse_ipv4(bytes);
  if (header == nullptr) return refuse(Drop::kIpv4Malformed);
  packet.family = 4;
  packet.hops = header->ttl;
  packet.length = header->total_length.host();
  packet.source = WireAddress::v4(header->source.data());
  packet.destination = WireAddress::v4(header->destination.data());
  if (!wire::ipv4_checksum_ok(*header)) return refuse(Drop::kIpv4Checksum);
  packet.fragment = header->is_fragment();
  packet.later_fragment = header->fragment_offset() != 0;
  // A datagram has at most 65,535 bytes (RFC 791 section 3.1). The offset of a piece of this one would not fit its field.
  if (packet.later_fragment && header->fragment_offset() + packet.length > 65535U) return refuse(Drop::kIpv4Malformed);
  if (header->header_bytes() > sizeof *header && detail::has_source_route(*header)) {
    return refuse(Drop::kIpv4SourceRoute);  // RFC 7126 sections 4.3 and 4.4
  }
  if (detail::is_martian4(static_cast<std::uint32_t>(packet.source.low))) return refuse(Drop::kIpSource);
  if (detail::is_martian4(static_cast<std::uint32_t>(packet.destination.low))) return refuse(Drop::kIpDestination);
  packet.protocol = header->protocol;
  packet.l4_offset = static_cast<std::uint16_t>(header->header_bytes());
  return finish();
}

}  // namespace simplon::forward
