// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/tables/wait_free_map.h"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>
#include <vector>

#include "gateway/forward/src/tables/address_key.h"

namespace simplon::forward {
namespace {

TEST(WaitFreeMap, AgreesWithAnOrdinaryMapThroughGrowth) {
  std::mt19937_64 random(11);
  Quiescence quiescence(1);
  WaitFreeMap<std::uint32_t, std::uint64_t, SpiHash> map(quiescence, 4);
  std::unordered_map<std::uint32_t, std::uint64_t> oracle;
  for (int step = 0; step < 60000; ++step) {
    const auto key = static_cast<std::uint32_t>(random() % 20000);
    if (random() % 3 != 0) {
      const std::uint64_t value = random();
      ASSERT_EQ(map.upsert(key, value), oracle.insert_or_assign(key, value).second);
    } else {
      ASSERT_EQ(map.erase(key), oracle.erase(key) == 1);
    }
    ASSERT_EQ(map.size(), oracle.size());
    for (int i = 0; i < 3; ++i) {
      const auto probe = static_cast<std::uint32_t>(random() % 20000);
      const std::uint64_t* found = map.find(probe);
      const auto wanted = oracle.find(probe);
      ASSERT_EQ(found != nullptr, wanted != oracle.end());
      if (found != nullptr) {
        ASSERT_EQ(*found, wanted->second);
      }
    }
    if (step % 100 == 0) quiescence.advance();
  }
  std::size_t visited = 0;
  map.for_each([&](std::uint32_t key, std::uint64_t value) {
    ++visited;
    EXPECT_EQ(oracle.at(key), value);
  });
  EXPECT_EQ(visited, oracle.size());
}

TEST(NodePool, GivesBackWhatWasDestroyedAndKeepsLinesWhole) {
  struct alignas(64) Line {
    std::uint64_t value;
  };
  NodePool<Line> pool;
  std::vector<Line*> lines;
  for (std::uint64_t i = 0; i < 100000; ++i) lines.push_back(pool.make(i));  // several blocks
  for (std::uint64_t i = 0; i < lines.size(); ++i) {
    ASSERT_EQ(lines[i]->value, i);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(lines[i]) % 64, 0U);
  }
  NodePool<Line>::destroy(lines[70000]);
  NodePool<Line>::destroy(lines[5]);
  EXPECT_EQ(pool.make(1U), lines[5]);
  EXPECT_EQ(pool.make(2U), lines[70000]);
}

TEST(WaitFreeMap, MayEndWhileItsNodesWaitForAGracePeriod) {
  Quiescence quiescence(1);
  quiescence.online(0);
  {
    WaitFreeMap<std::uint32_t, std::uint64_t, SpiHash> map(quiescence);
    map.upsert(1, 10);
    map.erase(1);
    quiescence.advance();
    EXPECT_EQ(quiescence.waiting(), 1U);
  }
  EXPECT_EQ(quiescence.waiting(), 0U);
}

TEST(EndpointKey, IsAboutVniFamilyAndAddress) {
  const WireAddress four = WireAddress::from(IpAddress::parse("10.0.0.1").value());
  const WireAddress six = WireAddress::from(IpAddress::parse("a00:1::").value());
  EXPECT_EQ(four.low, six.low & 0xffffffffU);
  EXPECT_NE(EndpointKey::of(1, four), EndpointKey::of(1, six));
  EXPECT_NE(EndpointKey::of(1, four), EndpointKey::of(2, four));
  EXPECT_EQ(six.to_ip().to_string(), "a00:1::");
  EXPECT_EQ(four.to_ip().to_string(), "10.0.0.1");
}

}  // namespace
}  // namespace simplon::forward
