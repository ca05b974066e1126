// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>

#include "gateway/forward/memory_io.h"
#include "gateway/forward/src/tables/table_state.h"

namespace simplon::forward {
namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
IpPrefix prefix(const std::string& text) { return IpPrefix::parse(text).value(); }
MacAddress mac(const char* text) { return MacAddress::parse(text).value(); }

VpcEntry vpc(std::uint32_t vni, std::uint32_t domain = 1) {
  return {Vni{vni},
          DomainId{domain},
          ip("192.0.2.1"),
          4789,
          mac("02:00:00:00:00:01"),
          {prefix("10.0.0.0/8")},
          {ip("192.0.2.11")},
          1450};
}
RouteEntry route(const std::string& to, std::vector<NextHopEntry> hops, std::uint32_t domain = 1) {
  return {DomainId{domain}, prefix(to), RouteAction::kForward, std::move(hops)};
}
std::shared_ptr<Sa> sa(SaDirection direction, std::uint32_t spi, std::uint32_t tunnel, const char* destination) {
  SaSpec spec;
  spec.direction = direction;
  spec.spi = Spi{spi};
  spec.tunnel = TunnelId{tunnel};
  spec.path = {ip("198.51.100.1"), ip(destination), false, 0, 0};
  spec.key = crypto::SecretKey(std::vector<std::uint8_t>(36, 1));
  return Sa::create(spec).value();
}
const AttachmentId kVpc = AttachmentId::vpc(Vni{1});
const AttachmentId kTunnel = AttachmentId::tunnel(TunnelId{1});

TEST(Tables, RefusesWithTheReasonAndChangesNothing) {
  Tables tables;
  const auto refused = [](const Result<void>& result, const std::string& naming) {
    return !result.has_value() && result.error().code == ErrorCode::kInvalidConfig &&
           result.error().what.find(naming) != std::string::npos;
  };
  VpcEntry wrong = vpc(0);
  EXPECT_TRUE(refused(tables.upsert_vpc(wrong), "vpc 0"));
  EXPECT_TRUE(refused(tables.upsert_vpc(vpc(1U << 24)), "vpc 16777216"));
  wrong = vpc(5);
  wrong.gateway_mac = mac("01:00:00:00:00:01");
  EXPECT_TRUE(refused(tables.upsert_vpc(wrong), "01:00:00:00:00:01"));
  wrong = vpc(5);
  wrong.vtep = ip("224.0.0.1");
  EXPECT_TRUE(refused(tables.upsert_vpc(wrong), "224.0.0.1"));
  EXPECT_TRUE(refused(tables.upsert_endpoint({Vni{1}, ip("10.0.0.1"), MacAddress{}, ip("192.0.2.1")}), "10.0.0.1"));
  EXPECT_TRUE(refused(tables.upsert_route(route("10.0.0.0/8", {})), "10.0.0.0/8"));
  EXPECT_TRUE(refused(tables.upsert_route(route("10.0.0.0/8", std::vector<NextHopEntry>(65, {kVpc, 1}))), "65"));
  EXPECT_TRUE(refused(tables.upsert_route(route("10.0.0.0/8", {{kVpc, 0}})), "weight 0"));
  EXPECT_TRUE(refused(tables.upsert_tunnel({TunnelId{0}, DomainId{1}, 0, true}), "tunnel 0"));
  EXPECT_TRUE(refused(tables.upsert_port({PortId{1}, PortKind::kUplink, {}, false, {}}), "port 1"));
  EXPECT_TRUE(refused(tables.set_outbound(TunnelId{2}, sa(SaDirection::kOutbound, 256, 1, "192.0.2.9")), "256"));
  const auto counts = tables.counts();
  EXPECT_EQ(counts.vpcs + counts.endpoints + counts.routes + counts.tunnels + counts.adjacencies, 0U);
}

TEST(Tables, ResynchronisationChangesNothing) {
  Tables tables;
  tables.upsert_domain(DomainId{1});
  tables.upsert_vpc(vpc(1));
  tables.upsert_tunnel({TunnelId{1}, DomainId{1}, 0, true});
  tables.upsert_endpoint({Vni{1}, ip("10.0.0.1"), mac("02:00:00:00:00:05"), ip("192.0.2.11")});
  tables.upsert_route(route("10.0.0.0/8", {{kVpc, 1}}));
  tables.upsert_route(route("10.1.0.0/16", {{kTunnel, 1}, {kVpc, 2}}));
  tables.set_adjacency(ip("192.0.2.11"), {true, PortId{0}, mac("02:00:00:00:00:01"), mac("02:00:00:00:00:02"), 1500});
  tables.commit();
  tables.commit();
  ASSERT_EQ(tables.quiescence().waiting(), 0U);

  tables.upsert_domain(DomainId{1});
  tables.upsert_vpc(vpc(1));
  tables.upsert_tunnel({TunnelId{1}, DomainId{1}, 0, true});
  tables.upsert_endpoint({Vni{1}, ip("10.0.0.1"), mac("02:00:00:00:00:05"), ip("192.0.2.11")});
  tables.upsert_route(route("10.0.0.0/8", {{kVpc, 1}}));
  tables.upsert_route(route("10.1.0.0/16", {{kTunnel, 1}, {kVpc, 2}}));
  EXPECT_EQ(tables.quiescence().waiting(), 0U) << "an object was replaced";
  EXPECT_EQ(tables.counts().routes, 2U);
}

TEST(Tables, SlotsComeAndGoWithTheirUsers) {
  Tables tables;
  // References first, objects later, and the other way round at the end.
  tables.upsert_route(route("10.0.0.0/8", {{kTunnel, 1}}));
  EXPECT_TRUE(tables.totals(kTunnel).has_value());
  tables.upsert_tunnel({TunnelId{1}, DomainId{1}, 0, true});
  tables.install_inbound(sa(SaDirection::kInbound, 300, 1, "198.51.100.1"));
  tables.set_outbound(TunnelId{1}, sa(SaDirection::kOutbound, 400, 1, "192.0.2.9"));
  tables.upsert_host_port({kTunnel, PortId{5}, {ip("169.254.0.1")}});
  tables.remove_tunnel(TunnelId{1});
  EXPECT_TRUE(tables.totals(kTunnel).has_value());
  tables.remove_route(DomainId{1}, prefix("10.0.0.0/8"));
  tables.remove_inbound(Spi{300});
  tables.set_outbound(TunnelId{1}, nullptr);
  EXPECT_TRUE(tables.totals(kTunnel).has_value());
  tables.remove_host_port(kTunnel);
  EXPECT_FALSE(tables.totals(kTunnel).has_value());
  tables.commit();
  const auto counts = tables.counts();
  EXPECT_EQ(counts.tunnels + counts.routes + counts.inbound_sas + counts.adjacencies + counts.domains, 0U);
  EXPECT_EQ(tables.quiescence().waiting(), 0U);
}

TEST(Tables, RandomUpdatesLeaveNothingBehind) {
  std::mt19937 random(13);
  Tables tables;
  const auto number = [&](unsigned below) { return 1 + static_cast<std::uint32_t>(random() % below); };
  for (int step = 0; step < 20000; ++step) {
    const AttachmentId tunnel = AttachmentId::tunnel(TunnelId{number(5)});
    const AttachmentId any = random() % 2 == 0 ? AttachmentId::vpc(Vni{number(5)}) : tunnel;
    const std::string to = "10." + std::to_string(number(3)) + ".0.0/" + std::to_string(14 + number(10));
    const auto parsed = IpPrefix::parse(to);
    const IpPrefix target = parsed ? *parsed : IpPrefix(ip("10.0.0.0"), 8);
    switch (random() % 12) {
      case 0:
        tables.upsert_domain(DomainId{number(3)});
        break;
      case 1:
        tables.remove_domain(DomainId{number(3)});
        break;
      case 2:
        tables.upsert_vpc(vpc(number(5), number(3)));
        break;
      case 3:
        tables.remove_vpc(Vni{number(5)});
        break;
      case 4:
        tables.upsert_tunnel({TunnelId{tunnel.id}, DomainId{number(3)}, 0, random() % 2 == 0});
        break;
      case 5:
        tables.remove_tunnel(TunnelId{tunnel.id});
        break;
      case 6:
        tables.upsert_endpoint({Vni{number(5)}, ip("10.0.0." + std::to_string(number(9))), mac("02:00:00:00:00:05"),
                                ip("192.0.2." + std::to_string(number(9)))});
        break;
      case 7:
        tables.remove_endpoint(Vni{number(5)}, ip("10.0.0." + std::to_string(number(9))));
        break;
      case 8: {
        RouteEntry entry{DomainId{number(3)}, target, RouteAction::kForward, {{any, 1}}};
        if (random() % 2 == 0) entry.nexthops.push_back({tunnel, static_cast<std::uint16_t>(number(9))});
        if (random() % 5 == 0) entry.action = RouteAction::kUnreachable;
        tables.upsert_route(entry);
        break;
      }
      case 9:
        tables.remove_route(DomainId{number(3)}, target);
        break;
      case 10:
        tables.upsert_host_port({any, PortId{number(4)}, {ip("10.0.0.1")}});
        break;
      case 11:
        tables.remove_host_port(any);
        break;
    }
    if (step % 50 == 0) tables.commit();
  }
  for (std::uint32_t i = 1; i <= 5; ++i) {
    tables.remove_vpc(Vni{i});
    tables.remove_tunnel(TunnelId{i});
    tables.remove_host_port(AttachmentId::vpc(Vni{i}));
    tables.remove_host_port(AttachmentId::tunnel(TunnelId{i}));
    for (int host = 1; host <= 9; ++host) tables.remove_endpoint(Vni{i}, ip("10.0.0." + std::to_string(host)));
    for (std::uint32_t third = 0; third <= 3; ++third) {
      for (unsigned length = 8; length <= 24; ++length) {
        tables.remove_route(DomainId{i}, IpPrefix(ip("10." + std::to_string(third) + ".0.0"), length));
      }
    }
    tables.remove_domain(DomainId{i});
  }
  tables.commit();
  const auto counts = tables.counts();
  EXPECT_EQ(counts.domains, 0U);
  EXPECT_EQ(counts.endpoints, 0U);
  EXPECT_EQ(counts.routes, 0U);
  EXPECT_EQ(counts.adjacencies, 0U);
  for (std::uint32_t i = 1; i <= 5; ++i) {
    EXPECT_FALSE(tables.totals(AttachmentId::vpc(Vni{i})).has_value());
    EXPECT_FALSE(tables.totals(AttachmentId::tunnel(TunnelId{i})).has_value());
  }
  EXPECT_EQ(tables.quiescence().waiting(), 0U);
}

TEST(Tables, AdjacenciesAreWantedOnceAndReleasedOnce) {
  Tables tables;
  std::map<std::string, int> wanted;
  tables.on_adjacency([&](const IpAddress& to, bool want) { wanted[to.to_string()] += want ? 1 : -1; });
  const auto endpoint = [&](const char* host, const char* vtep) {
    tables.upsert_endpoint({Vni{1}, ip(host), mac("02:00:00:00:00:05"), ip(vtep)});
  };
  endpoint("10.0.0.1", "192.0.2.11");
  endpoint("10.0.0.2", "192.0.2.11");
  endpoint("10.0.0.1", "192.0.2.12");  // moved
  auto out = sa(SaDirection::kOutbound, 400, 1, "192.0.2.12");
  tables.set_outbound(TunnelId{1}, out);
  EXPECT_EQ(wanted["192.0.2.11"], 1);
  EXPECT_EQ(wanted["192.0.2.12"], 1);
  tables.set_path(*out, {ip("198.51.100.1"), ip("192.0.2.13"), false, 0, 0});
  EXPECT_EQ(wanted["192.0.2.13"], 1);
  tables.remove_endpoint(Vni{1}, ip("10.0.0.1"));
  tables.remove_endpoint(Vni{1}, ip("10.0.0.1"));
  EXPECT_EQ(wanted["192.0.2.12"], 0);
  EXPECT_EQ(wanted["192.0.2.11"], 1);
  tables.remove_endpoint(Vni{1}, ip("10.0.0.2"));
  tables.set_outbound(TunnelId{1}, nullptr);
  for (const auto& [to, count] : wanted) EXPECT_EQ(count, 0) << to;
  EXPECT_TRUE(tables.wanted_adjacencies().empty());

  endpoint("10.0.0.1", "192.0.2.11");
  int heard = 0;
  tables.on_adjacency([&](const IpAddress&, bool want) { heard += want ? 1 : 100; });
  EXPECT_EQ(heard, 1) << "those already wanted are told";
}

TEST(Tables, APortWithTheNumberOfARemovedOneBeginsToCountAnew) {
  FramePool pool = FramePool::create(8).value();
  Tables tables;
  const auto io = std::make_shared<MemoryIo>(pool);
  ASSERT_TRUE(tables.upsert_port({PortId{3}, PortKind::kHost, {}, false, {io}}).has_value());
  tables.add_traffic(PortId{3}, {.rx_packets = 5, .rx_bytes = 500});
  ASSERT_TRUE(tables.upsert_port({PortId{3}, PortKind::kHost, {}, true, {io}}).has_value());
  EXPECT_EQ(tables.totals(PortId{3})->rx_packets, 5U) << "it is still the same";
  tables.remove_port(PortId{3});
  EXPECT_FALSE(tables.totals(PortId{3}).has_value());
  ASSERT_TRUE(tables.upsert_port({PortId{3}, PortKind::kHost, {}, false, {io}}).has_value());
  EXPECT_EQ(tables.totals(PortId{3})->rx_packets, 0U);
}

TEST(Tables, APortsIoIsDestroyedWhenNoWorkerCanSeeIt) {
  FramePool pool = FramePool::create(8).value();
  Tables tables;
  auto io = std::make_shared<MemoryIo>(pool);
  const std::weak_ptr<MemoryIo> watch = io;
  ASSERT_TRUE(tables.upsert_port({PortId{3}, PortKind::kUplink, {}, false, {io}}).has_value());
  ASSERT_TRUE(tables.upsert_port({PortId{4}, PortKind::kUplink, {}, false, {std::move(io)}}).has_value());
  EXPECT_EQ(tables.state().inputs.load()->of_worker[0].size(), 1U) << "one PacketIo, polled once";
  tables.quiescence().online(0);
  tables.remove_port(PortId{3});
  tables.remove_port(PortId{4});
  const auto token = tables.commit();
  EXPECT_FALSE(tables.applied(token));
  EXPECT_FALSE(watch.expired());
  tables.quiescence().quiescent(0);
  EXPECT_TRUE(tables.applied(token));
  tables.reclaim();
  EXPECT_TRUE(watch.expired());
  tables.quiescence().offline(0);
}

TEST(Tables, ConflictingSpiIsRefusedAndAgainIsFine) {
  Tables tables;
  const auto one = sa(SaDirection::kInbound, 300, 1, "198.51.100.1");
  EXPECT_TRUE(tables.install_inbound(one).has_value());
  EXPECT_TRUE(tables.install_inbound(one).has_value());
  const auto other = tables.install_inbound(sa(SaDirection::kInbound, 300, 2, "198.51.100.1"));
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().code, ErrorCode::kConflict);
  EXPECT_EQ(tables.counts().inbound_sas, 1U);
}

TEST(EcmpGroup, SpreadsByWeight) {
  Tables tables;
  tables.upsert_route(route("10.0.0.0/8", {{kTunnel, 1}, {AttachmentId::tunnel(TunnelId{2}), 3}}));
  const EcmpGroup* group = tables.state().groups[1].load();
  ASSERT_NE(group, nullptr);
  std::map<std::uint32_t, int> share;
  for (std::uint64_t hash = 0; hash < (std::uint64_t{1} << 32); hash += 1U << 22) {
    ++share[group->pick(static_cast<std::uint32_t>(hash))];
  }
  ASSERT_EQ(share.size(), 2U);
  EXPECT_NEAR(share.begin()->second, 256, 8);
  EXPECT_NEAR(share.rbegin()->second, 768, 8);
}

/// What workers see of the group in a slot: a slot of an attachment for each bucket.
std::array<std::uint32_t, EcmpGroup::kBuckets> buckets(const Tables& tables, std::uint32_t slot) {
  const EcmpGroup* group = tables.state().groups[slot].load();
  return group == nullptr ? decltype(EcmpGroup::slots){} : group->slots;
}

/// Of the one route with several nexthops, after a commit.
std::array<std::uint32_t, EcmpGroup::kBuckets> only_group(const Tables& tables) {
  std::uint32_t slot = 1;
  while (tables.state().groups[slot].load() == nullptr) ++slot;
  return buckets(tables, slot);
}

int moved(const decltype(EcmpGroup::slots)& before, const decltype(EcmpGroup::slots)& after) {
  int count = 0;
  for (std::size_t i = 0; i < before.size(); ++i) count += before[i] != after[i] ? 1 : 0;
  return count;
}

int share(const decltype(EcmpGroup::slots)& slots, std::uint32_t of) {
  return static_cast<int>(std::count(slots.begin(), slots.end(), of));
}

NextHopEntry hop(std::uint32_t tunnel, std::uint16_t weight = 1) {
  return {AttachmentId::tunnel(TunnelId{tunnel}), weight};
}

TEST(EcmpGroup, OnlyFlowsOfANexthopThatLeftMoveAndANewOneTakesItsShare) {
  Tables tables;
  tables.upsert_route(route("10.0.0.0/8", {hop(1), hop(2), hop(3), hop(4)}));
  tables.commit();
  const auto four = buckets(tables, 1);
  tables.upsert_route(route("10.0.0.0/8", {hop(1), hop(2), hop(4)}));
  tables.commit();
  const auto three = buckets(tables, 2);
  const std::uint32_t gone = four[128];  // the third quarter
  for (std::size_t i = 0; i < four.size(); ++i) {
    EXPECT_TRUE(four[i] == gone || three[i] == four[i]) << i;
    EXPECT_NE(three[i], gone) << i;
  }
  for (const std::size_t bucket : {0U, 64U, 192U}) EXPECT_NEAR(share(three, four[bucket]), 256.0 / 3, 1);

  // A route that goes from one nexthop to two keeps half of its flows where they are.
  tables.upsert_route(route("10.0.0.0/8", {hop(2)}));
  tables.upsert_route(route("10.0.0.0/8", {hop(2), hop(9)}));
  tables.commit();
  const auto two = only_group(tables);
  EXPECT_EQ(share(two, four[64]), 128);
  tables.upsert_route(route("10.0.0.0/8", {hop(2), hop(5), hop(9)}));
  tables.commit();
  EXPECT_NEAR(moved(two, only_group(tables)), 256.0 / 3, 1);

  // The same nexthops again change nothing, and another route shares the group.
  const auto before = tables.quiescence().waiting();
  tables.upsert_route(route("10.0.0.0/8", {hop(9), hop(5), hop(2)}));
  EXPECT_EQ(tables.quiescence().waiting(), before);
}

TEST(EcmpGroup, WeightsHoldWhenANexthopLeaves) {
  Tables tables;
  tables.upsert_route(route("10.0.0.0/8", {hop(1, 1), hop(2, 3), hop(3, 4)}));
  const auto all = buckets(tables, 1);
  tables.upsert_route(route("10.0.0.0/8", {hop(1, 1), hop(2, 3)}));
  const auto rest = buckets(tables, 2);
  EXPECT_NEAR(share(rest, all[0]), 64, 2);
  EXPECT_NEAR(share(rest, all[100]), 192, 2);
  EXPECT_EQ(moved(all, rest), share(all, all[255]));
}

/// Tunnels 1 to 4, whose peers are all behind port 3.
struct FourTunnels {
  FourTunnels() {
    auto io = std::make_shared<MemoryIo>(pool);
    EXPECT_TRUE(tables.upsert_port({PortId{3}, PortKind::kUplink, {}, false, {std::move(io)}}).has_value());
    for (std::uint32_t i = 1; i <= 4; ++i) {
      tables.upsert_tunnel({TunnelId{i}, DomainId{1}, 0, true});
      sas.push_back(sa(SaDirection::kOutbound, 400 + i, i, peer(i).c_str()));
      tables.set_outbound(TunnelId{i}, sas.back());
      resolve(i, true);
    }
  }
  static std::string peer(std::uint32_t tunnel) { return "192.0.2." + std::to_string(tunnel); }
  void resolve(std::uint32_t tunnel, bool resolved, PortId port = PortId{3}) {
    const MacAddress any = mac("02:00:00:00:00:09");
    EXPECT_TRUE(tables.set_adjacency(ip(peer(tunnel)), {resolved, port, any, any, 1500}).has_value());
  }

  FramePool pool = FramePool::create(16).value();
  Tables tables;
  std::vector<std::shared_ptr<Sa>> sas;
};

TEST(EcmpGroup, AMemberThatCannotSendLeavesItsFlowsToTheOthersUntilItCan) {
  FourTunnels four;
  Tables& tables = four.tables;
  const auto& sas = four.sas;
  tables.upsert_route(route("10.0.0.0/8", {hop(1), hop(2), hop(3), hop(4)}));
  tables.commit();
  const auto all = buckets(tables, 1);
  const auto slot_of = [&](std::uint32_t tunnel) { return all[(tunnel - 1) * 64]; };
  const auto expect_without = [&](const std::vector<std::uint32_t>& gone) {
    const auto now = buckets(tables, 1);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool lost = std::find(gone.begin(), gone.end(), all[i]) != gone.end();
      EXPECT_TRUE(lost || now[i] == all[i]) << i;
      EXPECT_EQ(std::find(gone.begin(), gone.end(), now[i]), gone.end()) << i;
    }
    return now;
  };
  tables.set_outbound(TunnelId{2}, nullptr);
  const auto without_2 = expect_without({slot_of(2)});
  for (const std::uint32_t other : {1U, 3U, 4U}) EXPECT_GT(share(without_2, slot_of(other)), 64 + 8);
  // The second failure moves only what was with it.
  tables.remove_tunnel(TunnelId{3});
  const auto without_2_3 = expect_without({slot_of(2), slot_of(3)});
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(without_2[i] == slot_of(3) || without_2_3[i] == without_2[i]) << i;
  }
  tables.upsert_tunnel({TunnelId{3}, DomainId{1}, 0, true});
  EXPECT_EQ(buckets(tables, 1), without_2);
  // None is left: each keeps its own, and what comes is dropped with a name.
  for (const std::uint32_t tunnel : {1U, 3U, 4U}) tables.set_outbound(TunnelId{tunnel}, nullptr);
  EXPECT_EQ(buckets(tables, 1), all);
  for (std::uint32_t i = 1; i <= 4; ++i) {
    tables.set_outbound(TunnelId{i}, sas[i - 1]);
    four.resolve(i, true);
  }
  EXPECT_EQ(buckets(tables, 1), all);
}

TEST(EcmpGroup, ATunnelWhosePeerCannotBeReachedIsLeft) {
  FourTunnels four;
  Tables& tables = four.tables;
  tables.upsert_route(route("10.0.0.0/8", {hop(1), hop(2)}));
  tables.commit();
  const auto both = buckets(tables, 1);
  const std::uint32_t first = both[0];
  const std::uint32_t second = both[255];
  four.resolve(1, false);
  EXPECT_EQ(share(buckets(tables, 1), second), 256);
  four.resolve(1, true);
  EXPECT_EQ(buckets(tables, 1), both);
  // The peer is behind an uplink that is not there, is there, loses its link, is removed.
  four.resolve(1, true, PortId{4});
  EXPECT_EQ(share(buckets(tables, 1), second), 256);
  auto io = std::make_shared<MemoryIo>(four.pool);
  ASSERT_TRUE(tables.upsert_port({PortId{4}, PortKind::kUplink, {}, false, {std::move(io)}}).has_value());
  EXPECT_EQ(buckets(tables, 1), both);
  tables.set_carrier(PortId{4}, false);
  EXPECT_EQ(share(buckets(tables, 1), second), 256);
  tables.set_carrier(PortId{4}, true);
  EXPECT_EQ(buckets(tables, 1), both);
  tables.remove_port(PortId{4});
  EXPECT_EQ(share(buckets(tables, 1), second), 256);
  // The SA moves to another peer, whose adjacency is there.
  ASSERT_TRUE(tables.set_path(*four.sas[0], {ip("198.51.100.1"), ip(FourTunnels::peer(3)), false, 0, 0}).has_value());
  EXPECT_EQ(buckets(tables, 1), both);
  four.resolve(1, false);
  EXPECT_EQ(buckets(tables, 1), both);
  four.resolve(3, false);
  EXPECT_EQ(share(buckets(tables, 1), first), 0);
}

NextHopEntry backup(std::uint32_t tunnel) {
  NextHopEntry made = hop(tunnel);
  made.backup = true;
  return made;
}

TEST(EcmpGroup, BackupsTakeOverOnlyWhileNoOtherCanSend) {
  FourTunnels four;
  Tables& tables = four.tables;
  tables.upsert_route(route("10.0.0.0/8", {hop(1), hop(2), backup(3), backup(4)}));
  tables.upsert_route(route("10.1.0.0/16", {backup(4), hop(2), backup(3), hop(1)}));
  tables.commit();
  EXPECT_EQ(tables.state().groups[2].load(), nullptr) << "the same nexthops are one group";
  const auto before = buckets(tables, 1);
  const std::uint32_t first = before[0];
  const std::uint32_t second = before[255];
  EXPECT_EQ(share(before, first), 128);
  EXPECT_EQ(share(before, second), 128);
  EXPECT_EQ(tables.counts().routes_on_backup, 0U);

  tables.set_outbound(TunnelId{1}, nullptr);
  EXPECT_EQ(share(buckets(tables, 1), second), 256) << "another primary comes before backups";
  tables.set_outbound(TunnelId{2}, nullptr);
  const auto standby = buckets(tables, 1);
  EXPECT_EQ(share(standby, first) + share(standby, second), 0);
  EXPECT_GT(share(standby, standby[0]), 64);
  EXPECT_LT(share(standby, standby[0]), 192);
  EXPECT_EQ(tables.counts().routes_on_backup, 2U);
  EXPECT_EQ(tables.counts().switches_to_backup, 1U);
  four.resolve(4, false);
  const auto last = buckets(tables, 1);
  EXPECT_EQ(share(last, last[0]), 256);
  EXPECT_EQ(tables.counts().switches_to_backup, 1U) << "from one backup to another";
  four.resolve(3, false);
  EXPECT_EQ(buckets(tables, 1), before) << "none is left: each keeps its own";
  EXPECT_EQ(tables.counts().routes_on_backup, 0U);
  four.resolve(3, true);
  four.resolve(4, true);
  EXPECT_EQ(buckets(tables, 1), standby);
  tables.set_outbound(TunnelId{2}, four.sas[1]);
  four.resolve(2, true);
  EXPECT_EQ(share(buckets(tables, 1), second), 256);
  tables.set_outbound(TunnelId{1}, four.sas[0]);
  four.resolve(1, true);
  EXPECT_EQ(buckets(tables, 1), before);
}

/// Circuits 1 to 3 with a gateway each on ports 1 to 3, tunnels 1 and 2 behind port 3, and what is known to be there.
class Exits {
 public:
  static constexpr std::uint32_t kCircuits = 3;
  static constexpr std::uint32_t kTunnels = 2;

  void change(std::mt19937& random) {
    const auto number = static_cast<std::uint32_t>(1 + random() % kCircuits);
    const auto tunnel = static_cast<std::uint32_t>(1 + random() % kTunnels);
    switch (random() % 7) {
      case 0:
        if (ports_.erase(number) != 0) {
          without_carrier_.erase(number);
          return tables.remove_port(PortId{number});
        }
        ports_.insert(number);
        EXPECT_TRUE(tables.upsert_port({PortId{number}, PortKind::kUplink, {}, false, {std::make_shared<MemoryIo>(pool_)}}).has_value());
        return;
      case 1: {
        const bool carrier = random() % 2 == 0;
        tables.set_carrier(PortId{number}, carrier);
        if (carrier || !ports_.contains(number)) {
          without_carrier_.erase(number);
        } else {
          without_carrier_.insert(number);
        }
        return;
      }
      case 2:
        if (circuits_.erase(number) != 0) return tables.remove_circuit(CircuitId{number});
        return place(number, random() % 4 == 0 ? 0 : number);
      case 3:
        if (circuits_.contains(number)) place(number, random() % 2 == 0 ? 0 : number);
        return;
      case 4:
        if (neighbors_.erase(number) != 0) return tables.remove_neighbor(CircuitId{number}, gateway(number));
        neighbors_.insert(number);
        EXPECT_TRUE(tables.upsert_neighbor({CircuitId{number}, gateway(number), mac("02:00:00:00:00:09")}).has_value());
        return;
      case 5:
        if (sas_.erase(tunnel) != 0) {
          resolved_.erase(tunnel);
          tables.set_outbound(TunnelId{tunnel}, nullptr);
          return;
        }
        sas_[tunnel] = sa(SaDirection::kOutbound, 500 + tunnel, tunnel, FourTunnels::peer(tunnel).c_str());
        tables.upsert_tunnel({TunnelId{tunnel}, DomainId{1}, 0, true});
        tables.set_outbound(TunnelId{tunnel}, sas_[tunnel]);
        return;
      default: {
        if (!sas_.contains(tunnel)) return;
        const bool resolved = random() % 3 != 0;
        const MacAddress any = mac("02:00:00:00:00:09");
        EXPECT_TRUE(tables.set_adjacency(ip(FourTunnels::peer(tunnel)), {resolved, PortId{3}, any, any, 1500}).has_value());
        resolved ? void(resolved_.insert(tunnel)) : void(resolved_.erase(tunnel));
      }
    }
  }
  [[nodiscard]] bool usable(const NextHopEntry& hop) const {
    const auto carries = [this](std::uint32_t port) { return ports_.contains(port) && !without_carrier_.contains(port); };
    const std::uint32_t id = hop.attachment.id;
    if (hop.attachment.kind == AttachmentKind::kTunnel) return sas_.contains(id) && resolved_.contains(id) && carries(3);
    const auto circuit = circuits_.find(id);
    return circuit != circuits_.end() && carries(circuit->second) && neighbors_.contains(id);
  }
  static IpAddress gateway(std::uint32_t circuit) { return ip("192.168." + std::to_string(circuit) + ".1"); }
  static NextHopEntry by_circuit(std::uint32_t circuit, bool backup) {
    return {AttachmentId::circuit(CircuitId{circuit}), 1, gateway(circuit), backup};
  }

  Tables tables;

 private:
  void place(std::uint32_t circuit, std::uint32_t port) {
    circuits_[circuit] = port;
    CircuitEntry entry{CircuitId{circuit}, DomainId{1}, port == 0 ? kNoPort : PortId{port}, 7, 0, 0x88a8, mac("02:00:00:00:00:01"), 1500, true};
    EXPECT_TRUE(tables.upsert_circuit(entry).has_value());
  }

  FramePool pool_ = FramePool::create(16).value();
  std::set<std::uint32_t> ports_, without_carrier_, neighbors_, resolved_;
  std::map<std::uint32_t, std::uint32_t> circuits_;
  std::map<std::uint32_t, std::shared_ptr<Sa>> sas_;
};

TEST(EcmpGroup, WhateverIsLostAndComesBackPacketsTakeWhatIsThere) {
  Exits exits;
  using Hops = std::vector<NextHopEntry>;
  const std::vector<Hops> all{{Exits::by_circuit(1, false), Exits::by_circuit(2, false), hop(1)},
                              {Exits::by_circuit(1, false), Exits::by_circuit(2, true)},
                              {Exits::by_circuit(3, false), hop(1), Exits::by_circuit(2, true), backup(2)},
                              {hop(2), Exits::by_circuit(1, true), Exits::by_circuit(3, true)}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    ASSERT_TRUE(exits.tables.upsert_route(route("10." + std::to_string(i) + ".0.0/16", all[i])).has_value());
  }
  exits.tables.commit();
  std::mt19937 random(7);
  std::size_t on_backup = 0;
  for (int step = 0; step < 4000; ++step) {
    exits.change(random);
    exits.tables.commit();
    for (std::size_t i = 0; i < all.size(); ++i) {
      const EcmpGroup* group = exits.tables.state().groups[static_cast<std::uint32_t>(i + 1)].load();
      std::set<AttachmentId> expected, used;
      const auto add = [&](auto&& takes) {
        for (const auto& one : all[i]) {
          if (takes(one)) expected.insert(one.attachment);
        }
      };
      add([&](const auto& one) { return !one.backup && exits.usable(one); });
      if (expected.empty()) add([&](const auto& one) { return one.backup && exits.usable(one); });
      const bool backups = !expected.empty() && std::none_of(all[i].begin(), all[i].end(), [&](const auto& one) {
        return !one.backup && exits.usable(one);
      });
      if (expected.empty()) add([](const auto& one) { return !one.backup; });
      for (const std::uint32_t slot : group->slots) used.insert(exits.tables.attachment_at(slot).value());
      ASSERT_EQ(used, expected) << "group " << i << " at step " << step;
      ASSERT_EQ(group->on_backup, backups);
      on_backup += backups ? 1 : 0;
    }
  }
  EXPECT_GT(on_backup, 500U);
}

TEST(EcmpGroup, BackupsAreReadBackAndMoveNoFlowWhenTheyChange) {
  FourTunnels four;
  Tables& tables = four.tables;
  tables.upsert_route(route("10.0.0.0/8", {hop(1), hop(2)}));
  tables.commit();
  const auto before = only_group(tables);
  tables.upsert_route(route("10.0.0.0/8", {hop(1), hop(2), backup(3)}));
  tables.commit();
  EXPECT_EQ(only_group(tables), before);
  EXPECT_EQ(tables.route(DomainId{1}, prefix("10.0.0.0/8"))->nexthops,
            (std::vector<NextHopEntry>{hop(1), hop(2), backup(3)}));
  // The backup becomes the only one, and the former primaries its backups: what it had to take it keeps.
  tables.upsert_route(route("10.0.0.0/8", {hop(3), backup(1), backup(2)}));
  tables.commit();
  const auto after = only_group(tables);
  EXPECT_EQ(share(after, after[0]), 256);
  EXPECT_EQ(std::count(before.begin(), before.end(), after[0]), 0);
  tables.upsert_route(route("10.0.0.0/8", {hop(3)}));
  tables.commit();
  EXPECT_EQ(tables.route(DomainId{1}, prefix("10.0.0.0/8"))->nexthops, (std::vector<NextHopEntry>{hop(3)}));

  const auto refused = tables.upsert_route(route("10.0.0.0/8", {backup(1), backup(2)}));
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("all nexthops are backups"), std::string::npos);
}

}  // namespace
}  // namespace simplon::forward
