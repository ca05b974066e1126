// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "gateway/forward/objects.h"
#include "gateway/forward/packet.h"
#include "gateway/forward/src/path/inner_packet.h"
#include "gateway/forward/src/tables/stable_array.h"

namespace simplon::forward {

struct Domain;

/// A packet between two of its stages, on its way to another worker. Values and slot numbers: what a pointer leads to in the tables may
/// end at the quiescent point of the worker that had it. The frame belongs to the ring, then to whoever took it out.
struct HandedOver {
  std::uint8_t* data = nullptr;
  /// A slot, and who had it: it may be given to another attachment while the packet is on its way.
  std::uint32_t ingress = 0;
  std::uint32_t attachment = 0;
  AttachmentKind kind = AttachmentKind::kVpc;
  /// Whose address is compared, never followed.
  const Domain* domain = nullptr;
  std::uint32_t flow_hash = 0;
  PortId port = kNoPort;
  std::uint16_t length = 0;
  InnerPacket inner;
};

/// From one worker to another, in order. Threads: one that pushes, one that takes. Never allocates; takes memory as it is used.
class HandOverRing {
 public:
  /// Chosen by us: the packets of sixteen bursts, which is longer than a burst of the other takes.
  static constexpr std::size_t kCapacity = 1024;

  HandOverRing() : items_(kCapacity) {}

  [[nodiscard]] bool full() noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head - seen_tail_ < kCapacity) return false;
    seen_tail_ = tail_.load(std::memory_order_acquire);
    return head - seen_tail_ == kCapacity;
  }
  /// It must not be `full`.
  void push(const HandedOver& item) noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    items_[head % kCapacity] = item;
    head_.store(head + 1, std::memory_order_release);
  }

  /// What waits; of who takes.
  [[nodiscard]] std::size_t size() const noexcept {
    return head_.load(std::memory_order_acquire) - tail_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// At most `most`; returns how many.
  template <class Use>
  std::size_t take(std::size_t most, Use&& use) noexcept {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    const std::size_t count = std::min(most, head_.load(std::memory_order_acquire) - tail);
    for (std::size_t i = 0; i < count; ++i) use(items_[(tail + i) % kCapacity]);
    tail_.store(tail + count, std::memory_order_release);
    return count;
  }

 private:
  alignas(64) std::atomic<std::size_t> head_{0};
  std::size_t seen_tail_ = 0;  // of who pushes
  alignas(64) std::atomic<std::size_t> tail_{0};
  StableArray<HandedOver> items_;
};

}  // namespace simplon::forward
