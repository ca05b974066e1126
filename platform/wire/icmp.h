// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "platform/wire/endian.h"

namespace simplon::wire {

/// RFC 792 and RFC 4443 section 2.1, with the word behind the checksum.
struct IcmpHeader {
  std::uint8_t type;
  std::uint8_t code;
  Be16 checksum;
  Be32 word;
};
static_assert(sizeof(IcmpHeader) == 8 && alignof(IcmpHeader) == 1);

inline constexpr std::uint8_t kIcmpEchoReply = 0;
inline constexpr std::uint8_t kIcmpUnreachable = 3;
inline constexpr std::uint8_t kIcmpSourceQuench = 4;
inline constexpr std::uint8_t kIcmpRedirect = 5;
inline constexpr std::uint8_t kIcmpEcho = 8;
inline constexpr std::uint8_t kIcmpTimeExceeded = 11;
inline constexpr std::uint8_t kIcmpParameterProblem = 12;
inline constexpr std::uint8_t kIcmpNetUnreachable = 0;
inline constexpr std::uint8_t kIcmpHostUnreachable = 1;
inline constexpr std::uint8_t kIcmpFragmentationNeeded = 4;

inline constexpr std::uint8_t kIcmpv6Unreachable = 1;
inline constexpr std::uint8_t kIcmpv6PacketTooBig = 2;
inline constexpr std::uint8_t kIcmpv6TimeExceeded = 3;
inline constexpr std::uint8_t kIcmpv6Echo = 128;
inline constexpr std::uint8_t kIcmpv6EchoReply = 129;
inline constexpr std::uint8_t kIcmpv6Redirect = 137;
inline constexpr std::uint8_t kIcmpv6NoRoute = 0;
inline constexpr std::uint8_t kIcmpv6AddressUnreachable = 3;
inline constexpr std::uint8_t kIcmpv6RejectRoute = 6;

/// True for types that carry the header of another packet: no error is ever sent about them (RFC 1122 section 3.2.2).
[[nodiscard]] constexpr bool is_icmp_error(std::uint8_t type) noexcept {
  return type == kIcmpUnreachable || type == kIcmpSourceQuench || type == kIcmpRedirect ||
         type == kIcmpTimeExceeded || type == kIcmpParameterProblem;
}
/// RFC 4443 section 2.4 (e.1) and (e.2).
[[nodiscard]] constexpr bool is_icmpv6_error(std::uint8_t type) noexcept {
  return type < 128 || type == kIcmpv6Redirect;
}

}  // namespace simplon::wire
