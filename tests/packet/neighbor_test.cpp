// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who has the gateway's address? ARP and neighbor solicitations from VPC 5001 of topology.h.
#include <gmock/gmock.h>

#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

const std::string kGateway = "fd01::1";
const std::string kGroup = "ff02::1:ff00:1";
const std::string kGroupMac = "33:33:ff:00:00:01";
const std::string kVm = "fd01::5";
const std::string kVmLink = "fe80::a8ff:fe00:5";

Bytes mac_bytes(const std::string& text) {
  const MacAddress mac = Topology::mac(text);
  return {mac.bytes.begin(), mac.bytes.end()};
}
Bytes address_bytes(const std::string& text) {
  const IpAddress address = Topology::ip(text);
  return {address.bytes().begin(), address.bytes().end()};
}

/// RFC 4861 section 4.3.
struct Question {
  std::string source = kVm;
  std::string destination = kGroup;
  std::string target = kGateway;
  Bytes options = Bytes{1, 1} + mac_bytes(kVmMac);
  std::uint8_t hops = 255;
  std::uint8_t code = 0;
  std::string to = kGroupMac;
  std::string mac = kVmMac;
  std::string vtep = "192.0.2.11";
  std::uint8_t type = 135;
};
Bytes message(const Question& q) {
  return ipv6({.src = q.source, .dst = q.destination, .next = 58, .hops = q.hops},
              icmpv6(q.type, q.code, 0, address_bytes(q.target) + q.options));
}
/// From the compute host, with `inner` instead of the message if it is given.
Bytes frame(const Question& q, const Bytes& inner = {}) {
  return ethernet({kFabricMac, q.vtep == "192.0.2.11" ? kComputeMac : kCompute2Mac},
                  ipv4({q.vtep, "192.0.2.1"},
                       udp({55555, 4789, std::nullopt, false},
                           vxlan(5001, ethernet({q.to, q.mac, 0x86dd}, inner.empty() ? message(q) : inner)))));
}
/// RFC 4861 section 4.4: that the gateway's MAC address has fd01::1, and it is a router.
Bytes advertisement(const std::string& to, std::uint32_t flags) {
  return ipv6({.src = kGateway, .dst = to, .next = 58, .hops = 255},
              icmpv6(136, 0, flags, address_bytes(kGateway) + Bytes{2, 1} + mac_bytes(kGatewayMac)));
}
/// The frame that brings it, to `mac` at `vtep`.
Bytes answer_frame(const Bytes& sent, const Bytes& inner, const std::string& mac, const std::string& vtep) {
  return ethernet({vtep == "192.0.2.11" ? kComputeMac : kCompute2Mac, kFabricMac},
                  ipv4({.src = "192.0.2.1", .dst = vtep, .df = true},
                       udp({be16(sent, 34), 4789, std::nullopt, false},
                           vxlan(5001, ethernet({mac, kGatewayMac, 0x86dd}, inner)))));
}
constexpr std::uint32_t kSolicited = 0xe0000000;
constexpr std::uint32_t kToAll = 0xa0000000;

std::string verdict(const Question& q) { return Rig().send(kFabric, frame(q)).summary(); }

TEST(Neighbor, SolicitationFromAnEndpointIsAnswered) {
  Rig rig;
  for (const Question& q : {Question{}, Question{.options = {}}, Question{.destination = kGateway, .to = kGatewayMac},
                            Question{.to = kGatewayMac}, Question{.options = Bytes{14, 1, 1, 2, 3, 4, 5, 6}}}) {
    const Outcome outcome = rig.send(kFabric, frame(q));
    ASSERT_EQ(outcome.summary(), "sent on 0");
    EXPECT_EQ(to_hex(Rig::to_vm(outcome.sent[0])), to_hex(advertisement(kVm, kSolicited)));
  }
  EXPECT_EQ(rig.worker.counters().originated.read(), 0U);
}

TEST(Neighbor, AnswerGoesToTheVtepOfTheEndpointWhereverTheQuestionCameFrom) {
  Rig rig;
  const Outcome outcome = rig.send(kFabric, frame({.vtep = "192.0.2.12"}));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes),
            to_hex(answer_frame(outcome.sent[0].bytes, advertisement(kVm, kSolicited), kVmMac, "192.0.2.11")));
}

TEST(Neighbor, LinkLocalAskerIsAnsweredAtTheVtepOfTheQuestion) {
  Rig rig;
  for (const std::string vtep : {"192.0.2.11", "192.0.2.12"}) {
    const Outcome outcome =
        rig.send(kFabric, frame({.source = kVmLink, .destination = kGateway, .options = {}, .to = kGatewayMac, .vtep = vtep}));
    ASSERT_EQ(outcome.summary(), "sent on 0");
    EXPECT_EQ(to_hex(outcome.sent[0].bytes),
              to_hex(answer_frame(outcome.sent[0].bytes, advertisement(kVmLink, kSolicited), kVmMac, vtep)));
  }
}

TEST(Neighbor, DuplicateAddressDetectionIsAnsweredToAllNodes) {
  Rig rig;
  const Outcome outcome = rig.send(kFabric, frame({.source = "::", .options = {}}));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(to_hex(outcome.sent[0].bytes),
            to_hex(answer_frame(outcome.sent[0].bytes, advertisement("ff02::1", kToAll), "33:33:00:00:00:01", "192.0.2.11")));
}

TEST(Neighbor, SeveralAskersInOneBurstGetTheirOwnAnswers) {
  Rig rig;
  const Outcome outcome = rig.send_all(
      kFabric, {frame({.source = kVmLink}), frame({.source = "::", .options = {}, .vtep = "192.0.2.12"}), frame({}),
                frame({.source = "fe80::9", .options = {}, .mac = "02:aa:00:00:00:09", .vtep = "192.0.2.12"})});
  ASSERT_EQ(outcome.sent.size(), 4U);
  const auto expect = [&](std::size_t i, const Bytes& inner, const std::string& mac, const std::string& vtep) {
    EXPECT_EQ(to_hex(outcome.sent[i].bytes), to_hex(answer_frame(outcome.sent[i].bytes, inner, mac, vtep))) << i;
  };
  expect(0, advertisement(kVmLink, kSolicited), kVmMac, "192.0.2.11");
  expect(1, advertisement("ff02::1", kToAll), "33:33:00:00:00:01", "192.0.2.12");
  expect(2, advertisement(kVm, kSolicited), kVmMac, "192.0.2.11");
  expect(3, advertisement("fe80::9", kSolicited), "02:aa:00:00:00:09", "192.0.2.12");
}

TEST(Neighbor, OverAnIpv6Underlay) {
  Rig rig;
  Topology::must(rig.tables.upsert_vpc({Vni{5003}, kRed, Topology::ip("2001:db8:f::1"), 4789, Topology::mac(kGateway3Mac),
                                        {Topology::prefix("10.3.0.0/16"), Topology::prefix("fd03::/64")},
                                        {Topology::ip("2001:db8:f::11")}, 1430}));
  Topology::must(rig.tables.upsert_host_port(
      {forward::AttachmentId::vpc(Vni{5003}), kHostBlueVpc, {Topology::ip("fe80::1"), Topology::ip("fd03::1")}}));
  const Question q{.source = "fe80::5", .target = "fd03::1", .options = {}, .mac = kVm3Mac};
  const Outcome outcome =
      rig.send(kFabric, ethernet({kFabricMac, kCompute6Mac, 0x86dd},
                                 ipv6({"2001:db8:f::11", "2001:db8:f::1"},
                                      udp({1, 4789}, vxlan(5003, ethernet({q.to, q.mac, 0x86dd}, message(q)))))));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  const Bytes& sent = outcome.sent[0].bytes;
  const Bytes inner = ipv6({.src = "fd03::1", .dst = "fe80::5", .next = 58, .hops = 255},
                           icmpv6(136, 0, kSolicited, address_bytes("fd03::1") + Bytes{2, 1} + mac_bytes(kGateway3Mac)));
  EXPECT_EQ(to_hex(sent),
            to_hex(ethernet({kCompute6Mac, kFabricMac, 0x86dd},
                            ipv6({"2001:db8:f::1", "2001:db8:f::11"},
                                 udp({be16(sent, 54), 4789},
                                     vxlan(5003, ethernet({kVm3Mac, kGateway3Mac, 0x86dd}, inner)))))));
}

TEST(Neighbor, WhatIsNotValidHasAName) {
  const std::string dropped = "dropped vxlan_inner_neighbor";
  // RFC 4861 section 7.1.1.
  EXPECT_EQ(verdict({.hops = 254}), dropped);
  EXPECT_EQ(verdict({.code = 1}), dropped);
  EXPECT_EQ(verdict({.target = "ff02::1"}), dropped);
  EXPECT_EQ(verdict({.options = {1, 0, 2, 3, 4, 5, 6, 7}}), dropped) << "option without length";
  EXPECT_EQ(verdict({.options = Bytes{1, 2} + mac_bytes(kVmMac)}), dropped) << "option behind the end";
  EXPECT_EQ(verdict({.options = {14}}), dropped) << "half an option";
  EXPECT_EQ(verdict({.options = Bytes{1, 2} + mac_bytes(kVmMac) + payload(8)}), dropped) << "no Ethernet address";
  EXPECT_EQ(verdict({.source = "::"}), dropped) << "unspecified with a link-layer address";
  EXPECT_EQ(verdict({.source = "::", .destination = kGateway, .options = {}, .to = kGatewayMac}), dropped);
  Bytes wrong = message({});
  wrong[43] ^= 1;
  EXPECT_EQ(Rig().send(kFabric, frame({}, wrong)).summary(), dropped) << "checksum";
  const Bytes cut = ipv6({.src = kVm, .dst = kGroup, .next = 58, .hops = 255},
                         icmpv6(135, 0, 0, first(address_bytes(kGateway), 15)));
  EXPECT_EQ(Rig().send(kFabric, frame({}, cut)).summary(), dropped) << "length";
  EXPECT_EQ(Rig().send(kFabric, frame({}, first(message({}), 71))).summary(), dropped) << "behind the end";
  // Where it was sent to.
  EXPECT_EQ(verdict({.to = "33:33:00:00:00:01"}), dropped);
  EXPECT_EQ(verdict({.destination = "ff02::1", .to = "33:33:00:00:00:01"}), dropped);
  EXPECT_EQ(verdict({.destination = kGateway}), dropped) << "a host's address in a group's frame";
  EXPECT_EQ(verdict({.destination = "fe80::1", .to = kGatewayMac}), dropped);
}

TEST(Neighbor, CutOffAtEveryLength) {
  Rig rig;
  const Bytes whole = message({});
  for (std::size_t length = 1; length < whole.size(); ++length) {
    EXPECT_EQ(rig.send(kFabric, frame({}, first(whole, length))).summary(),
              length > 40 ? "dropped vxlan_inner_neighbor" : "dropped vxlan_inner_broadcast")
        << length;
  }
  EXPECT_EQ(rig.send(kFabric, frame({}, whole + payload(20))).summary(), "sent on 0") << "padding of the link";
}

TEST(Neighbor, WhoeverMayNotAskGetsNoAnswer) {
  const std::string dropped = "dropped vxlan_inner_neighbor";
  EXPECT_EQ(verdict({.destination = "ff02::1:ff00:2", .target = "fd01::2", .to = "33:33:ff:00:00:02"}), dropped) << "not us";
  EXPECT_EQ(verdict({.source = "fd01::66"}), dropped) << "no endpoint";
  EXPECT_EQ(verdict({.source = "fd02::5"}), dropped) << "another network";
  EXPECT_EQ(verdict({.options = {}, .mac = kBlueVmMac}), dropped) << "another VM's MAC address";
  EXPECT_EQ(verdict({.options = Bytes{1, 1} + mac_bytes(kBlueVmMac)}), dropped);
  EXPECT_EQ(verdict({.options = Bytes{1, 1} + mac_bytes(kVmMac) + Bytes{1, 1} + mac_bytes(kBlueVmMac)}), dropped);
  EXPECT_EQ(verdict({.source = kVmLink, .options = {}, .mac = "03:aa:00:00:00:05"}), dropped);
  EXPECT_EQ(verdict({.source = "ff02::5", .options = {}}), dropped);
  EXPECT_EQ(verdict({.source = "::1", .options = {}}), dropped);
  EXPECT_EQ(verdict({.vtep = "192.0.2.99"}), "dropped vxlan_unknown_peer");

  Rig rig;  // an endpoint outside the prefixes is none
  Topology::must(rig.tables.upsert_endpoint(
      {Vni{5001}, Topology::ip("fd09::5"), Topology::mac(kVmMac), Topology::ip("192.0.2.11")}));
  EXPECT_EQ(rig.send(kFabric, frame({.source = "fd09::5"})).summary(), dropped);
  rig.tables.remove_host_port(forward::AttachmentId::vpc(Vni{5001}));
  EXPECT_EQ(rig.send(kFabric, frame({})).summary(), dropped) << "the gateway has no address";
}

TEST(Neighbor, EverythingElseThatIsForManyIsDropped) {
  EXPECT_EQ(verdict({.type = 133}), "dropped vxlan_inner_broadcast") << "router solicitation";
  EXPECT_EQ(verdict({.type = 136}), "dropped vxlan_inner_broadcast") << "advertisement";
  const Bytes behind_options = ipv6({.src = kVm, .dst = kGroup, .next = 0, .hops = 255}, Bytes{58, 0, 1, 4, 0, 0, 0, 0} +
                                                                                              from(message({}), 40));
  EXPECT_EQ(Rig().send(kFabric, frame({}, behind_options)).summary(), "dropped vxlan_inner_broadcast");
}

TEST(Neighbor, SolicitationForSomebodyBehindTheGatewayIsAPacketLikeOthers) {
  const Question q{.destination = "fd16::9", .target = "fd16::9", .to = kGatewayMac};
  EXPECT_EQ(verdict(q), "sent on 1");
}

TEST(Neighbor, VtepThatNoEndpointLeadsToHasNoWayBack) {
  Rig rig;
  rig.tables.remove_endpoint(Vni{5002}, Topology::ip("10.1.0.5"));
  EXPECT_EQ(rig.send(kFabric, frame({.source = kVmLink, .vtep = "192.0.2.12"})).summary(), "dropped vxlan_inner_neighbor");
  EXPECT_EQ(rig.send(kFabric, frame({.source = kVmLink})).summary(), "sent on 0");
  Topology::must(rig.tables.set_adjacency(Topology::ip("192.0.2.11"), {}));
  EXPECT_EQ(rig.send(kFabric, frame({.source = kVmLink})).summary(), "dropped adjacency_unresolved");
}

Bytes arp_request(const std::string& asker) {
  return ethernet({kFabricMac, kComputeMac},
                  ipv4({"192.0.2.11", "192.0.2.1"},
                       udp({55555, 4789, std::nullopt, false},
                           vxlan(5001, ethernet({"ff:ff:ff:ff:ff:ff", kVmMac, 0x0806},
                                                arp(1, kVmMac, asker, "00:00:00:00:00:00", "10.1.0.1"))))));
}

TEST(Neighbor, ArpFromOutsideTheVpcIsNotAnswered) {
  Rig rig;
  Topology::must(rig.tables.upsert_endpoint(
      {Vni{5001}, Topology::ip("10.9.0.5"), Topology::mac(kVmMac), Topology::ip("192.0.2.11")}));
  EXPECT_EQ(rig.send(kFabric, arp_request("10.9.0.5")).summary(), "dropped vxlan_inner_arp");
  EXPECT_EQ(rig.send(kFabric, arp_request("10.1.0.5")).summary(), "sent on 0");
}

TEST(Neighbor, AnswersAreLimitedApartFromIcmpErrors) {
  Rig rig({.attachment_icmp_errors_per_second = 10, .attachment_icmp_error_burst = 3, .attachment_answers_per_second = 10,
           .attachment_answer_burst = 4});
  std::vector<Bytes> questions(20, frame({}));
  questions.insert(questions.end(), 20, arp_request("10.1.0.5"));
  const Outcome flood = rig.send_all(kFabric, questions);
  EXPECT_EQ(flood.sent.size(), 4U);
  EXPECT_THAT(flood.drops, testing::ElementsAre(testing::Pair("vxlan_answer_rate", 36U)));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "9.9.9.9"}, {}))).sent.size(), 1U) << "an error finds its token";
  rig.clock.advance(std::chrono::milliseconds(200));
  EXPECT_EQ(rig.send_all(kFabric, questions).sent.size(), 2U);
}

}  // namespace
}  // namespace simplon::test
