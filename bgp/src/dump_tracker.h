// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <optional>

#include "platform/base/clock.h"

namespace simplon::bgp {

/// Decides when the dump after an FPM connection is complete, which FPM itself does not say.
///
/// Two conditions: bgpd is attached to zebra and has its routes (`source_ready`: after a restart of zebra that takes bgpd
/// 10 s, after one of bgpd its neighbors have to announce theirs again; FPM is silent for another reason then), and then
/// nothing came for `idle`. A feed that never becomes idle is taken as complete `cap` after the source was ready.
/// Threads: one.
class DumpTracker {
 public:
  DumpTracker(MonoDuration idle, MonoDuration cap) noexcept : idle_(idle), cap_(cap) {}

  void connected() noexcept {
    state_ = State::kWaitingForSource;
    ready_at_.reset();
  }
  void disconnected() noexcept { state_ = State::kDisconnected; }
  void received(MonoTime now) noexcept { last_message_ = now; }
  void source_ready(MonoTime now) noexcept {
    if (state_ != State::kWaitingForSource) return;
    state_ = State::kDumping;
    ready_at_ = now;
    last_message_ = now;
  }

  [[nodiscard]] bool is_connected() const noexcept { return state_ != State::kDisconnected; }
  [[nodiscard]] bool waits_for_source() const noexcept { return state_ == State::kWaitingForSource; }
  /// When to ask `completes` next, if it can become true by waiting.
  [[nodiscard]] std::optional<MonoTime> deadline() const noexcept {
    if (state_ != State::kDumping) return std::nullopt;
    return std::min(last_message_ + idle_, *ready_at_ + cap_);
  }
  /// True once for each connection: what was not in the dump is gone.
  [[nodiscard]] bool completes(MonoTime now) noexcept {
    const auto due = deadline();
    if (!due || now < *due) return false;
    state_ = State::kComplete;
    return true;
  }

 private:
  enum class State { kDisconnected, kWaitingForSource, kDumping, kComplete };

  MonoDuration idle_;
  MonoDuration cap_;
  State state_ = State::kDisconnected;
  MonoTime last_message_{};
  std::optional<MonoTime> ready_at_;
};

}  // namespace simplon::bgp
