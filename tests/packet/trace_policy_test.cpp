// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a trace says of policy: the list and the rule that decided, the connection, the translation, the limit. In the red domain of
// topology.h.
#include <chrono>

#include "gateway/forward/trace.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using namespace std::chrono_literals;
using forward::AclDirection;
using forward::AclRuleEntry;
using forward::AttachmentId;
using forward::NatKind;
using forward::NatRuleEntry;
using forward::PolicyEntry;
using forward::Trace;
using forward::TraceVerdict;

const AttachmentId kRedVpc = AttachmentId::vpc(Vni{5001});
const AttachmentId kTunnel7 = AttachmentId::tunnel(TunnelId{7});

/// "vpc 5001, what it says"; several facts of the name in lines.
std::string said(const Trace& trace, const std::string& name) {
  std::string text;
  for (const auto& step : trace.steps) {
    if (step.stage != "police") continue;
    for (const auto& fact : step.facts) {
      if (fact.name != name) continue;
      text += (text.empty() ? "" : "\n") + (fact.attachment ? fact.attachment->to_string() + ", " : "") + fact.value;
    }
  }
  return text.empty() ? "nothing" : text;
}

AclRuleEntry rule(const std::string& name, bool allow, AclDirection direction, std::uint16_t port, bool stateful = true) {
  AclRuleEntry made;
  made.name = name;
  made.allow = allow;
  made.direction = direction;
  made.stateful = stateful;
  made.protocol = 17;
  made.destination_ports = {{port, port}};
  return made;
}

NatRuleEntry nat_rule(const std::string& name, NatKind kind, const std::string& outside, const std::string& inside = {}) {
  NatRuleEntry made;
  made.name = name;
  made.kind = kind;
  if (kind != NatKind::kDestination) made.attachment = kTunnel7;
  made.outside = Topology::prefix(outside);
  if (!inside.empty()) made.inside = Topology::prefix(inside);
  return made;
}

struct PolicyTraceRig : Rig {
  void policy(const std::function<void(PolicyEntry&)>& change, AttachmentId attachment = kRedVpc) {
    PolicyEntry entry;
    entry.attachment = attachment;
    entry.domain = kRed;
    change(entry);
    Topology::must(tables.upsert_policy(entry));
  }
  void lists() {
    Topology::must(tables.upsert_acl({"vms", false,
                                      {rule("other", true, AclDirection::kTo, 1), rule("dns", true, AclDirection::kFrom, 53),
                                       rule("ntp", true, AclDirection::kFrom, 123, false),
                                       rule("snmp", false, AclDirection::kFrom, 161)}}));
    Topology::must(tables.upsert_acl({"site", true, {}}));
    policy([](PolicyEntry& entry) { entry.acl = "vms"; });
    policy([](PolicyEntry& entry) { entry.acl = "site"; }, kTunnel7);
  }
  [[nodiscard]] Trace described(AttachmentId from, const Bytes& packet) const {
    auto result = forward::trace(tables, clock, {from, false, std::nullopt, packet});
    EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
    return result ? *result : Trace{};
  }
  /// What a live trace of it says. `frame`: as it comes in.
  [[nodiscard]] Trace live(AttachmentId from, forward::PortId port, const Bytes& frame) {
    auto live = forward::LiveTrace::create(tables, from, {}).value();
    worker.watch(live->watch().get());
    send(port, frame);
    worker.watch(nullptr);
    EXPECT_TRUE(live->done());
    return live->explain(tables);
  }
};

Bytes out_udp(std::uint16_t port, std::uint16_t source = 5000) {
  return ipv4({"10.1.0.5", "172.16.0.9"}, udp({source, port}, payload(20)));
}
Bytes back_udp(std::uint16_t port, const std::string& to = "10.1.0.5", std::uint16_t to_port = 5000) {
  return ipv4({"172.16.0.9", to}, udp({port, to_port}, payload(20)));
}
const std::string kVpcSays = kRedVpc.to_string() + ", list vms, ";
const std::string kTunnelSays = kTunnel7.to_string() + ", list site, ";

TEST(TraceOfPolicy, NamesListAndRule) {
  PolicyTraceRig rig;
  rig.lists();
  struct Case {
    std::uint16_t port;
    TraceVerdict verdict;
    std::string from;
    std::string to;
  };
  for (const Case& c : std::vector<Case>{
           {53, TraceVerdict::kForwarded, kVpcSays + "rule 2 dns: allow, stateful", kTunnelSays + "no rule matches: allow by default"},
           {123, TraceVerdict::kForwarded, kVpcSays + "rule 3 ntp: allow", kTunnelSays + "no rule matches: allow by default"},
           {161, TraceVerdict::kDropped, kVpcSays + "rule 4 snmp: deny", "nothing"},
           {80, TraceVerdict::kDropped, kVpcSays + "no rule matches: deny by default", "nothing"}}) {
    SCOPED_TRACE(c.port);
    const Trace described = rig.described(kRedVpc, out_udp(c.port));
    EXPECT_EQ(described.verdict, c.verdict);
    EXPECT_EQ(said(described, "acl-from"), c.from);
    EXPECT_EQ(said(described, "acl-to"), c.to);
    const Trace live = rig.live(kRedVpc, kFabric, Rig::from_vm(out_udp(c.port)));
    EXPECT_EQ(live.verdict, c.verdict);
    EXPECT_EQ(said(live, "acl-from"), c.from);
    EXPECT_EQ(said(live, "acl-to"), c.to);
  }
  for (const auto& count : rig.tables.acl_counts("vms")) {
    EXPECT_EQ(count.packets, count.name == "other" ? 0U : 1U) << count.name << ": only the live one counts";
  }
  rig.policy([](PolicyEntry& entry) { entry.acl = "not there"; });
  EXPECT_EQ(said(rig.described(kRedVpc, out_udp(53)), "acl-from"), kRedVpc.to_string() + ", list not there was not there: deny");
}

TEST(TraceOfPolicy, TellsAnExistingConnectionFromANewOne) {
  PolicyTraceRig rig;
  rig.lists();
  const std::string ends = "10.1.0.5 5000 -> 172.16.0.9 53";
  for (const bool real : {false, true}) {
    const Trace first = real ? rig.live(kRedVpc, kFabric, Rig::from_vm(out_udp(53))) : rig.described(kRedVpc, out_udp(53));
    EXPECT_EQ(said(first, "connection"), "new, opening, forth: " + ends);
    EXPECT_EQ(said(first, "timeout"), "120 s without a packet") << "RFC 4787 REQ-5";
  }
  const Trace back = rig.described(kTunnel7, back_udp(53));
  EXPECT_EQ(said(back, "connection"), "existing, open, back: " + ends);
  EXPECT_EQ(said(back, "timeout"), "300 s without a packet");
  EXPECT_EQ(said(back, "acl-to"), kVpcSays + "rule 2 dns: allow, stateful, as the first packet of the connection");
  const Trace really_back = rig.live(kTunnel7, kWan, rig.from_site(7, back_udp(53)));
  EXPECT_EQ(said(really_back, "connection"), said(back, "connection"));
  EXPECT_EQ(said(really_back, "acl-to"), said(back, "acl-to"));
  EXPECT_EQ(said(rig.described(kRedVpc, out_udp(123)), "connection"), "none") << "its rule keeps no state";
  EXPECT_EQ(said(rig.described(kTunnel7, back_udp(53, "10.1.0.5", 5001)), "connection"), "none");

  // The list changes under the connection: what it says now is what holds.
  Topology::must(rig.tables.upsert_acl({"vms", false, {rule("web", true, AclDirection::kFrom, 80)}}));
  const Trace denied = rig.live(kTunnel7, kWan, rig.from_site(7, back_udp(53)));
  EXPECT_EQ(denied.verdict, TraceVerdict::kDropped);
  EXPECT_EQ(said(denied, "acl-to"), kVpcSays + "no rule matches: deny by default");
}

TEST(TraceOfPolicy, NamesARuleOfAListThatChangedSince) {
  PolicyTraceRig rig;
  rig.lists();
  auto live = forward::LiveTrace::create(rig.tables, kRedVpc, {}).value();
  rig.worker.watch(live->watch().get());
  rig.send(kFabric, Rig::from_vm(out_udp(53)));
  rig.worker.watch(nullptr);
  Topology::must(rig.tables.upsert_acl({"vms", false, {}}));
  EXPECT_EQ(said(live->explain(rig.tables), "acl-from"), kVpcSays + "rule 2 of a former version: allow, stateful");
}

TEST(TraceOfPolicy, SaysWhatSourceNatMakesOfThePacket) {
  PolicyTraceRig rig;
  Topology::must(rig.tables.upsert_nat(
      {kRed,
       {nat_rule("unused", NatKind::kDestination, "100.64.1.1/32", "10.1.0.6/32"), nat_rule("to-site", NatKind::kSource, "100.64.0.0/30")}}));
  const Trace there = rig.live(kRedVpc, kFabric, Rig::from_vm(out_udp(53)));
  const auto connections = rig.tables.list_connections(10, 0);
  ASSERT_EQ(connections.size(), 1U);
  const std::string outer =
      connections[0].translated_source.to_string() + " " + std::to_string(connections[0].translated_source_port);
  const std::string inner = "10.1.0.5 5000 -> 172.16.0.9 53";
  EXPECT_EQ(said(there, "nat"), "source rule to-site: " + inner + " becomes " + outer + " -> 172.16.0.9 53, pool 100.64.0.0/30");
  EXPECT_EQ(said(there, "connection"), "new, opening, forth: " + inner + ", outside " + outer + " -> 172.16.0.9 53");
  const Bytes back = back_udp(53, connections[0].translated_source.to_string(), connections[0].translated_source_port);
  EXPECT_EQ(said(rig.described(kTunnel7, back), "nat"), "its connection: 172.16.0.9 53 -> " + outer + " becomes 172.16.0.9 53 -> 10.1.0.5 5000");
}

TEST(TraceOfPolicy, SaysWhatDestinationNatAndNetmapMakeOfThePacket) {
  PolicyTraceRig rig;
  NatRuleEntry published = nat_rule("web", NatKind::kDestination, "100.64.0.9/32", "10.1.0.5/32");
  published.protocol = 17;
  published.outside_port = 80;
  published.inside_port = 8080;
  Topology::must(rig.tables.upsert_nat({kRed, {published}}));
  const Trace web = rig.described(kTunnel7, back_udp(53, "100.64.0.9", 80));
  EXPECT_EQ(web.verdict, TraceVerdict::kForwarded);
  EXPECT_EQ(said(web, "nat"), "destination rule web: 172.16.0.9 53 -> 100.64.0.9 80 becomes 172.16.0.9 53 -> 10.1.0.5 8080");

  Topology::must(rig.tables.upsert_nat({kRed,
                                        {nat_rule("ours", NatKind::kNetmap, "100.70.0.0/16", "10.1.0.0/16"),
                                         nat_rule("theirs", NatKind::kNetmapRemote, "10.1.0.0/16", "172.16.0.0/16")}}));
  const std::string out = "netmap rule ours and theirs: 10.1.0.5 5000 -> 172.16.0.9 53 becomes 100.70.0.5 5000 -> 10.1.0.9 53";
  EXPECT_EQ(said(rig.described(kRedVpc, out_udp(53)), "nat"), out);
  EXPECT_EQ(said(rig.live(kRedVpc, kFabric, Rig::from_vm(out_udp(53))), "nat"), out);
  const Bytes back = ipv4({"10.1.0.9", "100.70.0.5"}, udp({53, 5000}, payload(20)));
  EXPECT_EQ(said(rig.described(kTunnel7, back), "nat"),
            "netmap rule ours and theirs: 10.1.0.9 53 -> 100.70.0.5 5000 becomes 172.16.0.9 53 -> 10.1.0.5 5000");
}

TEST(TraceOfPolicy, SaysWhoLimitsAndWhetherThePacketConformed) {
  PolicyTraceRig rig;
  rig.policy([](PolicyEntry& entry) { entry.from = {2'000'000, 5}; });
  rig.policy([](PolicyEntry& entry) { entry.to = {1'500, 0}; }, kTunnel7);
  const std::string from = kRedVpc.to_string() + ", 2 Mbit/s, 5 packets/s: ";
  const std::string to = kTunnel7.to_string() + ", 1500 bit/s: ";
  const Trace before = rig.described(kRedVpc, out_udp(53));
  EXPECT_EQ(said(before, "rate-from"), from + "conforms at the moment");
  EXPECT_EQ(said(before, "rate-to"), to + "conforms at the moment");
  const Trace first = rig.live(kRedVpc, kFabric, Rig::from_vm(out_udp(53)));
  EXPECT_EQ(first.verdict, TraceVerdict::kForwarded);
  EXPECT_EQ(said(first, "rate-from"), from + "conforms");
  EXPECT_EQ(said(first, "rate-to"), to + "conforms");
  // 384 bits at 1,500 a second are more than 100 ms of the rate: nothing is left. 1 packet at 5 a second, too.
  const Trace second = rig.live(kRedVpc, kFabric, Rig::from_vm(out_udp(53)));
  EXPECT_EQ(second.verdict, TraceVerdict::kDropped);
  EXPECT_EQ(said(second, "rate-from"), from + "exceeded");
  EXPECT_EQ(said(second, "rate-to"), "nothing") << "it was not asked";
  const Trace after = rig.described(kRedVpc, out_udp(53));
  EXPECT_EQ(after.verdict, TraceVerdict::kForwarded);
  EXPECT_EQ(said(after, "rate-from"), from + "exceeded at the moment; what is only described passes");
  rig.clock.advance(10s);
  EXPECT_EQ(said(rig.described(kRedVpc, out_udp(53)), "rate-from"), from + "conforms at the moment");
}

TEST(TraceOfPolicy, TellsThatThereAreAsManyConnectionsAsThereMayBe) {
  PolicyTraceRig rig;
  rig.lists();
  rig.policy([](PolicyEntry& entry) {
    entry.acl = "vms";
    entry.max_connections = 1;
  });
  EXPECT_EQ(rig.described(kRedVpc, out_udp(53, 5000)).verdict, TraceVerdict::kForwarded);
  EXPECT_EQ(rig.live(kRedVpc, kFabric, Rig::from_vm(out_udp(53, 5000))).verdict, TraceVerdict::kForwarded);
  EXPECT_EQ(rig.described(kRedVpc, out_udp(53, 5000)).verdict, TraceVerdict::kForwarded) << "of the connection that is there";
  EXPECT_EQ(rig.described(kRedVpc, out_udp(53, 5001)).drop, forward::Drop::kConnectionLimit);
  EXPECT_EQ(rig.live(kRedVpc, kFabric, Rig::from_vm(out_udp(53, 5001))).drop, forward::Drop::kConnectionLimit);
}

TEST(TraceOfPolicy, SaysNothingWhereThereIsNone) {
  PolicyTraceRig rig;
  const Trace trace = rig.described(kRedVpc, out_udp(53));
  EXPECT_EQ(trace.verdict, TraceVerdict::kForwarded);
  for (const auto& step : trace.steps) EXPECT_NE(step.stage, "police");
}

}  // namespace
}  // namespace simplon::test
