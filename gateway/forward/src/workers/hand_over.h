// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/workers/fair_share.h"

namespace simplon::forward {

// Packets whose connection another worker has leave the burst in front of `police` and go on there, in a burst of that worker's.
// All packets of a flow take the same way, and rings keep the order.

/// Packets in `policed` that are another worker's leave it.
void hand_over(Burst& burst) noexcept;

/// At most `most` packets that the worker `from` handed over to this one, into `policed` of a burst that has just begun. Those
/// that are above their senders' `shares` are dropped; nullptr: nobody is limited.
std::size_t take_over(Burst& burst, unsigned from, std::size_t most, FairShare* shares) noexcept;

}  // namespace simplon::forward
