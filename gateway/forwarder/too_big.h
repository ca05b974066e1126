// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "platform/base/ids.h"
#include "platform/net/ip_address.h"
#include "platform/net/mac_address.h"

namespace simplon::forwarder {

/// RFC 4303, raw or in UDP (RFC 3948).
struct QuotedEsp {
  Spi spi;
  /// The low half of an extended one.
  std::uint32_t sequence = 0;
  bool encap = false;
  std::uint16_t source_port = 0, destination_port = 0;
};
/// RFC 7348.
struct QuotedVxlan {
  std::uint16_t destination_port = 0;
  Vni vni;
  MacAddress inner_source, inner_destination;
  IpAddress inner_address;  ///< Destination.
};

/// What a router says who could not send one of our outer packets on: ICMP "fragmentation needed" (RFC 1191 section 4) or ICMPv6
/// "packet too big" (RFC 4443 section 3.2), with what it quotes of the packet. Nothing of it is proven yet.
struct TooBig {
  /// Who says so.
  IpAddress router;
  /// Of the quoted packet: ours, and that of the path.
  IpAddress source, destination;
  std::uint32_t mtu_bytes = 0;
  /// IP bytes of the packet that did not fit, before it was cut off.
  std::uint16_t packet_bytes = 0;
  std::variant<QuotedEsp, QuotedVxlan> content;
};

enum class TooBigFault : std::uint8_t {
  kMalformed,   ///< Not what RFC 792, 1191 or 4443 describe, or its checksum is wrong.
  kShortQuote,  ///< Nothing that could be verified is in the quote.
  kForeign,     ///< About a packet that we never send.
};

/// `packet` starts with the IP header; bytes behind the packet are allowed. Pure.
[[nodiscard]] std::variant<TooBig, TooBigFault> parse_too_big(std::span<const std::uint8_t> packet);

/// The MTU that a router old enough to say 0 may have had: the next common one below the packet's length (RFC 1191 section 7.1);
/// 0: none.
[[nodiscard]] std::uint16_t plateau_below(std::uint16_t packet_bytes) noexcept;

}  // namespace simplon::forwarder
