// SPDX-License-Identifier: GPL-2.0-or-later
//
// The cryptography of one worker's bursts, done by several: what leaves is byte for byte what one worker alone makes of it, in
// the same order, and nothing is let through twice.
#include <atomic>
#include <optional>
#include <random>
#include <thread>

#include "gateway/forward/src/esp_posts.h"
#include "tests/packet/workers_rig.h"

namespace simplon::test {
namespace {

using crypto::EspBatch;
using crypto::EspKey;
using crypto::EspSuite;
using forward::Drop;
using forward::EspPosts;

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

/// Every suite, by threads that do nothing else.
class PostedSuite : public testing::TestWithParam<EspSuite> {};

TEST_P(PostedSuite, IsSealedAndOpenedByAnybody) {
  const auto& facts = crypto::facts_of(GetParam());
  const Bytes cipher_key = payload(std::size_t{facts.cipher_key_bytes} + facts.salt_bytes);
  const Bytes integrity_key = payload(facts.integrity_key_bytes);
  const EspKey key = EspKey::create(GetParam(), cipher_key, integrity_key, true).value();
  constexpr unsigned kWorkers = 3;
  constexpr std::size_t kPackets = 64;
  EspPosts posts(kWorkers);
  std::atomic<bool> stop{false};
  std::atomic<unsigned> helped{0};
  std::vector<std::thread> helpers;
  for (unsigned worker = 1; worker < kWorkers; ++worker) {
    helpers.emplace_back([&, worker] {
      EspBatch lanes;
      while (!stop.load(std::memory_order_acquire)) {
        if (posts.help(worker, lanes)) {
          helped.fetch_add(1, std::memory_order_relaxed);
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  EspBatch batch;
  EspBatch other;
  std::vector<Bytes> packets(kPackets);
  std::vector<Bytes> same(kPackets);
  for (std::uint64_t turn = 0; turn < 40; ++turn) {
    const std::size_t plain = 16 * (1 + turn % 40 * 2);
    for (std::size_t i = 0; i < kPackets; ++i) {
      packets[i] = payload(8 + facts.layout.iv_bytes + plain + facts.layout.icv_bytes);
      same[i] = packets[i];
      batch.add(key, packets[i].data(), plain, 1 + turn * kPackets + i);
      other.add(key, same[i].data(), plain, 1 + turn * kPackets + i);
    }
    posts.run(0, batch, EspPosts::Work::kSeal);
    other.seal();
    ASSERT_EQ(packets, same) << turn;
    packets[7][8 + facts.layout.iv_bytes] ^= 1;
    posts.run(0, batch, EspPosts::Work::kOpen);
    for (std::size_t i = 0; i < kPackets; ++i) {
      ASSERT_EQ(batch[i].authentic, i != 7) << turn;
      if (i == 7) continue;
      const auto start = packets[i].begin() + 8 + facts.layout.iv_bytes;
      const Bytes expected = payload(8 + facts.layout.iv_bytes + plain);
      ASSERT_TRUE(std::equal(start, start + static_cast<std::ptrdiff_t>(plain), expected.begin() + 8 + facts.layout.iv_bytes));
    }
    batch.clear();
    other.clear();
  }
  // Whether they come at all is the scheduler's; on a machine with nothing else to do they do.
  for (std::uint64_t turn = 0; helped.load() == 0; ++turn) {
    std::this_thread::yield();
    for (std::size_t i = 0; i < kPackets; ++i) batch.add(key, packets[i].data(), 16, 1000000 + turn * kPackets + i);
    posts.run(0, batch, EspPosts::Work::kSeal);
    batch.clear();
  }
  stop = true;
  for (std::thread& thread : helpers) thread.join();
}

INSTANTIATE_TEST_SUITE_P(All, PostedSuite,
                         testing::Values(EspSuite::kAes256Gcm16, EspSuite::kChaCha20Poly1305, EspSuite::kAes256Sha384));

}  // namespace
}  // namespace simplon::test
