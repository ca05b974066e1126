// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "platform/net/mac_address.h"
#include "platform/wire/endian.h"

namespace simplon::wire {

/// IEEE 802.3 clause 3.1.1, without the frame check sequence.
struct EthernetHeader {
  MacAddress destination;
  MacAddress source;
  Be16 type;
};
static_assert(sizeof(EthernetHeader) == 14 && alignof(EthernetHeader) == 1);

inline constexpr std::uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr std::uint16_t kEtherTypeArp = 0x0806;
inline constexpr std::uint16_t kEtherTypeIpv6 = 0x86dd;

/// nullptr if the bytes end before the header does.
[[nodiscard]] inline const EthernetHeader* parse_ethernet(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < sizeof(EthernetHeader)) return nullptr;
  return reinterpret_cast<const EthernetHeader*>(bytes.data());
}

}  // namespace simplon::wire
