// SPDX-License-Identifier: GPL-2.0-or-later
//
// Outer ESP packets that came in fragments.
#include <algorithm>
#include <memory>
#include <optional>
#include <random>

#include "gateway/forward/capture.h"
#include "gateway/forward/src/path/reassembly.h"
#include "gateway/forward/watchers.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

constexpr std::size_t kEthernet = 14;

/// Cuts the IP packet of a frame into parts of `bytes` (a multiple of 8) of data.
std::vector<Bytes> cut(const Bytes& frame, std::size_t bytes) {
  std::vector<Bytes> parts;
  const bool v6 = frame[kEthernet] >> 4 == 6;
  const std::size_t header = kEthernet + (v6 ? 40 : std::size_t{frame[kEthernet] & 15U} * 4);
  for (std::size_t at = 0; header + at < frame.size(); at += bytes) {
    const Bytes rest = from(frame, header + at);
    const Bytes data = first(rest, std::min(bytes, rest.size()));
    const bool more = header + at + bytes < frame.size();
    Bytes part = first(frame, header);
    if (v6) {
      const std::uint8_t protocol = part[kEthernet + 6];
      part[kEthernet + 6] = 44;
      const std::size_t length = 8 + data.size();
      part[kEthernet + 4] = static_cast<std::uint8_t>(length >> 8);
      part[kEthernet + 5] = static_cast<std::uint8_t>(length);
      const std::size_t offset_more = at | (more ? 1U : 0U);
      part = part + Bytes{protocol, 0, static_cast<std::uint8_t>(offset_more >> 8), static_cast<std::uint8_t>(offset_more), 1, 2, 3, 4};
    } else {
      const std::size_t length = header - kEthernet + data.size();
      part[kEthernet + 2] = static_cast<std::uint8_t>(length >> 8);
      part[kEthernet + 3] = static_cast<std::uint8_t>(length);
      const std::size_t flags_offset = at / 8 | (more ? 0x2000U : 0U);
      part[kEthernet + 6] = static_cast<std::uint8_t>(flags_offset >> 8);
      part[kEthernet + 7] = static_cast<std::uint8_t>(flags_offset);
    }
    parts.push_back(part + data);
  }
  return parts;
}

/// With the checksum of an IPv4 header made right again.
Bytes sealed(Bytes frame) {
  if (frame[kEthernet] >> 4 != 4) return frame;
  const std::size_t end = kEthernet + std::size_t{frame[kEthernet] & 15U} * 4;
  frame[kEthernet + 10] = frame[kEthernet + 11] = 0;
  std::uint32_t sum = 0;
  for (std::size_t at = kEthernet; at < end; at += 2) sum += be16(frame, at);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  frame[kEthernet + 10] = static_cast<std::uint8_t>(~sum >> 8);
  frame[kEthernet + 11] = static_cast<std::uint8_t>(~sum);
  return frame;
}

std::vector<Bytes> parts_of(const Bytes& frame, std::size_t bytes) {
  std::vector<Bytes> parts = cut(frame, bytes);
  for (Bytes& part : parts) part = sealed(part);
  return parts;
}

Bytes datagram(std::size_t bytes, std::uint8_t tos = 0) {
  return ipv4({.src = "172.16.0.9", .dst = "10.1.0.5", .tos = tos}, udp({1000, 2000}, payload(bytes)));
}
Bytes datagram9(std::size_t bytes) { return ipv4({"172.19.0.9", "10.1.0.5"}, udp({1000, 2000}, payload(bytes))); }

/// Lets time pass, so that whoever waits gives up.
std::map<std::string, std::uint64_t> after(Rig& rig, std::uint64_t nanoseconds) {
  rig.clock.advance(std::chrono::nanoseconds(nanoseconds));
  return rig.send_all(kWan, {}).drops;
}
/// Without the checks of Rig::send: packets may wait.
void send(Rig& rig, const std::vector<Bytes>& frames) {
  for (const Bytes& frame : frames) EXPECT_TRUE(rig.uplinks->inject(kWan, frame));
  while (rig.worker.poll_once() > 0) {
  }
}

TEST(Reassembly, EspInUdp) {
  Rig rig;
  const Bytes inner = datagram(1300);
  const Outcome outcome = rig.send_all(kWan, parts_of(rig.from_site(7, inner), 1000));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped outer_reassembled");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
}

/// A part that completes one says by itself neither that it is ESP nor whose.
TEST(Reassembly, WhatFollowsDoesNotOvertake) {
  for (const auto& [tunnel, short_part] : {std::pair{7, false}, std::pair{8, false}, std::pair{7, true}}) {
    Rig rig;
    const Bytes in_parts = datagram(1300);
    const Bytes behind = datagram(100);
    const Bytes whole = rig.from_site(static_cast<unsigned>(tunnel), in_parts);
    const std::size_t data_bytes = whole.size() - kEthernet - 20;
    auto frames = parts_of(whole, short_part ? (data_bytes - 1) / 8 * 8 : 1000);
    ASSERT_EQ(frames.size(), 2U);
    send(rig, {frames.front()});
    const Outcome outcome = rig.send_all(kWan, {frames.back(), rig.from_site(static_cast<unsigned>(tunnel), behind)});
    ASSERT_EQ(outcome.sent.size(), 2U);
    const std::uint32_t vni = tunnel == 8 ? 5002 : 5001;
    EXPECT_EQ(Rig::to_vm(outcome.sent[0], vni), hop(in_parts));
    EXPECT_EQ(Rig::to_vm(outcome.sent[1], vni), hop(behind));
  }
}

/// The frame as if it came from another outer address.
Bytes from_elsewhere(Bytes frame) {
  frame[kEthernet + 15] ^= 0x40;
  return frame;
}
/// First parts of so many packets, with identifications from `id` on.
std::vector<Bytes> first_parts(const Bytes& frame, unsigned count, std::uint16_t id) {
  std::vector<Bytes> parts;
  for (unsigned i = 0; i < count; ++i, ++id) {
    Bytes part = cut(frame, 200).front();
    part[kEthernet + 4] = static_cast<std::uint8_t>(id >> 8);
    part[kEthernet + 5] = static_cast<std::uint8_t>(id);
    parts.push_back(sealed(part));
  }
  return parts;
}

TEST(Reassembly, RawEspComesFromThePeer) {
  Rig rig;
  const auto parts = parts_of(from_elsewhere(rig.from_site(8, datagram(1300))), 1000);
  EXPECT_EQ(rig.send(kWan, parts.front()).summary(), "dropped outer_fragment");
}

TEST(Reassembly, BehindANatThePeerMayMove) {  // RFC 3948
  Rig rig;
  const Bytes inner = datagram(1300);
  const Outcome outcome = rig.send_all(kWan, parts_of(from_elsewhere(rig.from_site(7, inner)), 1000));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped outer_reassembled");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
}

TEST(Reassembly, AFloodEndsItsOwnPartsOnly) {
  Rig rig;
  const Bytes inner = datagram(1300);
  const auto other = parts_of(rig.from_site(8, inner), 1000);
  const auto same = parts_of(rig.from_site(7, inner), 1000);
  send(rig, {other[0], same[0]});
  // Somebody knows the SPI of tunnel 7.
  const auto flood = first_parts(from_elsewhere(rig.from_site(7, inner)), 300, 1000);
  send(rig, flood);
  send(rig, {other[1], same[1]});
  EXPECT_EQ(rig.uplinks->take_sent().size(), 2U);
  EXPECT_EQ(rig.worker.counters().dropped(forward::Drop::kOuterFragment), 300U - forward::Reassembly::kCapacity + 2);
  EXPECT_EQ(after(rig, forward::Reassembly::kPatience)["outer_fragment"], forward::Reassembly::kCapacity - 2);
}

TEST(Reassembly, RawEspInManyParts) {
  Rig rig;
  const Bytes inner = datagram(1300);
  const auto parts = parts_of(rig.from_site(8, inner), 104);
  const Outcome outcome = rig.send_all(kWan, parts);
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped outer_reassembled x" + std::to_string(parts.size() - 1));
  EXPECT_EQ(Rig::to_vm(outcome.sent[0], 5002), hop(inner));
}

TEST(Reassembly, RawEspOverIpv6) {
  Rig rig;
  const Bytes inner = datagram9(1300);
  const Outcome outcome = rig.send_all(kWan, parts_of(rig.from_site(9, inner), 1232));
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped outer_reassembled");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
}

TEST(Reassembly, AnAtomicFragmentIsWhole) {  // RFC 6946
  Rig rig;
  const Bytes inner = datagram9(300);
  const Outcome outcome = rig.send_all(kWan, parts_of(rig.from_site(9, inner), 4000));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
}

TEST(Reassembly, LaterPartsComeInAnyOrderAndMixed) {
  Rig rig;
  std::vector<Bytes> frames;
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same order each time
  for (std::uint16_t packet = 0; packet < 20; ++packet) {
    auto parts = cut(rig.from_site(7, datagram(1000)), 160);
    for (Bytes& part : parts) {
      part[kEthernet + 4] = static_cast<std::uint8_t>(packet);
      part = sealed(part);
    }
    std::shuffle(parts.begin() + 1, parts.end(), random);
    frames.insert(frames.end(), parts.begin(), parts.end());
  }
  // First parts stay before theirs; the rest of all packets is mixed.
  std::stable_partition(frames.begin(), frames.end(), [](const Bytes& frame) { return (be16(frame, kEthernet + 6) & 0x1fff) == 0; });
  std::shuffle(frames.begin() + 20, frames.end(), random);
  const Outcome outcome = rig.send_all(kWan, frames);
  EXPECT_EQ(outcome.sent.size(), 20U);
  EXPECT_EQ(outcome.drops, (std::map<std::string, std::uint64_t>{{"outer_reassembled", frames.size() - 20}}));
}

TEST(Reassembly, WhoKnowsNoSpiHoldsNoMemory) {
  Rig rig;
  Bytes strange = rig.from_site(8, datagram(1000));
  strange[kEthernet + 20] ^= 0xff;  // the SPI
  EXPECT_EQ(rig.send_all(kWan, parts_of(strange, 800)).summary(), "dropped outer_fragment x2");
  const Bytes ike = ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.7", "198.51.100.1"}, udp({500, 500}, payload(1000))));
  EXPECT_EQ(rig.send_all(kWan, parts_of(ike, 800)).summary(), "dropped outer_fragment x2");
}

TEST(Reassembly, TheFirstPartComesFirst) {
  Rig rig;
  auto parts = parts_of(rig.from_site(7, datagram(1000)), 800);
  std::swap(parts[0], parts[1]);
  send(rig, parts);
  EXPECT_EQ(after(rig, forward::Reassembly::kPatience), (std::map<std::string, std::uint64_t>{{"outer_fragment", 1}}));
}

TEST(Reassembly, AMissingPartEndsIt) {
  Rig rig;
  auto parts = parts_of(rig.from_site(7, datagram(1000)), 400);
  const Bytes last = parts.back();
  parts.pop_back();
  send(rig, parts);
  rig.clock.advance(std::chrono::nanoseconds(forward::Reassembly::kPatience - 1));
  send(rig, {});
  EXPECT_EQ(rig.pool.available(), rig.pool.frames() - 1);
  EXPECT_EQ(after(rig, 1), (std::map<std::string, std::uint64_t>{{"outer_fragment", parts.size()}}));
  EXPECT_EQ(rig.send(kWan, last).summary(), "dropped outer_fragment");
}

/// A capture of a worker's packets.
struct Watched {
  explicit Watched(Rig& rig, forward::CapturePoint point, std::optional<forward::AttachmentId> attachment = {})
      : watchers(rig.tables, [&rig](forward::Watch* watch) { rig.worker.watch(watch); }) {
    forward::CaptureSpec spec;
    spec.points = static_cast<std::uint8_t>(point);
    spec.attachment = attachment;
    capture = forward::Capture::create(rig.tables, spec).value();
    watchers.add(capture->watch());
  }
  forward::Watchers watchers;
  std::unique_ptr<forward::Capture> capture;
};

TEST(Reassembly, ACaptureShowsTheWholePacketAsAFrame) {
  for (const std::uint32_t tunnel : {8U, 9U}) {
    Rig rig;
    Watched watched(rig, forward::CapturePoint::kWireIn, forward::AttachmentId::tunnel(TunnelId{tunnel}));
    const Bytes frame = rig.from_site(tunnel, tunnel == 9 ? datagram9(1300) : datagram(1300));
    rig.send_all(kWan, parts_of(frame, 1000));
    const auto packets = watched.capture->take(10);
    ASSERT_EQ(packets.size(), 1U) << tunnel;
    EXPECT_EQ(first(packets[0].bytes, kEthernet), first(frame, kEthernet)) << tunnel;
    EXPECT_EQ(from(packets[0].bytes, kEthernet + 40), from(frame, kEthernet + 40)) << tunnel;
    EXPECT_EQ(packets[0].bytes.size(), frame.size()) << tunnel;
  }
}

TEST(Reassembly, ACaptureOfDropsShowsTheFirstPartOfWhatWasGivenUp) {
  Rig rig;
  Watched watched(rig, forward::CapturePoint::kDropped);
  const auto parts = parts_of(rig.from_site(9, datagram9(1300)), 400);
  send(rig, {parts[0], parts[1]});
  EXPECT_TRUE(watched.capture->take(10).empty());
  EXPECT_EQ(after(rig, forward::Reassembly::kPatience)["outer_fragment"], 2U);
  send(rig, {parts[0], parts[0]});  // they overlap
  const auto packets = watched.capture->take(10);
  ASSERT_EQ(packets.size(), 2U) << "given up by time, and by another part";
  for (const auto& packet : packets) {
    EXPECT_EQ(packet.drop, forward::Drop::kOuterFragment);
    EXPECT_TRUE(packet.ethernet);
    EXPECT_EQ(packet.port, kWan);
    EXPECT_EQ(packet.bytes, parts[0]);
  }
}

TEST(Reassembly, PartsThatDoNotAgreeEndIt) {
  const auto refuse = [](const char* what, auto&& change) {
    Rig rig;
    auto parts = cut(rig.from_site(7, datagram(1000)), 400);
    change(parts);
    for (Bytes& part : parts) part = sealed(part);
    const Outcome outcome = rig.send_all(kWan, parts);
    EXPECT_EQ(outcome.summary(), "dropped outer_fragment x" + std::to_string(parts.size())) << what;
  };
  refuse("overlap (RFC 5722)", [](auto& parts) { parts[1][kEthernet + 7] -= 1; });
  refuse("twice the same", [](auto& parts) { parts.insert(parts.begin() + 1, parts[1]); });
  refuse("an end before the end", [](auto& parts) {
    parts[1][kEthernet + 6] &= 0x1f;
    std::swap(parts[1], parts[2]);
  });
  refuse("a length that is no multiple of 8", [](auto& parts) {
    parts[1].pop_back();
    parts[1][kEthernet + 3] -= 1;
  });
  refuse("congestion marked on one of parts that cannot carry it (RFC 3168 section 5.3)", [](auto& parts) { parts[1][kEthernet + 1] |= 3; });
  refuse("larger than a frame", [](auto& parts) {
    parts[2][kEthernet + 6] = 0x1f;
    parts[2][kEthernet + 7] = 0xff;
  });
}

TEST(Reassembly, CongestionOfOnePartIsThatOfThePacket) {  // RFC 3168 section 5.3, RFC 6040
  Rig rig;
  const Bytes inner = datagram(1000, 2);
  auto parts = cut(rig.from_site(7, inner), 800);
  parts[0][kEthernet + 1] |= 2;
  parts[1][kEthernet + 1] |= 3;
  for (Bytes& part : parts) part = sealed(part);
  const Outcome outcome = rig.send_all(kWan, parts);
  ASSERT_EQ(outcome.summary(), "sent on 0; dropped outer_reassembled");
  EXPECT_EQ(outcome.sent[0].bytes[kEthernet + 20 + 8 + 8 + kEthernet + 1] & 3, 3);
}

TEST(Reassembly, TheOldestMakesRoom) {
  Rig rig;
  std::vector<Bytes> opened;
  for (unsigned packet = 0; packet < forward::Reassembly::kCapacity + 3; ++packet) {
    Bytes part = cut(rig.from_site(7, datagram(1000)), 800)[0];
    part[kEthernet + 4] = static_cast<std::uint8_t>(packet);
    opened.push_back(sealed(part));
  }
  send(rig, opened);
  EXPECT_EQ(rig.worker.counters().drops[static_cast<std::size_t>(forward::Drop::kOuterFragment)].read(), 3U);
  EXPECT_EQ(rig.pool.available(), rig.pool.frames() - forward::Reassembly::kCapacity);
  EXPECT_EQ(after(rig, forward::Reassembly::kPatience),
            (std::map<std::string, std::uint64_t>{{"outer_fragment", forward::Reassembly::kCapacity}}));
}

}  // namespace
}  // namespace simplon::test
