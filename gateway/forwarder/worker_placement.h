// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string_view>
#include <vector>

#include "platform/base/result.h"

namespace simplon::forwarder {

/// How many workers there are, and which CPU each is bound to; none named: the scheduler places them.
struct WorkerPlacement {
  unsigned workers = 1;
  std::vector<unsigned> cpus;
};

/// Chosen by us: no queue of an uplink is without a worker, and tables count for each.
inline constexpr unsigned kMaxWorkers = 64;

/// `workers`: a number, or "auto": as many as CPUs are named, or else as the process may use (`usable`). `cpus`: as of
/// sys::parse_cpu_list; empty: none. Errors: kInvalidConfig, also if fewer CPUs are named than there are workers.
[[nodiscard]] Result<WorkerPlacement> place_workers(std::string_view workers, std::string_view cpus, unsigned usable);

/// CPUs that this process may use.
[[nodiscard]] unsigned usable_cpus();

}  // namespace simplon::forwarder
