// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/policy/connections.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "platform/wire/ip_protocol.h"

namespace simplon::forward {
namespace {

FlowKey key(std::uint32_t n, std::uint8_t protocol = wire::kProtocolUdp) {
  return {{n, 0}, {0x0100000a, 0}, FlowKey::context_of(1, 4, protocol), join_ports(5000, 53)};
}
ConnectionTable::Beginning beginning(const FlowKey& key, std::uint32_t owner = 1) {
  ConnectionTable::Beginning b;
  b.keys = {key, key.reversed()};
  b.owner = owner;
  return b;
}

TEST(Connections, BothDirectionsAreFound) {
  ConnectionTable table(8);
  const std::uint32_t index = table.add(beginning(key(1)), 100);
  ASSERT_NE(index, 0U);
  EXPECT_EQ(table.find(key(1)).direction, 0U);
  EXPECT_EQ(table.find(key(1)).index, index);
  const FlowKey back = key(1).reversed();
  EXPECT_EQ(table.find(back).direction, 1U);
  EXPECT_EQ(table.find(key(2)).index, 0U);
  EXPECT_EQ(ConnectionTable::shard_hash(key(1)), ConnectionTable::shard_hash(back));
  table.remove(index);
  EXPECT_EQ(table.find(key(1)).index, 0U);
  EXPECT_EQ(table.find(back).index, 0U);
}

TEST(Connections, FullIsFullAndNotMore) {
  ConnectionTable table(3);
  for (std::uint32_t i = 1; i <= 3; ++i) EXPECT_NE(table.add(beginning(key(i)), 100), 0U);
  EXPECT_EQ(table.add(beginning(key(4)), 100), 0U);
  EXPECT_EQ(table.size(), 3U);
  EXPECT_EQ(table.of_owner(1), 3U);
  table.expire(100 + kUdpOpeningSeconds + 1);
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.of_owner(1), 0U);
  EXPECT_NE(table.add(beginning(key(4)), 300), 0U);
}

TEST(Connections, EndWhenTheyWereIdleForTheirLifetime) {
  // Random packets against a map of when each was last seen.
  std::mt19937 engine(7);
  const auto below = [&engine](std::uint32_t end) { return static_cast<std::uint32_t>(engine() % end); };
  ConnectionTable table(64);
  std::map<std::uint32_t, std::uint32_t> last_seen;
  std::uint32_t now = 1000;
  for (int step = 0; step < 20000; ++step) {
    now += below(8);
    table.expire(now);
    for (auto at = last_seen.begin(); at != last_seen.end();) {
      at = at->second + kUdpOpeningSeconds < now ? last_seen.erase(at) : std::next(at);
    }
    const std::uint32_t n = 1 + below(50);
    const auto found = table.find(key(n));
    ASSERT_EQ(found.index != 0, last_seen.contains(n)) << step;
    ASSERT_EQ(table.size(), last_seen.size()) << step;
    if (found.index != 0) {
      table.note(found.index, 0, 100, 0, now);
    } else {
      ASSERT_NE(table.add(beginning(key(n)), now), 0U);
    }
    last_seen[n] = now;
  }
}

/// Keys that lie in one bucket of 4,096 for who has no seed.
std::vector<FlowKey> colliding(std::size_t count) {
  std::vector<FlowKey> keys;
  for (std::uint32_t n = 1; keys.size() < count; ++n) {
    if ((key(n).public_hash() & 4095) == 7) keys.push_back(key(n));
  }
  return keys;
}

TEST(FlowKey, WhoDoesNotKnowTheSeedAimsAtNothing) {
  const auto buckets = [](const std::vector<FlowKey>& keys, HashSeed seed) {
    std::set<std::uint64_t> used;
    for (const FlowKey& one : keys) used.insert(one.hash(seed) & 4095);
    return used.size();
  };
  const std::vector<FlowKey> aimed = colliding(200);
  EXPECT_EQ(buckets(aimed, {}), 1U);
  EXPECT_GT(buckets(aimed, {1, 2}), 180U);
  EXPECT_GT(buckets(aimed, {0x9d35a1c4e27b86f0, 0x2b7e151628aed2a6}), 180U);
  // A host makes up for other ports by its IPv6 address, and for another protocol by its network's.
  std::vector<FlowKey> made_up;
  for (std::uint32_t n = 0; n < 200; ++n) {
    made_up.push_back({{0x20010db8 ^ (n & 7), 0x1234567800000000U ^ n}, {1, 2}, FlowKey::context_of(1, 6, static_cast<std::uint8_t>(n & 7)), n});
  }
  for (const HashSeed seed : {HashSeed{}, HashSeed{1, 2}}) EXPECT_GT(buckets(made_up, seed), 180U);
  EXPECT_NE(HashSeed::random().first, HashSeed::random().first);
}

TEST(Connections, AreFoundUnderEachSeed) {
  ConnectionTable table(512, {}, {1, 2});
  const std::vector<FlowKey> keys = colliding(200);
  std::vector<std::uint32_t> indexes;
  for (const FlowKey& one : keys) indexes.push_back(table.add(beginning(one), 100));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(table.find(keys[i]).index, indexes[i]);
    EXPECT_EQ(table.find(keys[i].reversed()).direction, 1U);
  }
  for (const std::uint32_t index : indexes) table.remove(index);
  EXPECT_EQ(table.find(keys[0]).index, 0U);
  EXPECT_EQ(ConnectionTable::shard_hash(keys[0]), ConnectionTable::shard_hash(keys[0].reversed()));
}

TEST(Connections, TheLastEntriesAreForWhoHasFew) {
  ConnectionTable table(1000);
  std::uint32_t n = 0;
  for (const std::uint32_t owner : {1U, 2U, 3U, 4U}) {
    while (table.has_share_left(owner)) ASSERT_NE(table.add(beginning(key(++n), owner), 100), 0U);
  }
  EXPECT_GT(table.of_owner(1), 700U) << "alone it has most of them";
  EXPECT_LT(table.size(), 1000U);
  EXPECT_TRUE(table.has_share_left(5));
}

TEST(Connections, ALookIsALookAlsoIfNothingEnds) {
  ConnectionTable table(5000);
  ASSERT_NE(table.add(beginning(key(1)), 100), 0U);
  for (std::uint32_t n = 2; n <= 3000; ++n) ASSERT_NE(table.add(beginning(key(n)), 100), 0U);
  for (std::uint32_t n = 2; n <= 3000; ++n) table.note(table.find(key(n)).index, 0, 100, 0, 200);
  const std::uint32_t over = 100 + kUdpOpeningSeconds + 2;
  unsigned calls = 0;
  for (; table.size() == 3000; ++calls) table.expire(over);
  EXPECT_EQ(calls, 6U) << "the first one stands behind 2,999 that go on";
  table.expire(over);
  EXPECT_EQ(table.size(), 2999U);
  for (calls = 0; table.size() > 0; ++calls) table.expire(400);
  EXPECT_GE(calls, 5U);
}

TEST(Connections, ALongSilenceIsSwept) {
  ConnectionTable table(8);
  ASSERT_NE(table.add(beginning(key(1, wire::kProtocolTcp)), 100), 0U);
  table.expire(1'000'000);
  EXPECT_EQ(table.size(), 0U);
}

TEST(NatPorts, BlocksAreOfOneOwner) {
  NatPorts ports(4096);
  const NatPorts::Pool pool{0x64400001, 1, 1};
  std::map<std::uint32_t, std::uint32_t> block_owner;
  std::vector<std::uint32_t> taken;
  for (std::uint32_t n = 1; n <= 600; ++n) {
    const std::uint32_t owner = 1 + n % 2;
    const std::uint32_t mapping = ports.take(key(n), owner, pool);
    ASSERT_NE(mapping, 0U) << n;
    taken.push_back(mapping);
    const auto [known, is_new] = block_owner.emplace(ports[mapping].block, owner);
    EXPECT_EQ(known->second, owner);
  }
  EXPECT_EQ(block_owner.size(), 2U);
  for (const std::uint32_t mapping : taken) ports.release(mapping);
  EXPECT_NE(ports.take(key(1), 3, pool), 0U);
}

TEST(NatPorts, AReferenceKeepsTheMapping) {
  NatPorts ports(64);
  const NatPorts::Pool pool{0x64400001, 1, 1};
  const std::uint32_t first = ports.take(key(1), 1, pool);
  EXPECT_EQ(ports.take(key(1), 1, pool), first);
  const std::uint16_t port = ports[first].outside_port;
  ports.release(first);
  EXPECT_EQ(ports.take(key(1), 1, pool), first);
  EXPECT_EQ(ports[first].outside_port, port);
}

TEST(NatPorts, ASourceStaysWithAnAddressItHas) {  // RFC 4787 REQ-2
  NatPorts ports(4096);
  const NatPorts::Pool pool{0x64400001, 2, 1};
  const auto from_port = [](std::uint16_t port) {
    FlowKey one = key(1);
    one.ports = join_ports(port, 53);
    return one;
  };
  std::vector<std::uint32_t> first;
  for (std::uint16_t n = 0; n < NatPorts::kBlockPorts; ++n) first.push_back(ports.take(from_port(static_cast<std::uint16_t>(2000 + n)), 1, pool));
  const std::uint32_t moved = ports.take(from_port(5000), 1, pool);
  ASSERT_NE(moved, 0U);
  ASSERT_NE(ports[moved].outside, ports[first[0]].outside) << "the first address has no port left";
  for (const std::uint32_t mapping : first) ports.release(mapping);
  EXPECT_EQ(ports[ports.take(from_port(6000), 1, pool)].outside, ports[moved].outside);
}

TEST(NatPorts, AnAddressGivesItsPlaceAwayWhenNothingOfItIsInUse) {
  NatPorts ports(64);
  for (std::uint32_t n = 0; n < 3 * NatPorts::kAddresses; ++n) {
    const std::uint32_t mapping = ports.take(key(1), 1, {0x64400000 + n, 1, 1});
    ASSERT_NE(mapping, 0U) << n;
    ports.release(mapping);
  }
  NatPorts all(NatPorts::kAddresses + 8);
  std::vector<std::uint32_t> taken;
  for (std::uint32_t n = 0; n < NatPorts::kAddresses; ++n) {
    FlowKey one = key(n + 1);
    one.context = FlowKey::context_of(n, 4, wire::kProtocolUdp);  // each in a domain of its own
    taken.push_back(all.take(one, 1, {0x64400000 + n, 1, 1}));
  }
  EXPECT_NE(taken.back(), 0U);
  const NatPorts::Pool other{0x64500000, 1, 1};
  EXPECT_EQ(all.take(key(9999), 1, other), 0U) << "all places are taken";
  EXPECT_NE(all.take(key(1), 2, {0x64400001, 1, 1}), 0U) << "those that are there go on";
  all.release(taken[9]);
  EXPECT_NE(all.take(key(9999), 1, other), 0U);
}

TEST(NatPorts, ADomainLeavesPlacesToOthers) {
  const auto in_domain = [](std::uint32_t domain, std::uint32_t n) {
    FlowKey one = key(n);
    one.context = FlowKey::context_of(domain, 4, wire::kProtocolUdp);
    return one;
  };
  NatPorts ports(2 * NatPorts::kAddresses);
  const NatPorts::Pool pool{0x64400000, NatPorts::kAddresses, 1};
  const auto take = [&](std::uint32_t domain, std::uint32_t n) { return ports.take(in_domain(domain, n), domain, {pool.first + n, 1, 1}); };
  std::uint32_t greedy = 0;
  while (take(1, greedy + 1) != 0) ++greedy;
  EXPECT_EQ(greedy, (4 * NatPorts::kAddresses + 4) / 5);
  std::uint32_t next = 0;
  while (take(2, next + 1) != 0) ++next;
  EXPECT_GT(next, NatPorts::kAddresses / 8);
  EXPECT_NE(take(3, 1), 0U);
  EXPECT_EQ(take(1, greedy + 1), 0U);
  EXPECT_NE(ports.take(in_domain(1, greedy + 1), 1, pool), 0U) << "an address that it has goes on";
  // The next process has the same ones, in whichever order they come.
  NatPorts adopting(2 * NatPorts::kAddresses);
  for (std::uint32_t n = 1; n <= next; ++n) ASSERT_NE(adopting.adopt(in_domain(2, n), 2, byteswap(pool.first + n), 2000), 0U) << n;
  for (std::uint32_t n = 1; n <= greedy; ++n) ASSERT_NE(adopting.adopt(in_domain(1, n), 1, byteswap(pool.first + n), 2000), 0U) << n;
}

TEST(NatPorts, ReservedPortsAreGivenToNobody) {
  NatPorts ports(4096);
  const NatPorts::Pool pool{0x64400001, 1, 1};
  const std::uint32_t address = byteswap(pool.first);
  ReservedPorts reserved;
  for (std::uint32_t port = NatPorts::kFirstPort; port < NatPorts::kFirstPort + 2 * NatPorts::kBlockPorts; ++port) {
    if (port != 1600) reserved.add(address, wire::kProtocolUdp, static_cast<std::uint16_t>(port));
  }
  const auto take = [&](std::uint16_t source, std::uint8_t protocol, const ReservedPorts* without) -> std::uint16_t {
    FlowKey one = key(1, protocol);
    one.ports = join_ports(source, 53);
    const std::uint32_t mapping = ports.take(one, 1, pool, without);
    return mapping == 0 ? std::uint16_t{0} : ports[mapping].outside_port;
  };
  EXPECT_EQ(take(1, wire::kProtocolUdp, &reserved), 1600) << "a block without a free port is not taken";
  EXPECT_EQ(take(2, wire::kProtocolUdp, &reserved), 0) << "one block only";
  EXPECT_NE(take(2, wire::kProtocolTcp, &reserved), 0) << "TCP has ports of its own";
  const std::uint16_t before = take(3, wire::kProtocolUdp, nullptr);
  EXPECT_NE(before, 0) << "the service went away";
  EXPECT_EQ(take(3, wire::kProtocolUdp, &reserved), 0) << "and came back: the port is not given anew";
  reserved.add(address, 0, 0);
  EXPECT_EQ(take(9, wire::kProtocolTcp, &reserved), 0);
}

TEST(NatPorts, AFullTableTakesNoPorts) {
  NatPorts ports(4);  // the first stands for none
  const NatPorts::Pool pool{0x64400001, 1, 1};
  std::vector<std::uint32_t> taken;
  for (std::uint32_t n = 1; n <= 3; ++n) taken.push_back(ports.take(key(n), 1, pool));
  EXPECT_EQ(ports.take(key(4), 1, pool), 0U);
  for (const std::uint32_t mapping : taken) ports.release(mapping);
  EXPECT_NE(ports.take(key(4), 2, pool), 0U) << "the block is nobody's again";
}

}  // namespace
}  // namespace simplon::forward
