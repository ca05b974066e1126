// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/worker_threads.h"

#include <algorithm>
#include <utility>

namespace simplon::forwarder {

Result<std::unique_ptr<WorkerThreads>> WorkerThreads::start(forward::Tables& tables, std::span<forward::FramePool> pools,
                                                            const Clock& clock, const WorkerPlacement& placement) {
  std::unique_ptr<WorkerThreads> all(new WorkerThreads());
  all->cpus_ = placement.cpus;
  for (unsigned index = 0; index < placement.workers; ++index) {
    forward::WorkerOptions options;
    options.index = index;
    // The limits are the gateway's: each worker has its share, and at least a little.
    options.icmp_errors_per_second = std::max(options.icmp_errors_per_second / placement.workers, 1U);
    options.icmp_error_burst = std::max(options.icmp_error_burst / placement.workers, 10U);
    options.domain_icmp_errors_per_second = std::max(options.domain_icmp_errors_per_second / placement.workers, 1U);
    options.domain_icmp_error_burst = std::max(options.domain_icmp_error_burst / placement.workers, 7U);
    options.attachment_icmp_errors_per_second = std::max(options.attachment_icmp_errors_per_second / placement.workers, 1U);
    options.attachment_icmp_error_burst = std::max(options.attachment_icmp_error_burst / placement.workers, 5U);
    options.attachment_answers_per_second = std::max(options.attachment_answers_per_second / placement.workers, 1U);
    options.attachment_answer_burst = std::max(options.attachment_answer_burst / placement.workers, 50U);
    const auto cpu = index < placement.cpus.size() ? std::optional(placement.cpus[index]) : std::nullopt;
    auto thread = WorkerThread::start(tables, pools[index], clock, options, cpu);
    if (!thread) return Unexpected(thread.error());
    all->threads_.push_back(*std::move(thread));
  }
  all->loads_.resize(placement.workers);
  all->measured_ = std::chrono::steady_clock::now();
  return all;
}

void WorkerThreads::stop() {
  // All at once: packets wait for the last of them.
  for (const auto& thread : threads_) thread->end();
  for (const auto& thread : threads_) thread->stop();
  // What they had given to each other.
  for (const auto& thread : threads_) thread->finish();
}

void WorkerThreads::watch(forward::Watch* watch) {
  for (const auto& thread : threads_) thread->watch(watch);
}

ipc::Accounting WorkerThreads::accounting() const {
  ipc::Accounting sum;
  for (const auto& thread : threads_) {
    const auto& counters = thread->counters();
    sum.received += counters.received.read();
    sum.originated += counters.originated.read();
    sum.sent += counters.sent.read();
    sum.punted += counters.punted.read();
    sum.dropped += counters.dropped();
    sum.icmp_suppressed += counters.icmp_suppressed.read();
  }
  return sum;
}

std::uint64_t WorkerThreads::dropped(forward::Drop reason) const {
  std::uint64_t sum = 0;
  for (const auto& thread : threads_) sum += thread->counters().dropped(reason);
  return sum;
}

std::vector<ipc::WorkerStats> WorkerThreads::stats() const {
  std::vector<ipc::WorkerStats> all;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const auto& counters = threads_[i]->counters();
    ipc::WorkerStats one;
    one.cpu = i < cpus_.size() ? std::optional(cpus_[i]) : std::nullopt;
    one.busy_percent = loads_[i].percent;
    one.received = counters.received.read();
    one.dropped = counters.dropped();
    all.push_back(std::move(one));
  }
  return all;
}

void WorkerThreads::measure() {
  const auto now = std::chrono::steady_clock::now();
  const auto passed = now - std::exchange(measured_, now);
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const auto used = threads_[i]->cpu_time();
    const auto since = used - std::exchange(loads_[i].used, used);
    if (passed.count() > 0) loads_[i].percent = static_cast<unsigned>(std::clamp<std::int64_t>(since * 100 / passed, 0, 100));
  }
}

}  // namespace simplon::forwarder
