// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "platform/wire/endian.h"
#include "platform/wire/ip_protocol.h"

namespace simplon::wire {

/// RFC 8200 section 3.
struct Ipv6Header {
  Be32 version_class_flow;
  Be16 payload_length;
  std::uint8_t next_header;
  std::uint8_t hop_limit;
  std::array<std::uint8_t, 16> source;
  std::array<std::uint8_t, 16> destination;

  [[nodiscard]] unsigned version() const noexcept { return version_class_flow.host() >> 28; }
  [[nodiscard]] std::uint8_t traffic_class() const noexcept {
    return static_cast<std::uint8_t>(version_class_flow.host() >> 20);
  }
};
static_assert(sizeof(Ipv6Header) == 40 && alignof(Ipv6Header) == 1);

/// RFC 8200 section 4.5.
struct Ipv6FragmentHeader {
  std::uint8_t next_header;
  std::uint8_t reserved;
  Be16 offset_more;
  Be32 id;
};
static_assert(sizeof(Ipv6FragmentHeader) == 8);

/// The least link MTU (RFC 8200 section 5).
inline constexpr std::size_t kIpv6MinimumMtu = 1280;

/// fe80::/10 (RFC 4291 section 2.5.6), by the first bytes of an address or by all.
[[nodiscard]] constexpr bool is_link_local(std::uint8_t first, std::uint8_t second) noexcept {
  return first == 0xfe && (second & 0xc0) == 0x80;
}
[[nodiscard]] constexpr bool is_link_local(const std::array<std::uint8_t, 16>& address) noexcept {
  return is_link_local(address[0], address[1]);
}

/// The header, if the version is 6 and the payload lies whole in `bytes`; bytes behind it are allowed. A payload length
/// of 0 is an empty packet: jumbograms (RFC 2675) are not taken.
[[nodiscard]] inline const Ipv6Header* parse_ipv6(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < sizeof(Ipv6Header)) return nullptr;
  const auto* header = reinterpret_cast<const Ipv6Header*>(bytes.data());
  if (header->version() != 6) return nullptr;
  if (sizeof(Ipv6Header) + header->payload_length.host() > bytes.size()) return nullptr;
  return header;
}

/// What lies behind the extension headers.
struct UpperLayer {
  std::uint8_t protocol = kProtocolNone;
  /// From the start of the IPv6 header; at most the length of the packet.
  std::uint16_t offset = 0;
  /// Any fragment; and one whose data does not start with the upper-layer header.
  bool fragment = false;
  bool later_fragment = false;
  /// False: the packet ends before its headers do.
  bool whole = true;
};

/// Walks hop-by-hop, routing, fragment and destination options headers (RFC 8200 section 4.1). A chain that leaves the
/// packet ends with kProtocolNone. `packet` starts with a header that `parse_ipv6` returned and ends where it says.
[[nodiscard]] inline UpperLayer find_upper_layer(std::span<const std::uint8_t> packet) noexcept {
  UpperLayer upper;
  std::uint8_t next = packet[6];
  std::size_t at = sizeof(Ipv6Header);
  for (;;) {
    std::size_t bytes = 0;
    switch (next) {
      case kProtocolHopByHop:
      case kProtocolRouting:
      case kProtocolDestinationOptions:
        if (packet.size() - at < 8) break;
        bytes = (std::size_t{packet[at + 1]} + 1) * 8;
        break;
      case kProtocolFragment: {
        if (packet.size() - at < 8) break;
        bytes = 8;
        const unsigned offset_more = (unsigned{packet[at + 2]} << 8) | packet[at + 3];
        upper.fragment = upper.fragment || (offset_more & 0xfff9U) != 0;
        upper.later_fragment = upper.later_fragment || (offset_more & 0xfff8U) != 0;
        break;
      }
      default:
        upper.protocol = next;
        upper.offset = static_cast<std::uint16_t>(at);
        return upper;
    }
    if (bytes == 0 || bytes > packet.size() - at) {
      upper.protocol = kProtocolNone;
      upper.offset = static_cast<std::uint16_t>(packet.size());
      upper.whole = false;
      return upper;
    }
    next = packet[at];
    at += bytes;
    if (upper.later_fragment) {
      upper.protocol = next;
      upper.offset = static_cast<std::uint16_t>(at);
      return upper;
    }
  }
}

}  // namespace simplon::wire
