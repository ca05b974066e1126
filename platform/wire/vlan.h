// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "platform/wire/endian.h"
#include "platform/wire/ethernet.h"

namespace simplon::wire {

inline constexpr std::uint16_t kEtherTypeCustomerTag = 0x8100;  ///< C-VLAN tag, IEEE 802.1Q clause 9.5
inline constexpr std::uint16_t kEtherTypeServiceTag = 0x88a8;   ///< S-VLAN tag, once 802.1ad
inline constexpr std::uint16_t kMaxVlan = 4094;                 ///< 0 is no VLAN, 4095 is reserved (clause 9.6)

/// IEEE 802.1Q clause 9: between the source address and the type of what it tags.
struct VlanTag {
  Be16 type;
  Be16 control;  ///< Priority, drop eligible, VLAN identifier (12 bits).

  [[nodiscard]] std::uint16_t vlan() const noexcept { return static_cast<std::uint16_t>(control.host() & 0xfff); }
};
static_assert(sizeof(VlanTag) == 4 && alignof(VlanTag) == 1);

inline constexpr std::size_t kAddressesBytes = offsetof(EthernetHeader, type);

[[nodiscard]] constexpr bool is_vlan_type(std::uint16_t type) noexcept {
  return type == kEtherTypeCustomerTag || type == kEtherTypeServiceTag;
}

/// Up to two tags of a frame, either type in either place.
struct VlanTags {
  std::uint16_t outer = 0;  ///< 0: one tag only.
  std::uint16_t vlan = 0;   ///< 0: no tag.
  std::uint16_t type = 0;   ///< Of what is tagged.
  std::size_t bytes = 0;    ///< Of the tags.
};

/// False if the frame ends before the type of what is tagged does.
[[nodiscard]] inline bool parse_vlan_tags(std::span<const std::uint8_t> frame, VlanTags& tags) noexcept {
  const EthernetHeader* ethernet = parse_ethernet(frame);
  if (ethernet == nullptr) return false;
  tags = {0, 0, ethernet->type.host(), 0};
  while (is_vlan_type(tags.type) && tags.bytes < 2 * sizeof(VlanTag)) {
    if (frame.size() < sizeof(EthernetHeader) + tags.bytes + sizeof(VlanTag)) return false;
    const auto* tag = reinterpret_cast<const VlanTag*>(frame.data() + kAddressesBytes + tags.bytes);
    tags.outer = tags.vlan;
    tags.vlan = tag->vlan();
    tags.bytes += sizeof(VlanTag);
    tags.type = reinterpret_cast<const Be16*>(tag + 1)->host();
  }
  return true;
}

}  // namespace simplon::wire
