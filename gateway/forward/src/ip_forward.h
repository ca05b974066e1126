// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "gateway/forward/src/inner_packet.h"
#include "gateway/forward/src/table_state.h"

namespace simplon::forward {

/// The slot that a packet of ours to `inner.destination` leaves through; 0: there is no way, or it is to ourselves.
[[nodiscard]] std::uint32_t exit_towards(const TableState& tables, const Domain& domain, const InnerPacket& inner) noexcept;

}  // namespace simplon::forward
