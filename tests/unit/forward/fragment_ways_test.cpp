// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <algorithm>

#include "gateway/forward/src/policy/fragment_ways.h"

namespace simplon::forward {
namespace {

FragmentWays::Way way(std::uint32_t ingress, std::uint32_t id, std::uint32_t now) {
  FragmentWays::Way way;
  way.key.source = {ingress, 0};
  way.key.destination = {0x0100000a, 0};
  way.key.context = FlowKey::context_of(1, 4, 17);
  way.key.ingress = ingress;
  way.key.id = id;
  way.until = now + FragmentWays::kSeconds;
  return way;
}

TEST(FragmentWays, AFloodEndsItsOwnOnly) {
  const auto ways = std::make_unique<FragmentWays>(HashSeed{3, 4});
  constexpr std::uint32_t kTenant = 5;
  constexpr std::uint32_t kFlooder = 6;
  constexpr std::uint32_t kDatagrams = 50;
  for (std::uint32_t id = 0; id < kDatagrams; ++id) ways->remember(way(kTenant, id, 100), 100);
  for (std::uint32_t id = 0; id < 100'000; ++id) ways->remember(way(kFlooder, id, 101), 101);
  for (std::uint32_t id = 0; id < kDatagrams; ++id) EXPECT_NE(ways->find(way(kTenant, id, 100).key, 101), nullptr) << id;
  // Into full sets as well.
  for (std::uint32_t id = 1000; id < 1000 + kDatagrams; ++id) {
    ways->remember(way(kTenant + 2, id, 102), 102);
    ways->remember(way(kFlooder, id + 200'000, 102), 102);
  }
  for (std::uint32_t id = 1000; id < 1000 + kDatagrams; ++id) EXPECT_NE(ways->find(way(kTenant + 2, id, 102).key, 102), nullptr) << id;
}

TEST(FragmentWays, LastAMinuteAndAreReplaced) {
  const auto ways = std::make_unique<FragmentWays>(HashSeed{});
  FragmentWays::Way one = way(5, 1, 100);
  ways->remember(one, 100);
  one.egress = 9;
  ways->remember(one, 100);
  ASSERT_NE(ways->find(one.key, 159), nullptr);
  EXPECT_EQ(ways->find(one.key, 159)->egress, 9U);
  EXPECT_EQ(ways->find(one.key, 160), nullptr);
}

}  // namespace
}  // namespace simplon::forward
