// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/rib.h"

#include <gmock/gmock.h>

#include <map>
#include <random>

#include "bgp/src/dump_tracker.h"
#include "tests/unit/bgp/specs.h"

namespace simplon::bgp {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

/// Interfaces 1 to 9 are tun1 to tun9; `context` may forbid one.
std::optional<std::string> name_of(const void* context, std::uint32_t ifindex) {
  if (ifindex > 9 || (context != nullptr && *static_cast<const std::uint32_t*>(context) == ifindex)) return std::nullopt;
  return "tun" + std::to_string(ifindex);
}

FpmNextHop via(std::uint32_t ifindex) { return {.ifindex = ifindex, .gateway = address("169.254.10.2"), .weight = 1}; }

RouteNextHop named(std::uint32_t ifindex) {
  return {.gateway = address("169.254.10.2"), .interface = "tun" + std::to_string(ifindex), .weight = 1};
}

class RibTest : public ::testing::Test {
 protected:
  void upsert(const char* text, std::vector<std::uint32_t> ifindexes) {
    std::vector<FpmNextHop> nexthops;
    for (const auto ifindex : ifindexes) nexthops.push_back(via(ifindex));
    rib.upsert(prefix(text), nexthops);
  }
  RouteChanges take() { return rib.take_changes(1000, &name_of, nullptr); }

  Rib rib;
};

TEST_F(RibTest, NewRouteIsReportedOnce) {
  upsert("10.1.0.0/16", {1});
  EXPECT_TRUE(rib.dirty());
  EXPECT_THAT(take().upserts, ElementsAre(LearnedRoute{prefix("10.1.0.0/16"), {named(1)}}));
  EXPECT_FALSE(rib.dirty());
  EXPECT_THAT(take().upserts, IsEmpty());
}

TEST_F(RibTest, DeleteAndAddOfTheSameRouteIsNothing) {
  upsert("10.1.0.0/16", {1});
  take();
  rib.withdraw(prefix("10.1.0.0/16"));
  upsert("10.1.0.0/16", {1});
  const auto changes = take();
  EXPECT_THAT(changes.upserts, IsEmpty());
  EXPECT_THAT(changes.withdrawals, IsEmpty());
}

TEST_F(RibTest, DeleteAndAddWithAnotherNexthopIsOneUpsert) {
  upsert("10.1.0.0/16", {1});
  take();
  rib.withdraw(prefix("10.1.0.0/16"));
  upsert("10.1.0.0/16", {2});
  const auto changes = take();
  EXPECT_THAT(changes.upserts, ElementsAre(LearnedRoute{prefix("10.1.0.0/16"), {named(2)}}));
  EXPECT_THAT(changes.withdrawals, IsEmpty());
}

TEST_F(RibTest, RouteThatCameAndWentIsNothing) {
  upsert("10.1.0.0/16", {1});
  rib.withdraw(prefix("10.1.0.0/16"));
  const auto changes = take();
  EXPECT_THAT(changes.upserts, IsEmpty());
  EXPECT_THAT(changes.withdrawals, IsEmpty());
  EXPECT_EQ(rib.size(), 0U);
}

TEST_F(RibTest, OrderOfEqualCostNexthopsMeansNothing) {
  upsert("10.1.0.0/16", {2, 1});
  EXPECT_THAT(take().upserts, ElementsAre(LearnedRoute{prefix("10.1.0.0/16"), {named(1), named(2)}}));
  upsert("10.1.0.0/16", {1, 2});
  upsert("10.1.0.0/16", {1, 2, 1});
  EXPECT_THAT(take().upserts, IsEmpty());
  upsert("10.1.0.0/16", {1});
  EXPECT_THAT(take().upserts, ElementsAre(LearnedRoute{prefix("10.1.0.0/16"), {named(1)}}));
}

TEST_F(RibTest, SamePrefixInBothFamiliesAndLengthsAreDifferentRoutes) {
  upsert("10.0.0.0/8", {1});
  upsert("10.0.0.0/16", {1});
  upsert("0.0.0.0/0", {1});
  upsert("::/0", {1});
  EXPECT_THAT(take().upserts, SizeIs(4));
}

TEST_F(RibTest, DumpAfterReconnectReportsOnlyWhatIsDifferent) {
  upsert("10.1.0.0/16", {1});
  upsert("10.2.0.0/16", {1});
  upsert("10.3.0.0/16", {1});
  take();

  rib.begin_dump();
  EXPECT_EQ(rib.size(), 3U);  // stale routes stay valid
  upsert("10.1.0.0/16", {1});
  upsert("10.2.0.0/16", {2});
  auto changes = take();
  EXPECT_THAT(changes.upserts, ElementsAre(LearnedRoute{prefix("10.2.0.0/16"), {named(2)}}));
  EXPECT_THAT(changes.withdrawals, IsEmpty());

  EXPECT_EQ(rib.sweep(), 1U);
  changes = take();
  EXPECT_THAT(changes.upserts, IsEmpty());
  EXPECT_THAT(changes.withdrawals, ElementsAre(prefix("10.3.0.0/16")));
}

TEST_F(RibTest, InterfaceWithoutANameIsLeftOut) {
  const std::uint32_t gone = 2;
  upsert("10.1.0.0/16", {1, 2});
  upsert("10.2.0.0/16", {2});
  const auto changes = rib.take_changes(10, &name_of, &gone);
  EXPECT_THAT(changes.upserts, ElementsAre(LearnedRoute{prefix("10.1.0.0/16"), {named(1)}}));
  EXPECT_THAT(changes.withdrawals, IsEmpty());
}

TEST_F(RibTest, ChangesComeInBatches) {
  for (int i = 0; i < 10; ++i) rib.upsert(IpPrefix(IpAddress::v4(0x0a000000U + (static_cast<std::uint32_t>(i) << 8)), 24),
                                          std::vector{via(1)});
  EXPECT_THAT(rib.take_changes(4, &name_of, nullptr).upserts, SizeIs(4));
  EXPECT_EQ(rib.dirty_count(), 6U);
  rib.withdraw(prefix("10.0.0.0/24"));
  EXPECT_THAT(rib.take_changes(4, &name_of, nullptr).upserts, SizeIs(4));
  const auto last = rib.take_changes(4, &name_of, nullptr);
  EXPECT_THAT(last.upserts, SizeIs(2));
  EXPECT_THAT(last.withdrawals, SizeIs(1));
  EXPECT_FALSE(rib.dirty());
}

TEST_F(RibTest, ClearWithdrawsEverything) {
  upsert("10.1.0.0/16", {1});
  upsert("10.2.0.0/16", {1});
  take();
  rib.clear();
  EXPECT_THAT(take().withdrawals, UnorderedElementsAre(prefix("10.1.0.0/16"), prefix("10.2.0.0/16")));
  EXPECT_EQ(rib.size(), 0U);
}

/// The slow truth: two maps and a set difference.
TEST_F(RibTest, AgreesWithAMapUnderRandomOperations) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 generator(seed);
  const auto random = [&] { return static_cast<std::uint32_t>(generator()); };
  struct Entry {
    std::vector<FpmNextHop> nexthops;
    bool stale;
  };
  std::map<IpPrefix, Entry> current;
  std::map<IpPrefix, std::vector<RouteNextHop>> reported;

  const auto random_prefix = [&] {
    if (random() % 4 == 0) {
      std::array<std::uint8_t, 16> bytes{0xfd};
      bytes[2] = static_cast<std::uint8_t>(random() % 64);
      bytes[14] = static_cast<std::uint8_t>(random() % 4);
      return IpPrefix(IpAddress::v6(bytes), 24 + random() % 105);
    }
    return IpPrefix(IpAddress::v4(static_cast<std::uint32_t>(0x0a000000U + (random() % 4096) * 64)), 16 + random() % 17);
  };
  for (int step = 0; step < 60000; ++step) {
    switch (random() % 16) {
      default: {
        const auto target = random_prefix();
        std::vector<FpmNextHop> nexthops;
        for (unsigned count = 1 + random() % 3; count > 0; --count) nexthops.push_back(via(1 + random() % 5));
        rib.upsert(target, nexthops);
        std::sort(nexthops.begin(), nexthops.end());
        nexthops.erase(std::unique(nexthops.begin(), nexthops.end()), nexthops.end());
        current[target] = {nexthops, false};
        break;
      }
      case 0: case 1: case 2: case 3: case 4: case 5: {
        const auto target = random_prefix();
        rib.withdraw(target);
        current.erase(target);
        break;
      }
      case 6: {
        if (random() % 64 != 0) break;
        if (random() % 2 == 0) {
          rib.begin_dump();
          for (auto& [target, entry] : current) entry.stale = true;
        } else {
          rib.sweep();
          std::erase_if(current, [](const auto& item) { return item.second.stale; });
        }
        break;
      }
      case 7: {
        if (random() % 64 != 0) break;
        while (rib.dirty()) {
          const auto changes = rib.take_changes(1 + random() % 500, &name_of, nullptr);
          for (const auto& route : changes.upserts) {
            const auto it = reported.find(route.prefix);
            ASSERT_TRUE(it == reported.end() || it->second != route.nexthops);
            reported[route.prefix] = route.nexthops;
          }
          for (const auto& target : changes.withdrawals) ASSERT_EQ(reported.erase(target), 1U);
        }
        ASSERT_EQ(rib.size(), current.size());
        ASSERT_EQ(reported.size(), current.size());
        for (const auto& [target, entry] : current) {
          std::vector<RouteNextHop> expected;
          for (const auto& nexthop : entry.nexthops) expected.push_back(named(nexthop.ifindex));
          ASSERT_EQ(reported.at(target), expected) << target.to_string();
        }
        break;
      }
    }
  }
}

class DumpTrackerTest : public ::testing::Test {
 protected:
  FakeClock clock;
  DumpTracker tracker{std::chrono::seconds(2), std::chrono::seconds(60)};
};

TEST_F(DumpTrackerTest, CompleteWhenIdleAfterTheSourceIsReady) {
  tracker.connected();
  tracker.received(clock.now());
  clock.advance(std::chrono::seconds(10));
  EXPECT_FALSE(tracker.completes(clock.now()));  // bgpd is not attached: silence means nothing
  EXPECT_TRUE(tracker.waits_for_source());
  tracker.source_ready(clock.now());
  clock.advance(std::chrono::seconds(1));
  tracker.received(clock.now());
  clock.advance(std::chrono::milliseconds(1999));
  EXPECT_FALSE(tracker.completes(clock.now()));
  clock.advance(std::chrono::milliseconds(1));
  EXPECT_TRUE(tracker.completes(clock.now()));
  EXPECT_FALSE(tracker.completes(clock.now()));  // once for each connection
}

TEST_F(DumpTrackerTest, AFeedThatIsNeverIdleIsCompleteAtTheCap) {
  tracker.connected();
  tracker.source_ready(clock.now());
  for (int second = 0; second < 59; ++second) {
    clock.advance(std::chrono::seconds(1));
    tracker.received(clock.now());
    ASSERT_FALSE(tracker.completes(clock.now()));
  }
  clock.advance(std::chrono::seconds(1));
  tracker.received(clock.now());
  EXPECT_TRUE(tracker.completes(clock.now()));
}

TEST_F(DumpTrackerTest, ALostConnectionNeverCompletes) {
  tracker.connected();
  tracker.source_ready(clock.now());
  tracker.disconnected();
  clock.advance(std::chrono::seconds(100));
  EXPECT_FALSE(tracker.completes(clock.now()));
  EXPECT_FALSE(tracker.deadline());
  tracker.connected();
  EXPECT_TRUE(tracker.waits_for_source());
}

}  // namespace
}  // namespace simplon::bgp
