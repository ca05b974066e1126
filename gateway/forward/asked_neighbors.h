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
/// that comes again asks again; of one circuit only some fit, so that a scan of its subnet does not keep others from asking.
/// Threads: one for `ask`, one for `take`. Never blocks.
class AskedNeighbors {
 public:
  static constexpr std::size_t kCapacity = 128;
  static constexpr std::size_t kOfCircuit = 16;

  void ask(CircuitId circuit, const IpAddress& address) noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    const std::size_t tail = tail_.load(std::memory_order_acquire);
    if (head - tail == kCapacity) return;
    std::size_t waiting = 0;
    for (std::size_t at = tail; at != head; ++at) {
      const AskedNeighbor& one = ring_[at % kCapacity];
      if (one.circuit != circuit) continue;
      if (one.address == address || ++waiting == kOfCircuit) return;
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
