// SPDX-License-Identifier: GPL-2.0-or-later
//
// Connections of domains with policy, each with one of several workers: whichever worker a packet reaches, what becomes of it
// is what one worker alone would have made of it.
#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <set>

#include "gateway/forward/adopt_connections.h"
#include "gateway/forward/src/policy/policer.h"
#include "gateway/forward/src/tables/table_state.h"
#include "gateway/forward/src/workers/hand_over_ring.h"
#include "gateway/forward/src/workers/shard.h"
#include "gateway/forward/trace.h"
#include "tests/packet/workers_rig.h"

namespace simplon::test {
namespace {

using namespace std::chrono_literals;
using forward::AclDirection;
using forward::AttachmentId;
using forward::Drop;
using forward::FlowKey;
using forward::NatKind;
using forward::NatRuleEntry;

const AttachmentId kVpc = AttachmentId::vpc(Vni{5001});
const AttachmentId kTunnel7 = AttachmentId::tunnel(TunnelId{7});

NatRuleEntry source_nat(const std::string& pool) {
  NatRuleEntry rule;
  rule.name = "source";
  rule.kind = NatKind::kSource;
  rule.attachment = kTunnel7;
  rule.sources = {Topology::prefix("10.1.0.0/16")};
  rule.outside = Topology::prefix(pool);
  return rule;
}
NatRuleEntry published(const std::string& outside, std::uint16_t port, const std::string& inside, std::uint16_t inside_port) {
  NatRuleEntry rule;
  rule.name = "published" + std::to_string(port);
  rule.kind = NatKind::kDestination;
  rule.outside = Topology::prefix(outside + "/32");
  rule.inside = Topology::prefix(inside + "/32");
  rule.protocol = 17;
  rule.outside_port = port;
  rule.inside_port = inside_port;
  return rule;
}
Bytes datagram(const std::string& src, std::uint16_t sport, const std::string& dst, std::uint16_t dport) {
  return ipv4({src, dst}, udp({sport, dport}, payload(21)));
}
std::uint16_t source_port(const Bytes& packet) { return be16(packet, 20); }

/// Packets arrive with random workers.
struct ShardedRig : WorkersRig {
  explicit ShardedRig(unsigned count, std::vector<NatRuleEntry> rules = {}) : WorkersRig(count) {
    if (!rules.empty()) Topology::must(tables.upsert_nat({kRed, std::move(rules)}));
  }
  /// What comes from the VPC and was allowed opens a connection; nothing else passes.
  void stateful_list(std::uint32_t max_connections = 65536) {
    forward::AclRuleEntry rule;
    rule.name = "out";
    rule.allow = true;
    rule.direction = AclDirection::kFrom;
    Topology::must(tables.upsert_acl({"vpc", false, {rule}}));
    forward::PolicyEntry policy;
    policy.attachment = kVpc;
    policy.domain = kRed;
    policy.acl = "vpc";
    policy.max_connections = max_connections;
    Topology::must(tables.upsert_policy(policy));
  }

  unsigned anybody() { return static_cast<unsigned>(random() % workers.size()); }
  std::vector<forward::MemoryIo::Sent> out_all(const Bytes& inner, unsigned worker) {
    inject(worker, kFabric, Rig::from_vm(inner));
    settle();
    return take_sent();
  }
  std::vector<forward::MemoryIo::Sent> back_all(const Bytes& inner, unsigned worker) {
    inject(worker, kWan, peer.from_site(7, inner));
    settle();
    return take_sent();
  }
  /// The packet as it arrives at the site; empty: it was dropped.
  Bytes out(const Bytes& inner) {
    const auto sent = out_all(inner, anybody());
    return sent.size() == 1 ? peer.to_site(7, sent[0]) : Bytes{};
  }
  Bytes back(const Bytes& inner) {
    const auto sent = back_all(inner, anybody());
    return sent.size() == 1 ? Rig::to_vm(sent[0]) : Bytes{};
  }

  std::mt19937 random{11};
  Rig peer;
};

std::string text(const Bytes& bytes) { return to_hex(bytes); }

class Sharded : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, Sharded, testing::Values(1U, 2U, 3U, 4U));

TEST_P(Sharded, AnswersPassWhicheverWorkerTheyReach) {
  ShardedRig rig(GetParam());
  rig.stateful_list();
  for (std::uint16_t i = 0; i < 100; ++i) {
    const Bytes request = datagram("10.1.0.5", static_cast<std::uint16_t>(5000 + i), "172.16.0.9", 53);
    const Bytes answer = datagram("172.16.0.9", 53, "10.1.0.5", static_cast<std::uint16_t>(5000 + i));
    EXPECT_EQ(text(rig.back(answer)), "") << "nobody asked";
    EXPECT_EQ(text(rig.out(request)), text(hop(request)));
    EXPECT_EQ(text(rig.back(answer)), text(hop(answer)));
    EXPECT_EQ(text(rig.out(request)), text(hop(request)));
  }
  const Bytes request6 = ipv6({"fd01::5", "fd16::9"}, udp({5000, 53}, payload(9)));
  const Bytes answer6 = ipv6({"fd16::9", "fd01::5"}, udp({53, 5000}, payload(9)));
  EXPECT_EQ(text(rig.out(request6)), text(hop(request6)));
  EXPECT_EQ(text(rig.back(answer6)), text(hop(answer6)));
  EXPECT_EQ(rig.tables.connections(), 101U);
  EXPECT_EQ(rig.dropped(Drop::kAclDenied), 100U);
  EXPECT_EQ(rig.handed_over() > 0, GetParam() > 1);
  for (const auto& view : rig.tables.list_connections(1000, 3600)) {
    EXPECT_EQ(view.packets_out, view.source.is_v4() ? 2U : 1U);
    EXPECT_EQ(view.packets_back, 1U);
  }
  rig.expect_exact();
}

TEST_P(Sharded, SourceNat) {
  ShardedRig rig(GetParam(), {source_nat("100.64.0.0/31")});
  rig.stateful_list();
  std::set<unsigned> owners;
  for (std::uint16_t i = 0; i < 100; ++i) {
    const auto inner = static_cast<std::uint16_t>(5000 + i);
    const Bytes outside = rig.out(datagram("10.1.0.5", inner, "172.16.0.9", 53));
    ASSERT_FALSE(outside.empty());
    const std::uint16_t port = source_port(outside);
    const std::string address = outside[15] == 0 ? "100.64.0.0" : "100.64.0.1";
    EXPECT_EQ(text(outside), text(hop(datagram(address, port, "172.16.0.9", 53))));
    EXPECT_EQ(source_port(rig.out(datagram("10.1.0.5", inner, "172.16.0.77", 99))), port) << "whoever it talks to";
    EXPECT_EQ(text(rig.back(datagram("172.16.0.9", 53, address, port))), text(hop(datagram("172.16.0.9", 53, "10.1.0.5", inner))));
    // An error from the way, about what was sent.
    const Bytes error = ipv4({"172.16.0.254", address, 1}, icmp(3, 1, 0, datagram(address, port, "172.16.0.9", 53)));
    EXPECT_EQ(text(rig.back(error)), text(hop(ipv4({"172.16.0.254", "10.1.0.5", 1},
                                                   icmp(3, 1, 0, datagram("10.1.0.5", inner, "172.16.0.9", 53))))));
    EXPECT_EQ(text(rig.back(datagram("172.16.0.10", 53, address, port))), "") << "from somebody else";
    owners.insert(forward::NatPorts::worker_of(port, GetParam()));
  }
  EXPECT_EQ(owners.size(), GetParam());
  const Bytes ping = rig.out(ipv4({"10.1.0.5", "172.16.0.9", 1}, icmp_echo(77, 1, payload(8))));
  const std::uint16_t id = be16(ping, 24);
  const std::string address = ping[15] == 0 ? "100.64.0.0" : "100.64.0.1";
  EXPECT_EQ(text(rig.back(ipv4({"172.16.0.9", address, 1}, icmp(0, 0, (std::uint32_t{id} << 16) | 1, payload(8))))),
            text(hop(ipv4({"172.16.0.9", "10.1.0.5", 1}, icmp(0, 0, (77U << 16) | 1, payload(8))))));
  rig.expect_exact();
}

TEST_P(Sharded, WhatBeginsOutsideStaysAsItIsWhereSourceNatWouldApply) {
  ShardedRig rig(GetParam(), {source_nat("100.64.0.1/32")});
  forward::AclRuleEntry rule;
  rule.name = "in";
  rule.allow = true;
  rule.direction = AclDirection::kTo;
  Topology::must(rig.tables.upsert_acl({"vpc", false, {rule}}));
  forward::PolicyEntry policy;
  policy.attachment = kVpc;
  policy.domain = kRed;
  policy.acl = "vpc";
  Topology::must(rig.tables.upsert_policy(policy));
  for (std::uint16_t i = 0; i < 50; ++i) {
    const Bytes request = datagram("172.16.0.9", static_cast<std::uint16_t>(3000 + i), "10.1.0.5", 80);
    const Bytes answer = datagram("10.1.0.5", 80, "172.16.0.9", static_cast<std::uint16_t>(3000 + i));
    EXPECT_EQ(text(rig.back(request)), text(hop(request)));
    EXPECT_EQ(text(rig.out(answer)), text(hop(answer)));
  }
  rig.expect_exact();
}

TEST_P(Sharded, SourceNatOfEverybody) {
  NatRuleEntry everybody = source_nat("100.64.0.1/32");
  everybody.sources.clear();
  ShardedRig rig(GetParam(), {everybody, published("100.64.0.9", 80, "10.1.0.5", 8080)});
  for (std::uint16_t i = 0; i < 50; ++i) {
    const auto port = static_cast<std::uint16_t>(3000 + i);
    const std::uint16_t outer = source_port(rig.out(datagram("10.1.0.5", port, "172.16.0.9", 53)));
    EXPECT_EQ(text(rig.back(datagram("172.16.0.9", 53, "100.64.0.1", outer))), text(hop(datagram("172.16.0.9", 53, "10.1.0.5", port))));
    EXPECT_EQ(text(rig.back(datagram("172.16.0.9", port, "100.64.0.9", 80))), text(hop(datagram("172.16.0.9", port, "10.1.0.5", 8080))));
    EXPECT_EQ(text(rig.out(datagram("10.1.0.5", 8080, "172.16.0.9", port))), text(hop(datagram("100.64.0.9", 80, "172.16.0.9", port))));
  }
  rig.expect_exact();
}

TEST_P(Sharded, PublishedServices) {
  ShardedRig rig(GetParam(), {published("100.64.0.9", 80, "10.1.0.5", 8080)});
  for (std::uint16_t i = 0; i < 50; ++i) {
    const auto port = static_cast<std::uint16_t>(3000 + i);
    EXPECT_EQ(text(rig.back(datagram("172.16.0.9", port, "100.64.0.9", 80))), text(hop(datagram("172.16.0.9", port, "10.1.0.5", 8080))));
    EXPECT_EQ(text(rig.out(datagram("10.1.0.5", 8080, "172.16.0.9", port))), text(hop(datagram("100.64.0.9", 80, "172.16.0.9", port))));
  }
  rig.expect_exact();
}

TEST_P(Sharded, Hairpin) {
  ShardedRig rig(GetParam(), {source_nat("100.64.0.1/32"), published("100.64.0.9", 80, "10.1.0.5", 8080)});
  Topology::must(rig.tables.upsert_endpoint({Vni{5001}, Topology::ip("10.1.0.77"), Topology::mac(kVmMac), Topology::ip("192.0.2.11")}));
  for (std::uint16_t i = 0; i < 50; ++i) {
    const auto port = static_cast<std::uint16_t>(3000 + i);
    const auto there = rig.out_all(datagram("10.1.0.77", port, "100.64.0.9", 80), rig.anybody());
    ASSERT_EQ(there.size(), 1U);
    const Bytes inside = Rig::to_vm(there[0]);
    const std::uint16_t outer = source_port(inside);
    EXPECT_EQ(text(inside), text(hop(datagram("100.64.0.1", outer, "10.1.0.5", 8080))));
    const auto back = rig.out_all(datagram("10.1.0.5", 8080, "100.64.0.1", outer), rig.anybody());
    ASSERT_EQ(back.size(), 1U);
    EXPECT_EQ(text(Rig::to_vm(back[0])), text(hop(datagram("100.64.0.9", 80, "10.1.0.77", port))));
  }
  rig.expect_exact();
}

TEST_P(Sharded, OverlappingSites) {
  NatRuleEntry ours = published("100.70.0.0", 0, "10.1.0.0", 0);
  ours.kind = NatKind::kNetmap;
  ours.name = "ours";
  ours.attachment = kTunnel7;
  ours.protocol.reset();
  ours.inside = Topology::prefix("10.1.0.0/16");
  ours.outside = Topology::prefix("100.70.0.0/16");
  ShardedRig rig(GetParam(), {ours});
  rig.stateful_list();
  for (std::uint16_t i = 0; i < 30; ++i) {
    const auto port = static_cast<std::uint16_t>(3000 + i);
    EXPECT_EQ(text(rig.back(datagram("172.16.0.9", 2, "100.70.0.5", port))), "");
    EXPECT_EQ(text(rig.out(datagram("10.1.0.5", port, "172.16.0.9", 2))), text(hop(datagram("100.70.0.5", port, "172.16.0.9", 2))));
    EXPECT_EQ(text(rig.back(datagram("172.16.0.9", 2, "100.70.0.5", port))), text(hop(datagram("172.16.0.9", 2, "10.1.0.5", port))));
  }
  rig.expect_exact();
}

TEST_P(Sharded, FragmentsFollowTheirFirstPiece) {
  ShardedRig rig(GetParam(), {source_nat("100.64.0.1/32")});
  for (std::uint16_t i = 0; i < 30; ++i) {
    const Bytes whole = udp({static_cast<std::uint16_t>(5000 + i), 53, std::uint16_t{48}, false}, payload(24));
    const unsigned worker = rig.anybody();
    rig.inject(worker, kFabric, Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = i, .mf = true, .fill_l4 = false}, whole)));
    rig.inject(worker, kFabric, Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = i, .offset = 32}, payload(16))));
    rig.settle();
    const auto sent = rig.take_sent();
    ASSERT_EQ(sent.size(), 2U) << i;
    EXPECT_EQ(text(rig.peer.to_site(7, sent[1])), text(hop(ipv4({.src = "100.64.0.1", .dst = "172.16.0.9", .id = i, .offset = 32}, payload(16)))));
  }
  rig.expect_exact();
}

/// In one burst, and whichever worker the first piece belongs to.
TEST_P(Sharded, ALaterPieceInFrontOfItsFirstIsNobodys) {
  ShardedRig rig(GetParam(), {source_nat("100.64.0.1/32")});
  for (std::uint16_t i = 0; i < 30; ++i) {
    const Bytes whole = udp({static_cast<std::uint16_t>(5000 + i), 53, std::uint16_t{48}, false}, payload(24));
    const unsigned worker = rig.anybody();
    rig.inject(worker, kFabric, Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = i, .offset = 32}, payload(16))));
    rig.inject(worker, kFabric, Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = i, .mf = true, .fill_l4 = false}, whole)));
    rig.settle();
    EXPECT_EQ(rig.take_sent().size(), 1U) << i;
  }
  EXPECT_EQ(rig.dropped(Drop::kFragmentUnknown), 30U);
  EXPECT_EQ(rig.dropped(Drop::kNoAttachment), 0U);
  rig.expect_exact();
}

TEST_P(Sharded, OrderWithinAFlow) {
  ShardedRig rig(GetParam());
  rig.stateful_list();
  std::map<std::uint16_t, std::uint16_t> next;
  for (std::uint16_t i = 0; i < 1500; ++i) {
    const auto flow = static_cast<std::uint16_t>(rig.random() % 20);
    rig.inject(flow % GetParam(), kFabric,
               Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = next[flow]++}, udp({static_cast<std::uint16_t>(5000 + flow), 53}, payload(20)))));
  }
  rig.settle();
  std::map<std::uint16_t, std::uint16_t> seen;
  const auto sent = rig.take_sent();
  EXPECT_EQ(sent.size(), 1500U);
  for (const auto& one : sent) {
    const Bytes inner = rig.peer.to_site(7, one);
    EXPECT_EQ(be16(inner, 4), seen[static_cast<std::uint16_t>(source_port(inner) - 5000)]++);
  }
  rig.expect_exact();
}

TEST_P(Sharded, TheLimitOfAVpcIsThatOfAllWorkers) {
  ShardedRig rig(GetParam());
  rig.stateful_list(40);
  unsigned passed = 0;
  for (std::uint16_t i = 0; i < 100; ++i) {
    if (!rig.out(datagram("10.1.0.5", static_cast<std::uint16_t>(5000 + i), "172.16.0.9", 53)).empty()) ++passed;
  }
  EXPECT_EQ(passed, 40U);
  EXPECT_EQ(rig.dropped(Drop::kConnectionLimit), 60U);
  EXPECT_EQ(rig.tables.connections_of(kVpc), 40U);
}

TEST_P(Sharded, WithoutConnectionsNothingIsHandedOver) {
  ShardedRig rig(GetParam());
  forward::PolicyEntry policy;
  policy.attachment = kVpc;
  policy.domain = kRed;
  policy.from.bits_per_second = 1'000'000'000;
  Topology::must(rig.tables.upsert_policy(policy));
  for (std::uint16_t i = 0; i < 50; ++i) EXPECT_FALSE(rig.out(datagram("10.1.0.5", static_cast<std::uint16_t>(5000 + i), "172.16.0.9", 53)).empty());
  EXPECT_EQ(rig.handed_over(), 0U);
}

TEST_P(Sharded, EstablishedConnectionsSurviveTheirRules) {
  ShardedRig rig(GetParam(), {published("100.64.0.9", 80, "10.1.0.5", 8080)});
  for (std::uint16_t i = 0; i < 40; ++i) {
    EXPECT_FALSE(rig.back(datagram("172.16.0.9", static_cast<std::uint16_t>(3000 + i), "100.64.0.9", 80)).empty());
  }
  // The service moves: new clients go to the new address.
  Topology::must(rig.tables.upsert_nat({kRed, {published("100.64.0.9", 80, "10.1.0.5", 9090)}}));
  for (std::uint16_t i = 0; i < 40; ++i) {
    const auto port = static_cast<std::uint16_t>(3000 + i);
    EXPECT_EQ(text(rig.back(datagram("172.16.0.9", port, "100.64.0.9", 80))), text(hop(datagram("172.16.0.9", port, "10.1.0.5", 8080))));
    EXPECT_EQ(text(rig.out(datagram("10.1.0.5", 8080, "172.16.0.9", port))), text(hop(datagram("100.64.0.9", 80, "172.16.0.9", port))));
    const auto other = static_cast<std::uint16_t>(4000 + i);
    EXPECT_EQ(text(rig.back(datagram("172.16.0.9", other, "100.64.0.9", 80))), text(hop(datagram("172.16.0.9", other, "10.1.0.5", 9090))));
    EXPECT_EQ(text(rig.out(datagram("10.1.0.5", 9090, "172.16.0.9", other))), text(hop(datagram("100.64.0.9", 80, "172.16.0.9", other))));
  }
  // Strays are forgotten with their connections.
  EXPECT_EQ(rig.tables.state().strays.size() > 0, GetParam() > 1);
  rig.clock.advance(1000s);
  const Bytes other = datagram("10.1.0.5", 1, "172.16.0.9", 2);
  for (unsigned worker = 0; worker < GetParam(); ++worker) rig.inject(worker, kFabric, Rig::from_vm(other));
  rig.settle();
  for (int i = 0; i < 40; ++i) rig.tables.reclaim();
  EXPECT_EQ(rig.tables.connections(), 0U);
  EXPECT_EQ(rig.tables.state().strays.size(), 0U);
}

TEST(ShardedAdoption, OtherNumbersOfWorkers) {
  const std::vector<NatRuleEntry> rules = {source_nat("100.64.0.1/32"), published("100.64.0.9", 80, "10.1.0.5", 8080)};
  for (const auto& [from, to] : std::vector<std::pair<unsigned, unsigned>>{{1, 4}, {4, 1}, {3, 2}, {2, 2}}) {
    SCOPED_TRACE(std::to_string(from) + " to " + std::to_string(to));
    ShardedRig before(from, rules);
    std::map<std::uint16_t, std::uint16_t> ports;
    for (std::uint16_t port = 5000; port < 5060; ++port) {
      ports[port] = source_port(before.out(datagram("10.1.0.5", port, "172.16.0.9", 53)));
      (void)before.back(datagram("172.16.0.9", port, "100.64.0.9", 80));
    }
    const auto connections = before.tables.list_connections(1000, 3600);
    ASSERT_EQ(connections.size(), 120U);
    ShardedRig after(to, rules);
    EXPECT_EQ(forward::adopt_connections(after.tables, connections, 3600), 120U);
    EXPECT_EQ(after.tables.connections(), 120U);
    for (const auto& [inner, outer] : ports) {
      EXPECT_EQ(source_port(after.out(datagram("10.1.0.5", inner, "172.16.0.9", 53))), outer);
      EXPECT_EQ(source_port(after.out(datagram("10.1.0.5", inner, "172.16.0.10", 54))), outer) << "a new one from the same end";
      EXPECT_EQ(text(after.back(datagram("172.16.0.9", 53, "100.64.0.1", outer))), text(hop(datagram("172.16.0.9", 53, "10.1.0.5", inner))));
      EXPECT_EQ(text(after.back(datagram("172.16.0.10", 54, "100.64.0.1", outer))), text(hop(datagram("172.16.0.10", 54, "10.1.0.5", inner))));
      EXPECT_EQ(text(after.back(datagram("172.16.0.9", inner, "100.64.0.9", 80))), text(hop(datagram("172.16.0.9", inner, "10.1.0.5", 8080))));
      EXPECT_EQ(text(after.out(datagram("10.1.0.5", 8080, "172.16.0.9", inner))), text(hop(datagram("100.64.0.9", 80, "172.16.0.9", inner))));
    }
    EXPECT_EQ(after.tables.connections(), 180U) << "none was begun anew";
    after.expect_exact();
  }
}

TEST(ShardedEnd, AFullRingHasAName) {
  ShardedRig rig(2);
  rig.stateful_list();
  rig.workers[0]->go_online();
  unsigned injected = 0;
  while (rig.dropped(Drop::kWorkerBusy) == 0) {
    for (int i = 0; i < 64; ++i, ++injected) {
      rig.inject(0, kFabric, Rig::from_vm(datagram("10.1.0.5", static_cast<std::uint16_t>(injected), "172.16.0.9", 53)));
    }
    while (rig.workers[0]->poll_once() > 0) {
    }
  }
  rig.workers[0]->go_offline();
  EXPECT_EQ(rig.handed_over(), forward::HandOverRing::kCapacity);
  EXPECT_EQ(rig.woken[1], 1U) << "once a sleep";
  // Both have ended: nothing is lost.
  for (auto& worker : rig.workers) worker->finish();
  EXPECT_EQ(rig.take_sent().size() + rig.dropped(Drop::kWorkerBusy), injected);
  rig.expect_exact();
}

TEST(ShardedEnd, WhoGoesToSleepWithMailIsWokenAtOnce) {
  ShardedRig rig(2);
  rig.stateful_list();
  rig.workers[0]->go_online();
  rig.workers[1]->go_online();
  for (std::uint16_t i = 0; i < 64; ++i) rig.inject(0, kFabric, Rig::from_vm(datagram("10.1.0.5", i, "172.16.0.9", 53)));
  (void)rig.workers[0]->poll_once();
  EXPECT_GT(rig.handed_over(), 0U);
  EXPECT_EQ(rig.woken[1], 0U) << "it is awake";
  rig.workers[1]->go_offline();
  EXPECT_EQ(rig.woken[1], 1U);
  rig.settle();
  rig.expect_exact();
}

TEST(ShardedTrace, SeesThePacketThroughBothWorkers) {
  ShardedRig rig(2);
  rig.stateful_list();
  auto live = forward::LiveTrace::create(rig.tables, kVpc, {}).value();
  // The first that is handed over.
  for (std::uint16_t i = 0; i < 64 && rig.handed_over() == 0; ++i) {
    if (live->done()) live = forward::LiveTrace::create(rig.tables, kVpc, {}).value();
    const auto watch = live->watch();
    for (auto& worker : rig.workers) worker->watch(watch.get());
    EXPECT_EQ(rig.out_all(datagram("10.1.0.5", static_cast<std::uint16_t>(5000 + i), "172.16.0.9", 53), 0).size(), 1U);
    for (auto& worker : rig.workers) worker->watch(nullptr);
  }
  ASSERT_EQ(rig.handed_over(), 1U);
  ASSERT_TRUE(live->done());
  ShardedRig alone(1);
  alone.stateful_list();
  const auto one = forward::LiveTrace::create(alone.tables, kVpc, {}).value();
  const auto watch = one->watch();
  alone.workers[0]->watch(watch.get());
  (void)alone.out_all(datagram("10.1.0.5", 5000, "172.16.0.9", 53), 0);
  alone.workers[0]->watch(nullptr);
  const auto stages = [](const forward::Trace& trace) {
    std::vector<std::string> names;
    for (const auto& step : trace.steps) names.emplace_back(step.stage);
    return names;
  };
  EXPECT_EQ(stages(live->explain(rig.tables)), stages(one->explain(alone.tables)));
}

TEST(ShardedRates, AreThoseOfAllWorkersTogether) {
  for (const unsigned workers : {1U, 2U, 4U}) {
    for (const std::uint64_t rate : {std::uint64_t{10'000'000}, std::uint64_t{10'000'000'000}}) {
      forward::Policer policer(workers);
      const forward::RateEntry limits{rate, 0};
      std::mt19937 random(3);
      std::uint64_t bits = 0;
      std::uint64_t now = 1'000'000'000;
      const std::uint64_t end = now + 10'000'000'000;
      // Three times the rate arrives.
      const std::uint64_t step = 1000 * 8 * std::uint64_t{1'000'000'000} / rate / 3 + 1;
      const std::uint64_t turns = std::min<std::uint64_t>((end - now) / step, 400'000);
      for (std::uint64_t i = 0; i < turns; ++i, now += step) {
        if (policer.admit(limits, 1000, now, static_cast<unsigned>(random() % workers))) bits += 8000;
      }
      const double seconds = static_cast<double>(turns * step) * 1e-9;
      const double wanted = static_cast<double>(rate) * (seconds + 0.1);  // and what comes at once after a silence
      EXPECT_NEAR(static_cast<double>(bits) / wanted, 1.0, 0.05) << workers << " workers, " << rate;
    }
  }
}

// The decision alone.

TEST(ShardedOverload, WhatOthersHandOverPassesAgainWhenTheFloodIsOver) {
  ShardedRig rig(2);
  rig.stateful_list();
  const auto refused = [&rig] { return rig.dropped(Drop::kOverShare); };
  const auto turn = [&rig](unsigned worker, const Bytes& datagram, unsigned times) {
    rig.clock.advance(1ms);
    for (unsigned i = 0; i < times; ++i) rig.inject(worker, kFabric, Rig::from_vm(datagram));
    for (auto& one : rig.workers) {
      one->go_online();
      static_cast<void>(one->poll_once());
      one->go_offline();
    }
    static_cast<void>(rig.take_sent());
  };
  // A flow of worker 1 that reaches worker 0.
  Bytes flow;
  for (std::uint16_t port = 5000; rig.handed_over() == 0; ++port) {
    flow = datagram("10.1.0.5", port, "172.16.0.9", 53);
    turn(0, flow, 1);
  }
  rig.uplinks[1]->say(forward::PacketIo::kFull);
  for (int i = 0; i < 60; ++i) turn(1, flow, 40);
  EXPECT_GT(refused(), 0U);
  rig.uplinks[1]->say(0);
  for (int i = 0; i < 2000; ++i) turn(0, flow, 1);
  const std::uint64_t before = refused();
  for (int i = 0; i < 1000; ++i) turn(0, flow, 1);
  EXPECT_EQ(refused(), before);
  rig.settle();
  static_cast<void>(rig.take_sent());
  rig.expect_exact();
}

/// Worker 1 receives three times what worker 0, whose connections they are, can carry: almost all of it from one VPC.
TEST(ShardedOverload, WhoFillsTheRingOfAnotherWorkerLosesItsOwnPackets) {
  constexpr auto kPoll = 200us;         // worker 1 receives a burst in each
  constexpr auto kCarried = 10us;       // of worker 0, a packet,
  constexpr auto kRefused = 300ns;      // and one above its share
  ShardedRig rig(2);
  rig.stateful_list();
  for (auto& worker : rig.workers) worker->go_online();
  // A flow of worker 0 that reaches worker 1.
  const auto of_worker_0 = [&rig](const auto& frame) {
    for (std::uint16_t port = 5000;; ++port) {
      const std::uint64_t before = rig.handed_over();
      rig.inject(1, kFabric, frame(port));
      while (rig.workers[1]->poll_once() + rig.workers[0]->poll_once() > 0) {
      }
      if (rig.handed_over() > before) return frame(port);
    }
  };
  const Bytes loud = of_worker_0([](std::uint16_t port) { return Rig::from_vm(datagram("10.1.0.5", port, "172.16.0.9", 53)); });
  const Bytes quiet = of_worker_0([](std::uint16_t port) { return Rig::from_vm6(datagram("10.3.0.5", port, "172.16.0.9", 53)); });
  static_cast<void>(rig.take_sent());

  const AttachmentId vpc = AttachmentId::vpc(Vni{5003});
  const auto lost = [&] { return rig.tables.totals(vpc)->dropped; };
  const auto carried = [&] { return rig.workers[0]->counters().sent.read(); };
  const auto refused = [&] { return rig.workers[0]->counters().dropped(Drop::kOverShare); };
  std::chrono::nanoseconds free_again{0};
  const auto run = [&](std::chrono::nanoseconds time) {
    std::uint64_t injected = 0;
    const auto polls = time / kPoll;
    for (std::int64_t poll = 0; poll < polls; ++poll) {
      rig.clock.advance(kPoll);
      free_again -= kPoll;
      for (unsigned i = 0; i < 62; ++i) rig.inject(1, kFabric, loud);
      rig.inject(1, kFabric, quiet);
      ++injected;
      static_cast<void>(rig.workers[1]->poll_once());
      while (free_again <= 0ns) {
        const std::uint64_t before = carried();
        const std::uint64_t refused_before = refused();
        if (rig.workers[0]->poll_once() == 0) break;
        if (free_again < -kPoll) free_again = -kPoll;
        free_again += kCarried * static_cast<std::int64_t>(carried() - before) + kRefused * static_cast<std::int64_t>(refused() - refused_before);
      }
      static_cast<void>(rig.take_sent());
    }
    return injected;
  };
  static_cast<void>(run(200ms));  // until the level is found
  const std::uint64_t lost_before = lost();
  const std::uint64_t carried_before = carried();
  const std::uint64_t all = run(800ms);
  EXPECT_LE((lost() - lost_before) * 100, all) << "more than 1 % of what the quiet VPC sends, of " << all;
  EXPECT_GE(static_cast<double>(carried() - carried_before), 0.7 * (800ms / kCarried)) << "and worker 0 is busy with what it can carry";
  EXPECT_GT(rig.tables.totals(kVpc)->dropped, all * 20);
  for (auto& worker : rig.workers) worker->go_offline();
  rig.settle();
  static_cast<void>(rig.take_sent());
  rig.expect_exact();
}

/// Small numbers, so that everything meets everything.
struct Rules {
  forward::NatRules nat;
  forward::Counter hits;
  explicit Rules(unsigned kind) {
    const auto net = [](std::uint32_t network, std::uint32_t mask) { return forward::NatRules::Net{byteswap(network), byteswap(mask)}; };
    if ((kind & 1) != 0) {
      forward::NatRules::Source& rule = nat.sources.emplace_back();
      rule.slot = 2;
      if ((kind & 4) == 0) rule.sources = {net(0x0a000000, 0xff000000)};
      rule.pool = {0x64400000, 2, 16};
      rule.hits = &hits;
      nat.outside.push_back(net(0x64400000, 0xfffffffe));
    }
    if ((kind & 2) != 0) {
      nat.destinations.push_back({byteswap(0x64400100U), byteswap(0x0a000001U), byteswap(std::uint16_t{80}), byteswap(std::uint16_t{8080}), 17, &hits});
      nat.outside.push_back(net(0x64400100, 0xffffffff));
    }
  }
  /// 10/8 is behind slot 1, all else behind slot 2.
  static std::uint32_t slot_of(std::uint32_t address) { return address >> 24 == 10 ? 1 : 2; }
};

TEST(WorkerOf, BothDirectionsOfWhateverConnectionMeet) {
  const std::vector<std::uint32_t> addresses = {0x0a000001, 0x0a000002, 0x0b000001, 0xac100009, 0x64400100};
  for (unsigned kind = 0; kind < 8; ++kind) {
    const Rules rules(kind);
    for (unsigned workers = 1; workers <= 9; ++workers) {
      std::vector<unsigned> used(workers);
      std::vector<std::unique_ptr<forward::NatPorts>> own;
      for (unsigned i = 0; i < workers; ++i) own.push_back(std::make_unique<forward::NatPorts>(4096, forward::NatShare{i, workers}));
      for (const std::uint32_t a : addresses) {
        for (const std::uint32_t b : addresses) {
          for (std::uint16_t p = 79; p < 110; ++p) {
            if (a == b || a == 0x64400100) continue;
            const FlowKey first{{byteswap(a), 0}, {byteswap(b), 0}, FlowKey::context_of(1, 4, 17), forward::join_ports(static_cast<std::uint16_t>(p + 4000), p)};
            FlowKey out = first;
            const auto* service = rules.nat.destination(first);
            if (service != nullptr) out = service->apply(first);
            const std::uint32_t ingress = Rules::slot_of(a);
            const std::uint32_t egress = Rules::slot_of(byteswap(static_cast<std::uint32_t>(out.destination.low)));
            const auto exit = [](const forward::AddressWords& to) { return Rules::slot_of(byteswap(static_cast<std::uint32_t>(to.low))); };
            const unsigned worker = forward::worker_of(rules.nat, first, ingress, exit, workers);
            ASSERT_LT(worker, workers);
            ++used[worker];
            const auto source = static_cast<std::uint32_t>(first.source.low);
            const auto* rule = rules.nat.source(egress, source);
            if (rule == nullptr && service != nullptr && egress == ingress) rule = rules.nat.hairpin(source);
            if (rule != nullptr) {
              const std::uint32_t mapping = own[worker]->take(first, 1, rule->pool);
              ASSERT_NE(mapping, 0U);
              const forward::NatPorts::Mapping& taken = (*own[worker])[mapping];
              out.source.low = taken.outside;
              out.ports = (out.ports & 0xffff0000U) | byteswap(taken.outside_port);
              // Other connections of this end share the port.
              FlowKey elsewhere = first;
              elsewhere.destination.low = byteswap(0xac100077U);
              elsewhere.ports = forward::join_ports(static_cast<std::uint16_t>(p + 4000), 9);
              if (rules.nat.source(2, source) != nullptr) {
                EXPECT_EQ(forward::worker_of(rules.nat, elsewhere, ingress, exit, workers), worker);
              }
            }
            EXPECT_EQ(forward::worker_of(rules.nat, out.reversed(), egress, exit, workers), worker)
                << kind << ' ' << workers << ' ' << std::hex << a << ' ' << b << ' ' << p;
          }
        }
      }
      EXPECT_EQ(std::count(used.begin(), used.end(), 0U), 0) << kind << ' ' << workers;
    }
  }
}

}  // namespace
}  // namespace simplon::test
