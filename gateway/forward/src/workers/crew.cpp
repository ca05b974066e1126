// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/workers/crew.h"

namespace simplon::forward {

Crew::Crew(unsigned workers)
    : esp(workers),
      workers_(workers),
      members_(std::make_unique<Member[]>(workers)),
      rings_(std::make_unique<std::unique_ptr<HandOverRing>[]>(std::size_t{workers} * workers)) {
  for (unsigned from = 0; from < workers; ++from) {
    for (unsigned to = 0; to < workers; ++to) {
      if (from != to) rings_[std::size_t{from} * workers + to] = std::make_unique<HandOverRing>();
    }
  }
}

void Crew::join(unsigned worker, const Wake* wake) noexcept {
  members_[worker].wake.store(wake, std::memory_order_release);
  members_[worker].state.store(State::kAsleep, std::memory_order_seq_cst);
}

void Crew::leave(unsigned worker) noexcept {
  members_[worker].state.store(State::kAbsent, std::memory_order_seq_cst);
  members_[worker].wake.store(nullptr, std::memory_order_release);
}

// Who passes something on writes it first and reads the state then; who goes to sleep writes the state first and looks for
// mail then. So at least one of the two sees what the other did.

void Crew::sleeps(unsigned worker) noexcept {
  members_[worker].state.store(State::kAsleep, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (has_mail(worker)) wake(worker);
}

void Crew::wake(unsigned worker) noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Member& member = members_[worker];
  State asleep = State::kAsleep;
  // One call a sleep.
  if (!member.state.compare_exchange_strong(asleep, State::kWoken, std::memory_order_seq_cst)) return;
  const Wake* call = member.wake.load(std::memory_order_acquire);
  if (call != nullptr && *call) (*call)();
}

void Crew::wake_one_but(unsigned me) noexcept {
  for (unsigned i = 1; i < workers_; ++i) {
    const unsigned worker = (me + i) % workers_;
    if (members_[worker].state.load(std::memory_order_relaxed) == State::kAsleep) return wake(worker);
  }
}

bool Crew::anyone_looks(unsigned me) const noexcept {
  for (unsigned worker = 0; worker < workers_; ++worker) {
    if (worker != me && members_[worker].state.load(std::memory_order_relaxed) == State::kLooking) return true;
  }
  return false;
}

bool Crew::has_mail(unsigned worker) const noexcept {
  for (unsigned from = 0; from < workers_; ++from) {
    if (from != worker && !rings_[std::size_t{from} * workers_ + worker]->empty()) return true;
  }
  return false;
}

}  // namespace simplon::forward
