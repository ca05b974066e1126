// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "gateway/forward/counters.h"
#include "gateway/forward/packet.h"
#include "gateway/forward/tables.h"
#include "platform/base/clock.h"

namespace simplon::forward {

struct Burst;
class Crew;
class FairShare;
class Watch;

/// Of one worker. Chosen by us. ICMP errors cost more than they are worth under a flood (RFC 1812 section 4.3.2.8, RFC 4443
/// section 2.4 (f)).
struct WorkerOptions {
  unsigned index = 0;
  std::uint32_t icmp_errors_per_second = 1000;
  std::uint32_t icmp_error_burst = 200;
  /// Of these, for the packets of one domain.
  std::uint32_t domain_icmp_errors_per_second = 250;
  std::uint32_t domain_icmp_error_burst = 100;
  /// Of these, for the packets of one attachment.
  std::uint32_t attachment_icmp_errors_per_second = 100;
  std::uint32_t attachment_icmp_error_burst = 50;
  /// Answers to ARP requests and neighbor solicitations from one VPC: one for each VM of a large one every ten seconds.
  std::uint32_t attachment_answers_per_second = 1000;
  std::uint32_t attachment_answer_burst = 500;
  /// Ends the sleep of this worker's thread. Other workers call it, from their threads, until all have ended. Without it they
  /// can give a sleeping worker nothing before it looks by itself.
  std::function<void()> wake = {};
};

/// One core's forwarding loop: receive, the stages in packet order (src/path/pipeline.h), transmit.
///
///     worker.go_online();
///     while (!stop) {
///       if (worker.poll_once() > 0) continue;
///       worker.go_offline();        // a sleeping worker must not hold up the table writer
///       poll(descriptors, ...);
///       worker.go_online();
///     }
///     worker.go_offline();
///
/// Threads: all functions but `counters`, `watch` and `finish` belong to one thread. Starts offline.
class Worker {
 public:
  static constexpr std::size_t kBurst = 64;

  Worker(Tables& tables, FramePool& pool, const Clock& clock, WorkerOptions options = {});
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// One burst from each port, through all stages and out; ends in a quiescent state. Returns how many packets were
  /// received, or more than none while packets wait for their SA, or other workers may want help soon. Never blocks, never
  /// allocates memory.
  std::size_t poll_once() noexcept;

  void go_online() noexcept;
  void go_offline() noexcept;

  /// As above, with `idle()` called offline whenever `spins` polls in a row found nothing.
  template <class Idle>
  void run(const std::atomic<bool>& stop, unsigned spins, Idle&& idle) {
    go_online();
    for (unsigned empty = 0; !stop.load(std::memory_order_acquire);) {
      if (poll_once() > 0) {
        empty = 0;
      } else if (++empty >= spins) {
        empty = 0;
        go_offline();
        idle();
        go_online();
      }
    }
    go_offline();
  }

  /// Forwards what other workers handed over before they ended. All workers of the tables have ended; any thread, one after
  /// the other.
  void finish() noexcept;

  /// From the next burst on `watch` looks at every packet; nullptr: nobody. The former one is in use until the worker has
  /// passed a quiescent point. Any thread.
  void watch(Watch* watch) noexcept { watch_.store(watch, std::memory_order_release); }

  /// Any thread may read them.
  [[nodiscard]] const WorkerCounters& counters() const noexcept { return counters_; }

 private:
  void begin(Burst& burst) noexcept;
  [[gnu::cold]] void count_unreceived(PacketIo& io) noexcept;
  /// Connections of attachments that are gone. True: there may be more of them.
  [[nodiscard]] bool forget_connections() noexcept;
  /// ESP packets whose keys have come, and fragments whose time is over. True: some go on waiting.
  [[nodiscard]] bool let_go() noexcept;
  [[nodiscard]] std::uint64_t now() const noexcept;
  /// A burst from each of the other workers. `fullest`: of their rings, as PacketIo::fill says it.
  [[nodiscard]] std::size_t take_over(Burst& burst, unsigned& fullest) noexcept;
  [[nodiscard]] std::size_t with_others(std::size_t packets) noexcept;
  static void forward(Burst& burst) noexcept;
  [[gnu::cold, gnu::noinline]] static void forward_later(Burst& burst) noexcept;
  [[gnu::cold, gnu::noinline]] static void forward_watched(Burst& burst) noexcept;

  Tables& tables_;
  const Clock& clock_;
  WorkerOptions options_;
  Crew* crew_;
  std::unique_ptr<Burst> burst_;
  std::unique_ptr<FairShare> shares_;
  /// Of all inputs and rings in the poll before: those that come later in this one may be fuller than the first.
  unsigned fullest_before_ = 0;
  /// Looks for something to help with, before it counts as idle again.
  unsigned patience_ = 0;
  std::atomic<Watch*> watch_{nullptr};
  WorkerCounters counters_;
};

}  // namespace simplon::forward
