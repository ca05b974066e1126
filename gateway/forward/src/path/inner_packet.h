// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <span>

#include "gateway/forward/drop.h"
#include "gateway/forward/src/tables/address_key.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"

namespace simplon::forward {

/// What the stages need to know of an IP packet that passed all checks.
struct InnerPacket {
  AddressWords source;
  AddressWords destination;
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
  /// Why it must be dropped, if it must.
  Drop drop = Drop::kIpv4Malformed;

  friend bool operator==(const InnerPacket&, const InnerPacket&) noexcept = default;

  [[nodiscard]] WireAddress source_address() const noexcept { return WireAddress::of(source, family); }
  [[nodiscard]] WireAddress destination_address() const noexcept { return WireAddress::of(destination, family); }
  [[nodiscard]] bool has_ports() const noexcept {
    return !fragment && (protocol == wire::kProtocolTcp || protocol == wire::kProtocolUdp) && l4_offset + 4 <= length;
  }
  /// Describes a packet whose header is_plain_ipv4, with what follows it.
  void take_plain(const wire::Ipv4Header& header) noexcept {
    const wire::Ipv4Header ip = header;  // read before anything is written
    const std::size_t total = ip.total_length.host();
    const bool with_ports =
        (ip.protocol == wire::kProtocolTcp || ip.protocol == wire::kProtocolUdp) && total >= sizeof ip + 4;
    ports = with_ports ? load32(reinterpret_cast<const std::uint8_t*>(&header + 1)) : 0;
    source = {load32(ip.source.data()), 0};
    destination = {load32(ip.destination.data()), 0};
    length = static_cast<std::uint16_t>(total);
    l4_offset = sizeof ip;
    family = 4;
    protocol = ip.protocol;
    hops = ip.ttl;
    fragment = false;
    later_fragment = false;
  }
};

/// `wire`: an address as it lies in memory. 0/8, 127/8 (RFC 1812 section 5.3.7), 224/4 (RFC 1112) and 240/4 with the
/// limited broadcast.
[[nodiscard]] inline bool is_martian4(std::uint32_t wire) noexcept {
  const auto first = static_cast<std::uint8_t>(wire);
  return static_cast<std::uint8_t>(first - 1) >= 223 || first == 127;
}

/// Checks and describes the IP packet at the start of `bytes`, which came out of a tunnel or a host port; false: it is to be
/// dropped as `packet.drop` says. Pure. Written in place, since a copy would wait for its own stores.
[[nodiscard]] bool parse_any_inner(std::span<const std::uint8_t> bytes, InnerPacket& packet) noexcept;

/// The same, quickly for what nearly every packet is.
[[nodiscard, gnu::always_inline]] inline bool parse_inner(std::span<const std::uint8_t> bytes,
                                                          InnerPacket& packet) noexcept {
  const auto* header = reinterpret_cast<const wire::Ipv4Header*>(bytes.data());
  if (bytes.size() < sizeof *header || !wire::is_plain_ipv4(*header, bytes.size()) ||
      is_martian4(load32(header->source.data())) || is_martian4(load32(header->destination.data()))) [[unlikely]] {
    return parse_any_inner(bytes, packet);
  }
  packet.take_plain(*header);
  return true;
}

}  // namespace simplon::forward
