// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/packet/rig.h"

namespace simplon::test {

using forward::kDropCount;
using forward::kDropInfo;
using forward::MemoryIo;

std::string Outcome::summary() const {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  for (const auto& packet : sent) add("sent on " + std::to_string(packet.port.value()));
  for (const auto& packet : punted) add("punted to " + std::to_string(packet.port.value()));
  for (const auto& [name, count] : drops) add("dropped " + name + (count > 1 ? " x" + std::to_string(count) : ""));
  return text;
}

Rig::Rig(forward::WorkerOptions options)
    : pool(forward::FramePool::create(512, forward::FramePool::Memory::kPrivate, 8).value()),
      uplinks(std::make_shared<MemoryIo>(pool)),
      hosts(std::make_shared<MemoryIo>(pool)),
      topology(tables, uplinks, hosts),
      worker(tables, pool, clock, options) {
  worker.go_online();
}

Rig::~Rig() { worker.go_offline(); }

Outcome Rig::send(forward::PortId port, const Bytes& packet) { return send_all(port, {packet}); }

Outcome Rig::send_all(forward::PortId port, const std::vector<Bytes>& packets) {
  const forward::WorkerCounters& counters = worker.counters();
  std::vector<std::uint64_t> before(kDropCount);
  for (std::size_t i = 0; i < kDropCount; ++i) before[i] = counters.drops[i].read();
  forward::MemoryIo& io = port.value() < 10 ? *uplinks : *hosts;
  for (const Bytes& packet : packets) EXPECT_TRUE(io.inject(port, packet));
  while (worker.poll_once() > 0) {
  }
  Outcome outcome{uplinks->take_sent(), hosts->take_sent(), {}};
  for (std::size_t i = 0; i < kDropCount; ++i) {
    const std::uint64_t count = counters.drops[i].read() - before[i];
    if (count > 0) outcome.drops[std::string(kDropInfo[i].counter)] = count;
  }
  EXPECT_EQ(counters.received.read() + counters.originated.read(),
            counters.sent.read() + counters.punted.read() + counters.dropped());
  EXPECT_EQ(pool.available(), pool.frames()) << "a frame was lost";
  EXPECT_EQ(pool.available_slots(), pool.slots()) << "a slot was lost";
  return outcome;
}

Bytes Rig::from_vm(const FromVm& where, const Bytes& inner) {
  const std::uint16_t type = !inner.empty() && inner[0] >> 4 == 6 ? 0x86dd : 0x0800;
  return ethernet({kFabricMac, kComputeMac},
                  ipv4({where.vtep, "192.0.2.1"},
                       udp({55555, 4789, std::nullopt, false},
                           vxlan(where.vni, ethernet({where.gateway_mac, where.vm_mac, type}, inner)))));
}

Bytes Rig::from_vm6(const Bytes& inner) {
  return ethernet({kFabricMac, kCompute6Mac, 0x86dd},
                  ipv6({"2001:db8:f::11", "2001:db8:f::1"},
                       udp({55555, 4789}, vxlan(5003, ethernet({kGateway3Mac, kVm3Mac}, inner)))));
}

EspParameters Rig::peer_sends(unsigned tunnel) const {
  const SaKeys& keys = tunnel == 7 ? topology.in7 : tunnel == 8 ? topology.in8 : topology.in9;
  return {keys.spi, keys.key, keys.esn};
}
EspParameters Rig::peer_receives(unsigned tunnel) const {
  const SaKeys& keys = tunnel == 7 ? topology.out7 : tunnel == 8 ? topology.out8 : topology.out9;
  return {keys.spi, keys.key, keys.esn};
}

Bytes Rig::from_site(unsigned tunnel, const Bytes& inner) {
  EspOptions options;
  options.sequence = ++sequence_[tunnel];
  options.next_header = !inner.empty() && inner[0] >> 4 == 6 ? 41 : 4;
  return from_site(tunnel, inner, options);
}

Bytes Rig::from_site(unsigned tunnel, const Bytes& inner, EspOptions options) {
  const Bytes esp = esp_seal(peer_sends(tunnel), options, inner);
  if (tunnel == 7) {
    return ethernet({kWanMac, kIspMac},
                    ipv4({"203.0.113.1", "198.51.100.1"}, udp({4500, 4500, std::nullopt, false}, esp)));
  }
  if (tunnel == 8) return ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.2", "198.51.100.1", 50}, esp));
  return ethernet({kWanMac, kIspMac, 0x86dd}, ipv6({"2001:db8:a::9", "2001:db8:1::1", 50}, esp));
}

Bytes Rig::to_vm(const MemoryIo::Sent& sent, std::uint32_t vni) {
  const std::size_t headers = 14 + 20 + 8 + 8 + 14;
  if (sent.bytes.size() < headers) {
    ADD_FAILURE() << "too short for VXLAN: " << to_hex(sent.bytes);
    return {};
  }
  const Bytes inner = from(sent.bytes, headers);
  const bool red = vni == 5001;
  const std::uint16_t source_port = be16(sent.bytes, 34);
  EXPECT_GE(source_port, 49152);
  const std::uint8_t tos = inner[0] >> 4 == 6 ? static_cast<std::uint8_t>(be16(inner, 0) >> 4) : inner[1];
  const std::uint16_t type = be16(sent.bytes, headers - 2);
  const Bytes expected = ethernet(
      {red ? kComputeMac : kCompute2Mac, kFabricMac},
      ipv4({.src = "192.0.2.1", .dst = red ? "192.0.2.11" : "192.0.2.12", .tos = type == 0x0806 ? std::uint8_t{0} : tos,
            .df = true},
           udp({source_port, 4789, std::nullopt, false},
               vxlan(vni, ethernet({red ? kVmMac : kBlueVmMac, red ? kGatewayMac : kBlueGatewayMac, type}, inner)))));
  EXPECT_EQ(to_hex(sent.bytes), to_hex(expected));
  EXPECT_EQ(sent.port, kFabric);
  return inner;
}

Bytes Rig::to_vm6(const MemoryIo::Sent& sent) {
  const std::size_t headers = 14 + 40 + 8 + 8 + 14;
  const Bytes inner = from(sent.bytes, headers);
  const Bytes expected =
      ethernet({kCompute6Mac, kFabricMac, 0x86dd},
               ipv6({.src = "2001:db8:f::1", .dst = "2001:db8:f::11", .traffic_class = inner[1]},
                    udp({be16(sent.bytes, 54), 4789}, vxlan(5003, ethernet({kVm3Mac, kGateway3Mac}, inner)))));
  EXPECT_EQ(to_hex(sent.bytes), to_hex(expected));
  return inner;
}

Bytes Rig::to_site(unsigned tunnel, const MemoryIo::Sent& sent, OpenedEsp* opened, bool outer_df) const {
  const std::size_t outer = 14 + (tunnel == 9 ? 40U : 20U) + (tunnel == 7 ? 8U : 0U);
  if (sent.bytes.size() < outer) {
    ADD_FAILURE() << "too short for ESP: " << to_hex(sent.bytes);
    return {};
  }
  const Bytes esp = from(sent.bytes, outer);
  const auto found = esp_open(peer_receives(tunnel), esp);
  if (!found) {
    ADD_FAILURE() << "does not authenticate: " << to_hex(sent.bytes);
    return {};
  }
  const std::uint8_t tos = found->inside[0] >> 4 == 6 ? static_cast<std::uint8_t>(be16(found->inside, 0) >> 4)
                                                      : found->inside[1];
  const std::uint16_t id = be16(sent.bytes, 18);
  Bytes expected;
  if (tunnel == 7) {
    expected = ethernet({kIspMac, kWanMac}, ipv4({.src = "198.51.100.1", .dst = "203.0.113.1", .tos = tos, .id = id,
                                                  .df = outer_df},
                                                 udp({4500, 4500, std::nullopt, false}, esp)));
  } else if (tunnel == 8) {
    expected = ethernet({kIspMac, kWanMac},
                        ipv4({.src = "198.51.100.1", .dst = "203.0.113.2", .protocol = 50, .tos = tos, .id = id,
                              .df = outer_df},
                             esp));
  } else {
    expected = ethernet({kIspMac, kWanMac, 0x86dd},
                        ipv6({.src = "2001:db8:1::1", .dst = "2001:db8:a::9", .next = 50, .traffic_class = tos}, esp));
  }
  EXPECT_EQ(to_hex(sent.bytes), to_hex(expected));
  EXPECT_EQ(sent.port, kWan);
  if (opened != nullptr) *opened = *found;
  return found->inside;
}

Bytes hop(Bytes packet) {
  if (packet[0] >> 4 == 6) {
    --packet[7];
    return packet;
  }
  --packet[8];
  // RFC 1624: recomputed here from scratch.
  packet[10] = packet[11] = 0;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < std::size_t{packet[0] & 15U} * 4; i += 2) sum += be16(packet, i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  packet[10] = static_cast<std::uint8_t>(~sum >> 8);
  packet[11] = static_cast<std::uint8_t>(~sum);
  return packet;
}

}  // namespace simplon::test
