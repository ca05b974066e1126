// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <span>

#include "gateway/forward/packet.h"
#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/workers/fair_share.h"

namespace simplon::forward {

/// Drops, as over_share, the packets of a burst whose senders have had their share of the worker; what stays is in front, in
/// order. The first `urgent`, and all from host ports, stay. Returns how many do.
[[nodiscard, gnu::cold]] std::size_t keep_shares(Burst& burst, FairShare& shares, std::span<Packet> received, std::size_t urgent) noexcept;

}  // namespace simplon::forward
