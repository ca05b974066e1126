// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets that go through: which bytes leave, where.
#include <set>

#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

Bytes ping(const std::string& src, const std::string& dst, std::size_t bytes = 56) {
  return ipv4({src, dst, 1}, icmp_echo(1, 1, payload(bytes)));
}
Bytes datagram(const std::string& src, const std::string& dst, std::size_t bytes = 100) {
  return ipv4({.src = src, .dst = dst, .tos = 0xb8}, udp({1000, 2000}, payload(bytes)));
}
Bytes datagram6(const std::string& src, const std::string& dst, std::size_t bytes = 100) {
  return ipv6({.src = src, .dst = dst, .traffic_class = 0xb8}, udp({1000, 2000}, payload(bytes)));
}

TEST(VxlanToEsp, UdpEncapsulatedAes256Esn) {
  Rig rig;
  const Bytes inner = datagram("10.1.0.5", "172.16.0.9");
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  OpenedEsp esp;
  EXPECT_EQ(rig.to_site(7, outcome.sent[0], &esp), hop(inner));
  EXPECT_EQ(esp.sequence, 1U);
  EXPECT_EQ(esp.next_header, 4);
}

TEST(VxlanToEsp, RawAes128Esn) {
  Rig rig;
  const Bytes inner = datagram("10.1.0.5", "172.16.0.9");
  const Outcome outcome = rig.send(kFabric, Rig::from_vm({5002, "192.0.2.12", kBlueGatewayMac, kBlueVmMac}, inner));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(rig.to_site(8, outcome.sent[0]), hop(inner));
}

TEST(VxlanToEsp, RawOverIpv6WithoutEsn) {
  Rig rig;
  const Bytes inner = datagram("10.1.0.5", "172.19.0.9");
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(rig.to_site(9, outcome.sent[0]), hop(inner));
}

TEST(VxlanToEsp, InnerIpv6) {
  Rig rig;
  const Bytes inner = datagram6("fd01::5", "fd16::9");
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  OpenedEsp esp;
  EXPECT_EQ(rig.to_site(7, outcome.sent[0], &esp), hop(inner));
  EXPECT_EQ(esp.next_header, 41);
}

TEST(VxlanToEsp, EverySizeIsPaddedToWholeWords) {
  Rig rig;
  for (std::size_t bytes = 0; bytes < 70; ++bytes) {
    const Bytes inner = datagram("10.1.0.5", "172.16.0.9", bytes);
    const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
    ASSERT_EQ(outcome.summary(), "sent on 1") << bytes;
    OpenedEsp esp;
    ASSERT_EQ(rig.to_site(7, outcome.sent[0], &esp), hop(inner)) << bytes;
    ASSERT_LT(esp.padding.size(), 4U);
    ASSERT_EQ((esp.inside.size() + esp.padding.size() + 2) % 4, 0U);
    for (std::size_t i = 0; i < esp.padding.size(); ++i) ASSERT_EQ(esp.padding[i], i + 1);
  }
}

TEST(VxlanToEsp, LinkPaddingIsRemoved) {
  Rig rig;
  const Bytes inner = ping("10.1.0.5", "172.16.0.9", 0);
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner + Bytes(18, 0xee)));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(rig.to_site(7, outcome.sent[0]), hop(inner));
}

TEST(VxlanToEsp, SequenceNumbersGoOnOverPathChangesAndTableUpdates) {
  Rig rig;
  const Bytes inner = datagram("10.1.0.5", "172.16.0.9");
  for (std::uint32_t expected = 1; expected <= 20; ++expected) {
    const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
    ASSERT_EQ(outcome.sent.size(), 1U);
    const auto esp = esp_open(rig.peer_receives(7), from(outcome.sent[0].bytes, 42));
    ASSERT_TRUE(esp.has_value());
    ASSERT_EQ(esp->sequence, expected);
    forward::SaPath path = rig.topology.path7_out;
    path.destination_port = static_cast<std::uint16_t>(4500 + expected);
    Topology::must(rig.tables.set_path(*rig.topology.sa7_out, path));
    Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, static_cast<std::uint16_t>(1300 + expected), true}));
    Topology::must(rig.tables.set_outbound(TunnelId{7}, nullptr));
    Topology::must(rig.tables.set_outbound(TunnelId{7}, rig.topology.sa7_out));
    Topology::must(rig.tables.set_adjacency(Topology::ip("203.0.113.1"),
                                            {true, kWan, Topology::mac(kWanMac), Topology::mac(kIspMac), 1500}));
    rig.tables.commit();
  }
  EXPECT_EQ(rig.topology.sa7_out->usage().sequence, 20U);
}

TEST(EspToVxlan, UdpEncapsulated) {
  Rig rig;
  const Bytes inner = datagram("172.16.0.9", "10.1.0.5");
  const Outcome outcome = rig.send(kWan, rig.from_site(7, inner));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
}

TEST(EspToVxlan, RawOverIpv4AndIpv6) {
  Rig rig;
  const Bytes blue = datagram("172.16.0.9", "10.1.0.5");
  Outcome outcome = rig.send(kWan, rig.from_site(8, blue));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0], 5002), hop(blue));

  const Bytes red = datagram("172.19.0.9", "10.1.0.5");
  outcome = rig.send(kWan, rig.from_site(9, red));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(red));
}

TEST(EspToVxlan, EarlyPacketsWaitForTheirSa) {
  Rig rig;
  const auto sa = rig.topology.sa7_in;
  rig.tables.remove_inbound(sa->spi());
  rig.tables.expect_inbound(sa->spi());
  std::vector<Bytes> inner;
  for (std::uint8_t i = 0; i < 100; ++i) {
    inner.push_back(datagram("172.16.0.9", "10.1.0.5"));
    ASSERT_TRUE(rig.uplinks->inject(kWan, rig.from_site(7, inner.back())));
  }
  for (int turn = 0; turn < 5; ++turn) EXPECT_GT(rig.worker.poll_once(), 0U);
  EXPECT_TRUE(rig.uplinks->take_sent().empty());
  EXPECT_EQ(rig.worker.counters().dropped(), 0U);
  ASSERT_TRUE(rig.tables.install_inbound(sa));
  const Outcome outcome = rig.send(kWan, rig.from_site(7, inner[0]));
  EXPECT_EQ(outcome.sent.size(), 101U);
  EXPECT_TRUE(outcome.drops.empty()) << outcome.summary();
  EXPECT_EQ(sa->usage().sequence, 101U);
}

TEST(EspToVxlan, EarlyPacketsGoBeforeOnesThatMoveTheWindowOn) {
  Rig rig;
  const auto sa = rig.topology.sa7_in;
  rig.tables.remove_inbound(sa->spi());
  rig.tables.expect_inbound(sa->spi());
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(rig.uplinks->inject(kWan, rig.from_site(7, datagram("172.16.0.9", "10.1.0.5"))));
  }
  for (int turn = 0; turn < 5; ++turn) rig.worker.poll_once();
  for (int i = 0; i < 5000; ++i) (void)rig.from_site(7, datagram("172.16.0.9", "10.1.0.5"));  // lost on the way
  ASSERT_TRUE(rig.tables.install_inbound(sa));
  const Outcome outcome = rig.send(kWan, rig.from_site(7, datagram("172.16.0.9", "10.1.0.5")));
  EXPECT_EQ(outcome.sent.size(), 201U);
  EXPECT_TRUE(outcome.drops.empty()) << outcome.summary();
}

TEST(EspToVxlan, EarlyPacketsOfOneSaLeaveRoomForOthers) {
  Rig rig;
  for (const auto& sa : {rig.topology.sa7_in, rig.topology.sa9_in}) {
    rig.tables.remove_inbound(sa->spi());
    rig.tables.expect_inbound(sa->spi());
  }
  const Bytes many = rig.from_site(7, datagram("172.16.0.9", "10.1.0.5"));
  for (int i = 0; i < 600; ++i) {
    ASSERT_TRUE(rig.uplinks->inject(kWan, many));
    rig.worker.poll_once();
  }
  EXPECT_EQ(rig.worker.counters().dropped(), 600U - 410U) << "four times as many as there are free places";
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(rig.uplinks->inject(kWan, rig.from_site(9, datagram("172.19.0.9", "10.3.0.5"))));
    rig.worker.poll_once();
  }
  EXPECT_EQ(rig.worker.counters().dropped(), 600U - 410U);
}

TEST(EspToVxlan, EarlyPacketsDoNotWaitForEver) {
  Rig rig;
  const auto spi = rig.topology.sa7_in->spi();
  rig.tables.remove_inbound(spi);
  rig.tables.expect_inbound(spi);
  const Bytes frame = rig.from_site(7, datagram("172.16.0.9", "10.1.0.5"));
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(rig.uplinks->inject(kWan, frame));
  for (int turn = 0; turn < 6; ++turn) rig.worker.poll_once();
  EXPECT_EQ(rig.worker.counters().dropped(), 0U);
  rig.clock.advance(std::chrono::milliseconds(3999));
  EXPECT_GT(rig.worker.poll_once(), 0U);
  rig.clock.advance(std::chrono::milliseconds(1));
  Outcome outcome = rig.send_all(kWan, {});
  EXPECT_EQ(outcome.summary(), "dropped esp_unknown_spi x300");
  // Nobody waits for what is not expected any more.
  ASSERT_TRUE(rig.uplinks->inject(kWan, frame));
  EXPECT_GT(rig.worker.poll_once(), 0U);
  rig.tables.expect_no_longer(spi);
  EXPECT_EQ(rig.send(kWan, frame).summary(), "dropped esp_unknown_spi x2");
}

TEST(EspToVxlan, InnerIpv6) {
  Rig rig;
  const Bytes inner = datagram6("fd16::9", "fd01::5");
  const Outcome outcome = rig.send(kWan, rig.from_site(7, inner));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
}

TEST(EspToVxlan, OverIpv6Underlay) {
  Rig rig;
  const Bytes inner = datagram("172.16.0.9", "10.3.0.5");
  const Outcome outcome = rig.send(kWan, rig.from_site(7, inner));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm6(outcome.sent[0]), hop(inner));
}

TEST(EspToEsp, TransitBetweenTunnels) {
  Rig rig;
  const Bytes inner = datagram("172.16.0.9", "172.19.0.9");
  const Outcome outcome = rig.send(kWan, rig.from_site(7, inner));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(rig.to_site(9, outcome.sent[0]), hop(inner));
}

TEST(VxlanToVxlan, BetweenVpcsOfOneDomain) {
  Rig rig;
  const Bytes there = datagram("10.1.0.5", "10.3.0.5");
  Outcome outcome = rig.send(kFabric, Rig::from_vm(there));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm6(outcome.sent[0]), hop(there));

  const Bytes back = datagram("10.3.0.5", "10.1.0.5");
  outcome = rig.send(kFabric, Rig::from_vm6(back));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(back));
}

TEST(Isolation, SameAddressesInTwoDomains) {
  Rig rig;
  const Bytes inner = datagram("10.1.0.5", "172.16.0.9");
  const Bytes red = Rig::from_vm(inner);
  const Bytes blue = Rig::from_vm({5002, "192.0.2.12", kBlueGatewayMac, kBlueVmMac}, inner);
  const Outcome outcome = rig.send_all(kFabric, {red, blue, red, blue});
  ASSERT_EQ(outcome.sent.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(rig.to_site(i % 2 == 0 ? 7 : 8, outcome.sent[i]), hop(inner));
}

TEST(Isolation, RoutesOfTheOtherDomainAreNotUsed) {
  Rig rig;
  const Outcome outcome = rig.send(
      kFabric, Rig::from_vm({5002, "192.0.2.12", kBlueGatewayMac, kBlueVmMac}, datagram("10.1.0.5", "172.19.0.9")));
  EXPECT_EQ(outcome.drops, (std::map<std::string, std::uint64_t>{{"no_route", 1}}));
}

TEST(HostPort, PacketsForUsArePuntedUntouched) {
  Rig rig;
  // GTSM and eBGP look at the TTL: it stays what it was.
  const Bytes bgp = ipv4({.src = "169.254.10.2", .dst = "169.254.10.1", .protocol = 6, .ttl = 1},
                         tcp({.src = 179, .dst = 40000, .ack = true}, payload(19)));
  Outcome outcome = rig.send(kWan, rig.from_site(7, bgp));
  ASSERT_EQ(outcome.summary(), "punted to 11");
  EXPECT_EQ(outcome.punted[0].bytes, bgp);

  const Bytes echo = ping("10.1.0.5", "10.1.0.1");
  outcome = rig.send(kFabric, Rig::from_vm(echo));
  ASSERT_EQ(outcome.summary(), "punted to 10");
  EXPECT_EQ(outcome.punted[0].bytes, echo);

  const Bytes echo6 = ipv6({"fd01::5", "fd01::1", 58}, icmpv6_echo(1, 1, payload(10)));
  outcome = rig.send(kFabric, Rig::from_vm(echo6));
  ASSERT_EQ(outcome.summary(), "punted to 10");
  EXPECT_EQ(outcome.punted[0].bytes, echo6);
  EXPECT_EQ(rig.tables.totals(forward::AttachmentId::vpc(Vni{5001}))->punted, 2U);
}

TEST(HostPort, WhatTheKernelSendsLeavesThroughItsAttachmentUntouched) {
  Rig rig;
  const Bytes bgp = ipv4({.src = "169.254.10.1", .dst = "169.254.10.2", .protocol = 6, .ttl = 1},
                         tcp({.src = 40000, .dst = 179, .ack = true}, payload(19)));
  Outcome outcome = rig.send(kHostRedTunnel, bgp);
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(rig.to_site(7, outcome.sent[0]), bgp);

  const Bytes reply = ping("10.1.0.1", "10.1.0.5");
  outcome = rig.send(kHostRedVpc, reply);
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), reply);

  // Wherever it is addressed to: the kernel has routed it.
  const Bytes elsewhere = ping("169.254.10.1", "8.8.8.8");
  outcome = rig.send(kHostBlueTunnel, elsewhere);
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(rig.to_site(8, outcome.sent[0]), elsewhere);
}

TEST(Ecmp, AFlowStaysOnItsTunnelAndFlowsUseBoth) {
  Rig rig;
  std::map<std::uint32_t, int> tunnels;
  for (std::uint16_t port = 1; port <= 200; ++port) {
    const Bytes inner = ipv4({"10.1.0.5", "172.18.0.9"}, udp({port, 2000}, payload(10)));
    std::set<std::size_t> lengths;
    for (int i = 0; i < 3; ++i) {
      const Outcome outcome = rig.send(kFabric, Rig::from_vm(inner));
      ASSERT_EQ(outcome.summary(), "sent on 1");
      lengths.insert(outcome.sent[0].bytes.size());
    }
    ASSERT_EQ(lengths.size(), 1U) << "one flow, two tunnels";
    ++tunnels[static_cast<std::uint32_t>(*lengths.begin())];
  }
  ASSERT_EQ(tunnels.size(), 2U);
  for (const auto& [length, flows] : tunnels) EXPECT_GT(flows, 60);
}

TEST(Ecmp, FlowsOfATunnelWithoutSaUseTheOtherUntilItIsBack) {
  Rig rig;
  const auto length_of = [&rig](std::uint16_t port) {
    const Outcome outcome =
        rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.18.0.9"}, udp({port, 2000}, payload(10)))));
    EXPECT_EQ(outcome.summary(), "sent on 1");
    return outcome.sent.empty() ? 0 : outcome.sent[0].bytes.size();
  };
  std::map<std::uint16_t, std::size_t> before;
  for (std::uint16_t port = 1; port <= 50; ++port) before[port] = length_of(port);
  Topology::must(rig.tables.set_outbound(TunnelId{9}, nullptr));
  std::set<std::size_t> lengths;
  for (const auto& [port, length] : before) lengths.insert(length_of(port));
  EXPECT_EQ(lengths.size(), 1U) << "only tunnel 7 has an SA";
  Topology::must(rig.tables.set_outbound(TunnelId{9}, rig.topology.sa9_out));
  Topology::must(rig.tables.set_adjacency(
      Topology::ip("2001:db8:a::9"), {true, kWan, Topology::mac(kWanMac), Topology::mac(kIspMac), 1500}));
  for (const auto& [port, length] : before) EXPECT_EQ(length_of(port), length) << port;
}

TEST(Ecmp, FragmentsOfOneDatagramGoOneWay) {
  Rig rig;
  for (std::uint16_t id = 1; id < 30; ++id) {
    const std::string dst = "172.18.0." + std::to_string(id);
    const Bytes data = udp({static_cast<std::uint16_t>(id * 7), 2000}, payload(8));
    const Outcome outcome = rig.send_all(
        kFabric, {Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = dst, .id = id, .mf = true}, data)),
                  Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = dst, .id = id, .offset = 16}, payload(16)))});
    ASSERT_EQ(outcome.sent.size(), 2U);
    ASSERT_EQ(outcome.sent[0].bytes.size(), outcome.sent[1].bytes.size());
  }
}

TEST(Arp, RequestForTheGatewayFromAnEndpointIsAnswered) {
  Rig rig;
  const auto ask = [](const std::string& target) {
    return ethernet({kFabricMac, kComputeMac},
                    ipv4({"192.0.2.11", "192.0.2.1"},
                         udp({55555, 4789, std::nullopt, false},
                             vxlan(5001, ethernet({"ff:ff:ff:ff:ff:ff", kVmMac, 0x0806},
                                                  arp(1, kVmMac, "10.1.0.5", "00:00:00:00:00:00", target))))));
  };
  const Outcome outcome = rig.send(kFabric, ask("10.1.0.1"));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(to_hex(Rig::to_vm(outcome.sent[0])), to_hex(arp(2, kGatewayMac, "10.1.0.1", kVmMac, "10.1.0.5")));
  EXPECT_EQ(rig.send(kFabric, ask("10.1.0.2")).summary(), "dropped vxlan_inner_arp");

  // Our VTEP of this VPC is an IPv4 address: there is no way to an endpoint behind an IPv6 one.
  Topology::must(rig.tables.upsert_endpoint(
      {Vni{5001}, Topology::ip("10.1.0.5"), Topology::mac(kVmMac), Topology::ip("2001:db8:f::11")}));
  EXPECT_EQ(rig.send(kFabric, ask("10.1.0.1")).summary(), "dropped vxlan_inner_arp");
}

TEST(Checksum, PartialOnesAreCompletedOnPortsThatAskForIt) {
  Rig rig;
  // What veth hands over: the pseudo header's sum, not complemented.
  const auto partial = [](Bytes packet, std::size_t field) {
    std::uint32_t sum = 0;
    for (std::size_t i = 12; i < 20; i += 2) sum += be16(packet, i);
    sum += packet[9] + static_cast<std::uint32_t>(packet.size() - 20);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    packet[20 + field] = static_cast<std::uint8_t>(sum >> 8);
    packet[21 + field] = static_cast<std::uint8_t>(sum);
    return packet;
  };
  const Bytes whole_udp = datagram("10.1.0.5", "172.16.0.9");
  const Bytes whole_tcp = ipv4({"10.1.0.5", "172.16.0.9", 6}, tcp({1, 2}, payload(33)));
  Outcome outcome = rig.send(kFabric, Rig::from_vm(partial(whole_udp, 6)));
  EXPECT_EQ(rig.to_site(7, outcome.sent.at(0)), hop(partial(whole_udp, 6))) << "not asked for";

  Topology::must(
      rig.tables.upsert_port({kFabric, forward::PortKind::kUplink, Topology::mac(kFabricMac), true, {rig.uplinks}}));
  outcome = rig.send(kFabric, Rig::from_vm(partial(whole_udp, 6)));
  EXPECT_EQ(rig.to_site(7, outcome.sent.at(0)), hop(whole_udp));
  outcome = rig.send(kFabric, Rig::from_vm(partial(whole_tcp, 16)));
  EXPECT_EQ(rig.to_site(7, outcome.sent.at(0)), hop(whole_tcp));
  outcome = rig.send(kFabric, Rig::from_vm(whole_tcp));
  EXPECT_EQ(rig.to_site(7, outcome.sent.at(0)), hop(whole_tcp));
}

/// Whatever was negotiated: RFC 7296 section 2.23.
TEST(Nat, ThePeerDecidesWhetherItsEspGoesInUdp) {
  Rig rig;
  const Bytes inner = datagram("172.16.0.9", "10.1.0.5");
  Outcome outcome = rig.send(kWan, ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.1", "198.51.100.1", 50},
                                                                      esp_seal(rig.peer_sends(7), {}, inner))));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
  const Bytes in_udp = udp({61000, 4500, std::nullopt, false}, esp_seal(rig.peer_sends(8), {}, inner));
  outcome = rig.send(kWan, ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.2", "198.51.100.1"}, in_udp)));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0], 5002), hop(inner));
  EXPECT_FALSE(rig.topology.sa8_in->take_mapping()) << "it has no port to follow";
}

TEST(Nat, AChangedMappingIsReportedOnceAfterAuthentication) {
  Rig rig;
  const Bytes inner = datagram("172.16.0.9", "10.1.0.5");
  const auto from_elsewhere = [&](const Bytes& esp) {
    return ethernet({kWanMac, kIspMac},
                    ipv4({"203.0.113.77", "198.51.100.1"}, udp({61000, 4500, std::nullopt, false}, esp)));
  };
  rig.send(kWan, rig.from_site(7, inner));
  EXPECT_FALSE(rig.topology.sa7_in->take_mapping().has_value());

  Bytes forged = esp_seal(rig.peer_sends(7), {.sequence = 100}, inner);
  forged.back() ^= 1;
  rig.send(kWan, from_elsewhere(forged));
  EXPECT_FALSE(rig.topology.sa7_in->take_mapping().has_value()) << "a forgery moves nothing";

  const Outcome outcome = rig.send(kWan, from_elsewhere(esp_seal(rig.peer_sends(7), {.sequence = 101}, inner)));
  EXPECT_EQ(outcome.summary(), "sent on 0");
  const auto mapping = rig.topology.sa7_in->take_mapping();
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->source.to_string(), "203.0.113.77");
  EXPECT_EQ(mapping->port, 61000);
  Topology::must(rig.tables.set_path(*rig.topology.sa7_in,
                                     {mapping->source, Topology::ip("198.51.100.1"), true, mapping->port, 4500}));
  rig.send(kWan, from_elsewhere(esp_seal(rig.peer_sends(7), {.sequence = 102}, inner)));
  EXPECT_FALSE(rig.topology.sa7_in->take_mapping().has_value());
  EXPECT_EQ(rig.topology.sa7_in->usage().sequence, 102U);
}

TEST(Rekey, BothInboundSasWorkAndTheOutboundOneIsSwitched) {
  Rig rig;
  const SaKeys new_in{0xc0000077, test_key(9, 32), true};
  const SaKeys new_out{0x0a000077, test_key(10, 32), true};
  forward::SaSpec spec;
  spec.tunnel = TunnelId{7};
  spec.path = rig.topology.path7_in;
  Topology::must(rig.tables.install_inbound(Topology::make_sa(spec, new_in)));
  spec.direction = forward::SaDirection::kOutbound;
  spec.path = rig.topology.path7_out;
  Topology::must(rig.tables.set_outbound(TunnelId{7}, Topology::make_sa(spec, new_out)));
  rig.tables.commit();

  const Bytes in = datagram("172.16.0.9", "10.1.0.5");
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, in)).summary(), "sent on 0");
  const Bytes esp = esp_seal({new_in.spi, new_in.key, true}, {}, in);
  EXPECT_EQ(rig.send(kWan, ethernet({kWanMac, kIspMac},
                                    ipv4({"203.0.113.1", "198.51.100.1"}, udp({4500, 4500, std::nullopt, false}, esp))))
                .summary(),
            "sent on 0");
  const Bytes out = datagram("10.1.0.5", "172.16.0.9");
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(out));
  const auto opened = esp_open({new_out.spi, new_out.key, true}, from(outcome.sent.at(0).bytes, 42));
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->inside, hop(out));

  rig.tables.remove_inbound(Spi{0xc0000007});
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, in)).summary(), "dropped esp_unknown_spi");
}

TEST(Counters, PerAttachmentAndPort) {
  Rig rig;
  const Bytes inner = datagram("10.1.0.5", "172.16.0.9");
  rig.send(kFabric, Rig::from_vm(inner));
  rig.send(kFabric, Rig::from_vm(datagram("10.1.0.5", "172.31.0.1")));
  const auto vpc = rig.tables.totals(forward::AttachmentId::vpc(Vni{5001})).value();
  EXPECT_EQ(vpc.rx_packets, 2U);
  EXPECT_EQ(vpc.rx_bytes, 2 * inner.size());
  EXPECT_EQ(vpc.dropped, 1U);
  EXPECT_EQ(vpc.tx_packets, 1U) << "the ICMP error";
  const auto tunnel = rig.tables.totals(forward::AttachmentId::tunnel(TunnelId{7})).value();
  EXPECT_EQ(tunnel.tx_packets, 1U);
  EXPECT_EQ(tunnel.tx_bytes, inner.size());
  EXPECT_EQ(rig.tables.totals(kFabric)->rx_packets, 2U);
  EXPECT_EQ(rig.tables.totals(kWan)->tx_packets, 1U);
  EXPECT_EQ(rig.topology.sa7_out->usage().bytes, inner.size());
  EXPECT_EQ(rig.topology.sa7_out->usage().last_use, 3600U);
}

TEST(Burst, ManyPacketsKeepTheirOrder) {
  Rig rig;
  std::vector<Bytes> frames;
  std::vector<Bytes> inners;
  for (std::uint16_t i = 0; i < 200; ++i) {
    inners.push_back(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = i}, udp({7, 8}, payload(i))));
    frames.push_back(Rig::from_vm(inners.back()));
  }
  const Outcome outcome = rig.send_all(kFabric, frames);
  ASSERT_EQ(outcome.sent.size(), 200U);
  for (std::size_t i = 0; i < 200; ++i) ASSERT_EQ(rig.to_site(7, outcome.sent[i]), hop(inners[i])) << i;
}

/// Options of the outer header take a packet off the express way; those of its flow that follow must not overtake it.
TEST(Burst, OptionsOfTheOuterHeaderChangeNoOrder) {
  Rig rig;
  std::vector<Bytes> frames;
  std::vector<Bytes> inners;
  for (std::uint16_t i = 0; i < 20; ++i) {
    inners.push_back(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = i}, udp({7, 8}, payload(i))));
    Ipv4 outer{.src = "192.0.2.11", .dst = "192.0.2.1"};
    if (i % 3 == 1) outer.options = {1, 1, 1, 0};
    frames.push_back(ethernet({kFabricMac, kComputeMac},
                              ipv4(outer, udp({55555, 4789, std::nullopt, false},
                                              vxlan(5001, ethernet({kGatewayMac, kVmMac}, inners.back()))))));
  }
  const Outcome outcome = rig.send_all(kFabric, frames);
  ASSERT_EQ(outcome.sent.size(), frames.size());
  for (std::size_t i = 0; i < frames.size(); ++i) ASSERT_EQ(rig.to_site(7, outcome.sent[i]), hop(inners[i])) << i;
}

}  // namespace
}  // namespace simplon::test
