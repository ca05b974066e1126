// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace simplon::forward {

/// Quiescent-state based reclamation (QSBR): one writer unlinks objects, workers read without locks, and an unlinked
/// object is destroyed when every worker has passed a point at which it held no pointer.
///
/// Written out, in place of liburcu's QSBR flavor, because the writer here never blocks: it asks whether a grace period
/// has passed (liburcu 0.13 can only wait for it), the state belongs to one `Tables` and not to the process, and
/// ThreadSanitizer sees every ordering, since all of it is std::atomic.
///
/// Why it is right: the writer unlinks, then advances `epoch_`. A worker announces an epoch it has read, so what it
/// reads afterwards is what was linked after the unlinking; an announced epoch of at least the batch's therefore means
/// that the worker cannot reach the batch. A worker that comes online reads `epoch_` again after announcing, so that
/// either the writer saw it online or it sees the writer's unlinking.
class Quiescence {
 public:
  using Token = std::uint64_t;

  explicit Quiescence(unsigned workers) : workers_(workers), announced_(std::make_unique<Announced[]>(workers)) {}
  /// No worker may run any more.
  ~Quiescence();
  Quiescence(const Quiescence&) = delete;
  Quiescence& operator=(const Quiescence&) = delete;

  // Worker side. A worker starts offline.

  void online(unsigned worker) noexcept {
    std::atomic<Token>& announced = announced_[worker].epoch;
    Token seen = epoch_.load(std::memory_order_seq_cst);
    for (;;) {
      announced.store(seen, std::memory_order_seq_cst);
      const Token again = epoch_.load(std::memory_order_seq_cst);
      if (again == seen) return;
      seen = again;
    }
  }
  /// The worker holds no pointer into the tables now.
  void quiescent(unsigned worker) noexcept {
    announced_[worker].epoch.store(epoch_.load(std::memory_order_acquire), std::memory_order_release);
  }
  /// Until `online`, the worker reads nothing.
  void offline(unsigned worker) noexcept { announced_[worker].epoch.store(kOffline, std::memory_order_release); }

  // Writer side.

  /// Takes an object that no reader can newly find; destroyed after a grace period.
  template <class T>
  void retire(T* object) {
    if (object != nullptr) retire(object, [](void* p) { delete static_cast<T*>(p); });
  }
  void retire(void* object, void (*destroy)(void*)) { open_.push_back({object, destroy}); }

  /// Closes what was retired since the last call into a batch. When `passed(token)`, every worker reads the tables as
  /// they are now or newer.
  Token advance();
  [[nodiscard]] bool passed(Token token) const noexcept;
  /// Destroys what may be destroyed. Never waits.
  void reclaim();
  /// Destroys everything that was retired. No worker may run any more.
  void destroy_all();
  /// Objects not destroyed yet.
  [[nodiscard]] std::size_t waiting() const noexcept;

 private:
  static constexpr Token kOffline = ~Token{0};
  struct alignas(64) Announced {
    std::atomic<Token> epoch{kOffline};
  };
  struct Retired {
    void* object;
    void (*destroy)(void*);
  };
  struct Batch {
    Token token;
    std::vector<Retired> objects;
  };

  unsigned workers_;
  std::unique_ptr<Announced[]> announced_;
  alignas(64) std::atomic<Token> epoch_{1};
  std::vector<Retired> open_;
  std::deque<Batch> batches_;
};

}  // namespace simplon::forward
