// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/worker_thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>

namespace simplon::forwarder {
namespace {

// Chosen by us: some tens of microseconds of looking before a sleep that costs a wake-up.
constexpr unsigned kSpins = 64;
// A sleeping worker still looks now and then: packets that a full link left in a ring are pushed on.
constexpr int kNapMilliseconds = 1000;

forward::WorkerOptions woken_by(forward::WorkerOptions options, std::function<void()> wake) {
  options.wake = std::move(wake);
  return options;
}

}  // namespace

WorkerThread::WorkerThread(forward::Tables& tables, forward::FramePool& pool, const Clock& clock,
                           const forward::WorkerOptions& options, sys::UniqueFd wake_fd)
    : wake_fd_(std::move(wake_fd)), worker_(tables, pool, clock, woken_by(options, [this] { wake(); })) {
  polled_.push_back({wake_fd_.get(), POLLIN, 0});
}

Result<std::unique_ptr<WorkerThread>> WorkerThread::start(forward::Tables& tables, forward::FramePool& pool, const Clock& clock,
                                                          const forward::WorkerOptions& options, std::optional<unsigned> cpu) {
  sys::UniqueFd wake_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_fd.valid()) return fail_errno("cannot create an eventfd", errno);
  const std::string name = "worker" + std::to_string(options.index);
  std::unique_ptr<WorkerThread> worker(new WorkerThread(tables, pool, clock, options, std::move(wake_fd)));
  // Signals are the control thread's.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  worker->thread_ = std::thread([raw = worker.get()] { raw->run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_setname_np(worker->thread_.native_handle(), name.c_str());
  if (cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(*cpu, &set);
    if (const int error = ::pthread_setaffinity_np(worker->thread_.native_handle(), sizeof set, &set); error != 0) {
      return fail(ErrorCode::kInvalidConfig,
                  "cannot bind " + name + " to CPU " + std::to_string(*cpu) + ": " + std::strerror(error),
                  "--worker-cpus takes CPUs that the forwarder may use: taskset -pc 1 shows those of the host");
    }
  }
  return worker;
}

WorkerThread::~WorkerThread() { stop(); }

void WorkerThread::end() noexcept {
  stop_.store(true, std::memory_order_release);
  wake();
}

void WorkerThread::stop() {
  end();
  if (thread_.joinable()) thread_.join();
}

std::chrono::nanoseconds WorkerThread::cpu_time() noexcept {
  clockid_t clock = 0;
  timespec used{};
  // A thread that was joined has no clock.
  if (!thread_.joinable()) return {};
  if (::pthread_getcpuclockid(thread_.native_handle(), &clock) != 0 || ::clock_gettime(clock, &used) != 0) return {};
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

void WorkerThread::wake() noexcept {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_fd_.get(), &one, sizeof one));
}

void WorkerThread::set_descriptors(std::vector<int> descriptors) {
  {
    const std::lock_guard lock(mutex_);
    descriptors_ = std::move(descriptors);
  }
  version_.fetch_add(1, std::memory_order_release);
  wake();
}

void WorkerThread::run() noexcept {
  worker_.run(stop_, kSpins, [this] { sleep(); });
}

void WorkerThread::sleep() noexcept {
  if (const auto version = version_.load(std::memory_order_acquire); version != seen_version_) {
    seen_version_ = version;
    polled_.resize(1);
    const std::lock_guard lock(mutex_);
    for (const int fd : descriptors_) polled_.push_back({fd, POLLIN, 0});
  }
  if (::poll(polled_.data(), polled_.size(), kNapMilliseconds) > 0 && (polled_[0].revents & POLLIN) != 0) {
    std::uint64_t count = 0;
    static_cast<void>(!::read(wake_fd_.get(), &count, sizeof count));
  }
}

}  // namespace simplon::forwarder
