// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "platform/base/result.h"

namespace simplon::xdp {

/// Tells when every XDP program that was running at some moment has ended: what it had read, it uses no more.
class Grace {
 public:
  using Ticket = std::uint64_t;
  Grace() = default;
  Grace(const Grace&) = delete;
  Grace& operator=(const Grace&) = delete;
  virtual ~Grace() = default;
  /// A period that begins now at the earliest.
  [[nodiscard]] virtual Ticket begin() = 0;
  [[nodiscard]] virtual bool passed(Ticket ticket) const noexcept = 0;
};

/// Returns when every XDP program that is running now has ended, and what it redirected is where it goes; some 10 ms. False if
/// the kernel does not offer it.
bool wait_for_programs() noexcept;

/// Of the running kernel: programs run inside RCU read-side sections, and membarrier(MEMBARRIER_CMD_GLOBAL) waits for
/// an RCU grace period, some 10 ms. A thread of its own waits; periods asked for meanwhile are one. Threads: `begin`
/// one.
class KernelGrace final : public Grace {
 public:
  /// Errors: kUnavailable if the kernel does not offer it (CONFIG_MEMBARRIER; never with nohz_full).
  [[nodiscard]] static Result<std::unique_ptr<KernelGrace>> start();
  ~KernelGrace() override;

  [[nodiscard]] Ticket begin() override;
  [[nodiscard]] bool passed(Ticket ticket) const noexcept override {
    return passed_.load(std::memory_order_acquire) >= ticket;
  }

 private:
  KernelGrace() = default;
  void run();

  std::mutex mutex_;
  std::condition_variable asked_;
  Ticket wanted_ = 0;
  bool stop_ = false;
  std::atomic<Ticket> passed_{0};
  std::thread thread_;
};

}  // namespace simplon::xdp
