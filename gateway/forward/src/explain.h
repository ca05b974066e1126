// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <span>

#include "gateway/forward/src/sighting.h"
#include "gateway/forward/trace.h"

namespace simplon::forward {

/// Sightings in words. Routes are looked up in `tables`: the thread is their writer's.
[[nodiscard]] Trace explain(const Tables& tables, std::span<const Sighting> sightings);

}  // namespace simplon::forward
