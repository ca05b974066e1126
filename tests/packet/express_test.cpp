// SPDX-License-Identifier: GPL-2.0-or-later
//
// The express way does what the stages do: the same bursts through a worker that is watched, whose packets all take the stages, and
// through one that is not. What leaves, what is dropped and what is counted are the same, and each flow is in order.
#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "gateway/forward/src/watch/watch.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using forward::AttachmentId;

/// Looks, and does nothing.
class Onlooker final : public forward::Watch {
 public:
  void entering(forward::Burst&, forward::Stage) noexcept override {}
  void passed(forward::Burst&, forward::Stage) noexcept override {}
  void dropped(const forward::Burst&, unsigned, forward::Drop) noexcept override {}
  void ended(const forward::Burst&) noexcept override {}
};

using Random = std::mt19937;

template <class T>
const T& one_of(Random& random, const std::vector<T>& values) {
  return values[random() % values.size()];
}

/// With only the pseudo header's sum in the field of the transport checksum, as a sender leaves it to its network card.
Bytes partial(Bytes packet) {
  const std::size_t header = std::size_t{packet[0] & 15U} * 4;
  const std::size_t field = header + (packet[9] == 6 ? 16 : 6);
  if ((packet[9] != 6 && packet[9] != 17) || packet.size() < field + 2) return packet;
  std::uint32_t sum = packet[9] + static_cast<std::uint32_t>(packet.size() - header);
  for (std::size_t at = 12; at < 20; at += 2) sum += be16(packet, at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  packet[field] = static_cast<std::uint8_t>(sum >> 8);
  packet[field + 1] = static_cast<std::uint8_t>(sum);
  return packet;
}

/// Mostly plain; some of all that is not.
Bytes inner_packet(Random& random, const std::string& source, unsigned id) {
  static const std::vector<std::string> kDestinations = {"172.16.0.9", "172.16.0.9", "10.1.0.5",   "10.1.0.5",  "172.18.0.1", "172.19.0.1",
                                                         "10.3.0.5",   "10.1.0.77",  "172.31.0.1", "10.1.0.1",  "8.8.8.8",    "224.0.0.5"};
  Ipv4 ip{.src = source, .dst = one_of(random, kDestinations)};
  ip.tos = one_of(random, std::vector<std::uint8_t>{0, 0xb8, 1, 2, 3});
  ip.id = static_cast<std::uint16_t>(id);
  ip.ttl = one_of(random, std::vector<std::uint8_t>{64, 64, 64, 64, 64, 2, 1, 0});
  ip.df = random() % 2 == 0;
  if (random() % 16 == 0) ip.mf = true;
  if (random() % 16 == 0) ip.offset = 8;
  if (random() % 16 == 0) ip.options = {1, 1, 1, 1};
  if (random() % 32 == 0) ip.checksum = static_cast<std::uint16_t>(random());
  const std::size_t bytes = random() % 8 == 0 ? 1300 + random() % 200 : random() % 64;
  const auto port = static_cast<std::uint16_t>(1000 + random() % 3);
  switch (random() % 6) {
    case 0:
      ip.protocol = 6;
      return ipv4(ip, tcp({.src = port, .dst = 80, .syn = random() % 4 == 0, .ack = true, .mss = 1460}, payload(bytes)));
    case 1:
      ip.protocol = 1;
      return ipv4(ip, icmp_echo(port, static_cast<std::uint16_t>(id), payload(bytes)));
    case 2:
      ip.protocol = 132;
      return ipv4(ip, payload(bytes % 8));
    default:
      return ipv4(ip, udp({port, 2000}, payload(bytes)));
  }
}

Bytes frame(Rig& rig, Random& random, unsigned id) {
  const std::string from_vpc = random() % 32 == 0 ? "10.9.0.5" : "10.1.0.5";
  Bytes bytes;
  switch (random() % 8) {
    case 0:
    case 1: {
      const auto tunnel = static_cast<unsigned>(7 + random() % 3);
      bytes = rig.from_site(tunnel, inner_packet(random, tunnel == 9 ? "172.19.0.9" : "172.16.0.9", id));
      break;
    }
    case 2:
      bytes = Rig::from_vm({5002, "192.0.2.12", kBlueGatewayMac, kBlueVmMac}, inner_packet(random, from_vpc, id));
      break;
    case 3:
      bytes = Rig::from_vm(ipv6({.src = "fd01::5", .dst = random() % 2 == 0 ? "fd16::9" : "fd01::5"}, udp({1000, 2000}, payload(id % 50))));
      break;
    case 4:
      bytes = Rig::from_vm6(inner_packet(random, "10.3.0.5", id));
      break;
    case 5:
      bytes = Rig::from_vm(partial(inner_packet(random, from_vpc, id)));
      break;
    default:
      bytes = Rig::from_vm(inner_packet(random, from_vpc, id));
      break;
  }
  if (random() % 8 == 0) bytes[15] = static_cast<std::uint8_t>(random() % 4);  // ECN, and so a wrong checksum
  if (random() % 8 == 0) bytes[random() % std::min<std::size_t>(bytes.size(), 100)] ^= static_cast<std::uint8_t>(1U << (random() % 8));
  if (random() % 32 == 0) bytes.resize(random() % bytes.size());
  if (random() % 8 == 0) bytes.resize(bytes.size() + random() % 20);
  return bytes;
}

/// By flow, what left, in order: the port, and the packet inside, since the numbers of SAs depend on the order between flows.
using Flows = std::map<std::string, std::vector<std::string>>;

void sort_out(const Rig& rig, const Outcome& outcome, Flows& flows) {
  const auto add = [&flows](forward::PortId port, const Bytes& packet) {
    const std::size_t header = packet.size() > 20 && packet[0] >> 4 == 4 ? std::size_t{packet[0] & 15U} * 4 : 40;
    std::string flow = to_hex(first(packet, std::min(packet.size(), header + 4)));
    if (packet.size() > 20 && packet[0] >> 4 == 4) flow = to_hex(from(first(packet, std::min(packet.size(), header + 4)), 12));
    flows[flow].push_back(std::to_string(port.value()) + " " + to_hex(packet));
  };
  for (const auto& sent : outcome.punted) add(sent.port, sent.bytes);
  for (const auto& sent : outcome.sent) {
    if (sent.port == kFabric) {
      const bool v6 = be16(sent.bytes, 12) == 0x86dd;
      const std::size_t headers = v6 ? 84 : 64;
      ASSERT_GE(sent.bytes.size(), headers);
      add(sent.port, from(sent.bytes, headers));
      flows["headers of " + to_hex(from(sent.bytes, headers))].push_back(to_hex(first(sent.bytes, headers)));
      continue;
    }
    const bool v6 = be16(sent.bytes, 12) == 0x86dd;
    add(sent.port, rig.to_site(v6 ? 9 : sent.bytes[23] == 17 ? 7 : 8, sent));
  }
}

void expect_same(const forward::TrafficTotals& a, const forward::TrafficTotals& b, const std::string& whose) {
  EXPECT_EQ(a.rx_packets, b.rx_packets) << whose;
  EXPECT_EQ(a.rx_bytes, b.rx_bytes) << whose;
  EXPECT_EQ(a.tx_packets, b.tx_packets) << whose;
  EXPECT_EQ(a.tx_bytes, b.tx_bytes) << whose;
  EXPECT_EQ(a.punted, b.punted) << whose;
  EXPECT_EQ(a.dropped, b.dropped) << whose;
}

/// `fixup`: the fabric's hosts leave checksums partial.
void compare(bool fixup) {
  const forward::WorkerOptions no_answers{.icmp_errors_per_second = 0, .icmp_error_burst = 0};  // whose order among flows is open
  Rig express(no_answers);
  Rig staged(no_answers);
  for (Rig* rig : {&express, &staged}) {
    Topology::must(rig->tables.upsert_port(
        {kFabric, forward::PortKind::kUplink, Topology::mac(kFabricMac), fixup, {rig->uplinks}}));
  }
  Onlooker onlooker;
  staged.worker.watch(&onlooker);
  Random random(fixup ? 5 : 4);
  for (unsigned turn = 0; turn < 60; ++turn) {
    const unsigned count = 1 + static_cast<unsigned>(random()) % 64;
    std::vector<Bytes> burst;
    for (unsigned i = 0; i < count; ++i) burst.push_back(frame(express, random, turn * 64 + i));
    const forward::PortId port = turn % 2 == 0 ? kFabric : kWan;
    for (Bytes& bytes : burst) {  // to the MAC address of the port they come in through, whatever they are
      const Bytes mac = hex(port == kFabric ? "0200000000f0" : "0200000000f1");
      if (bytes.size() >= 6) std::copy(mac.begin(), mac.end(), bytes.begin());
    }
    const Outcome a = express.send_all(port, burst);
    const Outcome b = staged.send_all(port, burst);
    ASSERT_EQ(a.drops, b.drops) << "turn " << turn;
    Flows of_express;
    Flows of_staged;
    sort_out(express, a, of_express);
    sort_out(staged, b, of_staged);
    ASSERT_EQ(of_express, of_staged) << "turn " << turn;
  }
  for (const std::uint32_t vni : {5001U, 5002U, 5003U}) {
    const AttachmentId id = AttachmentId::vpc(Vni{vni});
    expect_same(*express.tables.totals(id), *staged.tables.totals(id), id.to_string());
  }
  for (const std::uint32_t number : {7U, 8U, 9U}) {
    const AttachmentId id = AttachmentId::tunnel(TunnelId{number});
    expect_same(*express.tables.totals(id), *staged.tables.totals(id), id.to_string());
  }
  for (const forward::PortId port : {kFabric, kWan}) {
    expect_same(*express.tables.totals(port), *staged.tables.totals(port), "port " + std::to_string(port.value()));
  }
  staged.worker.watch(nullptr);
}

TEST(Express, DoesWhatTheStagesDo) { compare(false); }
TEST(Express, DoesWhatTheStagesDoWithPartialChecksums) { compare(true); }

TEST(Express, DoesNotOvertakeWhatCameToTheTunnelOverIpv6) {
  Rig rig;
  const SaKeys moved{0xc0000078, test_key(11, 32), true};
  forward::SaSpec spec;
  spec.tunnel = TunnelId{7};
  spec.path = {Topology::ip("2001:db8:a::7"), Topology::ip("2001:db8:1::1")};
  Topology::must(rig.tables.install_inbound(Topology::make_sa(spec, moved)));
  rig.tables.commit();

  const Bytes earlier = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1000, 2000}, payload(30)));
  const Bytes later = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1000, 2000}, payload(40)));
  const Bytes over_ipv6 = ethernet({kWanMac, kIspMac, 0x86dd},
                                   ipv6({"2001:db8:a::7", "2001:db8:1::1", 50}, esp_seal({moved.spi, moved.key, true}, {}, earlier)));
  const Outcome outcome = rig.send_all(kWan, {over_ipv6, rig.from_site(7, later)});
  ASSERT_EQ(outcome.sent.size(), 2U);
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(earlier));
  EXPECT_EQ(Rig::to_vm(outcome.sent[1]), hop(later));
}

TEST(Express, CompletesAPartialChecksum) {
  Rig rig;
  const Bytes whole = ipv4({"10.1.0.5", "10.1.0.5"}, udp({1000, 2000}, payload(30)));
  const Bytes left = partial(whole);
  ASSERT_NE(left, whole);
  EXPECT_EQ(Rig::to_vm(rig.send(kFabric, Rig::from_vm(left)).sent.at(0)), hop(left));
  Topology::must(rig.tables.upsert_port({kFabric, forward::PortKind::kUplink, Topology::mac(kFabricMac), true, {rig.uplinks}}));
  EXPECT_EQ(Rig::to_vm(rig.send(kFabric, Rig::from_vm(left)).sent.at(0)), hop(whole));
}

TEST(Express, WhatIsRefusedIsDroppedForWhomItCameFrom) {
  Rig rig;
  rig.uplinks->accept_only(1);
  const Bytes packet = Rig::from_vm(ipv4({"10.1.0.5", "10.1.0.5"}, udp({1000, 2000}, payload(20))));
  const Outcome outcome = rig.send_all(kFabric, {packet, packet, packet});
  EXPECT_EQ(outcome.summary(), "sent on 0; dropped tx_refused x2");
  EXPECT_EQ(rig.tables.totals(AttachmentId::vpc(Vni{5001}))->dropped, 2U);
  EXPECT_EQ(rig.tables.totals(kFabric)->tx_packets, 1U);
}

}  // namespace
}  // namespace simplon::test
