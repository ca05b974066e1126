// SPDX-License-Identifier: GPL-2.0-or-later
//
// The cryptography of one worker's bursts, done by several: what leaves is byte for byte what one worker alone makes of it, in
// the same order, and nothing is let through twice.
#include <atomic>
#include <random>
#include <thread>

#include "tests/packet/workers_rig.h"

namespace simplon::test {
namespace {

using forward::Drop;

Bytes out(std::size_t bytes, std::uint16_t number) {
  return Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = number}, udp({5000, 53}, payload(bytes))));
}

/// Workers that have no packets of their own, each in its thread.
class Idlers {
 public:
  Idlers(WorkersRig& rig, unsigned first) {
    for (unsigned i = first; i < rig.workers.size(); ++i) {
      threads_.emplace_back([this, &worker = *rig.workers[i]] { worker.run(stop_, 64, [] { std::this_thread::yield(); }); });
    }
  }
  ~Idlers() {
    stop_.store(true, std::memory_order_release);
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

/// All that comes out of one worker's packets, with helpers or without.
std::vector<std::string> results(unsigned workers, bool outbound, const std::vector<Bytes>& frames) {
  WorkersRig rig(workers);
  {
    const Idlers idlers(rig, 1);
    forward::Worker& worker = *rig.workers[0];
    worker.go_online();
    for (std::size_t at = 0; at < frames.size(); at += 64) {
      for (std::size_t i = at; i < std::min(at + 64, frames.size()); ++i) rig.inject(0, outbound ? kFabric : kWan, frames[i]);
      while (worker.poll_once() > 0) {
      }
    }
    worker.go_offline();
  }
  rig.expect_exact();
  std::vector<std::string> all;
  for (const auto& sent : rig.take_sent()) all.push_back(to_hex(sent.bytes));
  all.push_back("replayed " + std::to_string(rig.dropped(Drop::kEspReplayed)));
  all.push_back("forged " + std::to_string(rig.dropped(Drop::kEspAuthentication)));
  return all;
}

TEST(PostedEsp, SealedPacketsAreThoseOfOneWorker) {
  std::vector<Bytes> frames;
  std::mt19937 random(5);
  for (std::uint16_t i = 0; i < 6 * 64; ++i) frames.push_back(out(100 + random() % 1200, i));
  const auto alone = results(1, true, frames);
  EXPECT_EQ(alone.size(), frames.size() + 2);
  EXPECT_EQ(results(2, true, frames), alone);
  EXPECT_EQ(results(3, true, frames), alone);
}

TEST(PostedEsp, OpenedPacketsAreThoseOfOneWorker) {
  // In order, with repetitions near and far, forgeries, and forgeries that repeat a number.
  Rig peer;
  std::vector<Bytes> frames;
  std::mt19937 random(6);
  for (std::uint16_t i = 0; i < 5 * 64; ++i) {
    frames.push_back(peer.from_site(7, ipv4({.src = "172.16.0.9", .dst = "10.1.0.5", .id = i}, udp({53, 5000}, payload(100 + random() % 1200)))));
    if (random() % 8 == 0) frames.push_back(frames[frames.size() - 1 - random() % std::min<std::size_t>(frames.size(), 100)]);
    if (random() % 8 == 0) {
      frames.push_back(frames[frames.size() - 1 - random() % std::min<std::size_t>(frames.size(), 3)]);
      frames.back().back() ^= 1;
    }
  }
  const auto alone = results(1, false, frames);
  EXPECT_EQ(alone.size(), 5U * 64 + 2);
  EXPECT_EQ(results(2, false, frames), alone);
  EXPECT_EQ(results(3, false, frames), alone);
}

TEST(PostedEsp, ASleeperIsWokenWhenThereIsMuchToDo) {
  WorkersRig rig(2);
  rig.workers[0]->go_online();
  const auto burst = [&rig](std::size_t bytes) {
    for (std::uint16_t i = 0; i < 64; ++i) rig.inject(0, kFabric, out(bytes, i));
    (void)rig.workers[0]->poll_once();
  };
  for (int i = 0; i < 20; ++i) burst(20);
  EXPECT_EQ(rig.woken[1], 0U) << "small bursts";
  for (int i = 0; i < 20; ++i) {
    burst(1000);
    (void)rig.workers[0]->poll_once();
  }
  EXPECT_EQ(rig.woken[1], 0U) << "with pauses between them";
  for (int i = 0; i < 40; ++i) burst(1000);
  EXPECT_EQ(rig.woken[1], 1U) << "once, as long as it sleeps";
  rig.workers[1]->go_online();
  EXPECT_EQ(rig.workers[1]->poll_once(), 0U);
  for (int i = 0; i < 40; ++i) burst(1000);
  EXPECT_EQ(rig.woken[1], 1U) << "it is awake";
  rig.workers[0]->go_offline();
  rig.workers[1]->go_offline();
}

}  // namespace
}  // namespace simplon::test
