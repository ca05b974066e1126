// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets that no frame has room for, from slot to slot.
#include <array>

#include "gateway/forward/capture.h"
#include "gateway/forward/watchers.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using forward::Drop;

constexpr std::uint16_t kPathMtu = 9216;

/// The rig with an underlay for packets of 9,000 bytes.
class Jumbo : public ::testing::Test {
 protected:
  Jumbo() {
    path_mtu("192.0.2.11", kFabric, kFabricMac, kComputeMac, kPathMtu);
    path_mtu("2001:db8:f::11", kFabric, kFabricMac, kCompute6Mac, kPathMtu);
    path_mtu("203.0.113.1", kWan, kWanMac, kIspMac, kPathMtu);
    path_mtu("2001:db8:a::9", kWan, kWanMac, kIspMac, kPathMtu);
    Topology::must(rig_.tables.upsert_vpc({Vni{5001}, kRed, Topology::ip("192.0.2.1"), 4789, Topology::mac(kGatewayMac),
                                           {Topology::prefix("10.1.0.0/16"), Topology::prefix("fd01::/64")},
                                           {Topology::ip("192.0.2.11"), Topology::ip("192.0.2.12")}, 9000}));
    Topology::must(rig_.tables.upsert_vpc({Vni{5003}, kRed, Topology::ip("2001:db8:f::1"), 4789, Topology::mac(kGateway3Mac),
                                           {Topology::prefix("10.3.0.0/16")}, {Topology::ip("2001:db8:f::11")}, 9000}));
  }
  void path_mtu(const std::string& to, forward::PortId port, const std::string& ours, const std::string& theirs,
                std::uint16_t bytes) {
    Topology::must(rig_.tables.set_adjacency(Topology::ip(to), {true, port, Topology::mac(ours), Topology::mac(theirs), bytes}));
  }
  static Bytes datagram(const std::string& to, std::size_t bytes, bool df = true) {
    return ipv4({.src = "10.1.0.5", .dst = to, .id = 77, .df = df}, udp({1000, 2000}, payload(bytes - 28)));
  }

  Rig rig_;
};

TEST_F(Jumbo, FromAVpcIntoEachKindOfTunnel) {
  for (const std::size_t bytes : {3700U, 4000U, 4096U, 8900U, 9000U}) {
    const Bytes inner = datagram("172.16.0.9", bytes);
    const Outcome to7 = rig_.send(kFabric, Rig::from_vm(inner));
    ASSERT_EQ(to7.summary(), "sent on 1") << bytes;
    EXPECT_EQ(rig_.to_site(7, to7.sent[0]), hop(inner));
    const Bytes inner9 = datagram("172.19.0.9", bytes);
    const Outcome to9 = rig_.send(kFabric, Rig::from_vm(inner9));
    ASSERT_EQ(to9.summary(), "sent on 1") << bytes;
    EXPECT_EQ(rig_.to_site(9, to9.sent[0]), hop(inner9));
  }
}

TEST_F(Jumbo, ACaptureKeepsAllOfIt) {
  forward::Watchers watchers(rig_.tables, [this](forward::Watch* watch) { rig_.worker.watch(watch); });
  forward::CaptureSpec spec;
  spec.points = static_cast<std::uint8_t>(forward::CapturePoint::kInnerIn);
  const auto capture = forward::Capture::create(rig_.tables, spec).value();
  watchers.add(capture->watch());
  const Bytes inner = datagram("172.16.0.9", 9000);
  rig_.send(kFabric, Rig::from_vm(inner));
  const auto packets = capture->take(10);
  ASSERT_EQ(packets.size(), 1U);
  EXPECT_EQ(packets[0].bytes, inner);
}

TEST_F(Jumbo, FromATunnelIntoAVpc) {
  for (const std::size_t bytes : {3700U, 4096U, 8900U, 9000U}) {
    const Bytes inner = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, payload(bytes - 28)));
    const Outcome outcome = rig_.send(kWan, rig_.from_site(7, inner));
    ASSERT_EQ(outcome.summary(), "sent on 0") << bytes;
    EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
  }
}

TEST_F(Jumbo, FromVpcToVpcOverIpv4AndIpv6) {
  const Bytes inner = datagram("10.3.0.5", 8900);
  const Outcome there = rig_.send(kFabric, Rig::from_vm(inner));
  ASSERT_EQ(there.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm6(there.sent[0]), hop(inner));
  const Bytes answer = ipv4({"10.3.0.5", "10.1.0.5"}, udp({2000, 1000}, payload(8872)));
  const Outcome back = rig_.send(kFabric, Rig::from_vm6(answer));
  ASSERT_EQ(back.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(back.sent[0]), hop(answer));
}

TEST_F(Jumbo, BetweenSmallOnesAllKeepTheirOrder) {
  std::vector<Bytes> frames;
  for (std::size_t i = 0; i < 20; ++i) frames.push_back(Rig::from_vm(datagram("172.16.0.9", i % 3 == 0 ? 8000 + i : 100 + i)));
  // As many slots as the rig has.
  const Outcome outcome = rig_.send_all(kFabric, frames);
  ASSERT_EQ(outcome.sent.size(), frames.size());
  for (std::size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(rig_.to_site(7, outcome.sent[i]).size(), i % 3 == 0 ? 8000 + i : 100 + i) << i;
  }
}

TEST_F(Jumbo, WhatFillsItsFrameIsGivenRoomForEsp) {
  // As a socket receives it: the frame ends where the packet does.
  constexpr std::size_t kReceivedAt = 256 + forward::kMinHeadroom;
  const Bytes inner = datagram("172.16.0.9", forward::kFrameBytes - kReceivedAt - 64);
  // 64: outer Ethernet, IPv4, UDP, VXLAN, Ethernet.
  const Bytes frame = Rig::from_vm(inner);
  ASSERT_EQ(kReceivedAt + frame.size(), forward::kFrameBytes);
  ASSERT_TRUE(rig_.uplinks->inject(kFabric, frame, kReceivedAt));
  EXPECT_EQ(rig_.worker.poll_once(), 1U);
  const auto sent = rig_.uplinks->take_sent();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(rig_.to_site(7, sent[0]), hop(inner));
}

TEST_F(Jumbo, IntoANarrowPathAsFragmentsThatFitFrames) {
  for (const std::uint16_t path : std::to_array<std::uint16_t>({1500, 3000, 6000})) {
    path_mtu("203.0.113.1", kWan, kWanMac, kIspMac, path);
    const Bytes inner = datagram("172.16.0.9", 8900, false);
    const Outcome outcome = rig_.send(kFabric, Rig::from_vm(inner));
    ASSERT_GT(outcome.sent.size(), 1U) << path;
    EXPECT_TRUE(outcome.drops.empty());
    Bytes whole;
    for (const auto& sent : outcome.sent) {
      EXPECT_LE(sent.bytes.size(), 14U + path);
      const Bytes part = rig_.to_site(7, sent);
      EXPECT_EQ(std::size_t{be16(part, 6)} % 0x2000 * 8, whole.size()) << path;
      whole.insert(whole.end(), part.begin() + 20, part.end());
    }
    EXPECT_EQ(whole, from(inner, 20));
  }
}

TEST_F(Jumbo, TooLargeForThePathIsAnsweredWithItsMtu) {
  path_mtu("203.0.113.1", kWan, kWanMac, kIspMac, 1500);
  const Outcome outcome = rig_.send(kFabric, Rig::from_vm(datagram("172.16.0.9", 8900)));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped fragmentation_needed");
  EXPECT_EQ(be16(Rig::to_vm(outcome.sent[0]), 26), 1438U);
}

TEST_F(Jumbo, ARefusedOneGivesItsSlotBack) {
  rig_.uplinks->accept_only(0);
  const Outcome outcome = rig_.send(kFabric, Rig::from_vm(datagram("172.16.0.9", 8900)));
  EXPECT_EQ(outcome.summary(), "dropped tx_refused");
}

/// A port that could not hand out some of what came.
class Losing final : public forward::PacketIo {
 public:
  std::size_t receive(std::span<forward::Packet>) noexcept override {
    if (told_) return 0;
    told_ = true;
    unreceived_ = {3, 2};
    return 0;
  }
  std::size_t transmit(std::span<const forward::Packet>) noexcept override { return 0; }

 private:
  bool told_ = false;
};

TEST_F(Jumbo, WhatAPortLostIsCountedByItsReason) {
  Topology::must(rig_.tables.upsert_port(
      {forward::PortId{5}, forward::PortKind::kUplink, Topology::mac(kFabricMac), false, {std::make_shared<Losing>()}}));
  for (int i = 0; i < 3; ++i) static_cast<void>(rig_.worker.poll_once());
  const auto& counters = rig_.worker.counters();
  EXPECT_EQ(counters.dropped(Drop::kNoSlot), 3U);
  EXPECT_EQ(counters.dropped(Drop::kFrameTooLong), 2U);
  EXPECT_EQ(counters.received.read(), counters.dropped());
}

}  // namespace
}  // namespace simplon::test
