// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/connections.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

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
  EXPECT_EQ(table.find(key(1), key(1).hash()).direction, 0U);
  EXPECT_EQ(table.find(key(1), key(1).hash()).index, index);
  const FlowKey back = key(1).reversed();
  EXPECT_EQ(table.find(back, back.hash()).direction, 1U);
  EXPECT_EQ(table.find(key(2), key(2).hash()).index, 0U);
  EXPECT_EQ(ConnectionTable::shard_hash(key(1)), ConnectionTable::shard_hash(back));
  table.remove(index);
  EXPECT_EQ(table.find(key(1), key(1).hash()).index, 0U);
  EXPECT_EQ(table.find(back, back.hash()).index, 0U);
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
    const auto found = table.find(key(n), key(n).hash());
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
