// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/watchers.h"

#include <algorithm>
#include <utility>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/watch/watch.h"

namespace simplon::forward {

/// What the workers call; made anew for each change, freed a grace period after the next one.
class Watchers::All final : public Watch {
 public:
  explicit All(std::vector<std::shared_ptr<Watch>> watches) : watches_(std::move(watches)) {}
  void entering(Burst& burst, Stage stage) noexcept override {
    for (const auto& watch : watches_) watch->entering(burst, stage);
  }
  void passed(Burst& burst, Stage stage) noexcept override {
    for (const auto& watch : watches_) watch->passed(burst, stage);
  }
  void dropped(const Burst& burst, unsigned number, Drop reason) noexcept override {
    for (const auto& watch : watches_) watch->dropped(burst, number, reason);
  }
  void handed_over(const Burst& burst, unsigned number) noexcept override {
    for (const auto& watch : watches_) watch->handed_over(burst, number);
  }
  void taken_over(const Burst& burst, unsigned number) noexcept override {
    for (const auto& watch : watches_) watch->taken_over(burst, number);
  }
  void policed(const Burst& burst, unsigned number, const PolicyNotes& notes) noexcept override {
    for (const auto& watch : watches_) watch->policed(burst, number, notes);
  }
  void ended(const Burst& burst) noexcept override {
    for (const auto& watch : watches_) watch->ended(burst);
  }

 private:
  std::vector<std::shared_ptr<Watch>> watches_;
};

Watchers::Watchers(Tables& tables, std::function<void(Watch*)> install)
    : tables_(tables), install_(std::move(install)) {}
Watchers::~Watchers() = default;

void Watchers::add(std::shared_ptr<Watch> watch) {
  watches_.push_back(std::move(watch));
  publish();
}

void Watchers::remove(const std::shared_ptr<Watch>& watch) {
  std::erase(watches_, watch);
  publish();
}

void Watchers::publish() {
  auto next = watches_.empty() ? nullptr : std::make_unique<All>(watches_);
  install_(next.get());
  // Unlinked; the workers let go of it at their next quiescent point.
  tables_.quiescence().retire(std::exchange(all_, std::move(next)).release());
  tables_.commit();
}

}  // namespace simplon::forward
