// SPDX-License-Identifier: GPL-2.0-or-later
//
// What routers say about our outer packets: read, judged, believed, forgotten. The packets are made by tests/packet/frames.h.
#include "gateway/forwarder/path_mtu.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "gateway/forwarder/too_big.h"
#include "tests/packet/frames.h"

namespace simplon::forwarder {
namespace {

using namespace std::chrono_literals;
namespace sa = ipc::sa;
using test::Bytes;
using test::operator+;

const std::string kUs = "198.51.100.1";
const std::string kPeer = "203.0.113.1";
const std::string kUs6 = "2001:db8::1";
const std::string kPeer6 = "2001:db8:f::1";
const std::string kRouter = "192.0.2.254";
const std::string kRouter6 = "2001:db8:9::fe";
constexpr std::uint32_t kSpi = 0xc0ffee01;
const std::string kGatewayMac = "02:00:00:00:00:01";
const std::string kVmMac = "02:00:00:00:00:05";

Bytes word(std::uint32_t value) { return test::from(test::icmp(0, 0, value, {}), 4); }
/// Header and enough behind it to be a packet of 1,500 bytes.
Bytes esp(std::uint32_t spi, std::uint32_t sequence) { return word(spi) + word(sequence) + test::payload(1472); }
Bytes outer4(const Bytes& inside, std::uint8_t protocol = 50) {
  return test::ipv4({.src = kUs, .dst = kPeer, .protocol = protocol, .df = true, .fill_l4 = false}, inside);
}
Bytes in_udp(const Bytes& inside, std::uint16_t from = 4500, std::uint16_t to = 4500) {
  return test::udp({.src = from, .dst = to, .checksum = false}, inside);
}
/// "Fragmentation needed", with as much of the packet as a router of today quotes.
Bytes too_big4(const Bytes& packet, std::uint32_t mtu, std::size_t quoted = 548) {
  return test::ipv4({.src = kRouter, .dst = kUs, .protocol = 1},
                    test::icmp(3, 4, mtu, test::first(packet, std::min(quoted, packet.size()))));
}
Bytes too_big6(const Bytes& packet, std::uint32_t mtu, std::size_t quoted = 1232) {
  return test::ipv6({.src = kRouter6, .dst = kUs6, .next = 58},
                    test::icmpv6(2, 0, mtu, test::first(packet, std::min(quoted, packet.size()))));
}
IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

TEST(TooBigMessage, AboutRawEspOverIpv4) {
  const auto parsed = parse_too_big(too_big4(outer4(esp(kSpi, 77)), 1400));
  const auto& about = std::get<TooBig>(parsed);
  EXPECT_EQ(about.router, ip(kRouter));
  EXPECT_EQ(about.source, ip(kUs));
  EXPECT_EQ(about.destination, ip(kPeer));
  EXPECT_EQ(about.mtu_bytes, 1400U);
  EXPECT_EQ(about.packet_bytes, 1500U);
  const auto& quoted = std::get<QuotedEsp>(about.content);
  EXPECT_EQ(quoted.spi, Spi(kSpi));
  EXPECT_EQ(quoted.sequence, 77U);
  EXPECT_FALSE(quoted.encap);
}

TEST(TooBigMessage, EightBytesOfRawEspAreEnough) {
  EXPECT_TRUE(std::holds_alternative<TooBig>(parse_too_big(too_big4(outer4(esp(kSpi, 77)), 1400, 28))));
  EXPECT_EQ(std::get<TooBigFault>(parse_too_big(too_big4(outer4(esp(kSpi, 77)), 1400, 27))), TooBigFault::kShortQuote);
}

TEST(TooBigMessage, AboutEspInUdp) {
  const Bytes packet = outer4(in_udp(esp(kSpi, 78), 4500, 40001), 17);
  const auto parsed = parse_too_big(too_big4(packet, 1400, 36));
  const auto& quoted = std::get<QuotedEsp>(std::get<TooBig>(parsed).content);
  EXPECT_TRUE(quoted.encap);
  EXPECT_EQ(quoted.source_port, 4500);
  EXPECT_EQ(quoted.destination_port, 40001);
  EXPECT_EQ(quoted.spi, Spi(kSpi));
  EXPECT_EQ(std::get<TooBigFault>(parse_too_big(too_big4(packet, 1400, 28))), TooBigFault::kShortQuote)
      << "the ports alone prove nothing";
}

TEST(TooBigMessage, AboutEspOverIpv6) {
  const Bytes packet = test::ipv6({.src = kUs6, .dst = kPeer6, .next = 50}, esp(kSpi, 79));
  const auto parsed = parse_too_big(too_big6(packet, 1400));
  const auto& about = std::get<TooBig>(parsed);
  EXPECT_EQ(about.destination, ip(kPeer6));
  EXPECT_EQ(about.packet_bytes, 1520U);
  EXPECT_EQ(std::get<QuotedEsp>(about.content).sequence, 79U);
}

Bytes overlay(const Bytes& inner, std::uint16_t type = 0x0800, std::uint32_t flags = 0x08000000) {
  return outer4(in_udp(test::vxlan(5001, test::ethernet({kVmMac, kGatewayMac, type}, inner), flags), 50000, 4789), 17);
}

TEST(TooBigMessage, AboutVxlan) {
  const auto parsed = parse_too_big(too_big4(overlay(test::ipv4({"10.2.0.9", "10.1.0.5"}, test::payload(1400))), 1300));
  const auto& quoted = std::get<QuotedVxlan>(std::get<TooBig>(parsed).content);
  EXPECT_EQ(quoted.vni, Vni(5001));
  EXPECT_EQ(quoted.destination_port, 4789);
  EXPECT_EQ(quoted.inner_source.to_string(), kGatewayMac);
  EXPECT_EQ(quoted.inner_destination.to_string(), kVmMac);
  EXPECT_EQ(quoted.inner_address, ip("10.1.0.5"));
  const auto of6 = parse_too_big(too_big4(overlay(test::ipv6({"fd02::9", "fd01::5"}, test::payload(1400)), 0x86dd), 1300));
  EXPECT_EQ(std::get<QuotedVxlan>(std::get<TooBig>(of6).content).inner_address, ip("fd01::5"));
}

TEST(TooBigMessage, EveryShorterQuoteIsShort) {
  const Bytes packet = overlay(test::ipv4({"10.2.0.9", "10.1.0.5"}, test::payload(1400)));
  const std::size_t least = 20 + 8 + 8 + 14 + 20;
  for (std::size_t quoted = 0; quoted < least; ++quoted) {
    EXPECT_EQ(std::get<TooBigFault>(parse_too_big(too_big4(packet, 1300, quoted))), TooBigFault::kShortQuote) << quoted;
  }
  EXPECT_TRUE(std::holds_alternative<TooBig>(parse_too_big(too_big4(packet, 1300, least))));
}

TEST(TooBigMessage, WhatIsNoneOfOursIsForeign) {
  const auto fault = [](const Bytes& packet) { return std::get<TooBigFault>(parse_too_big(too_big4(packet, 1300))); };
  EXPECT_EQ(fault(outer4(test::payload(1400), 6)), TooBigFault::kForeign) << "TCP";
  EXPECT_EQ(fault(test::ipv4({.src = kUs, .dst = kPeer, .protocol = 50, .offset = 800}, esp(kSpi, 1))), TooBigFault::kForeign);
  EXPECT_EQ(fault(test::ipv4({.src = kUs, .dst = kPeer, .protocol = 50, .options = test::hex("01010101")}, esp(kSpi, 1))),
            TooBigFault::kForeign);
  EXPECT_EQ(fault(test::ipv4({.src = kUs, .dst = kPeer, .protocol = 50}, esp(kSpi, 1))), TooBigFault::kForeign)
      << "it may be fragmented";
  EXPECT_EQ(fault(overlay(test::payload(1400), 0x0806)), TooBigFault::kForeign) << "ARP";
  EXPECT_EQ(fault(overlay(test::ipv4({"10.2.0.9", "10.1.0.5"}, test::payload(1400)), 0x0800, 0)), TooBigFault::kForeign);
}

TEST(TooBigMessage, WhatLiesIsMalformed) {
  const Bytes good = too_big4(outer4(esp(kSpi, 77)), 1400);
  const auto fault = [](const Bytes& packet) { return std::get<TooBigFault>(parse_too_big(packet)); };
  EXPECT_EQ(fault({}), TooBigFault::kMalformed);
  EXPECT_EQ(fault(test::first(good, good.size() - 1)), TooBigFault::kMalformed);
  for (const std::size_t at : {10UL, 20UL, 21UL, 22UL, 27UL, 40UL}) {
    Bytes changed = good;
    changed[at] ^= 1;
    EXPECT_EQ(fault(changed), TooBigFault::kMalformed) << at;
  }
  Bytes changed = too_big6(test::ipv6({.src = kUs6, .dst = kPeer6, .next = 50}, esp(kSpi, 79)), 1400);
  changed[60] ^= 1;
  EXPECT_EQ(fault(changed), TooBigFault::kMalformed);
}

TEST(TooBigMessage, OldRoutersLeaveTheMtuToThePlateaus) {
  EXPECT_EQ(plateau_below(9000), 8166);
  EXPECT_EQ(plateau_below(1500), 1492);
  EXPECT_EQ(plateau_below(1492), 1006);
  EXPECT_EQ(plateau_below(508), 0);
}

TEST(PathMtu, IsTheLeastAndIsForgotten) {
  FakeClock clock;
  PathMtu mtu;
  mtu.set_route(1500);
  EXPECT_EQ(mtu.bytes(), 1500);
  EXPECT_EQ(mtu.lower(1500, clock.now()), PathMtu::Change::kNone);
  EXPECT_EQ(mtu.learned(), 0);
  EXPECT_EQ(mtu.lower(1400, clock.now()), PathMtu::Change::kLowered);
  EXPECT_EQ(mtu.lower(1450, clock.now()), PathMtu::Change::kNone) << "never raised";
  EXPECT_EQ(mtu.bytes(), 1400);
  mtu.set_route(1300);
  EXPECT_EQ(mtu.bytes(), 1300);
  mtu.set_route(9000);
  clock.advance(9min);
  EXPECT_FALSE(mtu.forget_old(clock.now()));
  EXPECT_EQ(mtu.lower(1400, clock.now()), PathMtu::Change::kNone);
  EXPECT_EQ(mtu.left(clock.now()), 10min) << "heard again";
  clock.advance(9min);
  EXPECT_FALSE(mtu.forget_old(clock.now()));
  clock.advance(1min);
  EXPECT_TRUE(mtu.forget_old(clock.now()));
  EXPECT_EQ(mtu.bytes(), 9000);
  EXPECT_FALSE(mtu.forget_old(clock.now()));
}

class PathMtuLearnerTest : public ::testing::Test {
 protected:
  forward::Tables tables_;
  FakeClock clock_;
  SaStore store_{tables_, clock_, 42, [](std::vector<std::uint8_t>) {}};
  std::map<IpAddress, PathMtu> paths_;
  PathMtuLearner learner_{tables_, store_, [this](const IpAddress& destination, std::uint16_t bytes) {
                            return paths_.at(destination).lower(bytes, clock_.now());
                          }};

  void SetUp() override {
    for (const std::string& address : {kPeer, kPeer6}) paths_[ip(address)].set_route(1500);
    forward::VpcEntry vpc;
    vpc.vni = Vni(5001);
    vpc.domain = DomainId(1);
    vpc.vtep = ip(kUs);
    vpc.gateway_mac = MacAddress::parse(kGatewayMac).value();
    vpc.accepted_vteps = {ip(kPeer)};
    ASSERT_TRUE(tables_.upsert_domain(DomainId(1)));
    ASSERT_TRUE(tables_.upsert_vpc(vpc));
    ASSERT_TRUE(tables_.upsert_endpoint({Vni(5001), ip("10.1.0.5"), MacAddress::parse(kVmMac).value(), ip(kPeer)}));
  }

  static sa::Add aes_gcm(const std::string& from, const std::string& to) {
    sa::Add add;
    add.id = {ip(to), Spi(kSpi), 50};
    add.source = ip(from);
    add.tunnel = TunnelId(7);
    add.encryption = 20;
    add.integrity = 1024;
    std::array<std::uint8_t, 36> key{};
    key.fill(9);
    add.encryption_key = sa::Key(key);
    add.mode = 2;
    return add;
  }
  /// An outbound SA that has used `sequence` numbers.
  void add_sa(const std::string& from, const std::string& to, bool encap, std::uint64_t sequence) {
    sa::Add add = aes_gcm(from, to);
    add.esn = true;
    add.encap = encap;
    add.source_port = add.destination_port = 4500;
    static_cast<void>(store_.handle({1, sa::Body(add)}));
    const forward::Sa* made = store_.outbound(ip(to), Spi(kSpi));
    ASSERT_NE(made, nullptr);
    made->runtime().sequence = sequence;
  }
  std::uint16_t mtu(const std::string& address = kPeer) { return paths_.at(ip(address)).bytes(); }
  std::uint64_t count(const std::string& name) {
    for (const auto& one : learner_.counts()) {
      if (one.name == name) return one.packets;
    }
    ADD_FAILURE() << name;
    return 0;
  }
};

TEST_F(PathMtuLearnerTest, BelievesWhatQuotesAPacketOfAnSa) {
  add_sa(kUs, kPeer, false, 100);
  EXPECT_EQ(learner_.hear(too_big4(outer4(esp(kSpi, 100)), 1400)), TooBigOutcome::kLearned);
  EXPECT_EQ(mtu(), 1400);
  EXPECT_EQ(learner_.hear(too_big4(outer4(esp(kSpi, 1)), 1400)), TooBigOutcome::kKnown);
  EXPECT_EQ(learner_.hear(too_big4(outer4(esp(kSpi, 99)), 1300)), TooBigOutcome::kLearned);
  EXPECT_EQ(learner_.hear(too_big4(outer4(esp(kSpi, 99)), 1450)), TooBigOutcome::kKnown);
  EXPECT_EQ(mtu(), 1300);
  EXPECT_EQ(count("learned"), 2U);
  EXPECT_EQ(count("known"), 2U);
}

TEST_F(PathMtuLearnerTest, OverIpv6AndInUdpToo) {
  add_sa(kUs6, kPeer6, false, 100);
  const Bytes packet = test::ipv6({.src = kUs6, .dst = kPeer6, .next = 50}, esp(kSpi, 100));
  EXPECT_EQ(learner_.hear(too_big6(packet, 1279)), TooBigOutcome::kMtuTooSmall);
  EXPECT_EQ(learner_.hear(too_big6(packet, 1280)), TooBigOutcome::kLearned);
  EXPECT_EQ(mtu(kPeer6), 1280);
  add_sa(kUs, kPeer, true, 5);
  EXPECT_EQ(learner_.hear(too_big4(outer4(in_udp(esp(kSpi, 5)), 17), 1400)), TooBigOutcome::kLearned);
  EXPECT_EQ(learner_.hear(too_big4(outer4(in_udp(esp(kSpi, 5), 4500, 4501), 17), 1300)), TooBigOutcome::kWrongPath);
  EXPECT_EQ(learner_.hear(too_big4(outer4(esp(kSpi, 5)), 1300)), TooBigOutcome::kWrongPath) << "raw ESP was never sent";
  EXPECT_EQ(mtu(), 1400);
}

TEST_F(PathMtuLearnerTest, ForgeriesChangeNothing) {
  add_sa(kUs, kPeer, false, 100);
  const auto hear = [this](const Bytes& packet, std::uint32_t mtu) { return learner_.hear(too_big4(packet, mtu)); };
  EXPECT_EQ(hear(outer4(esp(kSpi + 1, 100)), 1400), TooBigOutcome::kUnknownSa);
  EXPECT_EQ(hear(outer4(esp(kSpi, 101)), 1400), TooBigOutcome::kNeverSent);
  EXPECT_EQ(hear(outer4(esp(kSpi, 0)), 1400), TooBigOutcome::kNeverSent);
  EXPECT_EQ(hear(outer4(esp(kSpi, 0xffffffff)), 1400), TooBigOutcome::kNeverSent);
  EXPECT_EQ(hear(test::ipv4({.src = "198.51.100.2", .dst = kPeer, .protocol = 50, .df = true}, esp(kSpi, 100)), 1400),
            TooBigOutcome::kWrongPath);
  EXPECT_EQ(hear(test::ipv4({.src = kUs, .dst = "203.0.113.9", .protocol = 50, .df = true}, esp(kSpi, 100)), 1400),
            TooBigOutcome::kUnknownSa);
  EXPECT_EQ(hear(outer4(esp(kSpi, 100)), 575), TooBigOutcome::kMtuTooSmall);
  EXPECT_EQ(hear(outer4(esp(kSpi, 100)), 68), TooBigOutcome::kMtuTooSmall);
  EXPECT_EQ(hear(outer4(esp(kSpi, 100)), 1500), TooBigOutcome::kNotTooBig);
  EXPECT_EQ(hear(outer4(test::payload(100), 6), 1400), TooBigOutcome::kForeign);
  EXPECT_EQ(mtu(), 1500);
  EXPECT_EQ(count("never_sent"), 3U);
  EXPECT_EQ(count("mtu_too_small"), 2U);
}

TEST_F(PathMtuLearnerTest, NumbersOfLongAgoAreNotBelieved) {
  constexpr std::uint64_t kLast = (std::uint64_t{7} << 32) + 10;
  add_sa(kUs, kPeer, false, kLast);
  const auto hear = [this](std::uint64_t sequence) {
    return learner_.hear(too_big4(outer4(esp(kSpi, static_cast<std::uint32_t>(sequence))), 1400));
  };
  EXPECT_EQ(hear(kLast - PathMtuLearner::kRecent), TooBigOutcome::kNeverSent);
  EXPECT_EQ(hear(kLast + 1), TooBigOutcome::kNeverSent);
  EXPECT_EQ(hear(kLast - PathMtuLearner::kRecent + 1), TooBigOutcome::kLearned) << "across 2^32";
}

TEST_F(PathMtuLearnerTest, AnInboundSpiProvesNothing) {
  sa::Add add = aes_gcm(kUs, kPeer);
  add.inbound = true;
  static_cast<void>(store_.handle({1, sa::Body(add)}));
  ASSERT_EQ(store_.size(), 1U);
  EXPECT_EQ(learner_.hear(too_big4(outer4(esp(kSpi, 1)), 1400)), TooBigOutcome::kUnknownSa);
}

TEST_F(PathMtuLearnerTest, RoutersThatSayZeroMeanTheNextPlateau) {
  add_sa(kUs, kPeer, false, 100);
  EXPECT_EQ(learner_.hear(too_big4(outer4(esp(kSpi, 100)), 0)), TooBigOutcome::kLearned);
  EXPECT_EQ(mtu(), 1492);
}

TEST_F(PathMtuLearnerTest, VxlanHasToNameAnEndpointWhole) {
  const Bytes inner = test::ipv4({"10.2.0.9", "10.1.0.5"}, test::payload(1400));
  EXPECT_EQ(learner_.hear(too_big4(overlay(test::ipv4({"10.2.0.9", "10.1.0.6"}, test::payload(1400))), 1300)),
            TooBigOutcome::kUnknownEndpoint);
  const auto quote = [&](const std::string& to, std::uint32_t vni, const std::string& mac, std::uint16_t port) {
    return too_big4(test::ipv4({.src = kUs, .dst = to, .df = true, .fill_l4 = false},
                               in_udp(test::vxlan(vni, test::ethernet({mac, kGatewayMac}, inner)), 50000, port)),
                    1300);
  };
  EXPECT_EQ(learner_.hear(quote(kPeer, 5002, kVmMac, 4789)), TooBigOutcome::kUnknownEndpoint);
  EXPECT_EQ(learner_.hear(quote(kPeer, 5001, kGatewayMac, 4789)), TooBigOutcome::kUnknownEndpoint);
  EXPECT_EQ(learner_.hear(quote("203.0.113.9", 5001, kVmMac, 4789)), TooBigOutcome::kWrongPath);
  EXPECT_EQ(learner_.hear(quote(kPeer, 5001, kVmMac, 4790)), TooBigOutcome::kWrongPath);
  EXPECT_EQ(mtu(), 1500);
  EXPECT_EQ(learner_.hear(quote(kPeer, 5001, kVmMac, 4789)), TooBigOutcome::kLearned);
  EXPECT_EQ(mtu(), 1300);
}

}  // namespace
}  // namespace simplon::forwarder
