// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "gateway/forwarder/worker_placement.h"
#include "gateway/forwarder/worker_thread.h"
#include "gateway/ipc/table_stats.h"

namespace simplon::forwarder {

/// All workers. Threads: the control thread's.
class WorkerThreads {
 public:
  /// `pools`: of each worker. Errors: those of WorkerThread::start; none runs then.
  [[nodiscard]] static Result<std::unique_ptr<WorkerThreads>> start(forward::Tables& tables, std::span<forward::FramePool> pools,
                                                                    const Clock& clock, const WorkerPlacement& placement);
  ~WorkerThreads() { stop(); }
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;
  /// Returns when all have ended.
  void stop();

  void set_descriptors(unsigned worker, std::vector<int> descriptors) {
    threads_[worker]->set_descriptors(std::move(descriptors));
  }
  /// As Worker::watch, of each.
  void watch(forward::Watch* watch);

  [[nodiscard]] ipc::Accounting accounting() const;
  [[nodiscard]] std::uint64_t dropped(forward::Drop reason) const;
  /// Of each worker; without its queues.
  [[nodiscard]] std::vector<ipc::WorkerStats> stats() const;
  /// Measures how busy they were since the last call; from a timer.
  void measure();

 private:
  WorkerThreads() = default;
  struct Load {
    std::chrono::nanoseconds used{0};
    unsigned percent = 0;
  };

  std::vector<std::unique_ptr<WorkerThread>> threads_;
  std::vector<unsigned> cpus_;
  std::vector<Load> loads_;
  std::chrono::steady_clock::time_point measured_;
};

}  // namespace simplon::forwarder
