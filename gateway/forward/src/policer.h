// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <cstdint>

#include "gateway/forward/policy_objects.h"

namespace simplon::forward {

/// A token bucket for bits and one for packets, kept as the time at which what was let through will have been earned
/// (the virtual scheduling algorithm of ITU-T I.371): a packet passes if that time is not further ahead than the burst. So
/// after a silence a packet of any size passes, however low the rate.
///
/// Accuracy: 1/64 ns a packet. Threads: the worker that owns the attachment.
class Policer {
 public:
  /// `now` in nanoseconds of a clock that does not go back. False: it is over the rate, and nothing was counted.
  [[nodiscard]] bool admit(const RateEntry& rate, std::size_t bytes, std::uint64_t now) noexcept {
    const std::uint64_t ticks = now * kTicks;
    const std::uint64_t bits = std::max(bits_until_, ticks);
    const std::uint64_t packets = std::max(packets_until_, ticks);
    if (bits > ticks + kBurst || packets > ticks + kBurst) return false;
    bits_until_ = bits + time_of(rate.bits_per_second, bytes * 8);
    packets_until_ = packets + time_of(rate.packets_per_second, 1);
    return true;
  }

 private:
  static constexpr std::uint64_t kTicks = 64;
  /// Chosen by us: what comes at once after a silence, 100 ms of the rate.
  static constexpr std::uint64_t kBurst = 100'000'000 * kTicks;

  [[nodiscard]] static std::uint64_t time_of(std::uint64_t rate, std::uint64_t units) noexcept {
    return rate == 0 ? 0 : units * (1'000'000'000 * kTicks) / rate;
  }

  std::uint64_t bits_until_ = 0;
  std::uint64_t packets_until_ = 0;
};

}  // namespace simplon::forward
