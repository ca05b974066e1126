// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "gateway/forward/src/workers/esp_posts.h"
#include "gateway/forward/src/workers/hand_over_ring.h"

namespace simplon::forward {

/// Several workers of one set of tables, as they see each other: who has nothing to do, who sleeps and how to wake him, and
/// what they pass to each other. With a single worker there is none of it.
///
/// Threads: each worker speaks of itself; of the others it only asks. Never blocks.
class Crew {
 public:
  using Wake = std::function<void()>;

  explicit Crew(unsigned workers);

  [[nodiscard]] unsigned workers() const noexcept { return workers_; }

  /// The worker exists and sleeps. `wake` ends its sleep; other workers call it, until all of them have ended.
  void join(unsigned worker, const Wake* wake) noexcept;
  void leave(unsigned worker) noexcept;

  /// Before it sleeps. What was passed to it in the meantime wakes it at once.
  void sleeps(unsigned worker) noexcept;
  void wakes(unsigned worker) noexcept { members_[worker].state.store(State::kBusy, std::memory_order_relaxed); }
  /// It found packets, or none.
  void found(unsigned worker, bool packets) noexcept {
    std::atomic<State>& state = members_[worker].state;
    const State now = packets ? State::kBusy : State::kLooking;
    if (state.load(std::memory_order_relaxed) != now) state.store(now, std::memory_order_relaxed);
  }

  /// Another worker than `me` is awake and has no packets: it may help.
  [[nodiscard]] bool anyone_looks(unsigned me) const noexcept;
  /// If it sleeps.
  void wake(unsigned worker) noexcept;
  /// One that sleeps, if any does.
  void wake_one_but(unsigned me) noexcept;

  /// From one worker to another.
  [[nodiscard]] HandOverRing& ring(unsigned from, unsigned to) noexcept { return *rings_[std::size_t{from} * workers_ + to]; }
  [[nodiscard]] bool has_mail(unsigned worker) const noexcept;

  EspPosts esp;

 private:
  enum class State : std::uint8_t { kAbsent, kAsleep, kWoken, kBusy, kLooking };
  struct alignas(64) Member {
    std::atomic<State> state{State::kAbsent};
    std::atomic<const Wake*> wake{nullptr};
  };

  unsigned workers_;
  std::unique_ptr<Member[]> members_;
  std::unique_ptr<std::unique_ptr<HandOverRing>[]> rings_;
};

}  // namespace simplon::forward
