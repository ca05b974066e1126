// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "platform/base/ids.h"
#include "platform/net/ip_address.h"

namespace simplon::forward {

/// A neighbor on a circuit that some packet was for and that is not known.
struct AskedNeighbor {
  CircuitId circuit;
  IpAddress address;
};

/// From a worker to the writer of the tables: which neighbors are missing. A ring that drops what does not fit, because a packet
/// that comes again asks again. Threads: one for `ask`, one for `take`. Never blocks.
class AskedNeighbors {
 public:
  static constexpr std::size_t kCapacity = 64;

  void ask(CircuitId circuit, const IpAddress& address) noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    const std::size_t tail = tail_.load(std::memory_order_acquire);
    if (head - tail == kCapacity) return;
    // The next packets of a burst are often for the same.
    if (head != tail) {
      const AskedNeighbor& last = ring_[(head - 1) % kCapacity];
      if (last.circuit == circuit && last.address == address) return;
    }
    ring_[head % kCapacity] = {circuit, address};
    head_.store(head + 1, std::memory_order_release);
  }

  template <class Use>
  void take(Use&& use) {
    std::size_t tail = tail_.load(std::memory_order_relaxed);
    const std::size_t head = head_.load(std::memory_order_acquire);
    for (; tail != head; ++tail) use(ring_[tail % kCapacity]);
    tail_.store(tail, std::memory_order_release);
  }

 private:
  std::array<AskedNeighbor, kCapacity> ring_{};
  std::atomic<std::size_t> head_{0};
  std::atomic<std::size_t> tail_{0};
};

}  // namespace simplon::forward
