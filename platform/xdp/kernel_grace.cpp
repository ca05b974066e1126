// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/xdp/kernel_grace.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace simplon::xdp {
namespace {

long membarrier(int command) { return ::syscall(SYS_membarrier, command, 0, 0); }

}  // namespace

bool wait_for_programs() noexcept { return membarrier(MEMBARRIER_CMD_GLOBAL) == 0; }

Result<std::unique_ptr<KernelGrace>> KernelGrace::start() {
  const long offered = membarrier(MEMBARRIER_CMD_QUERY);
  if (offered < 0) return fail_errno("the kernel has no membarrier", errno);
  if ((offered & MEMBARRIER_CMD_GLOBAL) == 0) {
    return fail(ErrorCode::kUnavailable, "the kernel does not offer global membarriers (nohz_full)");
  }
  std::unique_ptr<KernelGrace> grace(new KernelGrace());
  grace->thread_ = std::thread([raw = grace.get()] { raw->run(); });
  return grace;
}

KernelGrace::~KernelGrace() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  asked_.notify_one();
  thread_.join();
}

Grace::Ticket KernelGrace::begin() {
  Ticket ticket = 0;
  {
    const std::lock_guard lock(mutex_);
    ticket = ++wanted_;
  }
  asked_.notify_one();
  return ticket;
}

void KernelGrace::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    asked_.wait(lock, [this] { return stop_ || wanted_ > passed_.load(std::memory_order_relaxed); });
    if (stop_) return;
    const Ticket upto = wanted_;
    lock.unlock();
    // It was offered, so it does not fail; if it did, nothing would be called passed that is not.
    const bool done = wait_for_programs();
    lock.lock();
    SIMPLON_CHECK(done);
    passed_.store(upto, std::memory_order_release);
  }
}

}  // namespace simplon::xdp
