// SPDX-License-Identifier: GPL-2.0-or-later
//
// A worker whose receive rings stay full: whose packets are dropped? How much is in unit/forward/fair_share_test.cpp.
#include <gtest/gtest.h>

#include "gateway/forward/capture.h"
#include "gateway/forward/memory_io.h"
#include "gateway/forward/watchers.h"
#include "gateway/forward/worker.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using forward::AttachmentId;
using forward::Drop;
using forward::Packet;

/// More than anybody's share, but no more than a burst.
constexpr unsigned kMany = 40;

class Overload : public ::testing::Test {
 protected:
  Overload() {
    worker_.go_online();
    uplinks_->say(forward::PacketIo::kFull);  // more waits than is ever taken
    // Until the level is as low as it goes: a sender who was silent has one packet, and another one every four milliseconds.
    for (int i = 0; i < 3; ++i) turn({from_vm(5001)}, 1);  // what it carries, as it seems
    for (int i = 0; i < 60; ++i) turn({from_vm(5001)}, kMany);
  }
  ~Overload() override {
    const auto& counters = worker_.counters();
    EXPECT_EQ(counters.received.read() + counters.originated.read(), counters.sent.read() + counters.punted.read() + counters.dropped());
    EXPECT_EQ(pool_.available(), pool_.frames()) << "a frame was lost";
    worker_.go_offline();
  }

  static Bytes from_vm(std::uint32_t vni, const std::string& vtep = "") {
    const bool blue = vni == 5002;
    return Rig::from_vm({vni, !vtep.empty() ? vtep : blue ? "192.0.2.12" : "192.0.2.11", blue ? kBlueGatewayMac : kGatewayMac,
                         blue ? kBlueVmMac : kVmMac},
                        kDatagram);
  }
  /// Not authentic, which nobody has looked at yet.
  static Bytes from_site(const std::string& peer, bool encap, std::uint32_t spi) {
    const Bytes esp = Bytes{static_cast<std::uint8_t>(spi >> 24), static_cast<std::uint8_t>(spi >> 16), static_cast<std::uint8_t>(spi >> 8),
                            static_cast<std::uint8_t>(spi)} +
                      payload(60);
    const Bytes packet = encap ? ipv4({peer, "198.51.100.1"}, udp({4500, 4500, std::nullopt, false}, esp)) : ipv4({peer, "198.51.100.1", 50}, esp);
    return ethernet({kWanMac, kIspMac}, packet);
  }

  /// A millisecond with so many of each frame.
  void turn(const std::vector<Bytes>& frames, unsigned times, forward::PortId port = kFabric) {
    clock_.advance(std::chrono::milliseconds(1));
    for (const Bytes& frame : frames) {
      for (unsigned i = 0; i < times; ++i) ASSERT_TRUE(uplinks_->inject(port, frame));
      worker_.poll_once();
    }
    static_cast<void>(uplinks_->take_sent());
  }
  /// How many were refused of kMany of each frame; all of them counted for the attachment, or for none.
  std::size_t dropped(std::optional<AttachmentId> sender, const std::vector<Bytes>& frames, forward::PortId port = kFabric) {
    const std::uint64_t before = worker_.counters().dropped(Drop::kOverShare);
    const std::uint64_t before_of_sender = sender ? tables_.totals(*sender)->dropped : 0;
    const std::uint64_t others_before = worker_.counters().dropped() - before;
    turn(frames, kMany, port);
    const std::size_t count = static_cast<std::size_t>(worker_.counters().dropped(Drop::kOverShare) - before);
    const std::uint64_t others = worker_.counters().dropped() - worker_.counters().dropped(Drop::kOverShare) - others_before;
    if (sender) {
      const std::uint64_t of_sender = tables_.totals(*sender)->dropped - before_of_sender;
      EXPECT_GE(of_sender, count);
      EXPECT_LE(of_sender, count + others);
    }
    return count;
  }

  static inline const Bytes kDatagram = ipv4({"10.1.0.5", "172.16.0.9"}, udp({1000, 2000}, payload(20)));
  FakeClock clock_;
  forward::FramePool pool_ = forward::FramePool::create(512).value();
  forward::Tables tables_;
  std::shared_ptr<forward::MemoryIo> uplinks_ = std::make_shared<forward::MemoryIo>(pool_);
  std::shared_ptr<forward::MemoryIo> hosts_ = std::make_shared<forward::MemoryIo>(pool_);
  Topology topology_{tables_, uplinks_, hosts_};
  forward::Worker worker_{tables_, pool_, clock_};
};

TEST_F(Overload, EachVpcAndEachTunnelHasAShareOfItsOwn) {
  EXPECT_EQ(dropped(AttachmentId::vpc(Vni{5002}), {from_vm(5002)}), kMany - 1);
  EXPECT_EQ(dropped(AttachmentId::tunnel(TunnelId{7}), {from_site("203.0.113.1", true, topology_.in7.spi)}, kWan), kMany - 1);
  EXPECT_EQ(dropped(AttachmentId::tunnel(TunnelId{8}), {from_site("203.0.113.2", false, topology_.in8.spi)}, kWan), kMany - 1);
}

TEST_F(Overload, StrangersHaveOneTogether) {
  const std::vector<Bytes> strangers = {
      from_vm(5002, "192.0.2.99"),                          // no VTEP of the VPC
      from_vm(7777),                                        // no VPC
      from_site("203.0.113.99", true, topology_.in7.spi),   // not the peer
      from_site("203.0.113.1", true, 0xc0ffee00),           // no SA
      ethernet({kFabricMac, kComputeMac, 0x88cc}, payload(40)),
  };
  EXPECT_EQ(dropped(std::nullopt, strangers), strangers.size() * kMany - 1);
  // Whom they pretend to be loses nothing by it.
  const std::uint64_t before = worker_.counters().dropped(Drop::kOverShare);
  turn({strangers[0]}, kMany);
  const std::uint64_t refused = worker_.counters().dropped(Drop::kOverShare) - before;
  ASSERT_TRUE(uplinks_->inject(kFabric, from_vm(5002)));
  worker_.poll_once();
  EXPECT_EQ(uplinks_->take_sent().size(), 1U);
  EXPECT_EQ(worker_.counters().dropped(Drop::kOverShare) - before, refused);
}

TEST_F(Overload, WhatGoesBeforeOthersHasNoShareToKeep) {
  uplinks_->say(forward::PacketIo::kFull, kMany);
  EXPECT_EQ(dropped(AttachmentId::vpc(Vni{5001}), {from_vm(5001)}), 0U);
}

TEST_F(Overload, NorHasWhatTheKernelSends) {
  const std::uint64_t before = worker_.counters().dropped(Drop::kOverShare);
  const Bytes update = ipv4({"169.254.10.1", "169.254.10.2", 6}, tcp({179, 40000}, payload(19)));
  for (unsigned i = 0; i < kMany; ++i) ASSERT_TRUE(hosts_->inject(kHostRedTunnel, update));
  worker_.poll_once();
  EXPECT_EQ(worker_.counters().dropped(Drop::kOverShare), before);
  EXPECT_EQ(uplinks_->take_sent().size(), kMany);
}

TEST_F(Overload, ACaptureOfDropsHasThemAsTheyCame) {
  forward::CaptureSpec spec;
  spec.points = static_cast<std::uint8_t>(forward::CapturePoint::kDropped);
  spec.drop = Drop::kOverShare;
  spec.attachment = AttachmentId::vpc(Vni{5001});
  const auto capture = forward::Capture::create(tables_, spec).value();
  forward::Watchers watchers(tables_, [this](forward::Watch* watch) { worker_.watch(watch); });
  watchers.add(capture->watch());
  turn({from_vm(5001), from_vm(5002), from_vm(7777)}, kMany);
  const auto packets = capture->take(1000);
  ASSERT_GE(packets.size(), kMany - 1);
  EXPECT_LE(packets.size(), kMany) << "and nobody else's";
  EXPECT_EQ(packets.front().bytes, from_vm(5001));
  EXPECT_TRUE(packets.front().ethernet);
  watchers.remove(capture->watch());
}

TEST_F(Overload, APortCountsWhatWasRefused) {
  const auto before = tables_.totals(kFabric)->rx_packets;
  turn({from_vm(5001)}, kMany);
  EXPECT_EQ(tables_.totals(kFabric)->rx_packets - before, kMany);
}

}  // namespace
}  // namespace simplon::test
