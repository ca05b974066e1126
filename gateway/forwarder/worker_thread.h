// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <poll.h>

#include <atomic>
#include <memory>
#include <mutex>
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
  [[nodiscard]] static Result<std::unique_ptr<WorkerThread>> start(forward::Tables& tables, forward::FramePool& pool,
                                                                   const Clock& clock);
  /// Returns when the worker has finished its burst and ended: it sends no packet any more.
  void stop();
  ~WorkerThread();
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  /// What the sleeping worker waits for. Wakes it, so that it looks at new ports at once. Any thread.
  void set_descriptors(std::vector<int> descriptors);
  void wake() noexcept;
  /// As Worker::watch.
  void watch(forward::Watch* watch) noexcept { worker_.watch(watch); }
  [[nodiscard]] const forward::WorkerCounters& counters() const noexcept { return worker_.counters(); }

 private:
  WorkerThread(forward::Tables& tables, forward::FramePool& pool, const Clock& clock, sys::UniqueFd wake_fd);
  void run() noexcept;
  void sleep() noexcept;

  forward::Worker worker_;
  sys::UniqueFd wake_fd_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<int> descriptors_;
  std::atomic<std::uint64_t> version_{0};
  std::uint64_t seen_version_ = 0;
  std::vector<pollfd> polled_;
  std::thread thread_;
};

}  // namespace simplon::forwarder
