// SPDX-License-Identifier: GPL-2.0-or-later
//
// NAT in the red domain of topology.h: packets as they go in, and byte for byte as they come out.
#include <bit>
#include <chrono>
#include <set>

#include "gateway/forward/adopt_connections.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using namespace std::chrono_literals;
using forward::AttachmentId;
using forward::NatEntry;
using forward::NatKind;
using forward::NatRuleEntry;

const AttachmentId kTunnel7 = AttachmentId::tunnel(TunnelId{7});

NatRuleEntry source_nat(const std::string& pool, AttachmentId attachment = kTunnel7) {
  NatRuleEntry rule;
  rule.name = "source";
  rule.kind = NatKind::kSource;
  rule.attachment = attachment;
  rule.sources = {Topology::prefix("10.1.0.0/16")};
  rule.outside = Topology::prefix(pool);
  return rule;
}
NatRuleEntry published(const std::string& outside, std::uint16_t port, const std::string& inside,
                       std::uint16_t inside_port, std::uint8_t protocol = 6) {
  NatRuleEntry rule;
  rule.name = "published" + std::to_string(port);
  rule.kind = NatKind::kDestination;
  rule.outside = Topology::prefix(outside + "/32");
  rule.inside = Topology::prefix(inside + "/32");
  if (protocol != 0) rule.protocol = protocol;
  rule.outside_port = port;
  rule.inside_port = inside_port;
  return rule;
}
NatRuleEntry netmap(NatKind kind, const std::string& inside, const std::string& outside) {
  NatRuleEntry rule;
  rule.name = kind == NatKind::kNetmap ? "ours" : "theirs";
  rule.kind = kind;
  rule.attachment = kTunnel7;
  rule.inside = Topology::prefix(inside);
  rule.outside = Topology::prefix(outside);
  return rule;
}

struct NatRig : Rig {
  explicit NatRig(std::vector<NatRuleEntry> rules) { Topology::must(tables.upsert_nat({kRed, std::move(rules)})); }

  /// From the VM to the site: the packet as it arrives there, without what the hop does.
  Bytes out(const Bytes& inner) {
    const Outcome outcome = send(kFabric, from_vm(inner));
    EXPECT_EQ(outcome.summary(), "sent on 1");
    return outcome.sent.size() == 1 ? to_site(7, outcome.sent[0]) : Bytes{};
  }
  Bytes back(const Bytes& inner) {
    const Outcome outcome = send(kWan, from_site(7, inner));
    EXPECT_EQ(outcome.summary(), "sent on 0");
    return outcome.sent.size() == 1 ? to_vm(outcome.sent[0]) : Bytes{};
  }
  std::string out_summary(const Bytes& inner) { return send(kFabric, from_vm(inner)).summary(); }
  std::string back_summary(const Bytes& inner) { return send(kWan, from_site(7, inner)).summary(); }
};

std::uint16_t source_port(const Bytes& packet) { return be16(packet, 20); }
std::uint16_t echo_id(const Bytes& packet) { return be16(packet, 24); }

Bytes udp_packet(const std::string& src, std::uint16_t sport, const std::string& dst, std::uint16_t dport,
                 bool checksum = true) {
  return ipv4({src, dst}, udp({sport, dport, std::nullopt, checksum}, payload(21)));
}
Bytes tcp_packet(const std::string& src, std::uint16_t sport, const std::string& dst, std::uint16_t dport,
                 bool syn = true, bool ack = false) {
  return ipv4({src, dst, 6}, tcp({.src = sport, .dst = dport, .syn = syn, .ack = ack}, payload(3)));
}

TEST(SourceNat, TranslatesThereAndBack) {
  NatRig rig({source_nat("100.64.0.1/32")});
  for (const bool with_checksum : {true, false}) {
    const Bytes there = rig.out(udp_packet("10.1.0.5", 5000, "172.16.0.9", 53, with_checksum));
    const std::uint16_t port = source_port(there);
    EXPECT_GE(port, 1024);
    EXPECT_EQ(to_hex(there), to_hex(hop(udp_packet("100.64.0.1", port, "172.16.0.9", 53, with_checksum))));
    EXPECT_EQ(to_hex(rig.back(udp_packet("172.16.0.9", 53, "100.64.0.1", port, with_checksum))),
              to_hex(hop(udp_packet("172.16.0.9", 53, "10.1.0.5", 5000, with_checksum))));
  }
  const Bytes there = rig.out(tcp_packet("10.1.0.5", 5000, "172.16.0.9", 443));
  const std::uint16_t port = source_port(there);
  EXPECT_EQ(to_hex(there), to_hex(hop(tcp_packet("100.64.0.1", port, "172.16.0.9", 443))));
  EXPECT_EQ(to_hex(rig.back(tcp_packet("172.16.0.9", 443, "100.64.0.1", port, true, true))),
            to_hex(hop(tcp_packet("172.16.0.9", 443, "10.1.0.5", 5000, true, true))));
}

TEST(SourceNat, Ping) {
  NatRig rig({source_nat("100.64.0.1/32")});
  const auto request = [](const std::string& src, std::uint16_t id) {
    return ipv4({src, "172.16.0.9", 1}, icmp_echo(id, 7, payload(9)));
  };
  const auto reply = [](const std::string& dst, std::uint16_t id) {
    return ipv4({"172.16.0.9", dst, 1}, icmp(0, 0, (std::uint32_t{id} << 16) | 7, payload(9)));
  };
  const Bytes there = rig.out(request("10.1.0.5", 99));
  EXPECT_EQ(to_hex(there), to_hex(hop(request("100.64.0.1", echo_id(there)))));
  EXPECT_EQ(to_hex(rig.back(reply("100.64.0.1", echo_id(there)))), to_hex(hop(reply("10.1.0.5", 99))));
}

TEST(SourceNat, MappingsDependOnTheInnerEndOnly) {
  // RFC 4787 REQ-1 and REQ-2.
  NatRig rig({source_nat("100.64.0.0/28")});
  const Bytes a = rig.out(udp_packet("10.1.0.5", 5000, "172.16.0.9", 53));
  const Bytes b = rig.out(udp_packet("10.1.0.5", 5000, "172.16.0.10", 54));
  const Bytes c = rig.out(udp_packet("10.1.0.5", 5001, "172.16.0.9", 53));
  EXPECT_EQ(source_port(a), source_port(b));
  EXPECT_EQ(be32(a, 12), be32(b, 12));
  EXPECT_EQ(be32(a, 12), be32(c, 12)) << "one inner address, one outer address";
  EXPECT_NE(source_port(a), source_port(c));
}

TEST(SourceNat, PortsAreReusedOnlyAfterTheirConnectionsEnded) {
  NatRuleEntry rule = source_nat("100.64.0.1/32");
  rule.port_blocks = 1;
  NatRig rig({rule});
  std::set<std::uint16_t> ports;
  for (unsigned i = 0; i < 512; ++i) {
    ports.insert(source_port(rig.out(udp_packet("10.1.0.5", static_cast<std::uint16_t>(1000 + i), "172.16.0.9", 53))));
  }
  EXPECT_EQ(ports.size(), 512U);
  EXPECT_EQ(*ports.rbegin() - *ports.begin(), 511) << "all of one block";
  EXPECT_EQ(rig.out_summary(udp_packet("10.1.0.5", 9999, "172.16.0.9", 53)), "dropped nat_exhausted");
  EXPECT_EQ(rig.out_summary(tcp_packet("10.1.0.5", 9999, "172.16.0.9", 53)), "sent on 1") << "TCP has ports of its own";
  rig.clock.advance(125s);
  EXPECT_EQ(rig.out_summary(udp_packet("10.1.0.5", 9999, "172.16.0.9", 53)), "sent on 1");
}

TEST(SourceNat, WhatCannotBeTranslatedIsNamed) {
  NatRig rig({source_nat("100.64.0.1/32")});
  EXPECT_EQ(rig.out_summary(ipv4({"10.1.0.5", "172.16.0.9", 47}, payload(20))), "dropped nat_protocol");
  EXPECT_EQ(rig.back_summary(udp_packet("172.16.0.9", 53, "100.64.0.1", 5000)), "dropped nat_no_mapping");
  const Bytes there = rig.out(udp_packet("10.1.0.5", 5000, "172.16.0.9", 53));
  EXPECT_EQ(rig.back_summary(udp_packet("172.16.0.8", 53, "100.64.0.1", source_port(there))), "dropped nat_no_mapping")
      << "nobody else may answer";
}

TEST(SourceNat, IcmpThatCannotBeTranslatedDoesNotShowTheInnerAddress) {
  NatRig rig({source_nat("100.64.0.1/32")});
  EXPECT_EQ(rig.out_summary(ipv4({"10.1.0.5", "172.16.0.9", 1}, icmp(13, 0, 0x00010002, payload(12)))),
            "dropped nat_protocol")
      << "a timestamp request";
  const Bytes never_seen = udp_packet("172.16.0.9", 53, "10.1.0.5", 5000);
  EXPECT_EQ(rig.out_summary(ipv4({"10.1.0.5", "172.16.0.9", 1}, icmp(3, 3, 0, never_seen))), "dropped nat_protocol")
      << "an error about no connection: RFC 5508 REQ-5";
}

TEST(SourceNat, ListsSeeTheInnerSourceOfAnError) {
  NatRig rig({source_nat("100.64.0.1/32")});
  forward::AclRuleEntry rule;
  rule.name = "vms";
  rule.allow = true;
  rule.stateful = false;
  rule.direction = forward::AclDirection::kFrom;
  rule.sources = {Topology::prefix("10.1.0.0/16")};
  Topology::must(rig.tables.upsert_acl({"vpc", true, {rule}}));
  const Bytes there = rig.out(udp_packet("10.1.0.5", 5000, "172.16.0.9", 53));
  const Bytes answer_inside = rig.back(udp_packet("172.16.0.9", 53, "100.64.0.1", source_port(there)));
  Topology::must(rig.tables.upsert_acl({"vpc", false, {rule}}));
  forward::PolicyEntry policy;
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.domain = kRed;
  policy.acl = "vpc";
  Topology::must(rig.tables.upsert_policy(policy));
  EXPECT_EQ(rig.out_summary(ipv4({"10.1.0.5", "172.16.0.9", 1}, icmp(3, 3, 0, answer_inside))), "sent on 1");
}

TEST(SourceNat, OnlyThroughItsAttachmentAndForItsSources) {
  NatRig rig({source_nat("100.64.0.1/32", AttachmentId::tunnel(TunnelId{9}))});
  const Bytes packet = udp_packet("10.1.0.5", 5000, "172.16.0.9", 53);
  EXPECT_EQ(to_hex(rig.out(packet)), to_hex(hop(packet)));
  NatRuleEntry other = source_nat("100.64.0.1/32");
  other.sources = {Topology::prefix("10.1.1.0/24")};
  Topology::must(rig.tables.upsert_nat({kRed, {other}}));
  EXPECT_EQ(to_hex(rig.out(packet)), to_hex(hop(packet)));
}

TEST(SourceNat, ErrorsFromOutsideQuoteTheInnerPacket) {
  // RFC 5508 REQ-4: the quoted packet and its checksums, also where it is cut short.
  NatRig rig({source_nat("100.64.0.1/32")});
  const Bytes inner = tcp_packet("10.1.0.5", 5000, "172.16.0.9", 443);
  const Bytes there = rig.out(inner);
  for (const std::size_t quoted : {there.size(), std::size_t{28}}) {
    const Bytes error = ipv4({"172.16.3.3", "100.64.0.1", 1}, icmp(3, 1, 0, first(there, quoted)));
    const Bytes expected = ipv4({"172.16.3.3", "10.1.0.5", 1}, icmp(3, 1, 0, first(hop(inner), quoted)));
    EXPECT_EQ(to_hex(rig.back(error)), to_hex(hop(expected)));
  }
  Bytes damaged = ipv4({"172.16.3.3", "100.64.0.1", 1}, icmp(3, 1, 0, there));
  damaged[22] ^= 1;
  EXPECT_EQ(rig.back_summary(damaged), "dropped icmp_error_checksum");
  Bytes other = there;
  other[8] ^= 1;  // its TTL, and the ICMP checksum is right
  EXPECT_EQ(rig.back_summary(ipv4({"172.16.3.3", "100.64.0.1", 1}, icmp(3, 1, 0, other))), "dropped icmp_error_checksum")
      << "RFC 5508 REQ-3 (a)";
}

TEST(SourceNat, ErrorsFromInsideComeFromTheOuterAddress) {
  NatRig rig({source_nat("100.64.0.1/32")});
  const Bytes there = rig.out(udp_packet("10.1.0.5", 5000, "172.16.0.9", 53));
  const std::uint16_t port = source_port(there);
  const Bytes answer = udp_packet("172.16.0.9", 53, "100.64.0.1", port);
  const Bytes answer_inside = rig.back(answer);
  const Bytes error = ipv4({"10.1.0.5", "172.16.0.9", 1}, icmp(3, 3, 0, answer_inside));
  const Bytes expected = ipv4({"100.64.0.1", "172.16.0.9", 1}, icmp(3, 3, 0, hop(answer)));
  EXPECT_EQ(to_hex(rig.out(error)), to_hex(hop(expected)));
}

TEST(SourceNat, OurOwnErrorsQuoteThePacketAsItCame) {
  NatRig rig({source_nat("100.64.0.1/32")});
  const Bytes big = ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .df = true}, udp({5000, 53}, payload(1440)));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(big));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped fragmentation_needed");
  const Bytes error = Rig::to_vm(outcome.sent[0]);
  EXPECT_EQ(to_hex(from(error, 28)), to_hex(first(big, 548)));
}

TEST(SourceNat, FragmentsFollowTheirFirst) {
  NatRig rig({source_nat("100.64.0.1/32")});
  const Bytes whole = udp_packet("10.1.0.5", 5000, "172.16.0.9", 53);
  const Bytes datagram = from(ipv4({"10.1.0.5", "172.16.0.9"}, udp({5000, 53}, payload(200))), 20);
  const auto piece = [&](const std::string& src, const Bytes& bytes, bool is_first) {
    return ipv4({.src = src, .dst = "172.16.0.9", .id = 5, .mf = is_first,
                 .offset = static_cast<std::uint16_t>(is_first ? 0 : 104), .fill_l4 = false},
                is_first ? first(bytes, 104) : from(bytes, 104));
  };
  const Bytes a = rig.out(piece("10.1.0.5", datagram, true));
  const Bytes b = rig.out(piece("10.1.0.5", datagram, false));
  const Bytes translated =
      from(ipv4({"100.64.0.1", "172.16.0.9"}, udp({source_port(a), 53}, payload(200))), 20);
  EXPECT_EQ(to_hex(a), to_hex(hop(piece("100.64.0.1", translated, true))));
  EXPECT_EQ(to_hex(b), to_hex(hop(piece("100.64.0.1", translated, false))));
}

TEST(SourceNat, ConnectionsOutliveAChangeOfRules) {
  NatRig rig({source_nat("100.64.0.1/32")});
  const std::uint16_t port = source_port(rig.out(udp_packet("10.1.0.5", 5000, "172.16.0.9", 53)));
  Topology::must(rig.tables.upsert_nat({kRed, {source_nat("100.64.0.2/32")}}));
  EXPECT_EQ(source_port(rig.out(udp_packet("10.1.0.5", 5000, "172.16.0.9", 53))), port);
  EXPECT_EQ(rig.back_summary(udp_packet("172.16.0.9", 53, "100.64.0.1", port)), "sent on 0");
  EXPECT_EQ(be32(rig.out(udp_packet("10.1.0.5", 5001, "172.16.0.9", 53)), 12), 0x64400002U);
}

TEST(DestinationNat, PublishesAService) {
  NatRig rig({published("100.64.0.9", 80, "10.1.0.5", 8080)});
  EXPECT_EQ(to_hex(rig.back(tcp_packet("172.16.0.9", 3000, "100.64.0.9", 80))),
            to_hex(hop(tcp_packet("172.16.0.9", 3000, "10.1.0.5", 8080))));
  EXPECT_EQ(to_hex(rig.out(tcp_packet("10.1.0.5", 8080, "172.16.0.9", 3000, true, true))),
            to_hex(hop(tcp_packet("100.64.0.9", 80, "172.16.0.9", 3000, true, true))));
  EXPECT_EQ(rig.back_summary(tcp_packet("172.16.0.9", 3000, "100.64.0.9", 81)), "dropped nat_no_mapping");
  EXPECT_EQ(rig.back_summary(udp_packet("172.16.0.9", 3000, "100.64.0.9", 80)), "dropped nat_no_mapping");
  EXPECT_EQ(rig.tables.nat_counts(kRed).at(0).packets, 1U);
}

TEST(DestinationNat, WholeAddresses) {
  NatRig rig({published("100.64.0.9", 0, "10.1.0.5", 0, 0)});
  EXPECT_EQ(to_hex(rig.back(udp_packet("172.16.0.9", 3000, "100.64.0.9", 80))),
            to_hex(hop(udp_packet("172.16.0.9", 3000, "10.1.0.5", 80))));
  const Bytes ping = ipv4({"172.16.0.9", "100.64.0.9", 1}, icmp_echo(5, 6, payload(8)));
  EXPECT_EQ(to_hex(rig.back(ping)), to_hex(hop(ipv4({"172.16.0.9", "10.1.0.5", 1}, icmp_echo(5, 6, payload(8))))));
}

TEST(DestinationNat, ErrorsOfTheServerComeFromTheServiceAddress) {
  NatRig rig({published("100.64.0.9", 53, "10.1.0.5", 5353, 17)});
  const Bytes request = udp_packet("172.16.0.9", 3000, "100.64.0.9", 53);
  const Bytes inside = rig.back(request);
  const Bytes error = ipv4({"10.1.0.5", "172.16.0.9", 1}, icmp(3, 3, 0, inside));
  EXPECT_EQ(to_hex(rig.out(error)),
            to_hex(hop(ipv4({"100.64.0.9", "172.16.0.9", 1}, icmp(3, 3, 0, hop(request))))));
}

TEST(DestinationNat, ListsSeeTheInnerAddress) {
  NatRig rig({published("100.64.0.9", 80, "10.1.0.5", 8080)});
  forward::AclRuleEntry rule;
  rule.name = "web";
  rule.allow = true;
  rule.direction = forward::AclDirection::kTo;
  rule.protocol = 6;
  rule.destination_ports = {{8080, 8080}};
  Topology::must(rig.tables.upsert_acl({"vpc", false, {rule}}));
  forward::PolicyEntry policy;
  policy.attachment = AttachmentId::vpc(Vni{5001});
  policy.domain = kRed;
  policy.acl = "vpc";
  Topology::must(rig.tables.upsert_policy(policy));
  EXPECT_EQ(rig.back_summary(tcp_packet("172.16.0.9", 3000, "100.64.0.9", 80)), "sent on 0");
  EXPECT_EQ(rig.out_summary(tcp_packet("10.1.0.5", 8080, "172.16.0.9", 3000, true, true)), "sent on 1");
  EXPECT_EQ(rig.back_summary(tcp_packet("172.16.0.9", 3000, "10.1.0.5", 80)), "dropped acl_denied");
}

TEST(DestinationNat, HairpinUsesOuterAddressesOnBothSides) {
  NatRig rig({source_nat("100.64.0.1/32"), published("100.64.0.9", 80, "10.1.0.5", 8080)});
  const Outcome there = rig.send(kFabric, Rig::from_vm(tcp_packet("10.1.0.77", 3000, "100.64.0.9", 80)));
  ASSERT_EQ(there.summary(), "sent on 0");
  const Bytes inside = Rig::to_vm(there.sent[0]);
  const std::uint16_t port = source_port(inside);
  EXPECT_EQ(to_hex(inside), to_hex(hop(tcp_packet("100.64.0.1", port, "10.1.0.5", 8080))));
  Topology::must(rig.tables.upsert_endpoint(
      {Vni{5001}, Topology::ip("10.1.0.77"), Topology::mac(kVmMac), Topology::ip("192.0.2.11")}));
  const Outcome back = rig.send(kFabric, Rig::from_vm(tcp_packet("10.1.0.5", 8080, "100.64.0.1", port, true, true)));
  ASSERT_EQ(back.summary(), "sent on 0");
  EXPECT_EQ(to_hex(Rig::to_vm(back.sent[0])), to_hex(hop(tcp_packet("100.64.0.9", 80, "10.1.0.77", 3000, true, true))));
}

TEST(DestinationNat, AFragmentOfTheServerWithoutItsFirstDoesNotShowItsAddress) {
  NatRig rig({published("100.64.0.9", 80, "10.1.0.5", 8080)});
  EXPECT_EQ(rig.out_summary(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .protocol = 6, .id = 4, .offset = 104}, payload(96))),
            "dropped fragment_unknown");
  EXPECT_EQ(rig.out_summary(ipv4({.src = "10.1.0.6", .dst = "172.16.0.9", .protocol = 6, .id = 4, .offset = 104}, payload(96))),
            "sent on 1");
}

TEST(Netmap, TheFirstRuleThatMatchesDecides) {
  NatRuleEntry second = netmap(NatKind::kNetmap, "10.3.0.0/24", "10.1.0.0/24");
  second.name = "second";
  NatRig rig({netmap(NatKind::kNetmap, "10.1.0.0/24", "100.70.0.0/24"), second});
  EXPECT_EQ(to_hex(rig.back(udp_packet("172.16.0.9", 2, "100.70.0.5", 1))),
            to_hex(hop(udp_packet("172.16.0.9", 2, "10.1.0.5", 1))));
}

TEST(Netmap, OverlappingSites) {
  // The site has 10.1/16 as well: it sees ours as 100.70/16, and we see its as 172.16/16.
  NatRig rig({netmap(NatKind::kNetmap, "10.1.0.0/16", "100.70.0.0/16"),
              netmap(NatKind::kNetmapRemote, "172.16.0.0/16", "10.1.0.0/16")});
  EXPECT_EQ(to_hex(rig.out(udp_packet("10.1.0.5", 1, "172.16.0.9", 2))),
            to_hex(hop(udp_packet("100.70.0.5", 1, "10.1.0.9", 2))));
  EXPECT_EQ(to_hex(rig.back(tcp_packet("10.1.0.9", 2, "100.70.0.5", 1))),
            to_hex(hop(tcp_packet("172.16.0.9", 2, "10.1.0.5", 1))));
  EXPECT_EQ(rig.tables.connections(), 0U);
  const Bytes quoted = udp_packet("100.70.0.5", 1, "10.1.0.9", 2);
  EXPECT_EQ(to_hex(rig.back(ipv4({"10.1.0.254", "100.70.0.5", 1}, icmp(11, 0, 0, quoted)))),
            to_hex(hop(ipv4({"172.16.0.254", "10.1.0.5", 1}, icmp(11, 0, 0, udp_packet("10.1.0.5", 1, "172.16.0.9", 2))))));
  const Bytes fragment = ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .offset = 80}, payload(40));
  EXPECT_EQ(to_hex(rig.out(fragment)),
            to_hex(hop(ipv4({.src = "100.70.0.5", .dst = "10.1.0.9", .offset = 80}, payload(40)))));
}

TEST(Netmap, ChecksumsOfUdpLiteAndDccp) {
  NatRig rig({netmap(NatKind::kNetmap, "10.1.0.0/16", "100.70.0.0/16")});
  // RFC 1071 over the pseudo header (with `length`) and `bytes`.
  const auto sum = [](const Bytes& packet, std::size_t length, std::size_t bytes) {
    std::uint32_t total = packet[9] + static_cast<std::uint32_t>(length);
    for (std::size_t at = 12; at < 20; at += 2) total += be16(packet, at);
    for (std::size_t at = 20; at < 20 + bytes; at += 2) total += be16(packet, at);
    while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
    return total;
  };
  for (const std::uint8_t protocol : {std::uint8_t{136}, std::uint8_t{33}}) {
    // UDP-Lite: coverage 8; DCCP: a generic header of 16 bytes, checksum over all.
    Bytes transport = {0x12, 0x34, 0, 53, 0, 8, 0, 0};
    transport = transport + payload(24);
    if (protocol == 33) transport[4] = 4, transport[5] = 0;
    const std::size_t covered = protocol == 136 ? 8 : transport.size();
    Bytes packet = ipv4({"10.1.0.5", "172.16.0.9", protocol}, transport);
    const std::uint32_t checksum = ~sum(packet, transport.size(), covered) & 0xffff;
    packet[26] = static_cast<std::uint8_t>(checksum >> 8);
    packet[27] = static_cast<std::uint8_t>(checksum);
    ASSERT_EQ(sum(packet, transport.size(), covered), 0xffffU);
    const Bytes there = rig.out(packet);
    EXPECT_EQ(be32(there, 12), 0x64460005U);
    EXPECT_EQ(sum(there, transport.size(), covered), 0xffffU) << int{protocol};
  }
}

TEST(Netmap, WhatKeepsItsAddressesIsLeftAsItIs) {
  NatRig rig({netmap(NatKind::kNetmapRemote, "172.16.0.0/16", "172.16.0.0/16")});
  Bytes error = ipv4({"172.16.0.254", "10.1.0.5", 1}, icmp(11, 0, 0, udp_packet("10.1.0.5", 1, "172.16.0.9", 2)));
  error.back() ^= 1;
  EXPECT_EQ(to_hex(rig.back(error)), to_hex(hop(error))) << "its checksum is the receiver's business";
}

TEST(Nat, AnotherProcessGoesOnWithConnections) {
  const std::vector<NatRuleEntry> rules = {source_nat("100.64.0.1/32"), published("100.64.0.9", 80, "10.1.0.5", 8080)};
  NatRig before(rules);
  const std::uint16_t port = source_port(before.out(udp_packet("10.1.0.5", 5000, "172.16.0.9", 53)));
  (void)before.back(tcp_packet("172.16.0.9", 3000, "100.64.0.9", 80));
  before.clock.advance(100s);
  const auto connections = before.tables.list_connections(100, 3700);
  ASSERT_EQ(connections.size(), 2U);

  NatRig after(rules);
  after.clock.advance(100s);
  EXPECT_EQ(forward::adopt_connections(after.tables, connections, 3700), 2U);
  EXPECT_EQ(after.tables.connections(), 2U);
  EXPECT_EQ(to_hex(after.out(tcp_packet("10.1.0.5", 8080, "172.16.0.9", 3000, true, true))),
            to_hex(hop(tcp_packet("100.64.0.9", 80, "172.16.0.9", 3000, true, true))));
  EXPECT_EQ(to_hex(after.back(udp_packet("172.16.0.9", 53, "100.64.0.1", port))),
            to_hex(hop(udp_packet("172.16.0.9", 53, "10.1.0.5", 5000))));
  EXPECT_EQ(source_port(after.out(udp_packet("10.1.0.5", 5000, "172.16.0.10", 53))), port) << "the mapping as well";
  after.clock.advance(1000s);
  EXPECT_EQ(after.back_summary(udp_packet("172.16.0.9", 53, "100.64.0.1", port)), "dropped nat_no_mapping");
}

TEST(Nat, WrongRulesAreRefusedByName) {
  Rig rig;
  const auto refused = [&](const NatRuleEntry& rule) {
    const auto result = rig.tables.upsert_nat({kRed, {rule}});
    return result.has_value() ? std::string() : result.error().what;
  };
  EXPECT_EQ(refused(netmap(NatKind::kNetmap, "10.1.0.0/16", "100.70.0.0/24")),
            "NAT rule ours: 10.1.0.0/16 and 100.70.0.0/24 differ in length");
  NatRuleEntry v6 = source_nat("100.64.0.1/32");
  v6.outside = Topology::prefix("fd00::/64");
  EXPECT_EQ(refused(v6), "NAT rule source: fd00::/64 is not IPv4");
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(udp_packet("10.1.0.5", 1, "172.16.0.9", 2))).summary(), "sent on 1");
}

TEST(Nat, GoesAwayWithItsRules) {
  NatRig rig({source_nat("100.64.0.1/32")});
  rig.tables.remove_nat(kRed);
  const Bytes packet = udp_packet("10.1.0.5", 5000, "172.16.0.9", 53);
  EXPECT_EQ(to_hex(rig.out(packet)), to_hex(hop(packet)));
}

}  // namespace
}  // namespace simplon::test
