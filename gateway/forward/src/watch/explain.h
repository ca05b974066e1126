// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <vector>

#include "gateway/forward/src/watch/sighting.h"
#include "gateway/forward/trace.h"

namespace simplon::forward {

/// What was seen, in words. Routes and names are looked up in `tables`: the thread is their writer's.
[[nodiscard]] Trace explain(const Tables& tables, const Recorder& recorder);

/// The part of it that is about policy.
[[nodiscard]] std::vector<TraceFact> explain_policy(const Tables& tables, const PolicyNotes& notes);

}  // namespace simplon::forward
