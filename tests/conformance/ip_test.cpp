// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

/// The ICMP error a packet of the VM is answered with; empty if there is none.
Bytes answer(Rig& rig, const Bytes& inner) {
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
  if (outcome.sent.size() != 1 || outcome.sent[0].port != kFabric) return {};
  return Rig::to_vm(outcome.sent[0]);
}

const std::string kVm = "10.1.0.5";
const std::string kNowhere = "9.9.9.9";

TEST(Rfc1812, Section4_3_2_3_ErrorsQuoteUpTo576BytesInAll) {
  Rig rig;
  const Bytes original = ipv4({kVm, kNowhere}, udp({1, 2}, payload(1000)));
  const Bytes error = answer(rig, original);
  ASSERT_EQ(error.size(), 576U);
  EXPECT_EQ(from(error, 28), first(original, 548));
  const Bytes small = ipv4({kVm, kNowhere}, udp({1, 2}, payload(10)));
  EXPECT_EQ(from(answer(rig, small), 28), small);
}

TEST(Rfc1812, Section4_3_2_4_ErrorsComeFromTheAddressOfTheIngress) {
  Rig rig;
  EXPECT_EQ(first(from(answer(rig, ipv4({kVm, kNowhere}, {})), 12), 4), (Bytes{10, 1, 0, 1}));
}

TEST(Rfc1812, Section4_3_2_5_ErrorsHavePrecedenceInternetworkControl) {
  Rig rig;
  EXPECT_EQ(answer(rig, ipv4({kVm, kNowhere}, {})).at(1), 0xc0);
}

TEST(Rfc1812, Section4_3_2_7_NoErrorAboutAnIcmpError) {
  Rig rig;
  for (const std::uint8_t type : Bytes{3, 4, 5, 11, 12}) {
    EXPECT_TRUE(answer(rig, ipv4({kVm, kNowhere, 1}, icmp(type, 0, 0, payload(28)))).empty()) << int{type};
  }
  for (const std::uint8_t type : Bytes{0, 8, 13, 17}) {
    EXPECT_FALSE(answer(rig, ipv4({kVm, kNowhere, 1}, icmp(type, 0, 0, payload(28)))).empty()) << int{type};
  }
}

TEST(Rfc1812, Section4_3_2_7_NoErrorAboutALaterFragment) {
  Rig rig;
  EXPECT_TRUE(answer(rig, ipv4({.src = kVm, .dst = kNowhere, .offset = 800}, payload(100))).empty());
  EXPECT_FALSE(answer(rig, ipv4({.src = kVm, .dst = kNowhere, .mf = true}, payload(96))).empty());
}

TEST(Rfc1812, Section4_3_2_7_NoErrorAboutMulticastOrBroadcast) {
  Rig rig;
  EXPECT_TRUE(answer(rig, ipv4({kVm, "224.1.1.1"}, {})).empty());
  EXPECT_TRUE(answer(rig, ipv4({kVm, "255.255.255.255"}, {})).empty());
}

TEST(Rfc1812, Section4_3_2_8_ErrorsAreRateLimited) {
  Rig rig({.icmp_errors_per_second = 1, .icmp_error_burst = 1});
  EXPECT_FALSE(answer(rig, ipv4({kVm, kNowhere}, {})).empty());
  EXPECT_TRUE(answer(rig, ipv4({kVm, kNowhere}, {})).empty());
}

TEST(Rfc1812, Section5_2_2_HeadersAreValidated) {
  Rig rig;
  const auto result = [&](const Ipv4& header) {
    return rig.send(kFabric, Rig::from_vm(ipv4(header, payload(20)))).summary();
  };
  EXPECT_EQ(result({kVm, "172.16.0.9"}), "sent on 1");
  EXPECT_EQ(result({.src = kVm, .dst = "172.16.0.9", .checksum = 1}), "dropped ipv4_checksum");
  EXPECT_EQ(result({.src = kVm, .dst = "172.16.0.9", .version = 5}), "dropped ipv4_malformed");
  EXPECT_EQ(result({.src = kVm, .dst = "172.16.0.9", .total_length = 19}), "dropped ipv4_malformed");
  EXPECT_EQ(result({.src = kVm, .dst = "172.16.0.9", .total_length = 41}), "dropped ipv4_malformed");
  EXPECT_EQ(result({.src = kVm, .dst = "172.16.0.9", .total_length = 39}), "sent on 1") << "the rest is padding";
}

TEST(Rfc1812, Section5_3_1_TtlIsDecrementedByOneWithTheChecksumUpdated) {
  Rig rig;
  for (const std::uint8_t ttl : Bytes{2, 64, 255}) {
    const Bytes inner = ipv4({.src = kVm, .dst = "172.16.0.9", .ttl = ttl}, payload(3));
    EXPECT_EQ(rig.to_site(7, rig.send(kFabric, Rig::from_vm(inner)).sent.at(0)), hop(inner));
  }
}

TEST(Rfc1812, Section5_3_1_TtlIsNotCheckedOnPacketsForUs) {
  Rig rig;
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(ipv4({.src = kVm, .dst = "10.1.0.1", .ttl = 1}, {}))).summary(),
            "punted to 10");
}

TEST(Rfc1812, Section5_3_7_MartianSourcesAreNotForwarded) {
  Rig rig;
  for (const std::string source : {"0.0.0.1", "127.0.0.1", "224.0.0.5", "240.0.0.1", "255.255.255.255"}) {
    EXPECT_EQ(rig.send(kWan, rig.from_site(7, ipv4({source, kVm}, {}))).summary(), "dropped ip_source") << source;
  }
}

TEST(Rfc1812, Section5_2_4_3_TheLongestMatchWins) {
  Rig rig;
  Topology::must(rig.tables.upsert_route({kRed, Topology::prefix("172.16.5.0/24"), forward::RouteAction::kForward,
                                          {{forward::AttachmentId::tunnel(TunnelId{9}), 1}}}));
  rig.tables.commit();
  EXPECT_EQ(be16(rig.send(kFabric, Rig::from_vm(ipv4({kVm, "172.16.5.1"}, {}))).sent.at(0).bytes, 12), 0x86dd);
  EXPECT_EQ(be16(rig.send(kFabric, Rig::from_vm(ipv4({kVm, "172.16.6.1"}, {}))).sent.at(0).bytes, 12), 0x0800);
  rig.tables.remove_route(kRed, Topology::prefix("172.16.5.0/24"));
  rig.tables.commit();
  EXPECT_EQ(be16(rig.send(kFabric, Rig::from_vm(ipv4({kVm, "172.16.5.1"}, {}))).sent.at(0).bytes, 12), 0x0800);
}

TEST(Rfc792, TypesAndCodes) {
  Rig rig;
  const Bytes expired = answer(rig, ipv4({.src = kVm, .dst = "172.16.0.9", .ttl = 1}, {}));
  EXPECT_EQ(expired.at(20), 11);
  EXPECT_EQ(expired.at(21), 0);
  const Bytes unreachable = answer(rig, ipv4({kVm, kNowhere}, {}));
  EXPECT_EQ(unreachable.at(20), 3);
  EXPECT_EQ(unreachable.at(21), 0);
  const Bytes too_big = answer(rig, ipv4({.src = kVm, .dst = "172.16.0.9", .df = true}, payload(1430)));
  EXPECT_EQ(too_big.at(20), 3);
  EXPECT_EQ(too_big.at(21), 4);
}

TEST(Rfc1191, Section4_TheNextHopMtuIsInTheMessage) {
  Rig rig;
  const Bytes error = answer(rig, ipv4({.src = kVm, .dst = "172.16.0.9", .df = true}, payload(1430)));
  EXPECT_EQ(be16(error, 24), 0);
  EXPECT_EQ(be16(error, 26), 1438);
}

TEST(Rfc4443, Section2_4_c_ErrorsFitTheMinimumMtu) {
  Rig rig;
  const Bytes original = ipv6({"fd01::5", "fd99::1"}, udp({1, 2}, payload(1380)));
  const Bytes error = answer(rig, original);
  ASSERT_EQ(error.size(), 1280U);
  EXPECT_EQ(from(error, 48), first(original, 1232));
}

TEST(Rfc4443, Section2_4_e_NoErrorAboutAnErrorOrRedirect) {
  Rig rig;
  for (const std::uint8_t type : Bytes{1, 2, 3, 4, 100, 127, 137}) {
    EXPECT_TRUE(answer(rig, ipv6({"fd01::5", "fd99::1", 58}, icmpv6(type, 0, 0, payload(20)))).empty()) << int{type};
  }
  EXPECT_FALSE(answer(rig, ipv6({"fd01::5", "fd99::1", 58}, icmpv6_echo(1, 1, {}))).empty());
  // Behind an extension header, too.
  EXPECT_TRUE(answer(rig, ipv6({"fd01::5", "fd99::1", 60}, hex("3a00 010400000000") + icmpv6(1, 0, 0, {}))).empty());
}

TEST(Rfc4443, Section2_4_f_ErrorsAreRateLimited) {
  Rig rig({.icmp_errors_per_second = 1, .icmp_error_burst = 1});
  const Bytes lost = ipv6({"fd01::5", "fd99::1"}, udp({1, 2}, {}));
  EXPECT_FALSE(answer(rig, lost).empty());
  EXPECT_TRUE(answer(rig, lost).empty());
}

TEST(Rfc4443, Section3_2_PacketTooBigCarriesTheMtu) {
  Rig rig;
  const Bytes error = answer(rig, ipv6({"fd01::5", "fd16::9"}, udp({1, 2}, payload(1391))));
  EXPECT_EQ(error.at(40), 2);
  EXPECT_EQ(be32(error, 44), 1438U);
}

TEST(Rfc8200, Section5_NoMtuBelow1280IsAnnounced) {
  Rig rig;
  Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, 1000, true}));
  const Bytes error = answer(rig, ipv6({"fd01::5", "fd16::9"}, udp({1, 2}, payload(1000))));
  EXPECT_EQ(be32(error, 44), 1280U);
}

TEST(Rfc4291, Section2_5_6_LinkLocalAddressesAreNotForwarded) {
  Rig rig;
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, ipv6({"fe80::9", "fd01::5"}, udp({1, 2}, {})))).summary(),
            "dropped ip_source");
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, ipv6({"fd16::9", "fe80::5"}, udp({1, 2}, {})))).summary(),
            "dropped ip_destination");
}

TEST(Rfc826, TheGatewayAnswersForItsOwnAddressOnly) {
  Rig rig;
  const auto ask = [&](const std::string& target) {
    const Bytes request = arp(1, kVmMac, kVm, "00:00:00:00:00:00", target);
    return rig
        .send(kFabric, ethernet({kFabricMac, kComputeMac},
                                ipv4({"192.0.2.11", "192.0.2.1"},
                                     udp({1, 4789}, vxlan(5001, ethernet({"ff:ff:ff:ff:ff:ff", kVmMac, 0x0806},
                                                                         request))))))
        .summary();
  };
  EXPECT_EQ(ask("10.1.0.1"), "sent on 0");
  EXPECT_EQ(ask("10.1.0.7"), "dropped vxlan_inner_arp");
}

/// What becomes of a neighbor solicitation for fd01::1 from the VM; neighbor_test.cpp has the rest of its checks.
Outcome solicit(Rig& rig, const std::string& source, std::uint8_t hops, std::uint8_t code = 0) {
  const Bytes target = hex("fd01 0000 0000 0000 0000 0000 0000 0001");
  const Bytes message = ipv6({.src = source, .dst = "ff02::1:ff00:1", .next = 58, .hops = hops}, icmpv6(135, code, 0, target));
  return rig.send(kFabric, ethernet({kFabricMac, kComputeMac},
                                    ipv4({"192.0.2.11", "192.0.2.1"},
                                         udp({1, 4789}, vxlan(5001, ethernet({"33:33:ff:00:00:01", kVmMac, 0x86dd}, message))))));
}
/// The flags of RFC 4861 section 4.4 in the answer.
std::uint32_t flags_of(const Outcome& outcome) { return be32(outcome.sent.at(0).bytes, 14 + 20 + 8 + 8 + 14 + 40 + 4); }

TEST(Rfc4861, Section7_1_1_SolicitationsFromBeyondTheLinkAreDiscarded) {
  Rig rig;
  EXPECT_EQ(solicit(rig, "fd01::5", 254).summary(), "dropped vxlan_inner_neighbor");
  EXPECT_EQ(solicit(rig, "fd01::5", 255, 1).summary(), "dropped vxlan_inner_neighbor");
}

TEST(Rfc4861, Section7_2_4_AnswersAreSolicitedUnlessTheAskerHasNoAddress) {
  Rig rig;
  EXPECT_EQ(flags_of(solicit(rig, "fd01::5", 255)), 0xe0000000U);
  const Outcome to_all = solicit(rig, "::", 255);
  EXPECT_EQ(flags_of(to_all), 0xa0000000U);
  EXPECT_EQ(to_hex(first(from(to_all.sent.at(0).bytes, 14 + 20 + 8 + 8 + 14 + 24), 16)), to_hex(hex("ff020000000000000000000000000001")));
}

}  // namespace
}  // namespace simplon::test
