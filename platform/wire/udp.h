// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <span>

#include "platform/wire/endian.h"

namespace simplon::wire {

/// RFC 768.
struct UdpHeader {
  Be16 source_port;
  Be16 destination_port;
  Be16 length;
  Be16 checksum;
};
static_assert(sizeof(UdpHeader) == 8 && alignof(UdpHeader) == 1);

/// The header, if its length is that of a datagram that lies whole in `bytes`; bytes behind it are allowed.
[[nodiscard]] inline const UdpHeader* parse_udp(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < sizeof(UdpHeader)) return nullptr;
  const auto* header = reinterpret_cast<const UdpHeader*>(bytes.data());
  const std::size_t length = header->length.host();
  if (length < sizeof(UdpHeader) || length > bytes.size()) return nullptr;
  return header;
}

inline constexpr std::uint16_t kPortEspInUdp = 4500;  // RFC 3948 section 2.1

}  // namespace simplon::wire
