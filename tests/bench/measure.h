// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <string>

namespace simplon::bench {

[[nodiscard]] inline double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// What a pair of clock readings costs, to be taken off.
[[nodiscard]] inline double clock_cost() {
  static const double cost = [] {
    double least = 1;
    for (int i = 0; i < 1000; ++i) {
      const double start = thread_seconds();
      least = std::min(least, thread_seconds() - start);
    }
    return least;
  }();
  return cost;
}

/// Chosen so that a repetition takes some milliseconds of measured time: long enough for the clock, short enough to
/// find a quiet moment of the machine.
inline constexpr benchmark::IterationCount kWarmIterations = 32;
inline constexpr benchmark::IterationCount kColdIterations = 1;

template <class Function>
void add(const std::string& name, benchmark::IterationCount iterations, Function function) {
  benchmark::RegisterBenchmark(name.c_str(), function)
      ->UseManualTime()
      ->Iterations(iterations)
      ->Unit(benchmark::kNanosecond);
}

}  // namespace simplon::bench
