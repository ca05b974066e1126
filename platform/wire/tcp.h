// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "platform/wire/endian.h"

namespace simplon::wire {

/// RFC 9293 section 3.1, without options.
struct TcpHeader {
  Be16 source_port;
  Be16 destination_port;
  Be32 sequence;
  Be32 acknowledgment;
  std::uint8_t data_offset;  ///< High nibble, in 32-bit words.
  std::uint8_t flags;
  Be16 window;
  Be16 checksum;
  Be16 urgent;

  [[nodiscard]] std::size_t header_bytes() const noexcept { return static_cast<std::size_t>(data_offset >> 4) * 4; }
};
static_assert(sizeof(TcpHeader) == 20 && alignof(TcpHeader) == 1);

inline constexpr std::uint8_t kTcpFin = 0x01;
inline constexpr std::uint8_t kTcpSyn = 0x02;
inline constexpr std::uint8_t kTcpRst = 0x04;
inline constexpr std::uint8_t kTcpAck = 0x10;
inline constexpr std::uint8_t kTcpOptionEnd = 0;
inline constexpr std::uint8_t kTcpOptionNop = 1;
inline constexpr std::uint8_t kTcpOptionMss = 2;  ///< RFC 9293 section 3.7.1; 4 bytes.

/// The header, if its data offset is at least 5 and the options lie whole in `bytes`.
[[nodiscard]] inline const TcpHeader* parse_tcp(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < sizeof(TcpHeader)) return nullptr;
  const auto* header = reinterpret_cast<const TcpHeader*>(bytes.data());
  if (header->header_bytes() < sizeof(TcpHeader) || header->header_bytes() > bytes.size()) return nullptr;
  return header;
}

/// Offset of the 16-bit MSS value from the start of the TCP header; 0 if there is none or the options are malformed.
[[nodiscard]] inline std::size_t find_mss(std::span<const std::uint8_t> bytes) noexcept {
  const TcpHeader* header = parse_tcp(bytes);
  if (header == nullptr) return 0;
  std::size_t at = sizeof(TcpHeader);
  const std::size_t end = header->header_bytes();
  while (at < end && bytes[at] != kTcpOptionEnd) {
    if (bytes[at] == kTcpOptionNop) {
      ++at;
      continue;
    }
    if (end - at < 2 || bytes[at + 1] < 2 || bytes[at + 1] > end - at) return 0;
    if (bytes[at] == kTcpOptionMss && bytes[at + 1] == 4) return at + 2;
    at += bytes[at + 1];
  }
  return 0;
}

}  // namespace simplon::wire
