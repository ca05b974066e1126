// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/replay_window.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace simplon::forward {
namespace {

/// What RFC 4303 section 3.4.3 says, with a set.
class Oracle {
 public:
  explicit Oracle(std::uint64_t size) : size_(size) {}
  bool would_accept(std::uint64_t seq) const {
    if (seq == 0) return false;
    if (seq > top_) return true;
    return top_ - seq < size_ && !seen_.contains(seq);
  }
  void commit(std::uint64_t seq) {
    seen_.insert(seq);
    if (seq > top_) top_ = seq;
    while (!seen_.empty() && top_ - *seen_.begin() >= size_) seen_.erase(seen_.begin());
  }

 private:
  std::uint64_t size_;
  std::uint64_t top_ = 0;
  std::set<std::uint64_t> seen_;
};

TEST(ReplayWindow, AgreesWithASet) {
  for (const std::uint32_t size : {64U, 128U, 1024U, 4096U}) {
    for (unsigned seed = 0; seed < 4; ++seed) {
      std::mt19937_64 random(seed);
      ReplayWindow window(size);
      Oracle oracle(size);
      std::uint64_t around = seed == 3 ? 0xffffff00ULL : 1;
      for (int i = 0; i < 20000; ++i) {
        if (random() % 4 == 0) around += random() % (random() % 50 == 0 ? 20000 : 8);
        const std::uint64_t back = random() % (size + size / 4);
        const std::uint64_t seq = around > back ? around - back : random() % 3;
        ASSERT_EQ(window.would_accept(seq), oracle.would_accept(seq)) << size << " " << seed << " " << seq;
        if (random() % 8 != 0 && oracle.would_accept(seq)) {  // some fail authentication
          window.commit(seq);
          oracle.commit(seq);
        }
      }
    }
  }
}

TEST(ReplayWindow, GoesOnInAnotherProcess) {
  for (const std::uint32_t size : {0U, 64U, 1024U, 4096U}) {
    std::mt19937_64 random(size);
    ReplayWindow before(size);
    for (int i = 0; i < 5000; ++i) before.commit(1 + random() % (i + 100));
    ReplayWindow after(size);
    ASSERT_TRUE(after.restore(before.top(), before.words()));
    for (std::uint64_t seq = 0; seq < 6000; ++seq) ASSERT_EQ(after.would_accept(seq), before.would_accept(seq)) << seq;
    ReplayWindow other(size == 4096 ? 64 : 4096);
    EXPECT_FALSE(other.restore(before.top(), before.words()));
  }
}

TEST(ReplayWindow, SizesAreRoundedAndBounded) {
  EXPECT_EQ(ReplayWindow(1).size(), 64U);
  EXPECT_EQ(ReplayWindow(65).size(), 128U);
  EXPECT_EQ(ReplayWindow(1U << 31).size(), 4096U);
  ReplayWindow off(0);
  off.commit(10);
  EXPECT_TRUE(off.would_accept(10));
  EXPECT_TRUE(off.would_accept(1));
  EXPECT_FALSE(off.would_accept(0));
}

TEST(ReplayWindow, ExtendFindsTheNearestNumberInReach) {
  // RFC 4303 appendix A2: a number in the window, or the next one in the future, is recovered from its low half.
  std::mt19937_64 random(5);
  for (const std::uint32_t size : {64U, 4096U}) {
    for (int round = 0; round < 2000; ++round) {
      ReplayWindow window(size);
      std::uint64_t top = random() >> (random() % 34);
      if (round % 3 == 0) top = (std::uint64_t{random() % 5} << 32) + (random() % 10000) - 5000;
      if (top == 0 || top > ~std::uint64_t{0} - (std::uint64_t{1} << 33)) continue;
      window.commit(top);
      for (const std::uint64_t ahead : {std::uint64_t{1}, std::uint64_t{size}, std::uint64_t{1} << 31}) {
        const std::uint64_t seq = top + ahead;
        ASSERT_EQ(window.extend(static_cast<std::uint32_t>(seq)), seq) << top;
      }
      for (std::uint64_t behind = 0; behind < size && behind < top; behind += 7) {
        const std::uint64_t seq = top - behind;
        ASSERT_EQ(window.extend(static_cast<std::uint32_t>(seq)), seq) << top;
      }
    }
  }
}

}  // namespace
}  // namespace simplon::forward
