// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>

#include "gateway/forward/capture.h"
#include "gateway/forward/trace.h"
#include "gateway/forward/watchers.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using forward::AttachmentId;
using forward::Capture;
using forward::Captured;
using forward::CapturePoint;
using forward::CaptureSpec;

const Bytes kOut = ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 53}, payload(20)));
const Bytes kIn = ipv4({"172.16.0.9", "10.1.0.5"}, udp({53, 1}, payload(20)));
const AttachmentId kRedVpc = AttachmentId::vpc(Vni{5001});
const AttachmentId kTunnel7 = AttachmentId::tunnel(TunnelId{7});

std::uint8_t bits(std::initializer_list<CapturePoint> points) {
  unsigned all = 0;
  for (const auto point : points) all |= static_cast<unsigned>(point);
  return static_cast<std::uint8_t>(all);
}
CaptureSpec spec(std::initializer_list<CapturePoint> points, std::optional<AttachmentId> attachment = {}) {
  CaptureSpec made;
  made.points = bits(points);
  made.attachment = attachment;
  return made;
}

struct Captures : ::testing::Test {
  Rig rig;
  forward::Watchers watchers{rig.tables, [this](forward::Watch* watch) { rig.worker.watch(watch); }};
  std::unique_ptr<Capture> capture;

  void begin(const CaptureSpec& wanted) {
    capture = Capture::create(rig.tables, wanted).value();
    watchers.add(capture->watch());
  }
  std::vector<Captured> taken() { return capture->take(1000); }
};

TEST_F(Captures, OfATunnelInside) {
  begin(spec({CapturePoint::kInnerIn, CapturePoint::kInnerOut}, kTunnel7));
  rig.send(kFabric, Rig::from_vm(kOut));
  rig.send(kWan, rig.from_site(7, kIn));
  rig.send(kWan, rig.from_site(8, kIn));  // another one's
  const auto packets = taken();
  ASSERT_EQ(packets.size(), 2U);
  EXPECT_EQ(packets[0].point, CapturePoint::kInnerOut);
  EXPECT_EQ(packets[0].bytes, hop(kOut)) << "as it is encrypted";
  EXPECT_EQ(rig.tables.attachment_at(packets[0].attachment), kTunnel7);
  EXPECT_EQ(packets[1].point, CapturePoint::kInnerIn);
  EXPECT_EQ(packets[1].bytes, kIn) << "as it was decrypted";
  EXPECT_FALSE(packets[0].ethernet || packets[1].ethernet);
  EXPECT_EQ(capture->lost(), 0U);
}

TEST_F(Captures, AndLiveTracesEndWithTheirAttachment) {
  const AttachmentId vpc = AttachmentId::vpc(Vni{5003});
  const std::uint32_t slot = rig.tables.slot_of(vpc);
  begin(spec({CapturePoint::kInnerIn, CapturePoint::kDropped}, vpc));
  const auto live = forward::LiveTrace::create(rig.tables, vpc, {}).value();
  watchers.add(live->watch());
  for (const char* prefix : {"10.3.0.0/16", "10.3.0.1/32"}) rig.tables.remove_route(kRed, Topology::prefix(prefix));
  rig.tables.remove_vpc(Vni{5003});
  rig.tables.commit();
  rig.worker.poll_once();
  rig.tables.commit();
  Topology::must(rig.tables.upsert_vpc({Vni{6001}, kRed, Topology::ip("192.0.2.1"), 4789, Topology::mac(kGatewayMac),
                                        {Topology::prefix("10.6.0.0/16")}, {Topology::ip("192.0.2.11")}, 1450}));
  ASSERT_EQ(rig.tables.slot_of(AttachmentId::vpc(Vni{6001})), slot) << "another tenant has it now";
  rig.send(kFabric, Rig::from_vm({.vni = 6001}, ipv4({"10.6.0.5", "172.16.0.9"}, udp({1, 53}, payload(20)))));
  EXPECT_TRUE(taken().empty());
  EXPECT_FALSE(live->done());
}

TEST_F(Captures, OfATunnelOnTheWire) {
  begin(spec({CapturePoint::kWireIn, CapturePoint::kWireOut}, kTunnel7));
  const Bytes frame = rig.from_site(7, kIn);
  rig.send(kWan, frame);
  const auto sent = rig.send(kFabric, Rig::from_vm(kOut)).sent;
  rig.send(kWan, rig.from_site(8, kIn));
  const auto packets = taken();
  ASSERT_EQ(packets.size(), 2U);
  EXPECT_EQ(packets[0].bytes, frame) << "still encrypted";
  EXPECT_EQ(packets[1].bytes, sent[0].bytes);
  EXPECT_TRUE(packets[0].ethernet && packets[1].ethernet);
  EXPECT_EQ(packets[1].port, kWan);
}

TEST_F(Captures, OfAVpcAndOfAnUplink) {
  begin(spec({CapturePoint::kWireIn, CapturePoint::kWireOut, CapturePoint::kInnerIn, CapturePoint::kInnerOut}, kRedVpc));
  rig.send(kFabric, Rig::from_vm(kOut));
  auto packets = taken();
  ASSERT_EQ(packets.size(), 2U);
  EXPECT_EQ(packets[0].bytes, Rig::from_vm(kOut));
  EXPECT_EQ(packets[1].bytes, kOut);

  CaptureSpec uplink = spec({CapturePoint::kWireIn, CapturePoint::kWireOut});
  uplink.uplink = kWan;
  uplink.snaplen = 64;
  begin(uplink);
  rig.send(kFabric, Rig::from_vm(kOut));
  const auto sent = rig.send(kWan, Bytes(200, 7));
  packets = taken();
  ASSERT_EQ(packets.size(), 2U) << "one sent, and one that is nonsense";
  EXPECT_EQ(packets[1].length, 200U);
  EXPECT_EQ(packets[1].bytes, Bytes(64, 7));
}

TEST_F(Captures, Filters) {
  CaptureSpec wanted = spec({CapturePoint::kInnerIn}, kRedVpc);
  wanted.filter.port = 53;
  wanted.filter.host = Topology::prefix("172.16.0.0/16");
  begin(wanted);
  rig.send(kFabric, Rig::from_vm(kOut));
  rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 54}, {}))));
  rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.19.0.9"}, udp({1, 53}, {}))));
  EXPECT_EQ(taken().size(), 1U);
  CaptureSpec outer = spec({CapturePoint::kWireIn});
  outer.filter.host = Topology::prefix("203.0.113.1/32");
  outer.filter.port = 4500;
  begin(outer);
  rig.send(kFabric, Rig::from_vm(kOut));
  rig.send(kWan, rig.from_site(7, kIn));
  EXPECT_EQ(taken().size(), 1U);
}

TEST_F(Captures, OfDrops) {
  CaptureSpec wanted = spec({CapturePoint::kDropped});
  begin(wanted);
  const Bytes lost = ipv4({"10.1.0.5", "9.9.9.9"}, udp({1, 2}, {}));
  rig.send(kFabric, Rig::from_vm(lost));
  const Bytes forged = Rig::from_vm({.vni = 5009}, kOut);
  rig.send(kFabric, forged);
  const Bytes replayed = rig.from_site(7, kIn, {.sequence = 5});
  rig.send(kWan, replayed);
  rig.send(kWan, replayed);
  const Bytes martian = ipv6({"fe80::1", "ff02::2", 58}, icmpv6(133, 0, 0, {}));
  rig.send(kHostRedTunnel, martian);
  const auto packets = taken();
  ASSERT_EQ(packets.size(), 4U);
  EXPECT_EQ(packets[0].drop, forward::Drop::kNoRoute);
  EXPECT_EQ(packets[0].bytes, lost);
  EXPECT_FALSE(packets[0].ethernet);
  EXPECT_EQ(packets[1].drop, forward::Drop::kVxlanUnknownVni);
  EXPECT_EQ(packets[1].bytes, forged);
  EXPECT_TRUE(packets[1].ethernet);
  EXPECT_EQ(packets[2].drop, forward::Drop::kEspReplayed);
  EXPECT_EQ(packets[2].bytes, replayed);
  EXPECT_EQ(packets[3].bytes, martian);
  EXPECT_FALSE(packets[3].ethernet);
  wanted.drop = forward::Drop::kNoRoute;
  begin(wanted);
  rig.send(kFabric, forged);
  rig.send(kFabric, Rig::from_vm(lost));
  EXPECT_EQ(taken().size(), 1U);
}

TEST_F(Captures, OfTheKernel) {
  begin(spec({CapturePoint::kHostIn, CapturePoint::kHostOut}, kTunnel7));
  const Bytes to_us = ipv4({"172.16.0.9", "169.254.10.1"}, udp({1, 2}, {}));
  const Bytes from_us = ipv4({"169.254.10.1", "169.254.10.2"}, udp({1, 2}, {}));
  rig.send(kWan, rig.from_site(7, to_us));
  rig.send(kHostRedTunnel, from_us);
  const auto packets = taken();
  ASSERT_EQ(packets.size(), 2U);
  EXPECT_EQ(packets[0].bytes, to_us);
  EXPECT_EQ(packets[1].bytes, from_us);
}

TEST_F(Captures, WhatDoesNotFitIsCountedAndLost) {
  begin(spec({CapturePoint::kInnerIn}, kRedVpc));
  const Bytes frame = Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 53}, payload(1300))));
  constexpr std::size_t kRounds = 100;
  for (std::size_t i = 0; i < kRounds; ++i) rig.send_all(kFabric, std::vector<Bytes>(60, frame));
  const std::size_t fit = capture->take(100'000).size();
  EXPECT_GT(fit, 2500U);
  EXPECT_EQ(fit + capture->lost(), kRounds * 60);
  // The ring goes round, and nothing is torn.
  for (std::size_t i = 0; i < kRounds; ++i) {
    rig.send_all(kFabric, std::vector<Bytes>(60, frame));
    const auto packets = capture->take(100'000);
    ASSERT_EQ(packets.size(), 60U);
    for (const auto& packet : packets) ASSERT_EQ(packet.bytes, from(frame, 64));
  }
}

TEST_F(Captures, SeveralAtOnceComeAndGo) {
  begin(spec({CapturePoint::kInnerIn}, kRedVpc));
  auto first = std::move(capture);
  begin(spec({CapturePoint::kInnerOut}, kTunnel7));
  auto live = forward::LiveTrace::create(rig.tables, kRedVpc, {}).value();
  watchers.add(live->watch());
  rig.send(kFabric, Rig::from_vm(kOut));
  EXPECT_TRUE(live->done());
  watchers.remove(live->watch());
  watchers.remove(first->watch());
  rig.send(kFabric, Rig::from_vm(kOut));
  EXPECT_EQ(first->take(10).size(), 1U);
  EXPECT_EQ(capture->take(10).size(), 2U);
  watchers.remove(capture->watch());
  rig.send(kFabric, Rig::from_vm(kOut));
  EXPECT_TRUE(capture->take(10).empty());
  EXPECT_FALSE(Capture::create(rig.tables, spec({CapturePoint::kInnerIn}, AttachmentId::vpc(Vni{9}))).has_value());
  EXPECT_FALSE(Capture::create(rig.tables, {}).has_value());
}

}  // namespace
}  // namespace simplon::test
