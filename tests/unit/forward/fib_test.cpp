// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/fib.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <utility>
#include <vector>

namespace simplon::forward {
namespace {

template <class Key>
constexpr unsigned kBits = sizeof(Key) == 8 ? 32 : 128;

template <class Key>
Key masked(Key key, unsigned length) {
  if (length == 0) return 0;
  const unsigned low = sizeof(Key) * 8 - length;
  return (key >> low) << low;
}

/// A list of prefixes, searched from end to end.
template <class Key>
class LinearOracle {
 public:
  std::uint32_t upsert(Key key, unsigned length, std::uint32_t value) {
    return std::exchange(routes_[{length, masked(key, length)}], value);
  }
  std::uint32_t remove(Key key, unsigned length) {
    const auto found = routes_.find({length, masked(key, length)});
    if (found == routes_.end()) return 0;
    const std::uint32_t old = found->second;
    routes_.erase(found);
    return old;
  }
  std::uint32_t lookup(Key key) const {
    std::uint32_t best = 0;
    for (const auto& [prefix, value] : routes_) {  // by length, the longest last
      if (masked(key, prefix.first) == prefix.second) best = value;
    }
    return best;
  }
  const std::map<std::pair<unsigned, Key>, std::uint32_t>& routes() const { return routes_; }

 private:
  std::map<std::pair<unsigned, Key>, std::uint32_t> routes_;
};

template <class Key>
Key random_key(std::mt19937_64& random) {
  // Few distinct high bits, so that prefixes nest and collide.
  if constexpr (sizeof(Key) == 8) {
    const auto address = static_cast<std::uint32_t>(random());
    return fib_key((address & 0x0f1f3fffU) | 0x0a000000U);
  } else {
    std::uint8_t bytes[16];
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random() % 3 == 0 ? random() : 0x20);
    bytes[0] = 0xfd;
    return fib_key(bytes);
  }
}

template <class Key>
class FibTest : public ::testing::Test {};
using Keys = ::testing::Types<std::uint64_t, Uint128>;
TYPED_TEST_SUITE(FibTest, Keys);

TYPED_TEST(FibTest, AgreesWithALinearSearch) {
  using Key = TypeParam;
  for (unsigned seed = 1; seed <= 3; ++seed) {
    std::mt19937_64 random(seed);
    Quiescence quiescence(1);
    Fib<Key> fib(quiescence);
    LinearOracle<Key> oracle;
    for (int step = 0; step < 3000; ++step) {
      const Key key = random_key<Key>(random);
      const auto length = static_cast<unsigned>(random() % (kBits<Key> + 1));
      const std::uint32_t value = 1 + static_cast<std::uint32_t>(random() % 1000);
      if (random() % 5 < 3) {
        ASSERT_EQ(fib.upsert(key, length, value), oracle.upsert(key, length, value));
        ASSERT_EQ(fib.exact(key, length), value);
      } else if (!oracle.routes().empty() && random() % 4 != 0) {
        auto at = oracle.routes().begin();
        std::advance(at, static_cast<long>(random() % oracle.routes().size()));
        const auto [old_length, old_key] = at->first;
        ASSERT_EQ(fib.remove(old_key, old_length), oracle.remove(old_key, old_length));
      } else {
        ASSERT_EQ(fib.remove(key, length), oracle.remove(key, length));
      }
      ASSERT_EQ(fib.size(), oracle.routes().size());
      for (int i = 0; i < 4; ++i) {
        const Key probe = random_key<Key>(random);
        ASSERT_EQ(fib.lookup(probe), oracle.lookup(probe)) << seed << " " << step;
      }
      quiescence.advance();
    }
    // The borders of every route.
    for (const auto& [prefix, value] : oracle.routes()) {
      const Key first = prefix.second;
      ASSERT_EQ(fib.lookup(first), oracle.lookup(first));
      const Key last = prefix.first == 0 ? ~Key{0} : first | (~Key{0} >> 1 >> (prefix.first - 1));
      ASSERT_EQ(fib.lookup(last), oracle.lookup(last));
    }
    while (!oracle.routes().empty()) {
      const auto [length, key] = oracle.routes().begin()->first;
      ASSERT_NE(fib.remove(key, length), 0U);
      oracle.remove(key, length);
    }
    EXPECT_EQ(fib.size(), 0U);
    EXPECT_EQ(fib.memory_bytes(), 0U) << "empty nodes stay behind";
  }
}

TEST(Fib, EveryLengthOfOneAddress) {
  Quiescence quiescence(1);
  Fib<std::uint64_t> fib(quiescence);
  const std::uint64_t key = fib_key(0x0a0b0c0dU);
  for (unsigned length = 0; length <= 32; ++length) {
    fib.upsert(key, length, length + 1);
    EXPECT_EQ(fib.lookup(key), length + 1);
  }
  for (unsigned length = 32; length > 0; --length) {
    EXPECT_EQ(fib.lookup(key ^ (std::uint64_t{1} << (64 - length))), length) << "differs in bit " << length;
    EXPECT_EQ(fib.remove(key, length), length + 1);
    EXPECT_EQ(fib.lookup(key), length);
  }
}

TEST(Fib, FewBytesPerRoute) {
  Quiescence quiescence(1);
  Fib<std::uint64_t> fib(quiescence);
  std::mt19937_64 random(7);
  std::size_t routes = 0;
  while (routes < 200000) {
    // A table like the Internet's: two thirds /24, the rest /16 to /23.
    const auto length = static_cast<unsigned>(random() % 3 != 0 ? 24 : 16 + random() % 8);
    if (fib.upsert(fib_key(static_cast<std::uint32_t>(random())), length, 1) == 0) ++routes;
  }
  EXPECT_LT(fib.memory_bytes() / routes, 32U);
}

}  // namespace
}  // namespace simplon::forward
