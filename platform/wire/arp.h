// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "platform/net/mac_address.h"
#include "platform/wire/endian.h"

namespace simplon::wire {

/// RFC 826 for Ethernet and IPv4.
struct ArpPacket {
  Be16 hardware_type;
  Be16 protocol_type;
  std::uint8_t hardware_bytes;
  std::uint8_t protocol_bytes;
  Be16 operation;
  MacAddress sender_mac;
  std::array<std::uint8_t, 4> sender_ip;
  MacAddress target_mac;
  std::array<std::uint8_t, 4> target_ip;
};
static_assert(sizeof(ArpPacket) == 28 && alignof(ArpPacket) == 1);

inline constexpr std::uint16_t kArpRequest = 1;
inline constexpr std::uint16_t kArpReply = 2;

/// nullptr unless it is Ethernet and IPv4.
[[nodiscard]] inline const ArpPacket* parse_arp(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < sizeof(ArpPacket)) return nullptr;
  const auto* packet = reinterpret_cast<const ArpPacket*>(bytes.data());
  if (packet->hardware_type.host() != 1 || packet->protocol_type.host() != 0x0800 || packet->hardware_bytes != 6 ||
      packet->protocol_bytes != 4) {
    return nullptr;
  }
  return packet;
}

}  // namespace simplon::wire
