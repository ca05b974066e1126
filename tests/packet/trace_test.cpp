// SPDX-License-Identifier: GPL-2.0-or-later
//
// A trace says what the worker does, and does nothing itself.
#include "gateway/forward/trace.h"
#include "tests/packet/drop_cases.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using forward::AttachmentId;
using forward::DescribedPacket;
using forward::Drop;
using forward::Trace;
using forward::TraceStep;
using forward::TraceVerdict;

const AttachmentId kRedVpc = AttachmentId::vpc(Vni{5001});
const AttachmentId kVpc3 = AttachmentId::vpc(Vni{5003});
AttachmentId tunnel(std::uint32_t id) { return AttachmentId::tunnel(TunnelId{id}); }

DescribedPacket described(AttachmentId from, Bytes packet) {
  DescribedPacket made;
  made.from = from;
  made.packet = std::move(packet);
  return made;
}
Trace traced(const Rig& rig, const DescribedPacket& packet) {
  auto result = forward::trace(rig.tables, rig.clock, packet);
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
  return result ? *result : Trace{};
}
std::string dropped(const Trace& trace) { return trace.drop ? std::string(info(*trace.drop).counter) : "nothing"; }

/// "classify vxlan_decap ..."
std::string stages(const Trace& trace) {
  std::string text;
  for (const TraceStep& step : trace.steps) {
    text += (text.empty() ? "" : " ") + step.stage + (step.packet == "packet" ? "" : "(" + step.packet + ")");
  }
  return text;
}
const forward::TraceFact* find(const Trace& trace, const std::string& stage, const std::string& name) {
  for (const TraceStep& step : trace.steps) {
    if (step.stage != stage) continue;
    for (const auto& fact : step.facts) {
      if (fact.name == name) return &fact;
    }
  }
  return nullptr;
}
std::string value(const Trace& trace, const std::string& stage, const std::string& name) {
  const auto* fact = find(trace, stage, name);
  return fact == nullptr ? "absent" : fact->attachment ? fact->attachment->to_string() : fact->value;
}

/// Everything that a packet changes.
struct Marks {
  explicit Marks(const Rig& rig) {
    for (const auto& sa : {rig.topology.sa7_in, rig.topology.sa7_out, rig.topology.sa8_in, rig.topology.sa8_out,
                           rig.topology.sa9_in, rig.topology.sa9_out}) {
      const forward::SaUsage usage = sa->usage();
      for (const auto number : {usage.packets, usage.bytes, usage.sequence, usage.replayed, usage.failed, usage.last_use,
                                sa->runtime().window.top()}) {
        values.push_back(number);
      }
    }
    const auto add = [this](const std::optional<forward::TrafficTotals>& totals) {
      if (!totals) return;
      for (const auto number : {totals->rx_packets, totals->rx_bytes, totals->tx_packets, totals->tx_bytes, totals->punted,
                                totals->dropped}) {
        values.push_back(number);
      }
    };
    for (const auto id : {kRedVpc, AttachmentId::vpc(Vni{5002}), kVpc3, tunnel(7), tunnel(8), tunnel(9)}) {
      add(rig.tables.totals(id));
    }
    for (const auto port : {kFabric, kWan, kHostRedVpc, kHostRedTunnel, kHostBlueVpc, kHostBlueTunnel}) {
      add(rig.tables.totals(port));
    }
    const auto& counters = rig.worker.counters();
    values.insert(values.end(), {counters.received.read(), counters.originated.read(), counters.sent.read(),
                                 counters.punted.read(), counters.dropped(), counters.icmp_suppressed.read()});
  }
  std::vector<std::uint64_t> values;
};

TEST(TraceOfAFrame, SaysWhatTheWorkerSaysForEveryDrop) {
  std::size_t compared = 0;
  for (const Case& c : drop_cases()) {
    SCOPED_TRACE(c.description);
    // Of the moment, not of the tables; and what depends on the key of an SA, which no trace uses.
    if (c.drop == Drop::kNoHeadroom || c.drop == Drop::kNoFrame || c.drop == Drop::kTxRefused || c.drop == Drop::kPoliced) continue;
    Rig rig;
    if (c.prepare) c.prepare(rig);
    rig.tables.commit();
    const Bytes packet = c.packet(rig);
    if (packet.empty()) continue;
    const auto trace = forward::trace_received(rig.tables, rig.clock, c.port, packet);
    ASSERT_TRUE(trace.has_value());
    const bool sealed = find(*trace, "esp_decrypt", "packet") != nullptr && trace->drop == Drop::kEspAuthentication;
    if (sealed && c.drop != Drop::kEspAuthentication) continue;
    // A window begins at its top: what was seen left of it is the worker's secret.
    if (c.drop == Drop::kEspReplayed && trace->drop == Drop::kEspAuthentication) continue;
    EXPECT_EQ(trace->verdict, TraceVerdict::kDropped);
    EXPECT_EQ(dropped(*trace), std::string(info(c.drop).counter)) << stages(*trace);
    EXPECT_EQ(rig.send(c.port, packet).drops.count(dropped(*trace)), 1U);
    EXPECT_FALSE(forward::remedy(*trace->drop).empty());
    ++compared;
  }
  EXPECT_GT(compared, 70U);
}

TEST(TraceOfADescription, SaysWhatTheWorkerSays) {
  struct Described {
    std::string what;
    AttachmentId from;
    Bytes packet;
    std::string summary;  // of the worker
  };
  const auto u = [](const std::string& from, const std::string& to) { return ipv4({from, to}, udp({1, 2}, payload(20))); };
  const std::vector<Described> list = {
      {"to the site", kRedVpc, u("10.1.0.5", "172.16.0.9"), "sent on 1"},
      {"to the site, IPv6", kRedVpc, ipv6({"fd01::5", "fd16::9"}, udp({1, 2}, {})), "sent on 1"},
      {"to the VM", tunnel(7), u("172.16.0.9", "10.1.0.5"), "sent on 0"},
      {"to the VM, IPv6 outside", tunnel(9), u("172.19.0.9", "10.3.0.5"), "sent on 0"},
      {"raw ESP, other domain", tunnel(8), u("172.16.0.9", "10.1.0.5"), "sent on 0"},
      {"VPC to VPC", kRedVpc, u("10.1.0.5", "10.3.0.5"), "sent on 0"},
      {"to us", kRedVpc, u("10.1.0.5", "10.1.0.1"), "punted to 10"},
      {"to us through the tunnel", tunnel(7), u("172.16.0.9", "169.254.10.1"), "punted to 11"},
      {"no VM", tunnel(7), u("172.16.0.9", "10.1.0.66"), "sent on 1; dropped endpoint_unknown"},
      {"no route", kRedVpc, u("10.1.0.5", "9.9.9.9"), "sent on 0; dropped no_route"},
      {"TTL", tunnel(7), ipv4({.src = "172.16.0.9", .dst = "10.1.0.5", .ttl = 1}, udp({1, 2}, {})),
       "sent on 1; dropped ttl_expired"},
      {"forged source", kRedVpc, u("10.2.0.5", "172.16.0.9"), "dropped vxlan_spoofed_source"},
      {"too big, DF", kRedVpc, ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .df = true}, udp({1, 2}, payload(1420))),
       "sent on 0; dropped fragmentation_needed"},
      {"cut up", kRedVpc, ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 2}, payload(2800))), "sent on 1; sent on 1"},
      {"broken header", tunnel(7), first(u("172.16.0.9", "10.1.0.5"), 19), "dropped ipv4_malformed"},
      {"martian", tunnel(8), u("172.16.0.9", "239.0.0.1"), "dropped ip_destination"},
      {"empty", kRedVpc, {}, "dropped ipv4_malformed"},
  };
  for (const Described& d : list) {
    SCOPED_TRACE(d.what);
    Rig rig;
    const Marks before(rig);
    const Trace trace = traced(rig, described(d.from, d.packet));
    EXPECT_EQ(Marks(rig).values, before.values) << "a trace left marks";
    EXPECT_TRUE(rig.uplinks->take_sent().empty());
    const Bytes frame = d.from == kRedVpc ? Rig::from_vm(d.packet) : rig.from_site(d.from.id, d.packet);
    EXPECT_EQ(rig.send(d.from == kRedVpc ? kFabric : kWan, frame).summary(), d.summary);
    switch (trace.verdict) {
      case TraceVerdict::kForwarded:
        EXPECT_TRUE(d.summary.starts_with("sent")) << stages(trace);
        EXPECT_EQ(trace.steps.back().facts.front().port->value(), static_cast<unsigned>(d.summary[8] - '0'));
        break;
      case TraceVerdict::kPunted:
        EXPECT_TRUE(d.summary.starts_with("punted")) << stages(trace);
        break;
      default:
        EXPECT_TRUE(d.summary.ends_with("dropped " + dropped(trace))) << dropped(trace) << ": " << stages(trace);
        // The answer is there if the worker sent one.
        EXPECT_EQ(stages(trace).find("icmp_errors(icmp-error)") != std::string::npos, d.summary.starts_with("sent"));
    }
  }
}

TEST(TraceOfADescription, NamesTheEntriesItUsed) {
  Rig rig;
  const Trace out = traced(rig, described(kRedVpc, ipv4({"10.1.0.5", "172.16.0.9", 6}, tcp({1025, 443, true, false, 1460}, {}))));
  EXPECT_EQ(stages(out), "classify vxlan_decap ip_forward resolve pmtu esp_encrypt transmit");
  EXPECT_EQ(value(out, "classify", "vni"), "5001");
  EXPECT_EQ(value(out, "vxlan_decap", "vpc"), "vpc 5001");
  EXPECT_EQ(value(out, "vxlan_decap", "outer"), "192.0.2.11 -> 192.0.2.1");
  EXPECT_EQ(value(out, "vxlan_decap", "packet"), "10.1.0.5 -> 172.16.0.9 TCP 1025 -> 443, 44 bytes, TTL 64");
  EXPECT_EQ(find(out, "ip_forward", "domain")->domain, kRed);
  EXPECT_EQ(value(out, "ip_forward", "route"), "172.16.0.0/16");
  EXPECT_EQ(value(out, "ip_forward", "nexthop"), "tunnel 7");
  EXPECT_EQ(value(out, "resolve", "sa"), "SPI 0a000007 out, aes256gcm16, ESN, in UDP");
  EXPECT_EQ(value(out, "resolve", "path"), "198.51.100.1 -> 203.0.113.1");
  EXPECT_EQ(value(out, "resolve", "path-mtu"), "1500");
  EXPECT_EQ(find(out, "resolve", "adjacency")->port, kWan);
  EXPECT_EQ(value(out, "pmtu", "mtu"), "1438");
  EXPECT_EQ(value(out, "pmtu", "mss"), "1398");
  EXPECT_EQ(value(out, "esp_encrypt", "outer"), "198.51.100.1 -> 203.0.113.1, TTL 64, TOS 0, DF");
  EXPECT_EQ(value(out, "esp_encrypt", "udp"), "4500 -> 4500");
  EXPECT_EQ(value(out, "esp_encrypt", "esp"), "SPI 0a000007, sequence number 1");

  const Trace in = traced(rig, described(tunnel(7), ipv4({"172.16.0.9", "10.1.0.5"}, udp({7, 53}, {}))));
  EXPECT_EQ(stages(in), "classify esp_lookup esp_decrypt ip_forward resolve pmtu vxlan_encap transmit");
  EXPECT_EQ(value(in, "esp_lookup", "sa"), "SPI c0000007 in, aes256gcm16, ESN, in UDP");
  EXPECT_EQ(value(in, "esp_decrypt", "packet"), "172.16.0.9 -> 10.1.0.5 UDP 7 -> 53, 28 bytes, TTL 64");
  EXPECT_EQ(value(in, "ip_forward", "route"), "10.1.0.0/16");
  EXPECT_EQ(value(in, "resolve", "endpoint"), "10.1.0.5 is " + kVmMac);
  EXPECT_EQ(value(in, "resolve", "vtep"), "192.0.2.11");
  EXPECT_EQ(value(in, "vxlan_encap", "vxlan"), "VNI 5001");
  EXPECT_EQ(value(in, "vxlan_encap", "inner-ethernet"), kGatewayMac + " -> " + kVmMac);

  const Trace group = traced(rig, described(kRedVpc, ipv4({"10.1.0.5", "172.18.0.9"}, udp({1, 2}, {}))));
  EXPECT_EQ(value(group, "ip_forward", "route"), "172.18.0.0/16");
  EXPECT_EQ(value(group, "ip_forward", "nexthop"), value(group, "resolve", "to"));
}

TEST(TraceOfADescription, FromTheKernel) {
  Rig rig;
  DescribedPacket packet = described(tunnel(7), ipv4({.src = "169.254.10.1", .dst = "169.254.10.2", .protocol = 6, .ttl = 1}, tcp({179, 179}, {})));
  packet.from_kernel = true;
  const Trace trace = traced(rig, packet);
  EXPECT_EQ(stages(trace), "classify resolve pmtu esp_encrypt transmit");
  EXPECT_EQ(trace.verdict, TraceVerdict::kForwarded);
  packet.from = tunnel(9);
  EXPECT_FALSE(forward::trace(rig.tables, rig.clock, packet).has_value()) << "it has no host port";
}

TEST(TraceOfADescription, WhatHasNoTableEntryIsTold) {
  Rig rig;
  const Bytes packet = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, {}));
  const auto unknown = forward::trace(rig.tables, rig.clock, described(tunnel(99), packet));
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().what, "the forwarder does not know tunnel 99");
  EXPECT_FALSE(forward::trace(rig.tables, rig.clock, described(kRedVpc, payload(forward::kMostDescribedBytes + 1))).has_value());
  rig.tables.remove_inbound(Spi{rig.topology.in7.spi});
  EXPECT_EQ(dropped(traced(rig, described(tunnel(7), packet))), "esp_unknown_spi");
  DescribedPacket forged = described(kRedVpc, ipv4({"10.1.0.5", "172.16.0.9"}, {}));
  forged.vtep = Topology::ip("192.0.2.99");
  EXPECT_EQ(dropped(traced(rig, forged)), "vxlan_unknown_peer");
  rig.topology.sa9_out->runtime().sequence.store(0xffffffff);
  EXPECT_EQ(dropped(traced(rig, described(kRedVpc, ipv4({"10.1.0.5", "172.19.0.9"}, {})))), "esp_sequence_exhausted");
  rig.tables.remove_port(kWan);
  EXPECT_EQ(dropped(traced(rig, described(kRedVpc, ipv4({"10.1.0.5", "172.16.0.9"}, {})))), "no_port");
  rig.tables.remove_port(kFabric);
  EXPECT_FALSE(forward::trace(rig.tables, rig.clock, forged).has_value()) << "no uplink";
}

TEST(TraceOfADescription, OfEverySuite) {
  for (const crypto::EspSuite suite : crypto::kAllEspSuites) {
    SCOPED_TRACE(crypto::to_string(suite));
    Rig rig;
    const auto& facts = crypto::facts_of(suite);
    for (const bool inbound : {true, false}) {
      forward::SaSpec spec;
      spec.direction = inbound ? forward::SaDirection::kInbound : forward::SaDirection::kOutbound;
      spec.spi = Spi{inbound ? 0xc0001000U : 0x0a001000U};
      spec.tunnel = TunnelId{7};
      spec.path = inbound ? rig.topology.path7_in : rig.topology.path7_out;
      spec.suite = suite;
      spec.key = crypto::SecretKey(Bytes(std::size_t{facts.cipher_key_bytes} + facts.salt_bytes, 7));
      spec.integrity_key = crypto::SecretKey(Bytes(facts.integrity_key_bytes, 8));
      auto sa = forward::Sa::create(std::move(spec)).value();
      if (inbound) {
        rig.tables.remove_inbound(Spi{rig.topology.in7.spi});
        Topology::must(rig.tables.install_inbound(sa));
      } else {
        Topology::must(rig.tables.set_outbound(TunnelId{7}, sa));
      }
    }
    const Trace in = traced(rig, described(tunnel(7), ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, payload(33)))));
    EXPECT_EQ(in.verdict, TraceVerdict::kForwarded) << dropped(in);
    const Trace out = traced(rig, described(kRedVpc, ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 2}, payload(33)))));
    EXPECT_EQ(out.verdict, TraceVerdict::kForwarded) << dropped(out);
  }
}

TEST(LiveTrace, ShowsTheNextPacketThatMatches) {
  Rig rig;
  forward::PacketFilter filter;
  filter.destination_port = 53;
  auto live = forward::LiveTrace::create(rig.tables, kRedVpc, filter).value();
  rig.worker.watch(live->watch().get());
  const auto frame = [](std::uint16_t port) { return Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, port}, {}))); };
  // Another port, another attachment: not this one.
  rig.send(kFabric, frame(80));
  rig.send(kWan, rig.from_site(7, ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 53}, {}))));
  EXPECT_FALSE(live->done());
  rig.send_all(kFabric, {frame(80), frame(53), frame(53)});
  ASSERT_TRUE(live->done());
  rig.worker.watch(nullptr);
  const Trace trace = live->explain(rig.tables);
  EXPECT_EQ(stages(trace), "classify vxlan_decap ip_forward resolve pmtu esp_encrypt transmit");
  EXPECT_EQ(value(trace, "esp_encrypt", "esp"), "SPI 0a000007, sequence number 3") << "the third that the tunnel carried";
  EXPECT_EQ(value(trace, "ip_forward", "route"), "172.16.0.0/16");
  EXPECT_EQ(trace.verdict, TraceVerdict::kForwarded);
}

TEST(LiveTrace, ShowsDropsAndTheirAnswers) {
  struct Dropped {
    AttachmentId from;
    forward::PortId port;
    std::function<Bytes(Rig&)> packet;
    std::string drop;
    std::string stages;
  };
  const std::vector<Dropped> list = {
      {kRedVpc, kFabric, [](Rig&) { return Rig::from_vm(ipv4({"10.1.0.5", "9.9.9.9"}, udp({1, 2}, {}))); }, "no_route",
       "classify vxlan_decap ip_forward icmp_errors(icmp-error) resolve(icmp-error) pmtu(icmp-error) vxlan_encap(icmp-error) "
       "transmit(icmp-error)"},
      {kRedVpc, kFabric, [](Rig&) { return Rig::from_vm(ipv4({"10.2.0.5", "9.9.9.9"}, udp({1, 2}, {}))); },
       "vxlan_spoofed_source", "classify vxlan_decap"},
      {tunnel(7), kWan, [](Rig& rig) { return rig.from_site(7, ipv4({"172.16.0.9", "239.0.0.1"}, udp({1, 2}, {}))); },
       "ip_destination", "classify esp_lookup esp_decrypt"},
      {tunnel(7), kHostRedTunnel, [](Rig&) { return ipv6({"fe80::1", "ff02::2", 58}, icmpv6(133, 0, 0, {})); }, "ip_source",
       "classify"},
  };
  for (const Dropped& d : list) {
    SCOPED_TRACE(d.drop);
    Rig rig;
    auto live = forward::LiveTrace::create(rig.tables, d.from, {}).value();
    rig.worker.watch(live->watch().get());
    rig.send(d.port, d.packet(rig));
    rig.worker.watch(nullptr);
    ASSERT_TRUE(live->done());
    const Trace trace = live->explain(rig.tables);
    EXPECT_EQ(dropped(trace), d.drop);
    EXPECT_EQ(stages(trace), d.stages);
  }
}

TEST(Remedies, EveryReasonHasOne) {
  for (std::size_t i = 0; i < forward::kDropCount; ++i) {
    EXPECT_FALSE(forward::remedy(static_cast<Drop>(i)).empty())
        << forward::kDropInfo[i].counter << " has no line in remedy.def";
  }
}

TEST(TraceOfAPacket, FindsTheConnectionItBelongsTo) {
  Rig rig;
  forward::NatRuleEntry rule;
  rule.name = "source";
  rule.attachment = tunnel(7);
  rule.outside = Topology::prefix("100.64.0.1/32");
  Topology::must(rig.tables.upsert_nat({kRed, {rule}}));
  const Bytes there = ipv4({"10.1.0.5", "172.16.0.9"}, udp({5000, 53}, payload(20)));
  EXPECT_TRUE(value(traced(rig, described(kRedVpc, there)), "police", "connection")
                  .starts_with("new, opening, forth: 10.1.0.5 5000 -> 172.16.0.9 53, outside 100.64.0.1 "));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(there));
  ASSERT_EQ(outcome.sent.size(), 1U);
  const std::uint16_t port = be16(rig.to_site(7, outcome.sent[0]), 20);
  const Bytes back = ipv4({"172.16.0.9", "100.64.0.1"}, udp({53, port}, payload(20)));
  const auto connections = rig.tables.list_connections(10, 0);
  const Trace trace = traced(rig, described(tunnel(7), back));
  EXPECT_EQ(trace.verdict, TraceVerdict::kForwarded) << dropped(trace);
  EXPECT_EQ(value(trace, "resolve", "to"), kRedVpc.to_string());
  EXPECT_EQ(value(trace, "police", "connection"), "existing, open, back: 10.1.0.5 5000 -> 172.16.0.9 53, outside 100.64.0.1 " +
                                                      std::to_string(port) + " -> 172.16.0.9 53");
  ASSERT_EQ(connections.size(), 1U);
  EXPECT_EQ(rig.tables.list_connections(10, 0)[0].packets_back, 0U) << "a copy of it";
  const Bytes error = ipv4({"172.16.3.3", "100.64.0.1", 1}, icmp(3, 1, 0, rig.to_site(7, outcome.sent[0])));
  EXPECT_EQ(traced(rig, described(tunnel(7), error)).verdict, TraceVerdict::kForwarded);
  const Bytes other = ipv4({"172.16.0.9", "100.64.0.1"}, udp({54, port}, payload(20)));
  EXPECT_EQ(dropped(traced(rig, described(tunnel(7), other))), "nat_no_mapping");
}

}  // namespace
}  // namespace simplon::test
