// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "platform/wire/endian.h"

// The Internet checksum (RFC 1071). Sums are kept in the host's byte order: the one's complement sum does not depend on
// it (section 2 (B)), only the stored result must be in the order of the data, which Be16 from raw bytes is.

namespace simplon::wire {

/// The two bytes of a field as they lie in memory.
[[nodiscard]] constexpr std::uint16_t raw(Be16 field) noexcept { return std::bit_cast<std::uint16_t>(field); }
[[nodiscard]] constexpr Be16 from_raw(std::uint16_t value) noexcept { return std::bit_cast<Be16>(value); }

/// Adds `bytes`, padded with a zero byte to an even count, to a running sum. All parts but the last have even length.
[[nodiscard]] inline std::uint64_t sum_bytes(std::span<const std::uint8_t> bytes, std::uint64_t sum = 0) noexcept {
  const std::uint8_t* data = bytes.data();
  std::size_t left = bytes.size();
  const auto add = [&sum](std::uint64_t word) noexcept {
    sum += word;
    sum += static_cast<std::uint64_t>(sum < word);  // end-around carry
  };
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  // Halves of 64-bit words in two accumulators, which cannot overflow below 2^32 words.
  for (; left >= 8; left -= 8, data += 8) {
    std::uint64_t word;
    std::memcpy(&word, data, 8);
    low += word & 0xffffffffU;
    high += word >> 32;
  }
  add(low);
  add(high);
  if (left >= 4) {
    std::uint32_t word;
    std::memcpy(&word, data, 4);
    add(word);
    left -= 4;
    data += 4;
  }
  if (left >= 2) {
    std::uint16_t word;
    std::memcpy(&word, data, 2);
    add(word);
    left -= 2;
    data += 2;
  }
  if (left == 1) add(*data);
  return sum;
}

/// The 16-bit one's complement sum.
[[nodiscard]] constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
  // Added to itself with its halves exchanged, the upper half is the sum of both with the carry brought around.
  const auto half = static_cast<std::uint32_t>((sum + std::rotr(sum, 32)) >> 32);
  return static_cast<std::uint16_t>((half + std::rotr(half, 16)) >> 16);
}

/// What goes into the checksum field.
[[nodiscard]] constexpr Be16 finish_checksum(std::uint64_t sum) noexcept {
  return from_raw(static_cast<std::uint16_t>(~fold(sum)));
}

[[nodiscard]] inline Be16 checksum(std::span<const std::uint8_t> bytes) noexcept {
  return finish_checksum(sum_bytes(bytes));
}

/// True if `bytes` including their checksum field sum up to minus zero.
[[nodiscard]] inline bool checksum_ok(std::span<const std::uint8_t> bytes, std::uint64_t sum = 0) noexcept {
  return fold(sum_bytes(bytes, sum)) == 0xffff;
}

/// The checksum after one 16-bit field changed: RFC 1624 section 3, equation 3.
[[nodiscard]] constexpr Be16 update_checksum(Be16 old_checksum, Be16 old_field, Be16 new_field) noexcept {
  const std::uint64_t sum = std::uint64_t{static_cast<std::uint16_t>(~raw(old_checksum))} +
                            static_cast<std::uint16_t>(~raw(old_field)) + raw(new_field);
  return finish_checksum(sum);
}

/// Pseudo header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200 section 8.1). `addresses`: source and
/// destination one behind the other, as they stand in the IP header.
[[nodiscard]] inline std::uint64_t pseudo_header_sum(std::span<const std::uint8_t> addresses, std::uint8_t protocol,
                                                     std::uint32_t length) noexcept {
  const Be32 wire_length(length);
  const Be16 wire_protocol(protocol);
  std::uint64_t sum = sum_bytes(addresses);
  sum = sum_bytes({reinterpret_cast<const std::uint8_t*>(&wire_length), 4}, sum);
  return sum_bytes({reinterpret_cast<const std::uint8_t*>(&wire_protocol), 2}, sum);
}

}  // namespace simplon::wire
