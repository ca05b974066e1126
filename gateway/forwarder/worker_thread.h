// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <poll.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "gateway/forward/worker.h"
#include "platform/base/clock.h"
#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {

/// The thread of one worker: forwards while there are packets, sleeps in poll(2) when there are none.
class WorkerThread {
 public:
  /// Bound to `cpu`, if there is one. Errors: kInvalidConfig if that is not to be had.
  [[nodiscard]] static Result<std::unique_ptr<WorkerThread>> start(forward::Tables& tables, forward::FramePool& pool,
                                                                   const Clock& clock, const forward::WorkerOptions& options,
                                                                   std::optional<unsigned> cpu);
  /// It ends after the burst in hand.
  void end() noexcept;
  /// Returns when it has: it sends no packet any more.
  void stop();
  ~WorkerThread();
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  /// What the sleeping worker waits for. Wakes it, so that it looks at new ports at once. Any thread.
  void set_descriptors(std::vector<int> descriptors);
  void wake() noexcept;
  /// As Worker::finish: all threads have ended.
  void finish() noexcept { worker_.finish(); }
  /// As Worker::watch.
  void watch(forward::Watch* watch) noexcept { worker_.watch(watch); }
  [[nodiscard]] const forward::WorkerCounters& counters() const noexcept { return worker_.counters(); }
  /// Time of its CPU that the thread has used.
  [[nodiscard]] std::chrono::nanoseconds cpu_time() noexcept;

 private:
  WorkerThread(forward::Tables& tables, forward::FramePool& pool, const Clock& clock, const forward::WorkerOptions& options,
               sys::UniqueFd wake_fd);
  void run() noexcept;
  void sleep() noexcept;

  sys::UniqueFd wake_fd_;
  forward::Worker worker_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<int> descriptors_;
  std::atomic<std::uint64_t> version_{0};
  std::uint64_t seen_version_ = 0;
  std::vector<pollfd> polled_;
  std::thread thread_;
};

}  // namespace simplon::forwarder
