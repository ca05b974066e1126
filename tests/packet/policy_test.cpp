// SPDX-License-Identifier: GPL-2.0-or-later
//
// Access lists, connections, reverse path and rates. In every test the packets are those of topology.h's red domain: a VM in
// VPC 5001 and a host of the site behind tunnel 7.
#include <chrono>

#include "gateway/forward/adopt_connections.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using namespace std::chrono_literals;
using forward::AclDirection;
using forward::AclEntry;
using forward::AclRuleEntry;
using forward::AttachmentId;
using forward::NumberRange;
using forward::PolicyEntry;

constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

Bytes segment(std::uint16_t src, std::uint16_t dst, std::uint8_t flags, std::size_t bytes = 0) {
  Bytes header = tcp({.src = src, .dst = dst}, payload(bytes));
  header[13] = flags;
  return header;
}
Bytes out_tcp(std::uint8_t flags, std::uint16_t port = 443) {
  return ipv4({"10.1.0.5", "172.16.0.9", 6}, segment(40000, port, flags));
}
Bytes back_tcp(std::uint8_t flags, std::uint16_t port = 443) {
  return ipv4({"172.16.0.9", "10.1.0.5", 6}, segment(port, 40000, flags));
}
Bytes out_udp(std::uint16_t src = 5000, std::uint16_t dst = 53) {
  return ipv4({"10.1.0.5", "172.16.0.9"}, udp({src, dst}, payload(20)));
}
Bytes back_udp(std::uint16_t src = 5000, std::uint16_t dst = 53) {
  return ipv4({"172.16.0.9", "10.1.0.5"}, udp({dst, src}, payload(20)));
}
Bytes echo_reply(const std::string& src, const std::string& dst, std::uint16_t id) {
  return ipv4({src, dst, 1}, icmp(0, 0, std::uint32_t{id} << 16, payload(8)));
}
Bytes echo(const std::string& src, const std::string& dst, std::uint16_t id) {
  return ipv4({src, dst, 1}, icmp_echo(id, 0, payload(8)));
}

AclRuleEntry allow(AclDirection direction, bool stateful = true) {
  AclRuleEntry rule;
  rule.name = "rule";
  rule.allow = true;
  rule.direction = direction;
  rule.stateful = stateful;
  return rule;
}

/// The rig with an access list on VPC 5001.
struct PolicyRig : Rig {
  explicit PolicyRig(std::vector<AclRuleEntry> rules, bool allow_by_default = false) {
    set("vpc", std::move(rules), allow_by_default);
    PolicyEntry policy;
    policy.attachment = AttachmentId::vpc(Vni{5001});
    policy.domain = kRed;
    policy.acl = "vpc";
    set(policy);
  }
  void set(const std::string& name, std::vector<AclRuleEntry> rules, bool allow_by_default = false) {
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if (rules[i].name == "rule") rules[i].name += std::to_string(i);
    }
    Topology::must(tables.upsert_acl({name, allow_by_default, std::move(rules)}));
  }
  void set(const PolicyEntry& policy) { Topology::must(tables.upsert_policy(policy)); }
  std::string from_red(const Bytes& inner) { return send(kFabric, from_vm(inner)).summary(); }
  std::string from_site7(const Bytes& inner) { return send(kWan, from_site(7, inner)).summary(); }
};

const std::string kToSite = "sent on 1";
const std::string kToVm = "sent on 0";
const std::string kDenied = "dropped acl_denied";

// Rules.

TEST(Acl, WithoutRulesTheDefaultDecides) {
  PolicyRig deny({});
  EXPECT_EQ(deny.from_red(out_udp()), kDenied);
  EXPECT_EQ(deny.from_site7(back_udp()), kDenied);
  PolicyRig allow_all({}, true);
  EXPECT_EQ(allow_all.from_red(out_udp()), kToSite);
  EXPECT_EQ(allow_all.from_site7(back_udp()), kToVm);
  EXPECT_EQ(allow_all.tables.connections(), 0U);
}

TEST(Acl, AListThatIsNotThereLetsNothingPass) {
  PolicyRig rig({}, true);
  rig.tables.remove_acl("vpc");
  EXPECT_EQ(rig.from_red(out_udp()), kDenied);
}

TEST(Acl, DirectionsAreThoseOfTheAttachment) {
  PolicyRig rig({allow(AclDirection::kFrom, false)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  EXPECT_EQ(rig.from_site7(back_udp()), kDenied);
  rig.set("vpc", {allow(AclDirection::kTo, false)});
  EXPECT_EQ(rig.from_red(out_udp()), kDenied);
  EXPECT_EQ(rig.from_site7(back_udp()), kToVm);
}

TEST(Acl, EachConditionCounts) {
  AclRuleEntry rule = allow(AclDirection::kFrom, false);
  rule.protocol = 17;
  rule.sources = {Topology::prefix("10.1.0.0/24")};
  rule.destinations = {Topology::prefix("172.16.0.8/29"), Topology::prefix("172.19.0.0/16")};
  rule.source_ports = {{5000, 5009}};
  rule.destination_ports = {{53, 53}, {100, 200}};
  PolicyRig rig({rule});
  EXPECT_EQ(rig.from_red(out_udp(5000, 53)), kToSite);
  EXPECT_EQ(rig.from_red(out_udp(5009, 100)), kToSite);
  EXPECT_EQ(rig.from_red(out_udp(5009, 200)), kToSite);
  EXPECT_EQ(rig.from_red(out_udp(5010, 53)), kDenied);
  EXPECT_EQ(rig.from_red(out_udp(4999, 53)), kDenied);
  EXPECT_EQ(rig.from_red(out_udp(5000, 54)), kDenied);
  EXPECT_EQ(rig.from_red(out_udp(5000, 99)), kDenied);
  EXPECT_EQ(rig.from_red(out_udp(5000, 201)), kDenied);
  EXPECT_EQ(rig.from_red(ipv4({"10.1.0.5", "172.16.0.9", 6}, segment(5000, 53, kSyn))), kDenied);
  EXPECT_EQ(rig.from_red(ipv4({"10.1.1.5", "172.16.0.9"}, udp({5000, 53}, {}))), kDenied);
  EXPECT_EQ(rig.from_red(ipv4({"10.1.0.5", "172.16.0.16"}, udp({5000, 53}, {}))), kDenied);
  EXPECT_EQ(rig.from_red(ipv4({"10.1.0.5", "172.19.0.1"}, udp({5000, 53}, {}))), kToSite);
  EXPECT_EQ(rig.from_red(ipv6({"fd01::5", "fd16::9"}, udp({5000, 53}, {}))), kDenied) << "a rule of IPv4 only";
  ASSERT_EQ(rig.tables.acl_counts("vpc").size(), 1U);
  EXPECT_EQ(rig.tables.acl_counts("vpc")[0].packets, 4U);
}

TEST(Acl, TheFirstRuleThatMatchesDecides) {
  AclRuleEntry deny = allow(AclDirection::kFrom, false);
  deny.allow = false;
  deny.destinations = {Topology::prefix("172.16.0.9/32")};
  PolicyRig rig({deny, allow(AclDirection::kFrom, false)});
  EXPECT_EQ(rig.from_red(out_udp()), kDenied);
  EXPECT_EQ(rig.from_red(ipv4({"10.1.0.5", "172.16.0.10"}, udp({1, 2}, {}))), kToSite);
  rig.set("vpc", {allow(AclDirection::kFrom, false), deny});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
}

TEST(Acl, AFirstFragmentThatHidesItsProtocolIsDropped) {  // RFC 7112 section 5
  AclRuleEntry rule = allow(AclDirection::kFrom, false);
  rule.allow = false;
  rule.protocol = 6;
  PolicyRig rig({rule}, true);
  const auto fragment = [](std::uint8_t next, bool first, const Bytes& rest) {
    const std::uint8_t offset_more = first ? 1 : 16;
    return ipv6({.src = "fd01::5", .dst = "fd16::9", .next = 44}, Bytes{next, 0, 0, offset_more, 0, 0, 0, 7} + rest);
  };
  const Bytes options = {6, 4, 1, 4, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0};  // of 40 bytes, in front of TCP
  EXPECT_EQ(rig.from_red(fragment(60, true, options)), "dropped ipv6_header_chain");
  EXPECT_EQ(rig.from_red(fragment(60, false, payload(24) + segment(40000, 443, kSyn))), "dropped fragment_unknown");
  const Bytes whole = options + Bytes(24) + segment(40000, 443, kSyn);
  EXPECT_EQ(rig.from_red(fragment(60, true, whole + Bytes(4))), kDenied) << "TCP is seen";
  EXPECT_EQ(rig.from_red(ipv6({.src = "fd01::5", .dst = "fd16::9", .next = 60}, options)), "dropped ipv6_header_chain");
  EXPECT_EQ(rig.from_red(ipv6({.src = "fd01::5", .dst = "fd16::9", .next = 59}, {})), kToSite) << "no next header is one";
}

TEST(Acl, IcmpByType) {
  AclRuleEntry rule = allow(AclDirection::kFrom, false);
  rule.protocol = 1;
  rule.destination_ports = {{8, 8}};
  PolicyRig rig({rule});
  EXPECT_EQ(rig.from_red(echo("10.1.0.5", "172.16.0.9", 1)), kToSite);
  EXPECT_EQ(rig.from_red(echo_reply("10.1.0.5", "172.16.0.9", 1)), kDenied);
}

TEST(Acl, WhatIsForTheGatewayPasses) {
  PolicyRig rig({});
  EXPECT_EQ(rig.from_red(echo("10.1.0.5", "10.1.0.1", 1)), "punted to 10");
  EXPECT_EQ(rig.send(kHostRedVpc, ipv4({"10.1.0.1", "10.1.0.5"}, udp({1, 2}, {}))).summary(), kToVm);
}

TEST(Acl, OtherDomainsAreNotTouched) {
  PolicyRig rig({});
  const Bytes inner = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, payload(20)));
  EXPECT_EQ(rig.send(kWan, rig.from_site(8, inner)).summary(), kToVm);
}

TEST(Acl, BothAttachmentsHaveToAgree) {
  PolicyRig rig({allow(AclDirection::kFrom), allow(AclDirection::kTo)});
  rig.set("site", {});
  PolicyEntry policy;
  policy.attachment = AttachmentId::tunnel(TunnelId{7});
  policy.domain = kRed;
  policy.acl = "site";
  rig.set(policy);
  EXPECT_EQ(rig.from_red(out_udp()), kDenied);
  EXPECT_EQ(rig.tables.connections(), 0U);
  rig.set("site", {allow(AclDirection::kTo, false)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  EXPECT_EQ(rig.from_site7(back_udp()), kDenied) << "the tunnel's list is not stateful";
  rig.set("site", {allow(AclDirection::kTo)});
  EXPECT_EQ(rig.from_red(out_udp(5001)), kToSite);
  EXPECT_EQ(rig.from_site7(back_udp(5001)), kToVm);
}

TEST(Acl, WithoutPolicyAgainNothingIsLeft) {
  PolicyRig rig({});
  rig.tables.remove_policy(AttachmentId::vpc(Vni{5001}));
  rig.tables.remove_acl("vpc");
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  EXPECT_TRUE(rig.tables.acl_counts("vpc").empty());
}

TEST(Acl, CountersGoOnThroughChanges) {
  PolicyRig rig({allow(AclDirection::kFrom, false)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  AclRuleEntry other = allow(AclDirection::kTo, false);
  other.name = "other";
  AclRuleEntry same = allow(AclDirection::kFrom, false);
  same.name = "rule0";
  rig.set("vpc", {other, same});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  const auto counts = rig.tables.acl_counts("vpc");
  ASSERT_EQ(counts.size(), 2U);
  EXPECT_EQ(counts[0].packets, 0U);
  EXPECT_EQ(counts[1].packets, 2U);
}

TEST(Acl, TruncatedTransportIsNamed) {
  PolicyRig rig({}, true);
  EXPECT_EQ(rig.from_red(ipv4({"10.1.0.5", "172.16.0.9", 6}, payload(19))), "dropped transport_truncated");
  EXPECT_EQ(rig.from_red(ipv4({"10.1.0.5", "172.16.0.9", 17}, payload(7))), "dropped transport_truncated");
  EXPECT_EQ(rig.from_red(ipv4({"10.1.0.5", "172.16.0.9", 1}, payload(7))), "dropped transport_truncated");
}

// Connections.

TEST(Connection, AnswersPassAndNothingElse) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_site7(back_tcp(kSyn | kAck)), kDenied);
  EXPECT_EQ(rig.from_red(out_tcp(kSyn)), kToSite);
  EXPECT_EQ(rig.from_site7(back_tcp(kSyn | kAck)), kToVm);
  EXPECT_EQ(rig.from_site7(back_tcp(kAck, 444)), kDenied);
  EXPECT_EQ(rig.from_site7(ipv4({"172.16.0.8", "10.1.0.5", 6}, segment(443, 40000, kAck))), kDenied);
  EXPECT_EQ(rig.tables.connections(), 1U);
  const auto list = rig.tables.list_connections(10, 3600);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].packets_out, 1U);
  EXPECT_EQ(list[0].packets_back, 1U);
  EXPECT_EQ(list[0].source_port, 40000);
  EXPECT_EQ(list[0].from, AttachmentId::vpc(Vni{5001}));
  EXPECT_EQ(list[0].to, AttachmentId::tunnel(TunnelId{7}));
}

TEST(Connection, PacketsAreNotChanged) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(out_tcp(kSyn)));
  EXPECT_EQ(to_hex(rig.to_site(7, outcome.sent.at(0))), to_hex(hop(out_tcp(kSyn))));
}

TEST(Connection, PingIsAnsweredButNotAsked) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_red(echo("10.1.0.5", "172.16.0.9", 77)), kToSite);
  EXPECT_EQ(rig.from_site7(echo_reply("172.16.0.9", "10.1.0.5", 77)), kToVm);
  EXPECT_EQ(rig.from_site7(echo_reply("172.16.0.9", "10.1.0.5", 78)), kDenied);
  EXPECT_EQ(rig.from_site7(echo("172.16.0.9", "10.1.0.5", 77)), kDenied);
}

TEST(Connection, ErrorsPassWithTheConnectionTheyQuote) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  const auto error = [](const Bytes& quoted, const std::string& to = "10.1.0.5") {
    return ipv4({"172.16.7.7", to, 1}, icmp(3, 3, 0, quoted));
  };
  EXPECT_EQ(rig.from_site7(error(out_udp())), kToVm);
  EXPECT_EQ(rig.from_site7(error(first(out_udp(), 28))), kToVm);
  EXPECT_EQ(rig.from_site7(error(first(out_udp(), 27))), kDenied);
  EXPECT_EQ(rig.from_site7(error(out_udp(5001))), kDenied);
  EXPECT_EQ(rig.from_site7(error(back_udp())), kDenied) << "it quotes a packet of the other direction";
  EXPECT_EQ(rig.from_site7(error(out_udp(), "10.1.0.6")), kDenied) << "not to who sent it";
}

TEST(Connection, Ipv6) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  const Bytes out = ipv6({"fd01::5", "fd16::9"}, udp({1000, 53}, {}));
  const Bytes back = ipv6({"fd16::9", "fd01::5"}, udp({53, 1000}, {}));
  EXPECT_EQ(rig.from_site7(back), kDenied);
  EXPECT_EQ(rig.from_red(out), kToSite);
  EXPECT_EQ(rig.from_site7(back), kToVm);
  EXPECT_EQ(rig.from_site7(ipv6({"fd16::1", "fd01::5", 58}, icmpv6(1, 4, 0, out))), kToVm);
  EXPECT_EQ(rig.from_site7(ipv6({"fd16::1", "fd01::5", 58}, icmpv6(1, 4, 0, back))), kDenied);
}

TEST(Connection, ErrorsThatQuoteExtensionHeaders) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  const Bytes out = udp({1000, 53}, payload(40));
  // RFC 8200 section 4.5: next header, 0, offset with M, identification.
  const auto piece = [&](const std::string& offset_more) {
    Bytes bytes = hex("1100" + offset_more + "00000007");
    bytes.insert(bytes.end(), out.begin(), out.end());
    return ipv6({"fd01::5", "fd16::9", 44}, bytes);
  };
  Bytes padded = hex("1100010400000000");  // destination options: PadN
  padded.insert(padded.end(), out.begin(), out.end());
  const auto too_big = [](const Bytes& quoted) { return ipv6({"fd16::1", "fd01::5", 58}, icmpv6(2, 0, 1400, quoted)); };
  EXPECT_EQ(rig.from_site7(too_big(piece("0001"))), kDenied);
  EXPECT_EQ(rig.from_red(piece("0001")), kToSite);
  EXPECT_EQ(rig.from_site7(too_big(piece("0001"))), kToVm);
  EXPECT_EQ(rig.from_site7(too_big(ipv6({"fd01::5", "fd16::9", 60}, padded))), kToVm);
  EXPECT_EQ(rig.from_site7(too_big(first(piece("0001"), 56))), kToVm);
  EXPECT_EQ(rig.from_site7(too_big(first(piece("0001"), 55))), kDenied) << "no whole ports and length";
  EXPECT_EQ(rig.from_site7(too_big(first(piece("0001"), 44))), kDenied) << "the headers are not whole";
  EXPECT_EQ(rig.from_site7(too_big(piece("0009"))), kDenied) << "a later fragment has no ports";
}

TEST(Connection, AnotherListIsAskedAgain) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  AclRuleEntry narrower = allow(AclDirection::kFrom);
  narrower.destination_ports = {{53, 53}};
  narrower.protocol = 17;
  rig.set("vpc", {narrower});
  EXPECT_EQ(rig.from_site7(back_udp()), kToVm);
  narrower.destination_ports = {{54, 54}};
  rig.set("vpc", {narrower});
  EXPECT_EQ(rig.from_site7(back_udp()), kDenied);
  EXPECT_EQ(rig.from_red(out_udp()), kDenied);
}

TEST(Connection, AListThatComesBackLetsItsConnectionsPassAgain) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  rig.set("vpc", {});
  EXPECT_EQ(rig.from_red(out_udp()), kDenied);
  rig.set("vpc", {allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  EXPECT_EQ(rig.from_site7(back_udp()), kToVm);
  EXPECT_EQ(rig.tables.connections(), 1U);
}

TEST(Connection, LimitIsOfTheVpc) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  PolicyEntry policy;
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.domain = kRed;
  policy.acl = "vpc";
  policy.max_connections = 2;
  rig.set(policy);
  EXPECT_EQ(rig.from_red(out_udp(1)), kToSite);
  EXPECT_EQ(rig.from_red(out_udp(2)), kToSite);
  EXPECT_EQ(rig.from_red(out_udp(3)), "dropped connection_limit");
  EXPECT_EQ(rig.from_red(out_udp(2)), kToSite);
  EXPECT_EQ(rig.tables.connections_of(AttachmentId::vpc(Vni{5001})), 2U);
  rig.clock.advance(121s);
  EXPECT_EQ(rig.from_red(out_udp(3)), kToSite);
  EXPECT_EQ(rig.tables.connections(), 1U);
}

TEST(Connection, AQuarterOfTheLimitIsForWhatTheVpcBegins) {
  PolicyRig rig({allow(AclDirection::kFrom), allow(AclDirection::kTo)});
  PolicyEntry policy;
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.domain = kRed;
  policy.acl = "vpc";
  policy.max_connections = 8;
  rig.set(policy);
  const auto knock = [](std::uint16_t port) { return ipv4({"172.16.0.9", "10.1.0.5"}, udp({port, 7}, payload(21))); };
  for (std::uint16_t port = 1; port <= 6; ++port) EXPECT_EQ(rig.from_site7(knock(port)), kToVm) << port;
  EXPECT_EQ(rig.from_site7(knock(7)), "dropped connection_limit");
  EXPECT_EQ(rig.from_site7(knock(6)), kToVm) << "this one is known";
  EXPECT_EQ(rig.from_red(out_udp(1)), kToSite);
  EXPECT_EQ(rig.from_red(out_udp(2)), kToSite);
  EXPECT_EQ(rig.from_red(out_udp(3)), "dropped connection_limit");
  // What has ended is counted no more.
  rig.clock.advance(121s);
  for (std::uint16_t port = 11; port <= 16; ++port) EXPECT_EQ(rig.from_site7(knock(port)), kToVm) << port;
  EXPECT_EQ(rig.from_site7(knock(17)), "dropped connection_limit");
  EXPECT_EQ(rig.tables.connections_of(AttachmentId::vpc(Vni{5001})), 6U);
}

/// Opens a connection, waits, and says whether the answer still passes one second before `lifetime` is over and no longer
/// one after.
void expect_lifetime(const std::vector<std::pair<bool, Bytes>>& opening, const Bytes& back, std::chrono::seconds lifetime) {
  for (const bool late : {false, true}) {
    PolicyRig rig({allow(AclDirection::kFrom)});
    for (const auto& [from_vm, packet] : opening) {
      ASSERT_EQ(from_vm ? rig.from_red(packet) : rig.from_site7(packet), from_vm ? kToSite : kToVm);
    }
    rig.clock.advance(late ? lifetime + 2s : lifetime - 1s);
    EXPECT_EQ(rig.from_site7(back), late ? kDenied : kToVm) << lifetime.count();
    EXPECT_EQ(rig.tables.connections(), late ? 0U : 1U);
  }
}

TEST(Connection, LifetimesAreThoseOfTheStandards) {
  // RFC 4787 REQ-5, RFC 5508 REQ-2, RFC 5382 REQ-5.
  expect_lifetime({{true, out_udp()}}, back_udp(), 120s);
  expect_lifetime({{true, out_udp()}, {false, back_udp()}}, back_udp(), 300s);
  expect_lifetime({{true, echo("10.1.0.5", "172.16.0.9", 1)}}, echo_reply("172.16.0.9", "10.1.0.5", 1), 60s);
  const std::vector<std::pair<bool, Bytes>> syn = {{true, out_tcp(kSyn)}};
  expect_lifetime(syn, back_tcp(kSyn | kAck), 240s);
  auto open = syn;
  open.emplace_back(false, back_tcp(kSyn | kAck));
  expect_lifetime(open, back_tcp(kAck), 240s);
  open.emplace_back(true, out_tcp(kAck));
  expect_lifetime(open, back_tcp(kAck), 7440s);
  // RFC 6146 section 3.5.2.2: half a connection lives on, and one that was reset as long as nothing follows.
  auto closing = open;
  closing.emplace_back(true, out_tcp(kFin | kAck));
  expect_lifetime(closing, back_tcp(kAck), 7440s);
  closing.emplace_back(false, back_tcp(kFin | kAck));
  expect_lifetime(closing, back_tcp(kAck), 240s);
  auto reset = open;
  reset.emplace_back(false, back_tcp(kRst));
  expect_lifetime(reset, back_tcp(kAck), 240s);
  reset.emplace_back(true, out_tcp(kAck));
  expect_lifetime(reset, back_tcp(kAck), 7440s);
  auto refused = syn;
  refused.emplace_back(false, back_tcp(kRst | kAck));
  refused.emplace_back(true, out_tcp(kAck));
  expect_lifetime(refused, back_tcp(kAck), 240s);
  auto forged = syn;
  forged.emplace_back(false, back_tcp(kRst));
  forged.emplace_back(false, back_tcp(kSyn | kAck));
  expect_lifetime(forged, back_tcp(kAck), 240s);
  forged.emplace_back(true, out_tcp(kAck));
  expect_lifetime(forged, back_tcp(kAck), 7440s);
  const Bytes gre = ipv4({"10.1.0.5", "172.16.0.9", 47}, payload(20));
  expect_lifetime({{true, gre}}, ipv4({"172.16.0.9", "10.1.0.5", 47}, payload(20)), 600s);
}

TEST(Connection, AnotherProcessKnowsWhatOfItsEndWasSeen) {
  const auto after_restart = [](const std::vector<std::pair<bool, Bytes>>& before, const std::vector<std::pair<bool, Bytes>>& then) {
    PolicyRig old({allow(AclDirection::kFrom)});
    PolicyRig fresh({allow(AclDirection::kFrom)});
    const auto carry = [](PolicyRig& rig, const auto& packets) {
      for (const auto& [from_vm, packet] : packets) (void)(from_vm ? rig.from_red(packet) : rig.from_site7(packet));
    };
    carry(old, before);
    EXPECT_EQ(forward::adopt_connections(fresh.tables, old.tables.list_connections(1, 3600), 3600), 1U);
    carry(fresh, then);
    const auto connections = fresh.tables.list_connections(1, 3600);
    return connections.empty() ? 0U : connections[0].expires_in_seconds + connections[0].idle_seconds;
  };
  const std::vector<std::pair<bool, Bytes>> open = {
      {true, out_tcp(kSyn)}, {false, back_tcp(kSyn | kAck)}, {true, out_tcp(kAck)}};
  auto half = open;
  half.emplace_back(true, out_tcp(kFin | kAck));
  EXPECT_EQ(after_restart(half, {}), 7440U);
  EXPECT_EQ(after_restart(half, {{false, back_tcp(kFin | kAck)}}), 240U);
  auto reset = open;
  reset.emplace_back(false, back_tcp(kRst));
  EXPECT_EQ(after_restart(reset, {}), 240U);
  EXPECT_EQ(after_restart(reset, {{true, out_tcp(kAck)}}), 7440U);
}

TEST(Connection, TrafficKeepsItAndAnIdleOneEnds) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  EXPECT_EQ(rig.from_site7(back_udp()), kToVm);
  for (int i = 0; i < 20; ++i) {
    rig.clock.advance(299s);
    EXPECT_EQ(rig.from_site7(back_udp()), kToVm);
  }
  rig.clock.advance(302s);
  EXPECT_EQ(rig.from_site7(back_udp()), kDenied);
}

/// Both tunnels that lead to 172.18/16 let answers in, and nothing else.
struct TwoWays : PolicyRig {
  TwoWays() : PolicyRig({}, true) {
    set("site", {allow(AclDirection::kTo)});
    for (const std::uint32_t id : {7U, 9U}) {
      PolicyEntry policy;
      policy.attachment = AttachmentId::tunnel(TunnelId{id});
      policy.domain = kRed;
      policy.acl = "site";
      set(policy);
    }
  }
  /// The tunnel that it takes.
  unsigned out() {
    const Outcome outcome = send(kFabric, from_vm(ipv4({"10.1.0.5", "172.18.0.9"}, udp({5000, 53}, payload(20)))));
    return outcome.sent.empty() ? 0 : outcome.sent[0].bytes[12] == 0x86 ? 9 : 7;
  }
  std::string back(unsigned tunnel, const std::string& from = "172.18.0.9") {
    return send(kWan, from_site(tunnel, ipv4({from, "10.1.0.5"}, udp({53, 5000}, payload(20))))).summary();
  }
  void lose(unsigned tunnel) { Topology::must(tables.set_outbound(TunnelId{tunnel}, nullptr)); }
};

TEST(Connection, GoesOnThroughTheOtherNexthopOfItsRoute) {
  TwoWays rig;
  const unsigned first = rig.out();
  const unsigned other = first == 7 ? 9 : 7;
  EXPECT_EQ(rig.back(first), kToVm);
  EXPECT_EQ(rig.back(other), kToVm) << "the site may answer through either";
  rig.lose(first);
  EXPECT_EQ(rig.back(other), kToVm) << "the answer may be the first to take it";
  EXPECT_EQ(rig.out(), other);
  EXPECT_EQ(rig.back(other), kToVm);
  EXPECT_EQ(rig.back(first), kDenied) << "no route leads there any more";
  EXPECT_EQ(rig.back(other), kToVm);
  EXPECT_EQ(rig.tables.connections(), 1U);
}

TEST(Connection, DoesNotGoOnWhereNoRouteLeads) {
  TwoWays rig;
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  EXPECT_EQ(rig.from_site7(back_udp()), kToVm);
  EXPECT_EQ(rig.back(9, "172.16.0.9"), kDenied);
  EXPECT_EQ(rig.from_site7(back_udp()), kToVm);
}

TEST(Connection, EndsWithItsAttachment) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  const AttachmentId vpc = AttachmentId::vpc(Vni{5001});
  for (std::uint16_t i = 0; i < 2500; ++i) ASSERT_EQ(rig.from_red(out_udp(static_cast<std::uint16_t>(1 + i))), kToSite);
  const std::uint32_t slot = rig.tables.slot_of(vpc);
  rig.tables.remove_policy(vpc);
  rig.tables.remove_host_port(vpc);
  for (const char* prefix : {"10.1.0.0/16", "fd01::/64", "10.1.0.1/32", "fd01::1/128"}) {
    rig.tables.remove_route(kRed, Topology::prefix(prefix));
  }
  rig.tables.remove_vpc(Vni{5001});
  rig.tables.commit();
  const auto another = [&rig](std::uint32_t vni) {
    Topology::must(rig.tables.upsert_vpc({Vni{vni}, kRed, Topology::ip("192.0.2.1"), 4789, Topology::mac(kGatewayMac), {}, {}, 1450}));
    return rig.tables.slot_of(AttachmentId::vpc(Vni{vni}));
  };
  rig.worker.poll_once();
  rig.tables.commit();
  EXPECT_NE(another(6001), slot) << "there are connections that name it";
  while (rig.worker.poll_once() > 0) {
  }
  EXPECT_EQ(rig.tables.connections(), 0U);
  rig.tables.commit();
  EXPECT_EQ(another(6002), slot);
}

TEST(Connection, EndsInTimeWithoutTraffic) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  rig.clock.advance(122s);
  EXPECT_EQ(rig.worker.poll_once(), 0U);
  EXPECT_EQ(rig.tables.connections(), 0U);
}

TEST(Connection, ThousandsComeAndGo) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  for (std::uint16_t i = 0; i < 2000; ++i) {
    EXPECT_EQ(rig.from_red(out_udp(static_cast<std::uint16_t>(1 + i), 53)), kToSite);
    if (i % 100 == 0) rig.clock.advance(1s);
  }
  EXPECT_EQ(rig.tables.connections(), 2000U);
  EXPECT_EQ(rig.from_site7(back_udp(1234)), kToVm);
  for (int i = 0; i < 20; ++i) {
    rig.clock.advance(100s);
    (void)rig.from_site7(back_tcp(kAck));
  }
  EXPECT_EQ(rig.tables.connections(), 0U);
}

TEST(Connection, TheSamePortsAgain) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_red(out_tcp(kSyn)), kToSite);
  EXPECT_EQ(rig.from_site7(back_tcp(kRst | kAck)), kToVm);
  EXPECT_EQ(rig.from_red(out_tcp(kSyn)), kToSite);
  EXPECT_EQ(rig.from_site7(back_tcp(kSyn | kAck)), kToVm);
  EXPECT_EQ(rig.tables.list_connections(1, 0).at(0).state, forward::ConnectionState::kOpening);
  EXPECT_EQ(rig.from_red(out_tcp(kAck)), kToSite);
  EXPECT_EQ(rig.tables.list_connections(1, 0).at(0).state, forward::ConnectionState::kOpen);
}

// Fragments.

TEST(Fragments, FollowTheirFirst) {
  AclRuleEntry dns = allow(AclDirection::kFrom);
  dns.protocol = 17;
  dns.destination_ports = {{53, 53}};
  PolicyRig rig({dns});
  const Bytes datagram = udp({5000, 53}, payload(200));
  const auto piece = [&](std::uint16_t id, bool is_first) {
    return ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = id, .mf = is_first,
                 .offset = static_cast<std::uint16_t>(is_first ? 0 : 104), .fill_l4 = false},
                is_first ? first(datagram, 104) : from(datagram, 104));
  };
  EXPECT_EQ(rig.from_red(piece(1, false)), "dropped fragment_unknown");
  EXPECT_EQ(rig.from_red(piece(1, true)), kToSite);
  EXPECT_EQ(rig.from_red(piece(1, false)), kToSite);
  EXPECT_EQ(rig.from_red(piece(2, false)), "dropped fragment_unknown");
  rig.clock.advance(61s);
  EXPECT_EQ(rig.from_red(piece(1, false)), "dropped fragment_unknown");
}

TEST(Fragments, OfIpv6WithAHeaderThatOnlyTheFirstHas) {
  AclRuleEntry dns = allow(AclDirection::kFrom);
  dns.protocol = 17;
  dns.destination_ports = {{53, 53}};
  PolicyRig rig({dns});
  const Bytes options = {17, 0, 1, 4, 0, 0, 0, 0};
  const Bytes datagram = options + udp({5000, 53}, payload(200));
  const auto piece = [&](bool is_first) {
    const Bytes header = {60, 0, 0, static_cast<std::uint8_t>(is_first ? 1 : 104), 0, 0, 0, 9};
    return ipv6({.src = "fd01::5", .dst = "fd16::9", .next = 44, .fill_l4 = false},
                header + (is_first ? first(datagram, 104) : from(datagram, 104)));
  };
  EXPECT_EQ(rig.from_red(piece(false)), "dropped fragment_unknown");
  EXPECT_EQ(rig.from_red(piece(true)), kToSite);
  EXPECT_EQ(rig.from_red(piece(false)), kToSite);
}

TEST(Fragments, NobodyElseGoesOnWithADatagram) {
  PolicyRig rig({}, true);
  PolicyEntry policy;
  policy.attachment = AttachmentId::tunnel(TunnelId{9});
  policy.domain = kRed;
  policy.reverse_path = forward::ReversePath::kStrict;
  rig.set(policy);
  const Bytes datagram = udp({5000, 53}, payload(200));
  EXPECT_EQ(rig.from_red(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = 7, .mf = true, .fill_l4 = false}, first(datagram, 104))),
            kToSite);
  const Bytes rest = ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = 7, .offset = 104, .fill_l4 = false}, from(datagram, 104));
  EXPECT_EQ(rig.send(kWan, rig.from_site(9, rest)).summary(), "dropped reverse_path");
  EXPECT_EQ(rig.from_red(rest), kToSite);
}

TEST(Fragments, DoNotFollowIntoWhatTookThePlaceOfTheirExit) {
  PolicyRig rig({}, true);
  const auto way = [&rig](DomainId domain, std::uint32_t circuit, const std::string& gateway, const std::string& prefix) {
    const CircuitId id{circuit};
    const auto vlan = static_cast<std::uint16_t>(100 + circuit);
    Topology::must(rig.tables.upsert_circuit({id, domain, kWan, vlan, 0, 0x88a8, Topology::mac(kWanMac), 1500, true}));
    Topology::must(rig.tables.upsert_neighbor({id, Topology::ip(gateway), Topology::mac("02:dd:00:00:00:03")}));
    Topology::must(rig.tables.upsert_route({domain, Topology::prefix(prefix), forward::RouteAction::kForward,
                                            {{AttachmentId::circuit(id), 1, Topology::ip(gateway)}}}));
    rig.tables.commit();
  };
  way(kRed, 3, "192.168.15.2", "10.50.0.0/16");
  const Bytes datagram = udp({5000, 53}, payload(200));
  EXPECT_EQ(rig.from_red(ipv4({.src = "10.1.0.5", .dst = "10.50.0.9", .id = 7, .mf = true, .fill_l4 = false}, first(datagram, 104))),
            "sent on 1");
  const Bytes rest = ipv4({.src = "10.1.0.5", .dst = "10.50.0.9", .id = 7, .offset = 104, .fill_l4 = false}, from(datagram, 104));
  EXPECT_EQ(rig.from_red(rest), "sent on 1");
  rig.tables.remove_route(kRed, Topology::prefix("10.50.0.0/16"));
  rig.tables.commit();
  EXPECT_EQ(rig.from_red(out_udp()), kToSite) << "the worker has no old slot in its hands";
  rig.tables.commit();
  way(kBlue, 4, "192.168.16.2", "10.60.0.0/16");
  EXPECT_EQ(rig.from_red(rest), "dropped no_route");
}

TEST(Fragments, OfAnError) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  const Bytes error = icmp(3, 3, 0, out_udp() + payload(40));
  const auto piece = [&](bool is_first) {
    return ipv4({.src = "172.16.7.7", .dst = "10.1.0.5", .protocol = 1, .id = 3, .mf = is_first,
                 .offset = static_cast<std::uint16_t>(is_first ? 0 : 64), .fill_l4 = false},
                is_first ? first(error, 64) : from(error, 64));
  };
  EXPECT_EQ(rig.from_site7(piece(true)), kToVm);
  EXPECT_EQ(rig.from_site7(piece(false)), kToVm);
}

TEST(Fragments, WhereNothingAsksForPortsTheyPass) {
  PolicyRig rig({}, true);
  rig.tables.remove_policy(AttachmentId::vpc(Vni{5001}));
  PolicyEntry policy;
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.domain = kRed;
  rig.set(policy);
  EXPECT_EQ(rig.from_red(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .offset = 104}, payload(96))), kToSite);
}

// Reverse path.

TEST(ReversePath, StrictAndLoose) {
  PolicyRig rig({}, true);
  PolicyEntry policy;
  policy.attachment = AttachmentId::tunnel(TunnelId{7});
  policy.domain = kRed;
  policy.reverse_path = forward::ReversePath::kStrict;
  rig.set(policy);
  const auto from_source = [&](const std::string& source) {
    return rig.from_site7(ipv4({source, "10.1.0.5"}, udp({1, 2}, {})));
  };
  EXPECT_EQ(from_source("172.16.0.9"), kToVm);
  EXPECT_EQ(from_source("172.18.0.9"), kToVm) << "one of several ways";
  EXPECT_EQ(from_source("172.19.0.9"), "dropped reverse_path");
  EXPECT_EQ(from_source("10.1.0.9"), "dropped reverse_path");
  EXPECT_EQ(from_source("9.9.9.9"), "dropped reverse_path");
  policy.reverse_path = forward::ReversePath::kLoose;
  rig.set(policy);
  EXPECT_EQ(from_source("172.19.0.9"), kToVm);
  EXPECT_EQ(from_source("9.9.9.9"), "dropped reverse_path");
  EXPECT_EQ(from_source("172.31.0.9"), "dropped reverse_path") << "unreachable is no way";
}

// Rates.

/// Offers twice the rate for ten seconds.
double share_of_rate(const forward::RateEntry& rate, bool from, std::size_t bytes, double packets_per_second) {
  PolicyRig rig({}, true);
  PolicyEntry policy;
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.domain = kRed;
  (from ? policy.from : policy.to) = rate;
  rig.set(policy);
  const Bytes out = ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 2}, payload(bytes - 28)));
  const Bytes back = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, payload(bytes - 28)));
  const auto step = std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / (2 * packets_per_second)));
  (void)rig.from_red(out);
  std::uint64_t passed = 0;
  const int offered = static_cast<int>(20 * packets_per_second);
  for (int i = 0; i < offered; ++i) {
    passed += (from ? rig.from_red(out) : rig.from_site7(back)).starts_with("sent") ? 1 : 0;
    rig.clock.advance(step);
  }
  return static_cast<double>(passed) / (10 * packets_per_second);
}

TEST(Rate, IsKeptWithinFivePercent) {
  EXPECT_NEAR(share_of_rate({.bits_per_second = 1'000'000}, true, 1000, 125), 1.0, 0.05);
  EXPECT_NEAR(share_of_rate({.bits_per_second = 1'000'000}, false, 1000, 125), 1.0, 0.05);
  EXPECT_NEAR(share_of_rate({.packets_per_second = 100}, true, 100, 100), 1.0, 0.05);
  EXPECT_NEAR(share_of_rate({.packets_per_second = 100}, false, 100, 100), 1.0, 0.05);
}

TEST(Rate, AllowsPacketsThatAreLongForIt) {
  // 1,200 bytes at 16 kbit/s: one takes more than the burst.
  EXPECT_NEAR(share_of_rate({.bits_per_second = 16'000}, true, 1200, 16000.0 / 9600), 1.0, 0.15);
}

TEST(Rate, IsNotSpentByWhatAListDenies) {
  PolicyRig rig({allow(AclDirection::kFrom)});
  PolicyEntry policy;
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.domain = kRed;
  policy.acl = "vpc";
  policy.to = {.packets_per_second = 100};
  rig.set(policy);
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(rig.from_site7(back_udp(6000)), kDenied);
  EXPECT_EQ(rig.from_site7(back_udp()), kToVm);
}

TEST(Rate, WhatIsForTheGatewayIsNotLimited) {
  PolicyRig rig({}, true);
  PolicyEntry policy;
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.domain = kRed;
  policy.from = {.packets_per_second = 1};
  rig.set(policy);
  for (int i = 0; i < 10; ++i) (void)rig.from_red(out_udp());
  EXPECT_EQ(rig.from_red(out_udp()), "dropped policed");
  EXPECT_EQ(rig.from_red(echo("10.1.0.5", "10.1.0.1", 1)), "punted to 10");
}

TEST(Rate, AnotherRateOwesNothingForTheFormerOne) {
  PolicyRig rig({}, true);
  PolicyEntry policy;
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.domain = kRed;
  policy.from = {.bits_per_second = 100};
  rig.set(policy);
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
  EXPECT_EQ(rig.from_red(out_udp()), "dropped policed");
  policy.max_connections = 7;
  rig.set(policy);
  EXPECT_EQ(rig.from_red(out_udp()), "dropped policed") << "the rate is the same";
  policy.from = {.bits_per_second = 100'000'000};
  rig.set(policy);
  EXPECT_EQ(rig.from_red(out_udp()), kToSite);
}

TEST(Connections, ThereIsALimitWithoutAPolicy) {
  Rig rig;  // a list on the tunnel alone: the VPC has no policy
  Topology::must(rig.tables.upsert_acl({"site", false, {allow(AclDirection::kTo)}}));
  PolicyEntry policy;
  policy.attachment = AttachmentId::tunnel(TunnelId{7});
  policy.domain = kRed;
  policy.acl = "site";
  Topology::must(rig.tables.upsert_policy(policy));
  std::vector<forward::ConnectionView> views(forward::kDefaultMaxConnections);
  for (std::size_t i = 0; i < views.size(); ++i) {
    forward::ConnectionView& view = views[i];
    view.domain = kRed;
    view.protocol = 17;
    view.source = view.translated_source = Topology::ip("10.1.0.6");
    view.destination = view.translated_destination = Topology::ip("172.16.0.9");
    view.source_port = view.translated_source_port = static_cast<std::uint16_t>(i);
    view.destination_port = view.translated_destination_port = 53;
    view.from = AttachmentId::vpc(Vni{5001});
    view.to = policy.attachment;
  }
  const auto now = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(rig.clock.now().time_since_epoch()).count());
  ASSERT_EQ(forward::adopt_connections(rig.tables, views, now), views.size());
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(out_udp())).summary(), "dropped connection_limit");
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.acl.clear();
  policy.max_connections = forward::kDefaultMaxConnections + 1;
  Topology::must(rig.tables.upsert_policy(policy));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(out_udp())).summary(), kToSite);
}

}  // namespace
}  // namespace simplon::test
