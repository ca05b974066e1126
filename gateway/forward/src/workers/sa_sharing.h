// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <sched.h>

#include <algorithm>
#include <cstdint>

#include "gateway/forward/sa.h"
#include "gateway/forward/src/path/burst.h"
#include "platform/base/pause.h"

// The runtime of an SA that any worker may come to have packets of. With one worker (`Burst::several` is false) everything here
// is plain loads and stores.
//
// Outbound, no number may be used twice: it is the nonce of an AEAD. A worker takes as many numbers as it has packets of the SA in
// a row in its burst, with one compare-and-exchange, so that nobody else ever gets one of them. What it then does not use
// (a packet without room for its headers) is a gap, which a receiver takes for loss.
//
// Inbound, no number may be accepted twice and none may be lost: the window is asked without a lock before the packet is opened,
// and again, with the lock, before it is moved (replay_window.h). The lock is held for some ten instructions.

namespace simplon::forward {

inline void count_one(const Burst& burst, Counter& counter) noexcept {
  burst.several ? counter.add_together() : counter.add();
}

/// The lock of a replay window. Workers have a CPU each as a rule; where they have not, the one that waits makes room.
class WindowLock {
 public:
  explicit WindowLock(Sa::Runtime& runtime) noexcept : taken_(runtime.window_taken) {
    for (unsigned spins = 0; taken_.exchange(true, std::memory_order_acquire); ++spins) {
      while (taken_.load(std::memory_order_relaxed)) {
        if (++spins % 64 == 0) {
          ::sched_yield();
        } else {
          pause();
        }
      }
    }
  }
  ~WindowLock() { taken_.store(false, std::memory_order_release); }
  WindowLock(const WindowLock&) = delete;
  WindowLock& operator=(const WindowLock&) = delete;

 private:
  std::atomic<bool>& taken_;
};

/// Of an authentic packet that `would_accept` found fresh: moves the window. False: another worker, or the same burst, has had the
/// number meanwhile.
[[nodiscard]] inline bool commit(const Burst& burst, const Sa& sa, std::uint64_t sequence) noexcept {
  Sa::Runtime& runtime = sa.runtime();
  const auto move = [&] {
    runtime.window.commit(sequence);
    runtime.sequence.store(runtime.window.top(), std::memory_order_relaxed);
  };
  if (!burst.several) [[likely]] {
    move();
    return true;
  }
  const WindowLock lock(runtime);
  if (!runtime.window.would_accept(sequence)) return false;
  move();
  return true;
}

/// `count` numbers from the returned one on; fewer if there are not so many left, 0 and none if there is none: a counter
/// never cycles (RFC 4303 section 3.3.3).
[[nodiscard]] inline std::uint64_t take_numbers(const Sa& sa, std::uint64_t& count) noexcept {
  std::atomic<std::uint64_t>& last = sa.runtime().sequence;
  const std::uint64_t most = sa.esn() ? ~std::uint64_t{0} : 0xffffffffU;
  std::uint64_t before = last.load(std::memory_order_relaxed);
  std::uint64_t got = 0;
  do {
    got = before < most ? std::min(count, most - before) : 0;
    if (got == 0) {
      count = 0;
      return 0;
    }
  } while (!last.compare_exchange_weak(before, before + got, std::memory_order_relaxed));
  count = got;
  return before + 1;
}

/// Taken with the neighbors of the packet in `to_tunnel` that are of the same SA.
[[gnu::noinline]] inline std::uint64_t next_shared_number(Burst& burst, unsigned number, const Sa& sa) noexcept {
  Burst::Numbers& taken = burst.numbers;
  if (taken.sa == &sa && taken.left > 0) {
    --taken.left;
    return taken.next++;
  }
  const Burst::Queue& queue = burst.to_tunnel;
  unsigned at = taken.position;
  while (at < queue.size() && queue[at] != number) ++at;
  std::uint64_t count = 1;
  while (at + count < queue.size() && burst.packets[queue[at + static_cast<unsigned>(count)]].sa == &sa) ++count;
  taken.position = at;
  const std::uint64_t first = take_numbers(sa, count);
  taken.sa = &sa;
  taken.next = first + 1;
  taken.left = count == 0 ? 0 : static_cast<unsigned>(count - 1);
  return first;
}

/// The sequence number of a packet about to be sealed; 0: there are none left.
[[nodiscard]] inline std::uint64_t next_number(Burst& burst, unsigned number, const Sa& sa) noexcept {
  if (burst.several) [[unlikely]] return next_shared_number(burst, number, sa);
  Sa::Runtime& runtime = sa.runtime();
  const std::uint64_t sequence = runtime.sequence.load(std::memory_order_relaxed) + 1;
  if (sequence == 0 || (!sa.esn() && sequence > 0xffffffffU)) return 0;
  runtime.sequence.store(sequence, std::memory_order_relaxed);
  return sequence;
}

/// True: the mailbox is this worker's to fill.
[[nodiscard]] inline bool open_mailbox(Sa::Runtime& runtime) noexcept {
  auto empty = Sa::Mailbox::kEmpty;
  return runtime.mailbox.load(std::memory_order_relaxed) == empty &&
         runtime.mailbox.compare_exchange_strong(empty, Sa::Mailbox::kFilling, std::memory_order_acquire);
}

}  // namespace simplon::forward
