// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>

namespace simplon {

using MonoTime = std::chrono::steady_clock::time_point;
using MonoDuration = std::chrono::steady_clock::duration;

/// Since the epoch of the clock, rounded down.
[[nodiscard]] constexpr std::uint64_t to_ns(MonoTime time) noexcept {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}
[[nodiscard]] constexpr std::uint64_t to_seconds(MonoTime time) noexcept {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
}

/// Source of monotonic time, so that tests own the time. Threads: `now` may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual MonoTime now() const noexcept = 0;
};

class SteadyClock final : public Clock {
 public:
  [[nodiscard]] MonoTime now() const noexcept override { return std::chrono::steady_clock::now(); }
};

/// Moves only when told to.
class FakeClock final : public Clock {
 public:
  [[nodiscard]] MonoTime now() const noexcept override { return now_; }
  void advance(MonoDuration by) noexcept { now_ += by; }

 private:
  MonoTime now_ = MonoTime{} + std::chrono::hours(1);
};

}  // namespace simplon
