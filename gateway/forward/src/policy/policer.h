// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>

#include "gateway/forward/policy_objects.h"

namespace simplon::forward {

/// A token bucket for bits and one for packets, kept as the time at which what was let through will have been earned
/// (the virtual scheduling algorithm of ITU-T I.371): a packet passes if that time is not further ahead than the burst. So
/// after a silence a packet of any size passes, however low the rate.
///
/// Several workers share the buckets: each takes a portion out of them at a time, and lets packets pass for it until it is
/// spent. What is in a purse was taken, so the rate is kept; the burst is longer by a portion a worker.
///
/// Accuracy: 1/64 ns a packet. Threads: each worker with its own number.
class Policer {
 public:
  explicit Policer(unsigned workers) : workers_(workers), purses_(std::make_unique<Purse[]>(workers)) {}

  /// `now` in nanoseconds of a clock that does not go back. False: it is over the rate, and nothing was counted.
  [[nodiscard]] bool admit(const RateEntry& rate, std::size_t bytes, std::uint64_t now, unsigned worker) noexcept {
    const std::uint64_t bits = time_of(rate.bits_per_second, bytes * 8);
    const std::uint64_t packets = time_of(rate.packets_per_second, 1);
    if (workers_ == 1) {
      const std::uint64_t ticks = now * kTicks;
      const std::uint64_t bits_until = std::max(bits_until_.load(std::memory_order_relaxed), ticks);
      const std::uint64_t packets_until = std::max(packets_until_.load(std::memory_order_relaxed), ticks);
      if (bits_until > ticks + kBurst || packets_until > ticks + kBurst) return false;
      bits_until_.store(bits_until + bits, std::memory_order_relaxed);
      packets_until_.store(packets_until + packets, std::memory_order_relaxed);
      return true;
    }
    Purse& purse = purses_[worker];
    if (!fill(bits_until_, purse.bits, bits, now) || !fill(packets_until_, purse.packets, packets, now)) return false;
    purse.bits -= bits;
    purse.packets -= packets;
    return true;
  }

  /// Nothing more is to be had at the moment. Changes nothing. Threads: any.
  [[nodiscard]] bool exhausted(std::uint64_t now) const noexcept {
    const std::uint64_t most = now * kTicks + kBurst;
    return bits_until_.load(std::memory_order_relaxed) > most || packets_until_.load(std::memory_order_relaxed) > most;
  }

 private:
  static constexpr std::uint64_t kTicks = 64;
  /// Chosen by us: what comes at once after a silence, 100 ms of the rate.
  static constexpr std::uint64_t kBurst = 100'000'000 * kTicks;
  /// Chosen by us: 500 us of the rate.
  static constexpr std::uint64_t kPortion = 500'000 * kTicks;

  /// What a worker has taken and not spent.
  struct alignas(64) Purse {
    std::uint64_t bits = 0;
    std::uint64_t packets = 0;
  };

  [[nodiscard]] static std::uint64_t time_of(std::uint64_t rate, std::uint64_t units) noexcept {
    return rate == 0 ? 0 : units * (1'000'000'000 * kTicks) / rate;
  }

  /// False: the bucket has nothing.
  [[nodiscard]] static bool fill(std::atomic<std::uint64_t>& until, std::uint64_t& purse, std::uint64_t need,
                                 std::uint64_t now) noexcept {
    if (purse >= need) return true;
    const std::uint64_t ticks = now * kTicks;
    const std::uint64_t taken = need - purse + kPortion;
    std::uint64_t before = until.load(std::memory_order_relaxed);
    do {
      if (before > ticks + kBurst) return false;
    } while (!until.compare_exchange_weak(before, std::max(before, ticks) + taken, std::memory_order_relaxed));
    purse += taken;
    return true;
  }

  unsigned workers_;
  std::atomic<std::uint64_t> bits_until_{0};
  std::atomic<std::uint64_t> packets_until_{0};
  std::unique_ptr<Purse[]> purses_;
};

}  // namespace simplon::forward
