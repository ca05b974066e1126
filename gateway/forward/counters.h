// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "gateway/forward/drop.h"
#include "gateway/forward/table_memory.h"

namespace simplon::forward {

/// A count with one writer (a worker) and any number of readers. An addition is a plain load and store, no locked
/// instruction; a reader sees some recent value.
class Counter {
 public:
  void add(std::uint64_t by = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  /// For a count that several workers have in common: none is lost.
  void add_together(std::uint64_t by = 1) noexcept { value_.fetch_add(by, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t read() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// One worker's share of an attachment's or port's counts. Bytes are those of the inner IP packet for an attachment,
/// of the frame for a port.
struct alignas(64) TrafficCounters : InTableMemory {
  Counter rx_packets;
  Counter rx_bytes;
  Counter tx_packets;
  Counter tx_bytes;
  /// Written to the host port.
  Counter punted;
  /// Of the packets received from it (attachments only).
  Counter dropped;
};

/// Sums over all workers, as read once.
struct TrafficTotals {
  std::uint64_t rx_packets = 0;
  std::uint64_t rx_bytes = 0;
  std::uint64_t tx_packets = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t punted = 0;
  std::uint64_t dropped = 0;
};

/// What one worker did with its packets. Between two bursts, exactly:
///
///     received + originated + taken_over = sent + punted + sum(drops) + handed_over + what waits
///
/// What waits: fragments for the rest of their packet (Reassembly) and ESP for its SA (EarlyEsp); they are in `received` only.
/// `received`: from a port, host ports included. `originated`: ICMP errors and additional fragments. `sent`: taken by an
/// uplink. `punted`: taken by a host port. `handed_over`: to another worker, which takes it over in its next turn; summed over
/// workers that have ended, and `finish`ed, the two are equal.
struct alignas(64) WorkerCounters {
  Counter received;
  Counter originated;
  Counter sent;
  Counter punted;
  Counter handed_over;
  Counter taken_over;
  /// ICMP errors not sent because of the rate limit (not part of the identity).
  Counter icmp_suppressed;
  std::array<Counter, kDropCount> drops;

  [[nodiscard]] std::uint64_t dropped() const noexcept {
    std::uint64_t sum = 0;
    for (const Counter& counter : drops) sum += counter.read();
    return sum;
  }
  [[nodiscard]] std::uint64_t dropped(Drop reason) const noexcept {
    return drops[static_cast<std::size_t>(reason)].read();
  }
};

}  // namespace simplon::forward
