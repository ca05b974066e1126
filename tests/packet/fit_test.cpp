// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sizes, hops and errors: fragments, path MTU discovery, MSS clamping, time exceeded, unreachable.
#include <set>

#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

// IPv4 1500, outer 20 + UDP 8 + ESP 8 + IV 8 + ICV 16: 1440 for the payload and its trailer.
constexpr std::size_t kTunnel7Mtu = 1438;

Bytes to_site7(std::size_t bytes, bool df = false) {
  return ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = 77, .df = df}, udp({1, 2}, payload(bytes - 28)));
}
/// The ICMP error as it must be, about `original`.
Bytes error4(const std::string& from_address, const std::string& to, std::uint8_t type, std::uint8_t code,
             std::uint32_t word, const Bytes& original) {
  return ipv4({.src = from_address, .dst = to, .protocol = 1, .tos = 0xc0, .df = true},
              icmp(type, code, word, first(original, std::min<std::size_t>(original.size(), 548))));
}
Bytes error6(const std::string& from_address, const std::string& to, std::uint8_t type, std::uint8_t code,
             std::uint32_t word, const Bytes& original) {
  return ipv6({.src = from_address, .dst = to, .next = 58, .traffic_class = 0xc0},
              icmpv6(type, code, word, first(original, std::min<std::size_t>(original.size(), 1232))));
}

TEST(Pmtu, TheLargestPacketFitsExactly) {
  Rig rig;
  EXPECT_EQ(rig.tables.inner_mtu(forward::AttachmentId::tunnel(TunnelId{7})), kTunnel7Mtu);
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(to_site7(kTunnel7Mtu, true)));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(outcome.sent[0].bytes.size(), 14U + 1500U);
}

TEST(Pmtu, FragmentationNeededNamesTheMtu) {
  Rig rig;
  const Bytes original = to_site7(kTunnel7Mtu + 1, true);
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(original));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped fragmentation_needed");
  EXPECT_EQ(to_hex(Rig::to_vm(outcome.sent[0])),
            to_hex(error4("10.1.0.1", "10.1.0.5", 3, 4, kTunnel7Mtu, original)));
}

TEST(Pmtu, PacketTooBigNamesTheMtu) {
  Rig rig;
  const Bytes original = ipv6({"fd01::5", "fd16::9"}, udp({1, 2}, payload(kTunnel7Mtu + 1 - 48)));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(original));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped packet_too_big");
  EXPECT_EQ(to_hex(Rig::to_vm(outcome.sent[0])),
            to_hex(error6("fd01::1", "fd01::5", 2, 0, kTunnel7Mtu, original)));
}

TEST(Pmtu, FollowsPathMtuSuiteAndConfiguredBound) {
  Rig rig;
  const auto answered = [&](std::size_t bytes) -> unsigned {
    const Outcome outcome = rig.send(kFabric, Rig::from_vm(to_site7(bytes, true)));
    if (outcome.drops.empty()) return 0;
    return be16(Rig::to_vm(outcome.sent.at(0)), 26);
  };
  EXPECT_EQ(answered(1438), 0U);
  Topology::must(rig.tables.set_adjacency(Topology::ip("203.0.113.1"),
                                          {true, kWan, Topology::mac(kWanMac), Topology::mac(kIspMac), 1400}));
  EXPECT_EQ(answered(1438), 1338U);
  EXPECT_EQ(answered(1338), 0U);
  Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, 1200, true}));
  EXPECT_EQ(answered(1338), 1200U);
}

TEST(Pmtu, TowardsAVmToo) {
  Rig rig;
  const Bytes original =
      ipv4({.src = "172.19.0.9", .dst = "10.3.0.5", .df = true}, udp({1, 2}, payload(1431 - 28)));
  const Outcome outcome = rig.send(kWan, rig.from_site(9, original));
  ASSERT_EQ(outcome.summary(), "sent on 1; dropped fragmentation_needed");
  // Tunnel 9 has no address of its own: another one of the domain answers.
  const Bytes error = rig.to_site(9, outcome.sent[0]);
  EXPECT_EQ(be16(error, 26), 1430);
}

TEST(Pmtu, TheKernelHearsOfItOnItsHostPort) {
  Rig rig;
  const Bytes original = ipv4({.src = "169.254.10.1", .dst = "169.254.10.2", .df = true}, udp({1, 2}, payload(1450)));
  const Outcome outcome = rig.send(kHostRedTunnel, original);
  ASSERT_EQ(outcome.summary(), "punted to 11; dropped fragmentation_needed");
  EXPECT_EQ(to_hex(outcome.punted[0].bytes),
            to_hex(error4("169.254.10.1", "169.254.10.1", 3, 4, kTunnel7Mtu, original)));
}

/// Puts fragments together by offset and checks that they cover the datagram once.
Bytes reassemble(const std::vector<Bytes>& fragments) {
  Bytes data;
  for (const Bytes& fragment : fragments) {
    const std::size_t header = std::size_t{fragment[0] & 15U} * 4;
    EXPECT_EQ((be16(fragment, 6) & 0x1fffU) * 8U, data.size());
    EXPECT_EQ((be16(fragment, 6) & 0x2000U) != 0, &fragment != &fragments.back());
    EXPECT_EQ(be16(fragment, 2), fragment.size());
    const Bytes part = from(fragment, header);
    data.insert(data.end(), part.begin(), part.end());
  }
  return data;
}

TEST(Fragments, AreCutBeforeEncryption) {
  Rig rig;
  for (const std::size_t bytes : {kTunnel7Mtu + 1, std::size_t{1500}, std::size_t{2900}, std::size_t{3700}}) {
    const Bytes original = to_site7(bytes);
    const Outcome outcome = rig.send(kFabric, Rig::from_vm(original));
    ASSERT_TRUE(outcome.drops.empty()) << outcome.summary();
    std::vector<Bytes> fragments;
    for (const auto& sent : outcome.sent) {
      EXPECT_LE(sent.bytes.size(), 1514U);
      fragments.push_back(rig.to_site(7, sent));
      EXPECT_EQ(fragments.back()[8], 63) << "one hop, counted once";
      EXPECT_EQ(be16(fragments.back(), 4), 77);
    }
    EXPECT_EQ(fragments.size(), (bytes - 20 + 1415) / 1416);
    EXPECT_EQ(reassemble(fragments), from(original, 20));
  }
}

TEST(Fragments, AreMadeOfWhatMustNotBeFragmentedWhereThatIsIgnored) {
  Rig rig;
  Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, 0, true, forward::OuterDf::kSet, true}));
  // Linux sends such datagrams without an identification.
  const Bytes original =
      ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = 0, .df = true}, udp({1, 2}, payload(2900 - 28)));
  std::set<unsigned> identifications;
  for (int i = 0; i < 3; ++i) {
    const Outcome outcome = rig.send(kFabric, Rig::from_vm(original));
    ASSERT_TRUE(outcome.drops.empty()) << outcome.summary();
    std::vector<Bytes> fragments;
    for (const auto& sent : outcome.sent) fragments.push_back(rig.to_site(7, sent));
    ASSERT_EQ(fragments.size(), 3U);
    EXPECT_EQ(reassemble(fragments), from(original, 20));
    for (const Bytes& fragment : fragments) {
      EXPECT_EQ(be16(fragment, 6) & 0x4000U, 0U) << "a later hop may have to cut it up once more";
      EXPECT_EQ(be16(fragment, 4), be16(fragments[0], 4));
    }
    identifications.insert(be16(fragments[0], 4));
  }
  EXPECT_EQ(identifications.size(), 3U) << "each datagram has its own";
}

TEST(Fragments, OfAFragmentKeepItsIdentification) {
  Rig rig;
  Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, 0, true, forward::OuterDf::kSet, true}));
  const Bytes original = ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = 77, .df = true, .mf = true}, udp({1, 2}, payload(1452)));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(original));
  ASSERT_EQ(outcome.sent.size(), 2U);
  for (const auto& sent : outcome.sent) EXPECT_EQ(be16(rig.to_site(7, sent), 4), 77);
}

TEST(Pmtu, WhatFitsAndIpv6AreAsEverWhereDontFragmentIsIgnored) {
  Rig rig;
  Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, 0, true, forward::OuterDf::kSet, true}));
  const Outcome fits = rig.send(kFabric, Rig::from_vm(to_site7(kTunnel7Mtu, true)));
  ASSERT_EQ(fits.summary(), "sent on 1");
  const Bytes inner = rig.to_site(7, fits.sent[0]);
  EXPECT_EQ(be16(inner, 4), 77);
  EXPECT_EQ(be16(inner, 6), 0x4000);
  const Bytes six = ipv6({"fd01::5", "fd16::9"}, udp({1, 2}, payload(kTunnel7Mtu + 1 - 48)));
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm(six)).summary(), "sent on 0; dropped packet_too_big");
}

TEST(Pmtu, DontFragmentOfOuterHeaders) {
  using forward::OuterDf;
  const Bytes six = ipv6({"fd01::5", "fd16::9"}, udp({1, 2}, payload(100)));
  const struct {
    OuterDf policy;
    Bytes inner;
    bool outer;
  } cases[] = {{OuterDf::kSet, to_site7(100, false), true},     {OuterDf::kSet, to_site7(100, true), true},
               {OuterDf::kClear, to_site7(100, false), false},  {OuterDf::kClear, to_site7(100, true), false},
               {OuterDf::kCopy, to_site7(100, false), false},   {OuterDf::kCopy, to_site7(100, true), true},
               {OuterDf::kSet, six, true},                      {OuterDf::kClear, six, false},
               {OuterDf::kCopy, six, true}};
  Rig rig;
  for (const auto& c : cases) {
    Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, 0, true, c.policy, false}));
    const Outcome outcome = rig.send(kFabric, Rig::from_vm(c.inner));
    ASSERT_EQ(outcome.summary(), "sent on 1");
    EXPECT_EQ(to_hex(rig.to_site(7, outcome.sent[0], nullptr, c.outer)), to_hex(hop(c.inner)));
  }
}

TEST(Fragments, OptionsAreCopiedWhenTheySaySo) {
  Rig rig;
  // Record route (not copied), NOP, router alert (copied).
  const Bytes options = hex("07 07 04 00000000 01 94 04 0000");
  const Bytes original =
      ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .options = options}, udp({1, 2}, payload(2800)));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(original));
  ASSERT_EQ(outcome.sent.size(), 2U);
  std::vector<Bytes> fragments;
  for (const auto& sent : outcome.sent) fragments.push_back(rig.to_site(7, sent));
  EXPECT_EQ(first(from(fragments[0], 20), options.size()), options);
  EXPECT_EQ(fragments[1][0], 0x46);
  EXPECT_EQ(first(from(fragments[1], 20), 4), hex("94 04 0000"));
  EXPECT_EQ(reassemble(fragments), from(original, 32));
}

TEST(Fragments, OfAFragmentKeepItsPlace) {
  Rig rig;
  const Bytes original =
      ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .mf = true, .offset = 800}, payload(2000));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(original));
  ASSERT_EQ(outcome.sent.size(), 2U);
  const Bytes one = rig.to_site(7, outcome.sent[0]);
  const Bytes two = rig.to_site(7, outcome.sent[1]);
  EXPECT_EQ(be16(one, 6), 0x2000 | (800 / 8));
  EXPECT_EQ(be16(two, 6), 0x2000 | ((800 + one.size() - 20) / 8));
  EXPECT_EQ(from(one, 20) + from(two, 20), payload(2000));
}

/// 64 packets of seven fragments each are more than a burst has numbers for: they take further turns.
TEST(Fragments, OfAFullBurstAllLeaveInOrder) {
  Rig rig;
  Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, 576, false}));
  std::vector<Bytes> frames;
  std::vector<std::uint16_t> wanted;
  for (std::uint16_t id = 0; id < 64; ++id) {
    const bool large = id % 8 != 7;  // small ones do not overtake
    frames.push_back(Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .id = id}, udp({1, 2}, payload(large ? 3600 : 64)))));
    wanted.insert(wanted.end(), large ? 7 : 1, id);
  }
  const Outcome outcome = rig.send_all(kFabric, frames);
  EXPECT_TRUE(outcome.drops.empty()) << outcome.summary();
  std::vector<std::uint16_t> seen;
  std::uint32_t sequence = 0;
  for (const auto& sent : outcome.sent) {
    OpenedEsp opened;
    seen.push_back(be16(rig.to_site(7, sent, &opened), 4));
    EXPECT_EQ(opened.sequence, ++sequence);
  }
  EXPECT_EQ(seen, wanted);
}

/// Plain packets leave without a number of the burst, so with all fragments more are ready to be sent than it has numbers.
TEST(Fragments, LeaveBesidePlainPackets) {
  Rig rig;
  Topology::must(rig.tables.upsert_vpc({Vni{5001}, kRed, Topology::ip("192.0.2.1"), 4789, Topology::mac(kGatewayMac),
                                        {Topology::prefix("10.1.0.0/16")}, {Topology::ip("192.0.2.11")}, 600}));
  const auto packet = [](std::size_t bytes) { return Rig::from_vm(ipv4({"10.1.0.9", "10.1.0.5"}, udp({1, 2}, payload(bytes)))); };
  std::vector<Bytes> frames(30, packet(64));
  frames.resize(64, packet(3700));  // seven fragments each
  const Outcome outcome = rig.send_all(kFabric, frames);
  EXPECT_TRUE(outcome.drops.empty()) << outcome.summary();
  EXPECT_EQ(outcome.sent.size(), 30U + 34 * 7U);
}

TEST(Fragments, OfTheLeastMtuAllLeave) {
  Rig rig;
  Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, 68, false}));
  const auto packet = [](std::size_t bytes) { return Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9"}, payload(bytes))); };
  std::vector<Bytes> frames(61, packet(40));
  for (const int at : {10, 20, 30}) frames.insert(frames.begin() + at, packet(3600));  // 75 fragments each
  const Outcome outcome = rig.send_all(kFabric, frames);
  EXPECT_TRUE(outcome.drops.empty()) << outcome.summary();
  EXPECT_EQ(outcome.sent.size(), 61U + 3 * 75U);
}

TEST(Fragments, BeyondTheLongestDatagramAreMalformed) {
  Rig rig;
  const auto last = [](std::uint16_t offset, std::size_t bytes) {
    return Rig::from_vm(ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .offset = offset}, payload(bytes)));
  };
  EXPECT_EQ(rig.send(kFabric, last(64000, 1515)).summary(), "sent on 1; sent on 1") << "ends at 65,535";
  EXPECT_EQ(rig.send(kFabric, last(64000, 1516)).summary(), "dropped ipv4_malformed");
  EXPECT_EQ(rig.send(kFabric, last(65528, 100)).summary(), "dropped ipv4_malformed");
}

TEST(Mss, IsQuotedAsItCameWhenTheSynDoesNotFit) {
  Rig rig;
  const Bytes syn = ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .protocol = 6, .df = true},
                         tcp({.src = 1, .dst = 2, .syn = true, .mss = 1460}, payload(1500)));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(syn));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped fragmentation_needed");
  EXPECT_EQ(to_hex(Rig::to_vm(outcome.sent[0])), to_hex(error4("10.1.0.1", "10.1.0.5", 3, 4, kTunnel7Mtu, syn)));
}

TEST(Mss, IsClampedBothWaysOnSynOnly) {
  Rig rig;
  const auto syn = [](const std::string& src, const std::string& dst, std::uint16_t mss, bool ack, Bytes other = {}) {
    return ipv4({src, dst, 6},
                tcp({.src = 1, .dst = 2, .syn = true, .ack = ack, .mss = mss, .other_options = std::move(other)}, {}));
  };
  const std::uint16_t limit = kTunnel7Mtu - 40;
  for (const Bytes& other : {Bytes{}, hex("01"), hex("01 01 04 02"), hex("03 03 07")}) {
    Outcome outcome = rig.send(kFabric, Rig::from_vm(syn("10.1.0.5", "172.16.0.9", 1460, false, other)));
    ASSERT_EQ(outcome.summary(), "sent on 1");
    EXPECT_EQ(rig.to_site(7, outcome.sent[0]), hop(syn("10.1.0.5", "172.16.0.9", limit, false, other)));
    outcome = rig.send(kWan, rig.from_site(7, syn("172.16.0.9", "10.1.0.5", 1460, true, other)));
    ASSERT_EQ(outcome.summary(), "sent on 0");
    EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(syn("172.16.0.9", "10.1.0.5", limit, true, other)));
  }
  const Bytes small = syn("10.1.0.5", "172.16.0.9", 1000, false);
  EXPECT_EQ(rig.to_site(7, rig.send(kFabric, Rig::from_vm(small)).sent.at(0)), hop(small));
  const Bytes no_syn = ipv4({"10.1.0.5", "172.16.0.9", 6}, tcp({.src = 1, .dst = 2, .ack = true, .mss = 1460}, {}));
  EXPECT_EQ(rig.to_site(7, rig.send(kFabric, Rig::from_vm(no_syn)).sent.at(0)), hop(no_syn));
}

TEST(Mss, Ipv6LeavesRoomForItsHeader) {
  Rig rig;
  const auto syn = [](std::uint16_t mss) {
    return ipv6({"fd01::5", "fd16::9", 6}, tcp({.src = 1, .dst = 2, .syn = true, .mss = mss}, {}));
  };
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(syn(1440)));
  ASSERT_EQ(outcome.summary(), "sent on 1");
  EXPECT_EQ(rig.to_site(7, outcome.sent[0]), hop(syn(kTunnel7Mtu - 60)));
}

TEST(Mss, IsLeftAloneWhenTheTunnelSaysSo) {
  Rig rig;
  Topology::must(rig.tables.upsert_tunnel({TunnelId{7}, kRed, 0, false}));
  const Bytes syn = ipv4({"10.1.0.5", "172.16.0.9", 6}, tcp({.src = 1, .dst = 2, .syn = true, .mss = 1460}, {}));
  EXPECT_EQ(rig.to_site(7, rig.send(kFabric, Rig::from_vm(syn)).sent.at(0)), hop(syn));
}

TEST(Mss, MalformedOptionsAreForwardedAsTheyAre) {
  Rig rig;
  for (const Bytes& options : {hex("02 00 05b4"), hex("02 0105b4"), hex("08 ff 0000"), hex("01 01 01 02")}) {
    const Bytes syn =
        ipv4({"10.1.0.5", "172.16.0.9", 6}, tcp({.src = 1, .dst = 2, .syn = true, .other_options = options}, {}));
    EXPECT_EQ(rig.to_site(7, rig.send(kFabric, Rig::from_vm(syn)).sent.at(0)), hop(syn));
  }
}

TEST(Hops, TimeExceededComesFromTheGatewayOnBothSides) {
  Rig rig;
  Bytes original = ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .ttl = 1}, udp({33434, 33435}, payload(32)));
  Outcome outcome = rig.send(kFabric, Rig::from_vm(original));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped ttl_expired");
  EXPECT_EQ(to_hex(Rig::to_vm(outcome.sent[0])), to_hex(error4("10.1.0.1", "10.1.0.5", 11, 0, 0, original)));

  original = ipv4({.src = "172.16.0.9", .dst = "10.1.0.5", .ttl = 1}, udp({33434, 33435}, payload(32)));
  outcome = rig.send(kWan, rig.from_site(7, original));
  ASSERT_EQ(outcome.summary(), "sent on 1; dropped ttl_expired");
  EXPECT_EQ(to_hex(rig.to_site(7, outcome.sent[0])),
            to_hex(error4("169.254.10.1", "172.16.0.9", 11, 0, 0, original)));

  original = ipv6({.src = "fd01::5", .dst = "fd16::9", .hops = 1}, udp({33434, 33435}, payload(32)));
  outcome = rig.send(kFabric, Rig::from_vm(original));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped ttl_expired");
  EXPECT_EQ(to_hex(Rig::to_vm(outcome.sent[0])), to_hex(error6("fd01::1", "fd01::5", 3, 0, 0, original)));
}

TEST(Unreachable, CodesSayWhy) {
  Rig rig;
  const auto code = [&](const std::string& dst) {
    const Outcome outcome = rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", dst}, udp({1, 2}, {}))));
    return outcome.sent.size() == 1 ? int{Rig::to_vm(outcome.sent[0])[21]} : -1;
  };
  EXPECT_EQ(code("9.9.9.9"), 0);
  EXPECT_EQ(code("172.31.0.1"), 1);
  EXPECT_EQ(code("10.1.0.66"), 1);
  Topology::must(rig.tables.set_outbound(TunnelId{7}, nullptr));
  EXPECT_EQ(code("172.16.0.1"), 0);
  const Bytes original = ipv6({"fd01::5", "fd99::1"}, udp({1, 2}, {}));
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(original));
  EXPECT_EQ(to_hex(Rig::to_vm(outcome.sent.at(0))), to_hex(error6("fd01::1", "fd01::5", 1, 0, 0, original)));
}

TEST(IcmpErrors, AreLimitedAndRecover) {
  Rig rig({.icmp_errors_per_second = 10, .icmp_error_burst = 3});
  const Bytes lost = Rig::from_vm(ipv4({"10.1.0.5", "9.9.9.9"}, {}));
  EXPECT_EQ(rig.send_all(kFabric, std::vector<Bytes>(20, lost)).sent.size(), 3U);
  EXPECT_EQ(rig.worker.counters().icmp_suppressed.read(), 17U);
  rig.clock.advance(std::chrono::milliseconds(200));
  EXPECT_EQ(rig.send_all(kFabric, std::vector<Bytes>(20, lost)).sent.size(), 2U);
}

TEST(IcmpErrors, OneTenantDoesNotUseUpThoseOfOthers) {
  Rig rig({.domain_icmp_errors_per_second = 10, .domain_icmp_error_burst = 3});
  const Bytes lost = ipv4({"10.1.0.5", "9.9.9.9"}, {});
  EXPECT_EQ(rig.send_all(kFabric, std::vector<Bytes>(300, Rig::from_vm(lost))).sent.size(), 3U);
  EXPECT_TRUE(rig.send(kWan, rig.from_site(7, ipv4({"172.16.0.9", "9.9.9.9"}, {}))).sent.empty()) << "its tunnels are the tenant's, too";
  EXPECT_EQ(rig.send(kFabric, Rig::from_vm({5002, "192.0.2.12", kBlueGatewayMac, kBlueVmMac}, lost)).sent.size(), 1U);
  rig.clock.advance(std::chrono::milliseconds(200));
  EXPECT_EQ(rig.send_all(kFabric, std::vector<Bytes>(20, Rig::from_vm(lost))).sent.size(), 2U);
}

TEST(IcmpErrors, OneAttachmentDoesNotUseUpThoseOfOthers) {
  Rig rig({.attachment_icmp_errors_per_second = 10, .attachment_icmp_error_burst = 3});
  const Bytes lost = Rig::from_vm(ipv4({"10.1.0.5", "9.9.9.9"}, {}));
  EXPECT_EQ(rig.send_all(kFabric, std::vector<Bytes>(300, lost)).sent.size(), 3U);
  EXPECT_EQ(rig.worker.counters().icmp_suppressed.read(), 297U);
  const Bytes too_big = ipv4({.src = "172.16.0.9", .dst = "10.1.0.5", .df = true}, udp({1, 2}, payload(1460)));
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, too_big)).sent.size(), 1U) << "path MTU discovery of the site goes on";
  rig.clock.advance(std::chrono::milliseconds(200));
  EXPECT_EQ(rig.send_all(kFabric, std::vector<Bytes>(20, lost)).sent.size(), 2U);
}

}  // namespace
}  // namespace simplon::test
