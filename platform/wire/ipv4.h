// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "platform/wire/checksum.h"
#include "platform/wire/endian.h"

namespace simplon::wire {

/// RFC 791 section 3.1, without options.
struct Ipv4Header {
  std::uint8_t version_ihl;
  std::uint8_t tos;
  Be16 total_length;
  Be16 id;
  Be16 flags_offset;
  std::uint8_t ttl;
  std::uint8_t protocol;
  Be16 checksum;
  std::array<std::uint8_t, 4> source;
  std::array<std::uint8_t, 4> destination;

  [[nodiscard]] unsigned version() const noexcept { return version_ihl >> 4; }
  [[nodiscard]] std::size_t header_bytes() const noexcept { return std::size_t{version_ihl & 15U} * 4; }
  [[nodiscard]] bool dont_fragment() const noexcept { return (flags_offset.host() & 0x4000) != 0; }
  [[nodiscard]] bool more_fragments() const noexcept { return (flags_offset.host() & 0x2000) != 0; }
  /// Bytes.
  [[nodiscard]] unsigned fragment_offset() const noexcept { return (flags_offset.host() & 0x1fffU) * 8U; }
  [[nodiscard]] bool is_fragment() const noexcept { return (raw(flags_offset) & raw(Be16(0x3fff))) != 0; }
};
static_assert(sizeof(Ipv4Header) == 20 && alignof(Ipv4Header) == 1);

inline constexpr std::uint16_t kIpv4DontFragment = 0x4000;
inline constexpr std::uint16_t kIpv4MoreFragments = 0x2000;

/// The header, if version, header length and total length are those of a packet that lies whole in `bytes`
/// (RFC 1812 section 5.2.2 (1), (3) to (5)); bytes behind the total length are allowed. The checksum is not looked at.
[[nodiscard]] inline const Ipv4Header* parse_ipv4(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < sizeof(Ipv4Header)) return nullptr;
  const auto* header = reinterpret_cast<const Ipv4Header*>(bytes.data());
  const std::size_t total = header->total_length.host();
  if (header->version() != 4 || header->header_bytes() < sizeof(Ipv4Header)) return nullptr;
  if (header->header_bytes() > total || total > bytes.size()) return nullptr;
  return header;
}

/// Sum over a header without options.
[[nodiscard]] inline std::uint64_t sum_plain_header(const Ipv4Header& header) noexcept {
  std::uint64_t words[2];
  std::uint32_t last;
  std::memcpy(words, &header, sizeof words);
  std::memcpy(&last, header.destination.data(), sizeof last);
  std::uint64_t sum;
  const bool carry = __builtin_add_overflow(words[0], words[1], &sum);
  const bool again = __builtin_add_overflow(sum, std::uint64_t{last} + (carry ? 1U : 0U), &sum);
  return sum + (again ? 1U : 0U);
}

/// For a header without options. The one's complement sum is minus zero if the sum is a multiple of 65,535, which is so if its product
/// with the inverse of 65,535 in 64 bits is no larger than the quotient of any multiple.
[[nodiscard]] inline bool plain_checksum_ok(const Ipv4Header& header) noexcept {
  constexpr std::uint64_t kMostMultiples = 0x0001000100010001;  // that many fit into 64 bits
  constexpr std::uint64_t kInverse = 0 - kMostMultiples;
  static_assert(kInverse * 65535 == 1);
  return sum_plain_header(header) * kInverse <= kMostMultiples;  // no sum is 0: the version is not
}

/// For a header that `parse_ipv4` returned.
[[nodiscard]] inline bool ipv4_checksum_ok(const Ipv4Header& header) noexcept {
  if (header.version_ihl == 0x45) [[likely]] return plain_checksum_ok(header);
  return checksum_ok({reinterpret_cast<const std::uint8_t*>(&header), header.header_bytes()});
}

/// What nearly every packet is: no options, no fragment, a total length that lies in the `available` bytes (at least 20), a
/// right checksum. Of all else, wrong or only rare, false: then `parse_ipv4` and its companions go through it field by field.
[[nodiscard]] inline bool is_plain_ipv4(const Ipv4Header& header, std::size_t available) noexcept {
  const std::size_t total = header.total_length.host();
  return header.version_ihl == 0x45 && total >= sizeof header && total <= available && !header.is_fragment() &&
         plain_checksum_ok(header);
}

/// For a header that `parse_ipv4` returned.
inline void set_ipv4_checksum(Ipv4Header& header) noexcept {
  header.checksum = Be16{};
  if (header.version_ihl == 0x45) [[likely]] {
    header.checksum = finish_checksum(sum_plain_header(header));
    return;
  }
  header.checksum = checksum({reinterpret_cast<const std::uint8_t*>(&header), header.header_bytes()});
}

/// One less hop, with the checksum updated (RFC 1624): the first byte of a word became one less, so the sum did, and its
/// complement is one more, with the carry brought around; all ones becomes zero.
inline void decrement_ttl(Ipv4Header& header) noexcept {
  --header.ttl;
  const std::uint32_t checksum = std::uint32_t{raw(header.checksum)} + 1;
  header.checksum = from_raw(static_cast<std::uint16_t>(checksum + (checksum >= 0xffff ? 1U : 0U)));
}

/// Option types (RFC 791 section 3.1).
inline constexpr std::uint8_t kIpv4OptionEnd = 0;
inline constexpr std::uint8_t kIpv4OptionNop = 1;
inline constexpr std::uint8_t kIpv4OptionLooseSourceRoute = 131;
inline constexpr std::uint8_t kIpv4OptionStrictSourceRoute = 137;
/// Set in the type of an option that goes into every fragment.
inline constexpr std::uint8_t kIpv4OptionCopied = 0x80;

/// Calls `visit(type, option bytes)` for each option but NOP and END; stops at the first malformed one.
template <class Visit>
void for_each_ipv4_option(const Ipv4Header& header, Visit&& visit) noexcept {
  std::span<const std::uint8_t> options{reinterpret_cast<const std::uint8_t*>(&header) + sizeof(Ipv4Header),
                                        header.header_bytes() - sizeof(Ipv4Header)};
  while (!options.empty() && options[0] != kIpv4OptionEnd) {
    if (options[0] == kIpv4OptionNop) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) return;
    visit(options[0], options.first(options[1]));
    options = options.subspan(options[1]);
  }
}

}  // namespace simplon::wire
