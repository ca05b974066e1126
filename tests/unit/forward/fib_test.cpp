// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/fib/fib.h"

#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <memory>
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

constexpr FibInstructions kAllInstructions[] = {FibInstructions::kPortable, FibInstructions::kAvx2,
                                                FibInstructions::kAvx512};

/// The same probes with every set of instructions this processor has, all at once.
template <class Key>
void expect_agreement(const Fib<Key>& fib, const LinearOracle<Key>& oracle, const std::vector<Key>& probes) {
  std::vector<std::uint32_t> expected;
  for (const Key& probe : probes) expected.push_back(oracle.lookup(probe));
  for (const FibInstructions instructions : kAllInstructions) {
    if (!fib_can(instructions)) continue;
    std::vector<FibQuery<Key>> queries;
    for (const Key& probe : probes) queries.push_back({fib.form(), probe, 12345});
    fib_lookup(instructions, queries.data(), queries.size());
    for (std::size_t i = 0; i < probes.size(); ++i) {
      ASSERT_EQ(queries[i].found, expected[i])
          << "instructions " << static_cast<int>(instructions) << ", probe " << i << ", " << fib.size() << " routes";
    }
  }
}

/// First and last address of each route, and their neighbors.
template <class Key>
std::vector<Key> borders(const LinearOracle<Key>& oracle) {
  std::vector<Key> all{Key{0}, ~Key{0} >> (sizeof(Key) * 8 - kBits<Key>) << (sizeof(Key) * 8 - kBits<Key>)};
  const Key one = Key{1} << (sizeof(Key) * 8 - kBits<Key>);
  for (const auto& [prefix, value] : oracle.routes()) {
    const Key first = prefix.second;
    const Key last = prefix.first == 0 ? all[1] : (first | (all[1] >> 1 >> (prefix.first - 1))) & all[1];
    for (const Key at : {first, last, first - one, last + one}) all.push_back(at & all[1]);
  }
  return all;
}

/// Random changes, published now and then; what is published is compared with the naive search. `site`: addresses of 10.0.0.0/8 and few
/// values. Returns how many of the published tables were narrow ones.
template <class Key>
void duel(std::uint64_t seed, std::size_t most_routes, int steps, int per_publish, unsigned least_length, bool site = false,
          int* narrow = nullptr) {
  std::mt19937_64 random(seed);
  Quiescence quiescence(1);
  FibArena arena(quiescence);
  Fib<Key> fib(arena);
  LinearOracle<Key> oracle;
  for (int step = 1; step <= steps; ++step) {
    const Key key = random_key<Key>(random) & ~(Key{site ? 5U : 0U} << (sizeof(Key) * 8 - 8));
    const auto length = least_length + static_cast<unsigned>(random() % (kBits<Key> + 1 - least_length));
    const std::uint32_t value = 1 + static_cast<std::uint32_t>(random() % (site ? 4 : 1000));
    const bool full = oracle.routes().size() >= most_routes;
    if (!full && random() % 5 < 4) {
      ASSERT_EQ(fib.upsert(key, length, value), oracle.upsert(key, length, value));
      ASSERT_EQ(fib.exact(key, length), value);
    } else if (!oracle.routes().empty() && random() % 4 != 0) {
      auto at = oracle.routes().lower_bound({length, key});
      if (at == oracle.routes().end()) at = oracle.routes().begin();
      const auto [old_length, old_key] = at->first;
      ASSERT_EQ(fib.remove(old_key, old_length), oracle.remove(old_key, old_length));
    } else {
      ASSERT_EQ(fib.remove(key, length), oracle.remove(key, length));
    }
    ASSERT_EQ(fib.size(), oracle.routes().size());
    if (step % per_publish != 0) continue;
    fib.publish();
    if (narrow != nullptr) *narrow += FibWord::is_narrow(fib.form()) ? 1 : 0;
    std::vector<Key> probes;
    for (int i = 0; i < 8; ++i) probes.push_back(random_key<Key>(random));
    for (int i = 0; i < 4; ++i) probes.push_back(key ^ (Key{random() % 4} << (sizeof(Key) * 8 - kBits<Key>)));
    ASSERT_NO_FATAL_FAILURE(expect_agreement(fib, oracle, probes)) << "seed " << seed << ", step " << step;
    quiescence.advance();
  }
  fib.publish();
  ASSERT_NO_FATAL_FAILURE(expect_agreement(fib, oracle, borders(oracle))) << "seed " << seed;
  while (!oracle.routes().empty()) {
    const auto [length, key] = oracle.routes().begin()->first;
    ASSERT_NE(fib.remove(key, length), 0U);
    oracle.remove(key, length);
  }
  fib.publish();
  EXPECT_EQ(fib.size(), 0U);
  EXPECT_EQ(fib.memory_bytes(), 0U) << "something stays behind";
  EXPECT_EQ(fib.lookup(random_key<Key>(random)), 0U);
  quiescence.advance();
  EXPECT_EQ(quiescence.waiting(), 0U);
}

TYPED_TEST(FibTest, ASmallTableAgreesWithALinearSearch) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) duel<TypeParam>(seed, 100, 300, 1, 0);
  duel<TypeParam>(4, 100, 300, 7, 20);
}

TEST(Fib, ANarrowTableAgreesWithALinearSearch) {
  for (const unsigned least_length : {0U, 8U, 20U}) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      int narrow = 0;
      duel<std::uint64_t>(seed, 100, 400, 1, least_length, true, &narrow);
      // With shorter prefixes, of which there are few, a leaf spans too much.
      EXPECT_GT(narrow, least_length == 0 ? 0 : 100) << least_length;
      EXPECT_LT(narrow, 400) << "tiny ones at the start";
    }
  }
}

/// Bounds at both ends of what a leaf may span, and of all addresses.
TEST(Fib, BordersOfANarrowTable) {
  for (const unsigned first : {0x0a000000U, 0x0a000001U, 0U, 1U, 0xfeffff00U}) {
    for (const unsigned span : {0xfffffdU, 0xfffffeU, 0xffffffU, 0x1000000U}) {
      Quiescence quiescence(1);
      FibArena arena(quiescence);
      Fib<std::uint64_t> fib(arena);
      LinearOracle<std::uint64_t> oracle;
      for (unsigned i = 0; i < 7; ++i) {
        for (const std::uint32_t address : {first + 2 * i, first + span - 2 * i}) {
          fib.upsert(fib_key(address), 32, 1 + i % 3);
          oracle.upsert(fib_key(address), 32, 1 + i % 3);
        }
      }
      fib.publish();
      ASSERT_NO_FATAL_FAILURE(expect_agreement(fib, oracle, borders(oracle))) << first << " " << span;
    }
  }
}

TYPED_TEST(FibTest, ALargeTableAgreesWithALinearSearch) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) duel<TypeParam>(seed, 300, 700, 3, 0);
  duel<TypeParam>(3, 300, 600, 5, 18);
}

TYPED_TEST(FibTest, AcrossTheBorderBetweenTinyAndSmall) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) duel<TypeParam>(seed, 7, 400, 1, 0);
}

TYPED_TEST(FibTest, AcrossTheBorderBetweenSmallAndLarge) { duel<TypeParam>(5, 114, 500, 3, 0); }

TYPED_TEST(FibTest, EachSizeOfALargeTableAgreesWithALinearSearch) {
  using Key = TypeParam;
  std::mt19937_64 random(17);
  Quiescence quiescence(1);
  FibArena arena(quiescence);
  Fib<Key> fib(arena);
  // A crowd in the other half of the address space, so that the naive search has few to look through.
  LinearOracle<Key> oracle;
  const auto elsewhere = [&] {
    Key key = 0;
    for (unsigned i = 0; i < sizeof(Key) / 8; ++i) key = (key << 32 << 32) | random();
    const Key top = Key{1} << (sizeof(Key) * 8 - 1);
    return (sizeof(Key) == 8 ? key | top : key & ~top) >>
           (sizeof(Key) * 8 - kBits<Key>) << (sizeof(Key) * 8 - kBits<Key>);
  };
  std::vector<std::pair<Key, unsigned>> crowd;
  for (const std::size_t size :
       {std::size_t{5000}, std::size_t{70000}, std::size_t{30000}, std::size_t{1000}, std::size_t{0}}) {
    while (fib.size() < size) {
      const Key key = elsewhere();
      const auto length = static_cast<unsigned>(9 + random() % 20);
      if (fib.upsert(key, length, 7) == 0) crowd.emplace_back(key, length);
    }
    while (fib.size() > size + oracle.routes().size()) {
      fib.remove(crowd.back().first, crowd.back().second);
      crowd.pop_back();
    }
    fib.publish();
    for (int step = 0; step < 100; ++step) {
      const Key key = random_key<Key>(random);
      const auto length = static_cast<unsigned>(8 + random() % (kBits<Key> - 7));
      const std::uint32_t value = 1 + static_cast<std::uint32_t>(random() % 1000);
      if (random() % 3 != 0) {
        ASSERT_EQ(fib.upsert(key, length, value), oracle.upsert(key, length, value));
      } else {
        ASSERT_EQ(fib.remove(key, length), oracle.remove(key, length));
      }
      if (step % 8 != 0) continue;
      fib.publish();
      std::vector<Key> probes;
      for (int i = 0; i < 16; ++i) probes.push_back(random_key<Key>(random));
      ASSERT_NO_FATAL_FAILURE(expect_agreement(fib, oracle, probes));
      quiescence.advance();
    }
    std::vector<Key> probes;
    for (const Key probe : borders(oracle)) {
      if (oracle.lookup(probe) != 0) probes.push_back(probe);
    }
    ASSERT_NO_FATAL_FAILURE(expect_agreement(fib, oracle, probes));
    for (std::size_t i = 0; i < crowd.size(); i += 97) ASSERT_EQ(fib.lookup(crowd[i].first), 7U);
  }
}

TEST(Fib, TheDefaultRouteOfALargeTable) {
  Quiescence quiescence(1);
  FibArena arena(quiescence);
  Fib<std::uint64_t> fib(arena);
  for (std::uint32_t i = 0; i < 5000; ++i) fib.upsert(fib_key(0x0a000000U + (i << 8)), 24, 1 + i % 5);
  fib.publish();
  EXPECT_EQ(fib.lookup(fib_key(0x0b000000U)), 0U);
  fib.upsert(0, 0, 99);
  EXPECT_TRUE(fib.published()) << "made anew for one route";
  EXPECT_EQ(fib.lookup(fib_key(0x0b000000U)), 99U);
  EXPECT_EQ(fib.lookup(fib_key(0x0a000100U)), 2U);
  fib.remove(0, 0);
  EXPECT_EQ(fib.lookup(fib_key(0x0b000000U)), 0U);
}

TEST(Fib, EveryLengthOfOneAddress) {
  Quiescence quiescence(1);
  FibArena arena(quiescence);
  Fib<std::uint64_t> fib(arena);
  const std::uint64_t key = fib_key(0x0a0b0c0dU);
  for (unsigned length = 0; length <= 32; ++length) {
    fib.upsert(key, length, length + 1);
    fib.publish();
    EXPECT_EQ(fib.lookup(key), length + 1);
  }
  for (unsigned length = 32; length > 0; --length) {
    EXPECT_EQ(fib.lookup(key ^ (std::uint64_t{1} << (64 - length))), length) << "differs in bit " << length;
    EXPECT_EQ(fib.remove(key, length), length + 1);
    fib.publish();
    EXPECT_EQ(fib.lookup(key), length);
  }
}

TEST(Fib, ManyTablesInOneLookup) {
  std::mt19937_64 random(3);
  Quiescence quiescence(1);
  FibArena arena(quiescence);
  std::vector<std::unique_ptr<Fib<std::uint64_t>>> fibs;
  constexpr std::size_t kRoutes[] = {0, 3, 60, 120, 180, 240};  // tiny, narrow or small, and large
  std::vector<LinearOracle<std::uint64_t>> oracles(std::size(kRoutes));
  for (std::size_t i = 0; i < oracles.size(); ++i) {
    fibs.push_back(std::make_unique<Fib<std::uint64_t>>(arena));
    for (std::size_t route = 0; route < kRoutes[i]; ++route) {
      const std::uint64_t key = random_key<std::uint64_t>(random);
      const auto length = static_cast<unsigned>(random() % 33);
      const std::uint32_t value = 1 + static_cast<std::uint32_t>(random() % (i % 2 == 0 ? 5 : 1000));
      fibs[i]->upsert(key, length, value);
      oracles[i].upsert(key, length, value);
    }
    fibs[i]->publish();
  }
  std::vector<FibQuery<std::uint64_t>> queries;
  std::vector<std::uint32_t> expected;
  for (int i = 0; i < 200; ++i) {  // more than one group
    const std::size_t table = random() % fibs.size();
    const std::uint64_t key = random_key<std::uint64_t>(random);
    queries.push_back({fibs[table]->form(), key, 0});
    expected.push_back(oracles[table].lookup(key));
  }
  fib_lookup(queries.data(), queries.size());
  for (std::size_t i = 0; i < queries.size(); ++i) EXPECT_EQ(queries[i].found, expected[i]) << i;
}

TEST(Fib, FewBytesPerRoute) {
  Quiescence quiescence(1);
  FibArena arena(quiescence);
  Fib<std::uint64_t> fib(arena);
  std::mt19937_64 random(7);
  std::size_t routes = 0;
  while (routes < 200000) {
    // A table like the Internet's: two thirds /24, the rest /16 to /23.
    const auto length = static_cast<unsigned>(random() % 3 != 0 ? 24 : 16 + random() % 8);
    if (fib.upsert(fib_key(static_cast<std::uint32_t>(random())), length, 1) == 0) ++routes;
  }
  fib.publish();
  EXPECT_LT(fib.form_bytes() / routes, 32U);
  EXPECT_LT(fib.memory_bytes() / routes, 64U);
}

TEST(Fib, FewBytesPerRouteOfAVpc) {
  Quiescence quiescence(1);
  FibArena arena(quiescence);
  std::mt19937_64 random(8);
  for (const std::size_t count : {std::size_t{50}, std::size_t{100}}) {
    std::size_t bytes = 0;
    for (int table = 0; table < 100; ++table) {
      Fib<std::uint64_t> fib(arena);
      fib.upsert(0, 0, 1);
      while (fib.size() < count) {
        const auto address = 0x0a000000U | (static_cast<std::uint32_t>(random()) & 0xffffffU);
        fib.upsert(fib_key(address), static_cast<unsigned>(20 + random() % 9), 1 + static_cast<std::uint32_t>(random() % 4));
      }
      fib.publish();
      bytes += fib.form_bytes();
    }
    EXPECT_LE(static_cast<double>(bytes) / static_cast<double>(100 * count), 8.0) << count;
  }
}

}  // namespace
}  // namespace simplon::forward
