// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/cpu_list.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

namespace simplon::sys {
namespace {

std::optional<unsigned> cpu_of(std::string_view text) {
  unsigned cpu = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpu);
  if (error != std::errc() || end != text.data() + text.size() || cpu >= CPU_SETSIZE) return std::nullopt;
  return cpu;
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
    const auto first = cpu_of(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : cpu_of(part.substr(dash + 1));
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

}  // namespace simplon::sys
