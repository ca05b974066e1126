// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/quiescence.h"

#include <utility>

namespace simplon::forward {

Quiescence::~Quiescence() { destroy_all(); }

void Quiescence::destroy_all() {
  for (const Batch& batch : std::exchange(batches_, {})) {
    for (const Retired& retired : batch.objects) retired.destroy(retired.object);
  }
  for (const Retired& retired : std::exchange(open_, {})) retired.destroy(retired.object);
}

Quiescence::Token Quiescence::advance() {
  // After this store a worker that announces the new epoch has seen everything the writer stored before.
  const Token token = epoch_.fetch_add(1, std::memory_order_seq_cst) + 1;
  if (!open_.empty()) batches_.push_back({token, std::exchange(open_, {})});
  reclaim();
  return token;
}

bool Quiescence::passed(Token token) const noexcept {
  for (unsigned worker = 0; worker < workers_; ++worker) {
    // kOffline is larger than any token.
    if (announced_[worker].epoch.load(std::memory_order_seq_cst) < token) return false;
  }
  return true;
}

void Quiescence::reclaim() {
  while (!batches_.empty() && passed(batches_.front().token)) {
    const Batch batch = std::move(batches_.front());
    batches_.pop_front();
    for (const Retired& retired : batch.objects) retired.destroy(retired.object);
  }
}

std::size_t Quiescence::waiting() const noexcept {
  std::size_t count = open_.size();
  for (const Batch& batch : batches_) count += batch.objects.size();
  return count;
}

}  // namespace simplon::forward
