// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/watch/watch.h"

namespace simplon::forward {

/// A watch per worker, so that a watch never sees two bursts at the same time and no worker waits for another.
template <class One>
class WatchOfEach final : public Watch {
 public:
  /// Not empty.
  explicit WatchOfEach(std::vector<std::unique_ptr<One>> watches) : watches_(std::move(watches)) {}

  void entering(Burst& burst, Stage stage) noexcept override { of(burst).entering(burst, stage); }
  void passed(Burst& burst, Stage stage) noexcept override { of(burst).passed(burst, stage); }
  void dropped(const Burst& burst, unsigned number, Drop reason) noexcept override {
    of(burst).dropped(burst, number, reason);
  }
  void handed_over(const Burst& burst, unsigned number) noexcept override { of(burst).handed_over(burst, number); }
  void taken_over(const Burst& burst, unsigned number) noexcept override { of(burst).taken_over(burst, number); }
  void policed(const Burst& burst, unsigned number, const PolicyNotes& notes) noexcept override {
    of(burst).policed(burst, number, notes);
  }
  void ended(const Burst& burst) noexcept override { of(burst).ended(burst); }

  [[nodiscard]] const std::vector<std::unique_ptr<One>>& all() const noexcept { return watches_; }

 private:
  [[nodiscard]] One& of(const Burst& burst) const noexcept { return *watches_[burst.worker]; }
  std::vector<std::unique_ptr<One>> watches_;
};

}  // namespace simplon::forward
