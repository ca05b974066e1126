// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <span>

#include "platform/wire/endian.h"

namespace simplon::wire {

/// RFC 7348 section 5.
struct VxlanHeader {
  Be32 flags_reserved;
  Be32 vni_reserved;

  /// The I flag: the VNI is valid. All other bits of the word are reserved and ignored on receipt.
  [[nodiscard]] bool vni_valid() const noexcept { return (flags_reserved.host() & 0x08000000U) != 0; }
  [[nodiscard]] std::uint32_t vni() const noexcept { return vni_reserved.host() >> 8; }
};
static_assert(sizeof(VxlanHeader) == 8 && alignof(VxlanHeader) == 1);

[[nodiscard]] inline VxlanHeader vxlan_header(std::uint32_t vni) noexcept {
  return {Be32(0x08000000U), Be32(vni << 8)};
}

[[nodiscard]] inline const VxlanHeader* parse_vxlan(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < sizeof(VxlanHeader)) return nullptr;
  return reinterpret_cast<const VxlanHeader*>(bytes.data());
}

}  // namespace simplon::wire
