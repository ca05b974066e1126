// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>

#include "gateway/config/store.h"

namespace simplon::config {

/// Moves only when told to.
class FakeWallClock final : public WallClock {
 public:
  [[nodiscard]] std::chrono::system_clock::time_point now() const noexcept override { return now_; }
  [[nodiscard]] MonoTime steady() const noexcept override { return steady_; }
  void advance(std::chrono::seconds by) {
    now_ += by;
    steady_ += by;
  }
  /// Somebody sets the calendar.
  void set(std::chrono::seconds by) { now_ += by; }

 private:
  std::chrono::system_clock::time_point now_{std::chrono::seconds(1'800'000'000)};
  MonoTime steady_{std::chrono::hours(1)};
};

}  // namespace simplon::config
