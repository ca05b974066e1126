// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "gateway/forward/src/tables/table_state.h"
#include "platform/wire/vlan.h"

namespace simplon::forward {

/// The circuit that a frame with these tags, received on the port, belongs to; nullptr: none.
[[nodiscard]] inline const Attachment* circuit_with(const TableState& tables, PortId port, const wire::VlanTags& tags) noexcept {
  // Behind a priority tag (VLAN 0) stands no circuit: such a frame is of the uplink's own VLAN (IEEE 802.1Q clause 6.9).
  if (tags.bytes > sizeof(wire::VlanTag) && tags.outer == 0) return nullptr;
  const std::uint32_t* slot = tables.circuits.find(CircuitKey::of(port, tags.outer, tags.vlan));
  const Attachment* circuit = slot == nullptr ? nullptr : tables.attachments[*slot].object.load(std::memory_order_acquire);
  return circuit == nullptr || circuit->kind != AttachmentKind::kCircuit ? nullptr : circuit;
}

}  // namespace simplon::forward
