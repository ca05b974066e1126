// SPDX-License-Identifier: GPL-2.0-or-later
//
// Circuits beside the topology of topology.h, both in domain red on the WAN uplink:
//
//   circuit 3  VLAN 100         192.168.15.1/30, fd15::1/126   neighbors .2 and ::2, behind them 10.50.0.0/16 and fd50::/64
//   circuit 4  VLAN 7 in 300    192.168.16.1/30                neighbor .2, behind it 10.60.0.0/16
//   10.70.0.0/16: over both (ECMP); 10.80.0.0/16: a gateway that is not known
//
//   host ports 14 and 15 carry frames
#include <set>

#include "gateway/forward/capture.h"
#include "gateway/forward/trace.h"
#include "gateway/forward/watchers.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using forward::AttachmentId;
using forward::NextHopEntry;

constexpr forward::PortId kTap3{14};
constexpr forward::PortId kTap4{15};
const AttachmentId kCircuit3 = AttachmentId::circuit(CircuitId{3});
const AttachmentId kCircuit4 = AttachmentId::circuit(CircuitId{4});
const std::string kRouter3 = "02:dd:00:00:00:03";
const std::string kRouter4 = "02:dd:00:00:00:04";
const std::string kBroadcast = "ff:ff:ff:ff:ff:ff";

struct Tag {
  std::uint16_t type;
  std::uint16_t control;
};

Bytes tagged(const std::string& dst, const std::string& src, const std::vector<Tag>& tags, std::uint16_t type,
             const Bytes& inside) {
  Bytes rest;
  const auto put = [&rest](std::uint16_t value) {
    rest.push_back(static_cast<std::uint8_t>(value >> 8));
    rest.push_back(static_cast<std::uint8_t>(value));
  };
  for (std::size_t i = 0; i < tags.size(); ++i) {
    put(tags[i].control);
    put(i + 1 < tags.size() ? tags[i + 1].type : type);
  }
  return ethernet({dst, src, tags.empty() ? type : tags[0].type}, rest + inside);
}

std::uint16_t type_of(const Bytes& inner) { return inner[0] >> 4 == 6 ? 0x86dd : 0x0800; }

Bytes into3(const Bytes& inner) { return tagged(kWanMac, kRouter3, {{0x8100, 100}}, type_of(inner), inner); }
Bytes into4(const Bytes& inner) { return tagged(kWanMac, kRouter4, {{0x88a8, 300}, {0x8100, 7}}, type_of(inner), inner); }

Bytes out_of3(const Bytes& inner) { return tagged(kRouter3, kWanMac, {{0x8100, 100}}, type_of(inner), inner); }
Bytes out_of4(const Bytes& inner) { return tagged(kRouter4, kWanMac, {{0x88a8, 300}, {0x8100, 7}}, type_of(inner), inner); }

Bytes datagram(const std::string& src, const std::string& dst, std::size_t bytes = 100, bool df = false) {
  return ipv4({.src = src, .dst = dst, .df = df}, udp({1000, 2000}, payload(bytes)));
}
Bytes datagram6(const std::string& src, const std::string& dst, std::size_t bytes = 100) {
  return ipv6({.src = src, .dst = dst}, udp({1000, 2000}, payload(bytes)));
}

class Circuit : public ::testing::Test {
 protected:
  Circuit() {
    using enum forward::RouteAction;
    const auto ip = Topology::ip;
    const auto mac = Topology::mac;
    const auto route = [this](const std::string& to, forward::RouteAction action, std::vector<NextHopEntry> hops) {
      Topology::must(rig.tables.upsert_route({kRed, Topology::prefix(to), action, std::move(hops)}));
    };
    for (const forward::PortId id : {kTap3, kTap4}) {
      Topology::must(rig.tables.upsert_port({id, forward::PortKind::kHost, {}, false, {rig.hosts}, true}));
    }
    Topology::must(rig.tables.upsert_circuit(circuit3));
    Topology::must(rig.tables.upsert_circuit(circuit4));
    Topology::must(rig.tables.upsert_host_port({kCircuit3, kTap3, {ip("192.168.15.1"), ip("fd15::1")}, mac(kWanMac)}));
    Topology::must(rig.tables.upsert_host_port({kCircuit4, kTap4, {ip("192.168.16.1")}, mac(kWanMac)}));
    Topology::must(rig.tables.upsert_neighbor({CircuitId{3}, ip("192.168.15.2"), mac(kRouter3)}));
    Topology::must(rig.tables.upsert_neighbor({CircuitId{3}, ip("fd15::2"), mac(kRouter3)}));
    Topology::must(rig.tables.upsert_neighbor({CircuitId{4}, ip("192.168.16.2"), mac(kRouter4)}));
    route("192.168.15.0/30", kForward, {{kCircuit3, 1}});
    route("192.168.15.1/32", kLocal, {{kCircuit3, 1}});
    route("fd15::/126", kForward, {{kCircuit3, 1}});
    route("fd15::1/128", kLocal, {{kCircuit3, 1}});
    route("192.168.16.0/30", kForward, {{kCircuit4, 1}});
    route("192.168.16.1/32", kLocal, {{kCircuit4, 1}});
    route("10.50.0.0/16", kForward, {{kCircuit3, 1, ip("192.168.15.2")}});
    route("10.51.0.0/16", kForward, {{kCircuit3, 1, ip("fd15::2")}});
    route("fd50::/64", kForward, {{kCircuit3, 1, ip("fd15::2")}});
    route("10.60.0.0/16", kForward, {{kCircuit4, 1, ip("192.168.16.2")}});
    route("10.70.0.0/16", kForward, {{kCircuit3, 1, ip("192.168.15.2")}, {kCircuit4, 1, ip("192.168.16.2")}});
    route("10.80.0.0/16", kForward, {{kCircuit4, 1, ip("192.168.16.3")}});
    rig.tables.commit();
  }

  [[nodiscard]] forward::TrafficTotals totals(AttachmentId id) const { return rig.tables.totals(id).value(); }

  forward::CircuitEntry circuit3{CircuitId{3}, kRed, kWan, 100, 0, 0x88a8, Topology::mac(kWanMac), 1500, true};
  forward::CircuitEntry circuit4{CircuitId{4}, kRed, kWan, 7, 300, 0x88a8, Topology::mac(kWanMac), 1400, true};
  Rig rig;
};

TEST_F(Circuit, ToVm) {
  const Bytes inner = datagram("10.50.0.9", "10.1.0.5");
  const Outcome outcome = rig.send(kWan, into3(inner));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
  EXPECT_EQ(totals(kCircuit3).rx_packets, 1U);
  EXPECT_EQ(totals(kCircuit3).rx_bytes, inner.size());
}

TEST_F(Circuit, FromVm) {
  const Bytes inner = datagram("10.1.0.5", "10.50.0.9");
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of3(hop(inner))));
  EXPECT_EQ(totals(kCircuit3).tx_packets, 1U);
  EXPECT_EQ(totals(kCircuit3).tx_bytes, inner.size());
}

TEST_F(Circuit, QinQBothWays) {
  const Bytes back = datagram("10.60.0.9", "10.1.0.5");
  Outcome outcome = rig.send(kWan, into4(back));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(back));
  const Bytes there = datagram("10.1.0.5", "10.60.0.9");
  outcome = rig.send(kFabric, Rig::from_vm(there));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of4(hop(there))));
}

TEST_F(Circuit, EitherTagTypeIsAcceptedOutside) {
  const Bytes inner = datagram("10.60.0.9", "10.1.0.5");
  for (const std::uint16_t type : {std::uint16_t{0x8100}, std::uint16_t{0x88a8}}) {
    EXPECT_EQ(rig.send(kWan, tagged(kWanMac, kRouter4, {{type, 300}, {0x8100, 7}}, 0x0800, inner)).summary(), "sent on 0");
  }
  circuit4.outer_type = 0x8100;
  Topology::must(rig.tables.upsert_circuit(circuit4));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(datagram("10.1.0.5", "10.60.0.9")));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(be16(outcome.sent[0].bytes, 12), 0x8100);
}

TEST_F(Circuit, PriorityBitsDoNotMatter) {
  const Bytes inner = datagram("10.50.0.9", "10.1.0.5");
  EXPECT_EQ(rig.send(kWan, tagged(kWanMac, kRouter3, {{0x8100, 0xe064}}, 0x0800, inner)).summary(), "sent on 0");
}

TEST_F(Circuit, Ipv6BothWays) {
  const Bytes back = datagram6("fd50::9", "fd01::5");
  Outcome outcome = rig.send(kWan, into3(back));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(back));
  const Bytes there = datagram6("fd01::5", "fd50::9");
  outcome = rig.send(kFabric, Rig::from_vm(there));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of3(hop(there))));
}

TEST_F(Circuit, Ipv4OverAnIpv6Neighbor) {  // RFC 8950
  const Bytes inner = datagram("10.1.0.5", "10.51.0.9");
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of3(hop(inner))));
}

TEST_F(Circuit, ToAndFromTunnel) {
  const Bytes there = datagram("10.50.0.9", "172.16.0.9");
  Outcome outcome = rig.send(kWan, into3(there));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(rig.to_site(7, outcome.sent[0]), hop(there));
  const Bytes back = datagram("172.16.0.9", "10.50.0.9");
  outcome = rig.send(kWan, rig.from_site(7, back));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of3(hop(back))));
}

TEST_F(Circuit, ToCircuit) {
  const Bytes inner = datagram("10.50.0.9", "10.60.0.9");
  const Outcome outcome = rig.send(kWan, into3(inner));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of4(hop(inner))));
}

TEST_F(Circuit, PaddingOfAShortFrameIsRemoved) {
  const Bytes inner = datagram("10.50.0.9", "10.60.0.9", 0);
  const Outcome outcome = rig.send(kWan, into3(inner + Bytes(14, 0xee)));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of4(hop(inner))));
}

TEST_F(Circuit, DirectlyConnectedNeighborIsAskedFor) {
  const Bytes known = datagram("10.1.0.5", "192.168.15.2");
  Outcome outcome = rig.send(kFabric, Rig::from_vm(known));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of3(hop(known))));
  EXPECT_TRUE(rig.tables.take_asked().empty());

  const Bytes unknown = datagram("10.1.0.5", "192.168.15.3");
  EXPECT_EQ(rig.send_all(kFabric, {Rig::from_vm(unknown), Rig::from_vm(unknown)}).summary(),
            "dropped neighbor_unresolved x2");
  const auto asked = rig.tables.take_asked();
  ASSERT_EQ(asked.size(), 1U) << "once for the packets of a burst";
  EXPECT_EQ(asked[0].circuit, CircuitId{3});
  EXPECT_EQ(asked[0].address, Topology::ip("192.168.15.3"));

  Topology::must(
      rig.tables.upsert_neighbor({CircuitId{3}, Topology::ip("192.168.15.3"), Topology::mac("02:dd:00:00:00:33")}));
  outcome = rig.send(kFabric, Rig::from_vm(unknown));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(first(outcome.sent[0].bytes, 6)), "02dd00000033");
}

TEST_F(Circuit, AskingIsBounded) {
  for (unsigned i = 0; i < 300; ++i) {
    const Bytes inner = ipv6({.src = "fd01::5", .dst = i % 2 == 0 ? "fd15::3" : "fd15::0"}, udp({1, 2}, payload(8)));
    ASSERT_EQ(rig.send(kFabric, Rig::from_vm(inner)).summary(), "dropped neighbor_unresolved");
  }
  EXPECT_LE(rig.tables.take_asked().size(), forward::AskedNeighbors::kCapacity);
  EXPECT_TRUE(rig.tables.take_asked().empty());
}

TEST_F(Circuit, AScanOfOneDoesNotKeepAnotherFromAsking) {
  Topology::must(rig.tables.upsert_route({kRed, Topology::prefix("192.168.15.0/24"), forward::RouteAction::kForward, {{kCircuit3, 1}}}));
  rig.tables.commit();
  for (unsigned host = 3; host < 50; ++host) {
    rig.send(kFabric, Rig::from_vm(datagram("10.1.0.5", "192.168.15." + std::to_string(host))));
  }
  rig.send(kFabric, Rig::from_vm(datagram("10.1.0.5", "192.168.16.3")));
  const auto asked = rig.tables.take_asked();
  EXPECT_EQ(asked.size(), forward::AskedNeighbors::kOfCircuit + 1);
  EXPECT_EQ(asked.back().circuit, CircuitId{4});
}

TEST_F(Circuit, UnknownGateway) {
  const Bytes inner = datagram("10.1.0.5", "10.80.0.9");
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(inner)).summary(), "dropped neighbor_unresolved");
  Topology::must(rig.tables.upsert_neighbor({CircuitId{4}, Topology::ip("192.168.16.3"), Topology::mac(kRouter4)}));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of4(hop(inner))));
  rig.tables.remove_neighbor(CircuitId{4}, Topology::ip("192.168.16.3"));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(inner)).summary(), "dropped neighbor_unresolved");
}

TEST_F(Circuit, EcmpUsesBothCircuitsAndKeepsFlows) {
  std::set<std::string> seen;
  for (std::uint16_t flow = 1; flow <= 64; ++flow) {
    const Bytes inner = ipv4({"10.1.0.5", "10.70.0.9"}, udp({flow, 2000}, payload(10)));
    const Outcome outcome = rig.send_all(kFabric, {Rig::from_vm(inner), Rig::from_vm(inner)});
    ASSERT_EQ(outcome.summary(), "sent on 1; sent on 1");
    ASSERT_EQ(to_hex(outcome.sent[0].bytes), to_hex(outcome.sent[1].bytes));
    seen.insert(to_hex(first(outcome.sent[0].bytes, 6)));
  }
  EXPECT_EQ(seen.size(), 2U);
}

// Backups

/// 10.50.0.0/16 by circuit 3, with circuit 4 as backup, which is on the other uplink.
class CircuitBackup : public Circuit {
 protected:
  CircuitBackup() {
    circuit4.port = kFabric;
    Topology::must(rig.tables.upsert_circuit(circuit4));
    Topology::must(rig.tables.upsert_route({kRed,
                                            Topology::prefix("10.50.0.0/16"),
                                            forward::RouteAction::kForward,
                                            {{kCircuit3, 1, router3}, {kCircuit4, 1, Topology::ip("192.168.16.2"), true}}}));
    rig.tables.commit();
  }
  void expect_by_primary() {
    const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
    ASSERT_EQ(outcome.summary(), "sent on 1");
    EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of3(hop(inner))));
    EXPECT_EQ(rig.tables.counts().routes_on_backup, 0U);
  }
  void expect_by_backup() {
    const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
    ASSERT_EQ(outcome.summary(), "sent on 0");
    EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of4(hop(inner))));
    EXPECT_EQ(rig.tables.counts().routes_on_backup, 1U);
  }

  const IpAddress router3 = Topology::ip("192.168.15.2");
  const Bytes inner = datagram("10.1.0.5", "10.50.0.9");
};

TEST_F(CircuitBackup, TakesOverWhileTheLinkIsLost) {
  expect_by_primary();
  rig.tables.set_carrier(kWan, false);
  expect_by_backup();
  rig.tables.set_carrier(kWan, true);
  expect_by_primary();
}

TEST_F(CircuitBackup, TakesOverWhileTheUplinkIsGone) {
  circuit3.port = forward::kNoPort;
  Topology::must(rig.tables.upsert_circuit(circuit3));
  expect_by_backup();
  circuit3.port = kWan;
  Topology::must(rig.tables.upsert_circuit(circuit3));
  expect_by_primary();
  rig.tables.remove_circuit(CircuitId{3});
  expect_by_backup();
  Topology::must(rig.tables.upsert_circuit(circuit3));
  expect_by_primary();
}

TEST_F(CircuitBackup, TakesOverWhileTheGatewayDoesNotAnswer) {
  rig.tables.remove_neighbor(CircuitId{3}, router3);
  expect_by_backup();
  Topology::must(rig.tables.upsert_neighbor({CircuitId{3}, router3, Topology::mac(kRouter3)}));
  expect_by_primary();
}

TEST_F(CircuitBackup, IsOfNoUseIfItIsLostToo) {
  rig.tables.set_carrier(kWan, false);
  rig.tables.remove_neighbor(CircuitId{4}, Topology::ip("192.168.16.2"));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(inner)).summary(), "sent on 1") << "as without it";
  rig.tables.set_carrier(kWan, true);
  expect_by_primary();
}

TEST_F(CircuitBackup, EcmpLeavesALostLinkTooAndComesBack) {
  std::set<std::string> seen;
  const auto routers = [&] {
    seen.clear();
    for (std::uint16_t flow = 1; flow <= 32; ++flow) {
      const Outcome outcome = rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "10.70.0.9"}, udp({flow, 2000}, payload(10)))));
      if (!outcome.sent.empty()) seen.insert(to_hex(first(outcome.sent[0].bytes, 6)));
    }
    return seen.size();
  };
  EXPECT_EQ(routers(), 2U);
  rig.tables.set_carrier(kWan, false);
  EXPECT_EQ(routers(), 1U);
  rig.tables.set_carrier(kWan, true);
  EXPECT_EQ(routers(), 2U);
}

TEST_F(CircuitBackup, ShowsInATrace) {
  rig.tables.set_carrier(kWan, false);
  forward::DescribedPacket packet;
  packet.from = AttachmentId::vpc(Vni{5001});
  packet.packet = inner;
  const auto trace = forward::trace(rig.tables, rig.clock, packet);
  ASSERT_TRUE(trace.has_value());
  std::vector<std::string> facts;
  for (const auto& step : trace->steps) {
    if (step.stage != "ip_forward") continue;
    for (const auto& fact : step.facts) {
      if (fact.attachment) facts.push_back(fact.name + " " + fact.attachment->to_string() + " " + fact.value);
    }
  }
  EXPECT_EQ(facts, (std::vector<std::string>{"member circuit 3 weight 1", "member circuit 4 backup, weight 1", "nexthop circuit 4 "}));
}

// What belongs to the kernel

TEST_F(Circuit, ControlFramesGoToTheTapWithoutTags) {
  const Bytes request = arp(1, kRouter3, "192.168.15.2", "00:00:00:00:00:00", "192.168.15.1");
  const Bytes solicitation = ipv6({.src = "fd15::2", .dst = "ff02::1:ff00:1", .next = 58, .hops = 255},
                                  icmpv6(135, 0, 0, hex("fd150000000000000000000000000001")));
  const Bytes advertisement = ipv6({.src = "fe80::2", .dst = "fd15::1", .next = 58, .hops = 255},
                                   icmpv6(136, 0, 0x60000000, hex("fe800000000000000000000000000002")));
  const std::vector<std::tuple<std::string, std::uint16_t, Bytes>> frames = {
      {kBroadcast, 0x0806, request},
      {kWanMac, 0x0806, request},
      {"33:33:ff:00:00:01", 0x86dd, solicitation},
      {kWanMac, 0x86dd, advertisement},
      {"01:80:c2:00:00:02", 0x8809, payload(60)},
      {"01:80:c2:00:00:0e", 0x88cc, payload(60)},
  };
  std::uint64_t bytes = 0;
  for (const auto& [to, type, inside] : frames) {
    Outcome outcome = rig.send(kWan, tagged(to, kRouter3, {{0x8100, 100}}, type, inside));
    ASSERT_EQ(outcome.summary(), "punted to 14") << type;
    EXPECT_EQ(to_hex(outcome.punted[0].bytes), to_hex(ethernet({to, kRouter3, type}, inside)));
    outcome = rig.send(kWan, tagged(to, kRouter4, {{0x88a8, 300}, {0x8100, 7}}, type, inside));
    ASSERT_EQ(outcome.summary(), "punted to 15") << type;
    EXPECT_EQ(to_hex(outcome.punted[0].bytes), to_hex(ethernet({to, kRouter4, type}, inside)));
    bytes += inside.size();
  }
  EXPECT_EQ(totals(kCircuit3).punted, frames.size());
  EXPECT_EQ(totals(kCircuit3).rx_packets, frames.size());
  EXPECT_EQ(totals(kCircuit3).rx_bytes, bytes);
}

TEST_F(Circuit, PacketsForUsGoToTheTapInAFrame) {
  const Bytes ping = ipv4({"10.50.0.9", "192.168.15.1", 1}, icmp_echo(1, 1, payload(56)));
  Outcome outcome = rig.send(kWan, into3(ping));
  ASSERT_EQ(outcome.summary(), "punted to 14");
  EXPECT_EQ(to_hex(outcome.punted[0].bytes), to_hex(ethernet({kWanMac, "02:00:00:00:00:01", 0x0800}, ping)));
  const Bytes ping6 = ipv6({.src = "fd15::2", .dst = "fd15::1", .next = 58}, icmpv6_echo(1, 1, payload(56)));
  outcome = rig.send(kWan, into3(ping6));
  ASSERT_EQ(outcome.summary(), "punted to 14");
  EXPECT_EQ(to_hex(outcome.punted[0].bytes), to_hex(ethernet({kWanMac, "02:00:00:00:00:01", 0x86dd}, ping6)));
  // From elsewhere in the domain: a VM and a site ping our address on the circuit; a site on the circuit that of a VPC.
  const Bytes from_vm = ipv4({"10.1.0.5", "192.168.15.1", 1}, icmp_echo(1, 1, payload(56)));
  outcome = rig.send(kFabric, Rig::from_vm(from_vm));
  ASSERT_EQ(outcome.summary(), "punted to 14");
  EXPECT_EQ(to_hex(outcome.punted[0].bytes), to_hex(ethernet({kWanMac, "02:00:00:00:00:01", 0x0800}, from_vm)));
  const Bytes from_site = ipv4({"172.16.0.9", "192.168.15.1", 1}, icmp_echo(1, 1, payload(56)));
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, from_site)).summary(), "punted to 14");
  const Bytes to_vpc = ipv4({"10.50.0.9", "10.1.0.1", 1}, icmp_echo(1, 1, payload(56)));
  outcome = rig.send(kWan, into3(to_vpc));
  ASSERT_EQ(outcome.summary(), "punted to 10");
  EXPECT_EQ(outcome.punted[0].bytes, to_vpc);
}

TEST_F(Circuit, WhatTheKernelWritesLeavesTagged) {
  const Bytes request = arp(1, kWanMac, "192.168.15.1", "00:00:00:00:00:00", "192.168.15.2");
  Outcome outcome = rig.send(kTap3, ethernet({kBroadcast, kWanMac, 0x0806}, request));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(tagged(kBroadcast, kWanMac, {{0x8100, 100}}, 0x0806, request)));
  const Bytes bgp = ipv4({"192.168.16.1", "192.168.16.2", 6, 1}, tcp({40000, 179, true}, {}));
  outcome = rig.send(kTap4, ethernet({kRouter4, kWanMac}, bgp));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of4(bgp)));
  EXPECT_EQ(totals(kCircuit4).tx_packets, 1U);
  EXPECT_EQ(totals(kCircuit4).tx_bytes, bgp.size());
}

// Drops

TEST_F(Circuit, WrongVlan) {
  const Bytes inner = datagram("10.50.0.9", "10.1.0.5");
  const auto send = [&](const std::vector<Tag>& tags, forward::PortId port = kWan) {
    return rig.send(port, tagged(kWanMac, kRouter3, tags, 0x0800, inner)).summary();
  };
  EXPECT_EQ(send({{0x8100, 101}}), "dropped vlan_unknown");
  EXPECT_EQ(send({{0x8100, 0}}), "dropped vlan_unknown");
  EXPECT_EQ(send({{0x8100, 7}}), "dropped vlan_unknown");
  EXPECT_EQ(send({{0x8100, 100}, {0x8100, 5}}), "dropped vlan_unknown");
  EXPECT_EQ(send({{0x88a8, 300}}), "dropped vlan_unknown");
  EXPECT_EQ(send({{0x88a8, 300}, {0x8100, 8}}), "dropped vlan_unknown");
  EXPECT_EQ(send({{0x88a8, 7}, {0x8100, 300}}), "dropped vlan_unknown");
  EXPECT_EQ(send({{0x8100, 100}}, kFabric), "dropped vlan_unknown");
  EXPECT_EQ(send({{0x88a8, 300}, {0x8100, 7}, {0x8100, 100}}), "dropped circuit_type");
  EXPECT_EQ(send({{0x8100, 100}}), "sent on 0");
}

TEST_F(Circuit, APriorityTagInFrontIsNoOuterVlan) {
  const Bytes inner = datagram("10.50.0.9", "10.1.0.5");
  EXPECT_EQ(rig.send(kWan, tagged(kWanMac, kRouter3, {{0x8100, 0}, {0x8100, 100}}, 0x0800, inner)).summary(),
            "dropped vlan_unknown");
  EXPECT_EQ(rig.send(kWan, tagged(kWanMac, kRouter3, {{0x88a8, 0xe000}, {0x8100, 100}}, 0x0800, inner)).summary(),
            "dropped vlan_unknown");
}

TEST_F(Circuit, CutShort) {
  const Bytes whole = into4(datagram("10.60.0.9", "10.1.0.5"));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const std::string expected = length < 14   ? "dropped ethernet_truncated"
                                 : length < 22 ? "dropped vlan_truncated"
                                               : "dropped ipv4_malformed";
    ASSERT_EQ(rig.send(kWan, first(whole, length)).summary(), expected) << length;
  }
}

TEST_F(Circuit, NotOurs) {
  const Bytes inner = datagram("10.50.0.9", "10.1.0.5");
  EXPECT_EQ(rig.send(kWan, tagged(kFabricMac, kRouter3, {{0x8100, 100}}, 0x0800, inner)).summary(),
            "dropped circuit_wrong_mac");
  EXPECT_EQ(rig.send(kWan, tagged(kWanMac, kRouter3, {{0x8100, 100}}, 0x8847, inner)).summary(), "dropped circuit_type");
  EXPECT_EQ(rig.send(kWan, tagged(kWanMac, kRouter3, {{0x8100, 100}}, 0x86dd, inner)).summary(), "dropped ipv6_malformed");
  EXPECT_EQ(rig.send(kWan, into3(datagram("127.0.0.1", "10.1.0.5"))).summary(), "dropped ip_source");
  EXPECT_EQ(rig.send(kWan, into3(datagram("10.50.0.9", "224.0.0.5"))).summary(), "dropped ip_destination");
  EXPECT_EQ(totals(kCircuit3).dropped, 5U);
}

TEST_F(Circuit, DownAndGone) {
  const Bytes inner = datagram("10.1.0.5", "10.50.0.9");
  circuit3.port = forward::kNoPort;
  Topology::must(rig.tables.upsert_circuit(circuit3));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(inner)).summary(), "dropped no_port");
  EXPECT_EQ(rig.send(kTap3, ethernet({kRouter3, kWanMac}, inner)).summary(), "dropped no_port");
  EXPECT_EQ(rig.send(kWan, into3(datagram("10.50.0.9", "10.1.0.5"))).summary(), "dropped vlan_unknown");
  circuit3.port = kWan;
  Topology::must(rig.tables.upsert_circuit(circuit3));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(inner)).summary(), "sent on 1");
  rig.tables.remove_circuit(CircuitId{3});
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(inner)).summary(), "dropped no_attachment");
  const std::uint64_t before = totals(kCircuit3).dropped;
  EXPECT_EQ(rig.send(kTap3, ethernet({kRouter3, kWanMac}, inner)).summary(), "dropped no_attachment");
  EXPECT_EQ(totals(kCircuit3).dropped, before + 1);
  Topology::must(rig.tables.upsert_circuit(circuit3));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(inner)).summary(), "sent on 1");
  rig.tables.remove_host_port(kCircuit3);
  EXPECT_EQ(rig.send(kWan, tagged(kBroadcast, kRouter3, {{0x8100, 100}}, 0x0806, payload(28))).summary(),
            "dropped no_host_port");
}

TEST_F(Circuit, FrameOfTheKernelThatIsNone) {
  EXPECT_EQ(rig.send(kTap3, payload(13)).summary(), "dropped ethernet_truncated");
}

TEST_F(Circuit, MovesToAnotherVlanAndUplink) {
  circuit3.vlan = 200;
  circuit3.port = kFabric;
  circuit3.mac = Topology::mac(kFabricMac);
  Topology::must(rig.tables.upsert_circuit(circuit3));
  EXPECT_EQ(rig.send(kWan, into3(datagram("10.50.0.9", "10.1.0.5"))).summary(), "dropped vlan_unknown");
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(datagram("10.1.0.5", "10.50.0.9")));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(to_hex(first(outcome.sent[0].bytes, 18)), "02dd00000003" "0200000000f0" "810000c80800");
}

TEST_F(Circuit, TwoOnOneVlanAreRefused) {
  auto other = circuit3;
  other.id = CircuitId{5};
  const auto refused = rig.tables.upsert_circuit(other);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_EQ(refused.error().what, "circuit 3 has VLAN 100 of port 1");
  EXPECT_FALSE(rig.tables.totals(AttachmentId::circuit(CircuitId{5})).has_value());
  other.outer_vlan = 300;
  EXPECT_TRUE(rig.tables.upsert_circuit(other).has_value());
}

// As a router

TEST_F(Circuit, TimeExceededGoesBackByRoute) {
  const Bytes inner = ipv4({.src = "10.50.0.9", .dst = "10.1.0.5", .ttl = 1}, udp({1000, 33434}, payload(32)));
  const Outcome outcome = rig.send(kWan, into3(inner));
  ASSERT_EQ(outcome.summary(), "sent on 1; dropped ttl_expired");
  const Bytes& frame = outcome.sent[0].bytes;
  EXPECT_EQ(to_hex(first(frame, 18)), "02dd00000003" "0200000000f1" "810000640800");
  EXPECT_EQ(be32(frame, 18 + 12), 0xc0a80f01U) << "from our address on the circuit";
  EXPECT_EQ(be32(frame, 18 + 16), 0x0a320009U);
  EXPECT_EQ(frame[18 + 20], 11);
}

TEST_F(Circuit, ErrorForAMappedSenderGoesWhereTheDomainHasIt) {
  // The site has 10.1/16 as our VPC has; to us it is 10.50/16.
  forward::NatRuleEntry theirs;
  theirs.name = "theirs";
  theirs.kind = forward::NatKind::kNetmapRemote;
  theirs.attachment = kCircuit3;
  theirs.inside = Topology::prefix("10.50.0.0/16");
  theirs.outside = Topology::prefix("10.1.0.0/16");
  Topology::must(rig.tables.upsert_nat({kRed, {theirs}}));
  const Bytes inner = ipv4({.src = "10.1.0.9", .dst = "172.16.0.9", .ttl = 1}, udp({1000, 33434}, payload(32)));
  const Outcome outcome = rig.send(kWan, into3(inner));
  ASSERT_EQ(outcome.summary(), "sent on 1; dropped ttl_expired");
  const Bytes& frame = outcome.sent[0].bytes;
  EXPECT_EQ(to_hex(first(frame, 18)), "02dd00000003" "0200000000f1" "810000640800");
  EXPECT_EQ(be32(frame, 18 + 16), 0x0a010009U);
  EXPECT_EQ(to_hex(from(frame, 18 + 28)), to_hex(inner));
}

TEST_F(Circuit, ErrorForASenderWithoutRouteIsDropped) {
  const Bytes inner = ipv4({.src = "8.8.8.8", .dst = "10.1.0.5", .ttl = 1}, udp({1000, 33434}, payload(32)));
  EXPECT_EQ(rig.send(kWan, into3(inner)).summary(), "dropped no_route; dropped ttl_expired");
}

TEST_F(Circuit, TooBigIsAnsweredOrFragmented) {
  const Bytes df = datagram("10.50.0.9", "10.60.0.9", 1400, true);
  Outcome outcome = rig.send(kWan, into3(df));
  ASSERT_EQ(outcome.summary(), "sent on 1; dropped fragmentation_needed");
  EXPECT_EQ(outcome.sent[0].bytes[18 + 20], 3);
  EXPECT_EQ(be16(outcome.sent[0].bytes, 18 + 26), 1400) << "the MTU of circuit 4";
  outcome = rig.send(kWan, into3(datagram("10.50.0.9", "10.60.0.9", 1400)));
  ASSERT_EQ(outcome.summary(), "sent on 1; sent on 1");
  for (const auto& sent : outcome.sent) EXPECT_EQ(to_hex(first(sent.bytes, 22)), "02dd00000004" "0200000000f1" "88a8012c810000070800");
  outcome = rig.send(kFabric, Rig::from_vm(datagram6("fd01::5", "fd50::9", 1460)));
  EXPECT_EQ(outcome.summary(), "sent on 0; dropped packet_too_big");
}

TEST_F(Circuit, MssIsClampedToTheSmallerSide) {
  const auto mss_of = [](const Bytes& frame, std::size_t ip) { return be16(frame, ip + 20 + 22); };
  const Bytes out = ipv4({"10.1.0.5", "10.60.0.9", 6}, tcp({1000, 80, true, false, 1460}, {}));
  Outcome outcome = rig.send(kFabric, Rig::from_vm(out));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(mss_of(outcome.sent[0].bytes, 22), 1360);
  const Bytes in = ipv4({"10.60.0.9", "10.1.0.5", 6}, tcp({80, 1000, true, true, 1460}, {}));
  outcome = rig.send(kWan, into4(in));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(mss_of(outcome.sent[0].bytes, 64), 1360);
}

TEST_F(Circuit, PartialChecksumIsCompleted) {
  Topology::must(rig.tables.upsert_port(
      {kWan, forward::PortKind::kUplink, Topology::mac(kWanMac), true, {rig.uplinks}}));
  const Bytes complete = datagram("10.50.0.9", "10.60.0.9");
  Bytes partial = complete;
  // Pseudo header: addresses, protocol, length.
  std::uint32_t sum = 0x0a32 + 0x0009 + 0x0a3c + 0x0009 + 17 + 108;
  sum = (sum & 0xffff) + (sum >> 16);
  partial[26] = static_cast<std::uint8_t>(sum >> 8);
  partial[27] = static_cast<std::uint8_t>(sum);
  const Outcome outcome = rig.send(kWan, into3(partial));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes), to_hex(out_of4(hop(complete))));
}

// Tables

TEST_F(Circuit, GatewaysAreAnnouncedWhileARouteNeedsThem) {
  std::multiset<std::string> wanted;
  rig.tables.on_neighbor([&](CircuitId circuit, const IpAddress& address, bool want) {
    const std::string name = std::to_string(circuit.value()) + " " + address.to_string();
    if (want) {
      wanted.insert(name);
    } else {
      EXPECT_EQ(wanted.erase(name), 1U);
    }
  });
  EXPECT_EQ(wanted, (std::multiset<std::string>{"3 192.168.15.2", "3 fd15::2", "4 192.168.16.2", "4 192.168.16.3"}));
  rig.tables.remove_route(kRed, Topology::prefix("10.80.0.0/16"));
  rig.tables.commit();
  EXPECT_FALSE(wanted.contains("4 192.168.16.3"));
  rig.tables.remove_route(kRed, Topology::prefix("10.60.0.0/16"));
  rig.tables.commit();
  EXPECT_TRUE(wanted.contains("4 192.168.16.2")) << "the ECMP group needs it";
  rig.tables.remove_route(kRed, Topology::prefix("10.70.0.0/16"));
  rig.tables.commit();
  EXPECT_EQ(wanted, (std::multiset<std::string>{"3 192.168.15.2", "3 fd15::2"}));
  rig.tables.remove_circuit(CircuitId{4});
  rig.tables.remove_host_port(kCircuit4);
  EXPECT_TRUE(rig.tables.totals(kCircuit4).has_value()) << "connected and local routes still name it";
  rig.tables.remove_route(kRed, Topology::prefix("192.168.16.0/30"));
  rig.tables.remove_route(kRed, Topology::prefix("192.168.16.1/32"));
  rig.tables.commit();
  EXPECT_FALSE(rig.tables.totals(kCircuit4).has_value());
}

TEST_F(Circuit, RoutesAreReadBackAsTheyWereGiven) {
  const auto single = rig.tables.route(kRed, Topology::prefix("10.50.0.0/16"));
  ASSERT_TRUE(single.has_value());
  EXPECT_EQ(single->nexthops, (std::vector<NextHopEntry>{{kCircuit3, 1, Topology::ip("192.168.15.2")}}));
  const auto group = rig.tables.route(kRed, Topology::prefix("10.70.0.0/16"));
  ASSERT_TRUE(group.has_value());
  EXPECT_EQ(group->nexthops, (std::vector<NextHopEntry>{{kCircuit3, 1, Topology::ip("192.168.15.2")},
                                                        {kCircuit4, 1, Topology::ip("192.168.16.2")}}));
}

TEST_F(Circuit, AGatewayIsForCircuitsOnly) {
  const auto refused = rig.tables.upsert_route({kRed,
                                                Topology::prefix("10.90.0.0/16"),
                                                forward::RouteAction::kForward,
                                                {{AttachmentId::tunnel(TunnelId{7}), 1, Topology::ip("1.2.3.4")}}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().what, "route 10.90.0.0/16: tunnel 7 has no gateways");
}

// Captures.

TEST_F(Circuit, ACaptureSeesBothWays) {
  forward::Watchers watchers(rig.tables, [this](forward::Watch* watch) { rig.worker.watch(watch); });
  using enum forward::CapturePoint;
  const auto begin = [&](AttachmentId circuit, std::initializer_list<forward::CapturePoint> points, std::uint16_t port = 0) {
    forward::CaptureSpec spec;
    spec.attachment = circuit;
    for (const auto point : points) spec.points = static_cast<std::uint8_t>(spec.points | static_cast<std::uint8_t>(point));
    if (port != 0) spec.filter.port = port;
    auto capture = forward::Capture::create(rig.tables, spec).value();
    watchers.add(capture->watch());
    return capture;
  };
  const auto both_ways = begin(kCircuit3, {kInnerIn, kInnerOut, kWireIn, kWireOut});
  const auto filtered = begin(kCircuit3, {kWireIn, kWireOut}, 1000);
  const auto other_port = begin(kCircuit3, {kWireIn, kWireOut}, 1001);
  const auto drops4 = begin(kCircuit4, {kDropped});
  const Bytes there = datagram("10.1.0.5", "10.50.0.9");  // by the gateway of a route
  const Bytes back = datagram("10.50.0.9", "10.1.0.5");
  const Bytes lost = datagram("10.1.0.5", "10.80.0.9");
  const Bytes arp_request = tagged(kBroadcast, kRouter3, {{0x8100, 100}}, 0x0806, payload(28));
  rig.send(kFabric, Rig::from_vm(there));
  rig.send(kWan, into3(back));
  rig.send(kWan, arp_request);
  rig.send(kWan, into4(datagram("10.60.0.9", "10.1.0.5")));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(lost)).summary(), "dropped neighbor_unresolved");

  const auto packets = both_ways->take(100);
  ASSERT_EQ(packets.size(), 5U);
  EXPECT_EQ(packets[0].point, kInnerOut);
  EXPECT_EQ(packets[0].bytes, hop(there));
  EXPECT_EQ(packets[1].point, kWireOut);
  EXPECT_EQ(packets[1].bytes, out_of3(hop(there)));
  EXPECT_EQ(rig.tables.attachment_at(packets[1].attachment), kCircuit3);
  EXPECT_EQ(packets[2].point, kWireIn);
  EXPECT_EQ(packets[2].bytes, into3(back));
  EXPECT_TRUE(packets[2].ethernet);
  EXPECT_EQ(packets[3].point, kInnerIn);
  EXPECT_EQ(packets[3].bytes, back);
  EXPECT_EQ(packets[4].bytes, arp_request) << "with tags, as it came";
  EXPECT_EQ(filtered->take(100).size(), 2U);
  EXPECT_TRUE(other_port->take(100).empty());
  const auto dropped = drops4->take(100);
  ASSERT_EQ(dropped.size(), 1U);
  EXPECT_EQ(dropped[0].bytes, lost);
}

}  // namespace
}  // namespace simplon::test
