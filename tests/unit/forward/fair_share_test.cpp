// SPDX-License-Identifier: GPL-2.0-or-later
//
// A worker, its receive ring, and those who send to it, in simulated time.
#include "gateway/forward/src/workers/fair_share.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>

namespace simplon::forward {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;
constexpr std::size_t kBurst = 64;
constexpr std::size_t kBytes = 100;

struct Counts {
  std::uint64_t sent = 0;
  std::uint64_t lost = 0;  ///< In the ring.
  std::uint64_t refused = 0;
  std::uint64_t forwarded = 0;
};

class Simulation {
 public:
  /// Packets a millisecond, by sender.
  std::map<std::uint32_t, std::uint64_t> rates;
  /// Packets that a sender has under way at most, and always has.
  std::map<std::uint32_t, std::uint64_t> windows;
  std::map<std::uint32_t, Counts> counts;
  std::size_t ring = 2048;
  /// So many come at once.
  std::uint64_t batch = 1;
  std::uint64_t refusing = 50;  ///< Nanoseconds.
  /// Nanoseconds for a packet: 500 packets a millisecond, if all are forwarded.
  std::uint64_t forwarding = 2000;
  std::uint64_t idle = 0;  ///< Nanoseconds.

  void run(std::uint64_t milliseconds) {
    counts.clear();
    idle = 0;
    const std::uint64_t end = now_ + milliseconds * kMillisecond;
    while (now_ < end) turn();
  }
  /// The worker has no processor.
  void stall(std::uint64_t milliseconds) { pass(milliseconds * kMillisecond); }

 private:
  void turn() {
    const std::size_t count = std::min(kBurst, ring_.size());
    if (count == 0) {
      share_.ran_dry();
      idle += forwarding;
      return pass(forwarding);
    }
    std::deque<std::uint32_t> burst(ring_.begin(), ring_.begin() + static_cast<std::ptrdiff_t>(count));
    ring_.erase(ring_.begin(), ring_.begin() + static_cast<std::ptrdiff_t>(count));
    const bool limited = share_.look(static_cast<unsigned>(ring_.size() * PacketIo::kFull / (ring - kBurst)), now_);
    std::uint64_t took = 0;
    for (const std::uint32_t sender : burst) {
      const bool kept = !limited || share_.admit(sender, kBytes);
      ++(kept ? counts[sender].forwarded : counts[sender].refused);
      --under_way_[sender];
      took += kept ? forwarding : refusing;
    }
    pass(took);
  }

  /// Everybody sends meanwhile, in steps in which nobody is first each time.
  void pass(std::uint64_t nanoseconds) {
    for (const std::uint64_t end = now_ + nanoseconds; now_ < end;) {
      const std::uint64_t step = std::min<std::uint64_t>(end - now_, 1000 * (rates.size() / 10 + 2));
      now_ += step;
      for (const auto& [sender, rate] : rates) {
        std::uint64_t& due = due_[sender];
        for (due += step * rate; due >= batch * kMillisecond; due -= batch * kMillisecond) {
          for (std::uint64_t i = 0; i < batch; ++i) arrive(sender);
        }
      }
      for (const auto& [sender, window] : windows) {
        while (under_way_[sender] < window) {
          ++under_way_[sender];
          arrive(sender);
        }
      }
    }
  }

  void arrive(std::uint32_t sender) {
    Counts& count = counts[sender];
    ++count.sent;
    if (ring_.size() == ring) {
      ++count.lost;
      --under_way_[sender];
    } else {
      ring_.push_back(sender);
    }
  }

  FairShare share_;
  std::uint64_t now_ = 1000 * kMillisecond;
  std::deque<std::uint32_t> ring_;
  std::map<std::uint32_t, std::uint64_t> due_;
  std::map<std::uint32_t, std::uint64_t> under_way_;
};

TEST(FairShare, OneThatSendsTooMuchCostsOthersNothing) {
  Simulation one;
  one.rates = {{1, 1500}, {2, 20}, {3, 1}};
  one.run(50);
  EXPECT_LT(one.counts[2].lost + one.counts[2].refused, one.counts[2].sent / 20) << "until the level is found";
  one.run(1000);
  EXPECT_EQ(one.counts[2].lost + one.counts[2].refused, 0U);
  EXPECT_EQ(one.counts[3].lost + one.counts[3].refused, 0U);
  EXPECT_EQ(one.counts[1].lost, 0U) << "what is too much is refused, not lost";
  EXPECT_GT(one.counts[1].forwarded, 350'000U) << "and it still has most of the worker";
  EXPECT_LT(one.idle, 150 * kMillisecond);
}

TEST(FairShare, AllWhoWantMoreGetTheSame) {
  Simulation one;
  one.rates = {{1, 1500}, {2, 500}, {3, 300}, {4, 50}};
  one.run(100);
  one.run(1000);
  EXPECT_EQ(one.counts[4].lost + one.counts[4].refused, 0U);
  const auto least = std::min({one.counts[1].forwarded, one.counts[2].forwarded, one.counts[3].forwarded});
  const auto most = std::max({one.counts[1].forwarded, one.counts[2].forwarded, one.counts[3].forwarded});
  EXPECT_LT(most - least, most / 50);
  EXPECT_GT(least, 120'000U);
}

TEST(FairShare, HoweverFastTheWorkerAndHoweverMuchComes) {
  for (const std::uint64_t forwarding : {300U, 2000U, 12000U, 40000U}) {
    for (const std::uint64_t times : {1300U, 3000U, 8000U}) {  // thousandths of what it carries
      if (forwarding * 1000 < times * Simulation().refusing * 2) continue;  // it could not even refuse so much
      for (const unsigned floods : {1U, 20U, 400U}) {
        SCOPED_TRACE(std::to_string(forwarding) + " ns, " + std::to_string(times) + ", from " + std::to_string(floods));
        Simulation one;
        one.forwarding = forwarding;
        const std::uint64_t all = kMillisecond / forwarding * times / 1000;
        if (kMillisecond / forwarding < 4 * floods) continue;  // then one packet a millisecond is not little
        for (unsigned i = 0; i < floods; ++i) one.rates[10 + i] = all / floods;
        one.rates[1] = 1;
        one.run(60);
        one.run(120);
        EXPECT_LE(one.counts[1].lost + one.counts[1].refused, one.counts[1].sent / 8);
        EXPECT_LT(one.idle, 30 * kMillisecond);
      }
    }
  }
}

TEST(FairShare, AWorkerThatIsBusyWithRefusingAloneLeavesEverybodySomething) {
  Simulation one;
  one.forwarding = 15000;
  one.refusing = 6000;
  one.rates = {{1, 170}, {2, 170}, {3, 1}};
  one.run(200);
  one.run(1000);
  const Counts& quiet = one.counts[3];
  EXPECT_LE(quiet.refused, quiet.sent / 50) << "what the ring loses is beyond it: " << quiet.lost;
  EXPECT_GT(one.counts[1].forwarded, 1000U);
}

TEST(FairShare, RingsOfManyQueuesAreSmall) {
  for (const std::size_t ring : {128U, 256U, 512U}) {
    SCOPED_TRACE(ring);
    Simulation one;
    one.ring = ring;
    one.rates = {{1, 1500}, {2, 20}};
    one.run(200);
    one.run(500);
    EXPECT_LT(one.counts[2].lost + one.counts[2].refused, one.counts[2].sent / 10);
    EXPECT_LT(one.idle, 110 * kMillisecond);
  }
}

TEST(FairShare, NobodyIsRefusedBecauseOfBatches) {
  struct Case {
    std::size_t ring;
    std::uint64_t forwarding;
    std::uint64_t batch;
    std::uint64_t rate;
  };
  for (const Case& c : {Case{2048, 300, 1300, 870}, Case{512, 500, 330, 1000}, Case{256, 500, 200, 1000}, Case{128, 500, 128, 1280}}) {
    SCOPED_TRACE(c.ring);
    Simulation one;
    one.ring = c.ring;
    one.forwarding = c.forwarding;
    one.batch = c.batch;
    one.rates = {{1, c.rate}};
    one.run(2000);
    EXPECT_EQ(one.counts[1].refused + one.counts[1].lost, 0U);
  }
}

TEST(FairShare, NorBecauseOfWindowsThatTheRingHasRoomFor) {
  Simulation one;
  one.windows = {{1, 1024}, {2, 100}};
  one.rates = {{3, 1}};
  one.run(3000);
  for (const std::uint32_t sender : {1U, 2U, 3U}) EXPECT_EQ(one.counts[sender].refused + one.counts[sender].lost, 0U) << sender;
  EXPECT_LT(one.idle, kMillisecond);
}

TEST(FairShare, NobodyIsRefusedByAWorkerThatKeepsUp) {
  Simulation one;
  one.rates = {{1, 350}, {2, 20}};
  one.run(500);
  EXPECT_EQ(one.counts[1].refused, 0U);
  EXPECT_EQ(one.counts[1].lost, 0U);
}

TEST(FairShare, NorByOneThatHadNoProcessorForAWhile) {
  Simulation one;
  one.rates = {{1, 250}, {2, 20}};
  one.run(10);
  for (int i = 0; i < 10; ++i) {
    one.stall(6);
    one.run(20);
    EXPECT_EQ(one.counts[1].refused + one.counts[2].refused, 0U) << i;
    EXPECT_EQ(one.counts[1].lost, 0U) << i;
  }
}

TEST(FairShare, EndsWithTheFlood) {
  Simulation one;
  one.rates = {{1, 1500}, {2, 20}};
  one.run(200);
  EXPECT_GT(one.counts[1].refused, 0U);
  one.rates = {{1, 400}, {2, 20}};
  one.run(50);
  one.run(1500);
  EXPECT_EQ(one.counts[1].refused, 0U) << "it fits";
  one.rates = {{2, 450}};
  one.run(200);
  EXPECT_EQ(one.counts[2].refused + one.counts[2].lost, 0U);
}

TEST(FairShare, AlsoIfLittleComesAfterIt) {
  Simulation one;
  for (std::uint32_t i = 0; i < 20; ++i) one.rates[10 + i] = 100;
  one.run(200);
  one.rates.clear();
  one.batch = 300;
  one.rates = {{1, 30}};  // 300 each ten milliseconds
  one.run(100);
  one.run(1000);
  EXPECT_EQ(one.counts[1].refused + one.counts[1].lost, 0U);
}

TEST(FairShare, ABurstOfOneThatWasSilentPasses) {
  Simulation one;
  one.rates = {{1, 1500}, {2, 0}};
  one.run(200);
  for (int i = 0; i < 20; ++i) {
    one.rates[2] = 600;
    one.run(1);
    EXPECT_EQ(one.counts[2].refused, 0U) << i;
    one.rates[2] = 0;
    one.run(20);
    EXPECT_EQ(one.counts[2].lost + one.counts[2].refused, 0U) << i;
  }
}

}  // namespace
}  // namespace simplon::forward
