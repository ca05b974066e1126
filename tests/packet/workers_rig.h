// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "gateway/forward/memory_io.h"
#include "gateway/forward/worker.h"
#include "tests/packet/rig.h"

namespace simplon::test {

/// The gateway of topology.h with several workers, each with queues of its own on all ports.
class WorkersRig {
 public:
  explicit WorkersRig(unsigned count) : pool(forward::FramePool::create(16384).value()), tables(count) {
    for (unsigned i = 0; i < count; ++i) {
      uplinks.push_back(std::make_shared<forward::MemoryIo>(pool));
      hosts.push_back(std::make_shared<forward::MemoryIo>(pool));
    }
    topology = std::make_unique<Topology>(tables, queues(uplinks), queues(hosts));
    woken.resize(count);
    for (unsigned i = 0; i < count; ++i) {
      forward::WorkerOptions options;
      options.index = i;
      options.wake = [this, i] { ++woken[i]; };
      workers.push_back(std::make_unique<forward::Worker>(tables, pool, clock, options));
    }
  }

  /// Injected into a queue of the worker. `port` as in Rig.
  void inject(unsigned worker, forward::PortId port, const Bytes& frame) {
    forward::MemoryIo& io = port.value() < 10 ? *uplinks[worker] : *hosts[worker];
    EXPECT_TRUE(io.inject(port, frame));
  }

  /// Every worker in turn until nobody finds anything, in this thread; none is asleep meanwhile.
  void settle() {
    for (auto& worker : workers) worker->go_online();
    for (bool busy = true; busy;) {
      busy = false;
      for (auto& worker : workers) busy = worker->poll_once() > 0 || busy;
    }
    for (auto& worker : workers) worker->go_offline();
  }

  /// What all workers sent, in the order of the workers.
  std::vector<forward::MemoryIo::Sent> take_sent() {
    std::vector<forward::MemoryIo::Sent> all;
    for (auto& io : uplinks) {
      for (auto& sent : io->take_sent()) all.push_back(std::move(sent));
    }
    return all;
  }
  [[nodiscard]] std::uint64_t dropped(forward::Drop reason) const {
    std::uint64_t sum = 0;
    for (const auto& worker : workers) sum += worker->counters().dropped(reason);
    return sum;
  }
  [[nodiscard]] std::uint64_t handed_over() const {
    std::uint64_t sum = 0;
    for (const auto& worker : workers) sum += worker->counters().handed_over.read();
    return sum;
  }

  /// Nothing is under way: every packet is accounted for, for each worker and in all, and every frame is free.
  void expect_exact() const {
    std::uint64_t over = 0;
    std::uint64_t taken = 0;
    for (const auto& worker : workers) {
      const forward::WorkerCounters& counters = worker->counters();
      EXPECT_EQ(counters.received.read() + counters.originated.read() + counters.taken_over.read(),
                counters.sent.read() + counters.punted.read() + counters.dropped() + counters.handed_over.read());
      over += counters.handed_over.read();
      taken += counters.taken_over.read();
    }
    EXPECT_EQ(over, taken);
    EXPECT_EQ(pool.available(), pool.frames()) << "a frame was lost";
  }

  FakeClock clock;
  forward::FramePool pool;
  forward::Tables tables;
  std::vector<std::shared_ptr<forward::MemoryIo>> uplinks;
  std::vector<std::shared_ptr<forward::MemoryIo>> hosts;
  std::unique_ptr<Topology> topology;
  std::vector<unsigned> woken;
  std::vector<std::unique_ptr<forward::Worker>> workers;

 private:
  static std::vector<std::shared_ptr<forward::PacketIo>> queues(const std::vector<std::shared_ptr<forward::MemoryIo>>& ios) {
    return {ios.begin(), ios.end()};
  }
};

}  // namespace simplon::test
