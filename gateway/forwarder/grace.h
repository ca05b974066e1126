// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <thread>

#include "gateway/forward/tables.h"

namespace simplon::forwarder {

/// Commits, and frees what the workers let go of, waiting up to 20 ms for them (a burst takes microseconds): for
/// descriptors that have to be closed before the same interface can be opened again. What is not freed by then is freed later.
inline void wait_for_workers(forward::Tables& tables) {
  const auto token = tables.commit();
  for (int i = 0; i < 200 && !tables.applied(token); ++i) std::this_thread::sleep_for(std::chrono::microseconds(100));
  tables.reclaim();
}

}  // namespace simplon::forwarder
