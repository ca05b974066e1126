// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/worker_placement.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

namespace simplon::forwarder {
namespace {

std::optional<unsigned> number(std::string_view text, unsigned most) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) return std::nullopt;
  return value;
}

}  // namespace

Result<std::vector<unsigned>> parse_cpu_list(std::string_view text) {
  const auto refuse = [text](std::string_view part, const char* why) {
    return fail(ErrorCode::kInvalidConfig, "CPUs " + std::string(text) + ": " + std::string(part) + " " + why,
                "numbers and ranges with commas between them, for example 2-5,8");
  };
  std::vector<unsigned> cpus;
  for (std::string_view rest = text; !rest.empty() || !text.empty();) {
    const std::string_view part = rest.substr(0, rest.find(','));
    const std::size_t dash = part.find('-');
    const auto first = number(part.substr(0, dash), CPU_SETSIZE - 1);
    const auto last = dash == std::string_view::npos ? first : number(part.substr(dash + 1), CPU_SETSIZE - 1);
    if (!first || !last || *last < *first) return refuse(part.empty() ? "nothing" : part, "is no CPU and no range of CPUs");
    for (unsigned cpu = *first; cpu <= *last; ++cpu) {
      if (std::find(cpus.begin(), cpus.end(), cpu) != cpus.end()) return refuse(part, "names a CPU twice");
      cpus.push_back(cpu);
    }
    if (part.size() == rest.size()) break;
    rest.remove_prefix(part.size() + 1);
  }
  return cpus;
}

Result<WorkerPlacement> place_workers(std::string_view workers, std::string_view cpus, unsigned usable) {
  WorkerPlacement placement;
  auto named = parse_cpu_list(cpus);
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
