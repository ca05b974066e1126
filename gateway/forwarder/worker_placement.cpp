// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/worker_placement.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "platform/sys/cpu_list.h"

namespace simplon::forwarder {
namespace {

std::optional<unsigned> number(std::string_view text, unsigned most) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) return std::nullopt;
  return value;
}

}  // namespace

Result<WorkerPlacement> place_workers(std::string_view workers, std::string_view cpus, unsigned usable) {
  WorkerPlacement placement;
  auto named = sys::parse_cpu_list(cpus);
  if (!named) return Unexpected(named.error());
  placement.cpus = *std::move(named);
  const auto cpu_count = static_cast<unsigned>(placement.cpus.size());
  if (workers == "auto") {
    placement.workers = std::clamp(cpu_count != 0 ? cpu_count : usable, 1U, kMaxWorkers);
  } else if (const auto count = number(workers, kMaxWorkers); count && *count > 0) {
    placement.workers = *count;
  } else {
    return fail(ErrorCode::kInvalidConfig, "workers " + std::string(workers) + " is no number from 1 to " +
                                               std::to_string(kMaxWorkers),
                "auto takes one for each CPU");
  }
  if (cpu_count != 0 && cpu_count < placement.workers) {
    return fail(ErrorCode::kInvalidConfig, std::to_string(placement.workers) + " workers need as many CPUs, and " +
                                               std::string(cpus) + " names " + std::to_string(cpu_count));
  }
  placement.cpus.resize(std::min<std::size_t>(placement.cpus.size(), placement.workers));
  return placement;
}

unsigned usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(CPU_COUNT(&set), 1));
}

}  // namespace simplon::forwarder
