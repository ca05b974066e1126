// SPDX-License-Identifier: GPL-2.0-or-later
//
// Whose packets are these? Asked of outer headers alone, and only while more comes than the worker carries: a VNI, an SPI or VLAN
// tags name the attachment. Of VPCs and tunnels the outer source has to be one that the attachment knows, so that what a
// stranger forges is counted as a stranger's: all strangers have one share together, as have fragments, whose SPI is elsewhere.
// On a circuit everybody in its VLAN is the circuit.
#include "gateway/forward/src/workers/overload.h"

#include <array>
#include <cstring>

#include "gateway/forward/src/path/circuit_frame.h"
#include "platform/wire/esp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"
#include "platform/wire/vlan.h"
#include "platform/wire/vxlan.h"

namespace simplon::forward {
namespace {

/// What the outer headers say.
struct Claim {
  enum class Kind : std::uint8_t { kNone, kHost, kCircuit, kVpc, kSa };

  Kind kind = Kind::kNone;
  std::uint32_t number = 0;  ///< Slot of a circuit, VNI, or SPI in host byte order.
  std::uint64_t hash = 0;    ///< Of an SPI.
  WireAddress source;
};

void read_payload(std::span<const std::uint8_t> payload, std::uint8_t protocol, Claim& claim) noexcept {
  bool esp = protocol == wire::kProtocolEsp;
  if (protocol == wire::kProtocolUdp) {
    const wire::UdpHeader* udp = wire::parse_udp(payload);
    if (udp == nullptr) return;
    esp = udp->destination_port.host() == wire::kPortEspInUdp;
    payload = payload.subspan(sizeof *udp);
  }
  if (esp) {
    if (payload.size() < sizeof(wire::EspHeader)) return;
    claim.kind = Claim::Kind::kSa;
    claim.number = reinterpret_cast<const wire::EspHeader*>(payload.data())->spi.host();
  } else if (const wire::VxlanHeader* vxlan = protocol == wire::kProtocolUdp ? wire::parse_vxlan(payload) : nullptr) {
    claim.kind = Claim::Kind::kVpc;
    claim.number = vxlan->vni();
  }
}

[[nodiscard]] Claim read(const TableState& tables, const Packet& received) noexcept {
  Claim claim;
  const Port* port = tables.ports[received.port.value()].object.load(std::memory_order_acquire);
  if (port != nullptr && port->entry.kind == PortKind::kHost) {
    claim.kind = Claim::Kind::kHost;
    return claim;
  }
  const std::span<const std::uint8_t> frame{received.data, received.length};
  const wire::EthernetHeader* ethernet = wire::parse_ethernet(frame);
  if (ethernet == nullptr) return claim;
  const std::span<const std::uint8_t> packet = frame.subspan(sizeof *ethernet);
  const std::uint16_t type = ethernet->type.host();
  if (wire::is_vlan_type(type)) {
    wire::VlanTags tags;
    const Attachment* circuit = wire::parse_vlan_tags(frame, tags) ? circuit_with(tables, received.port, tags) : nullptr;
    if (circuit != nullptr) {
      claim.kind = Claim::Kind::kCircuit;
      claim.number = circuit->slot;
    }
  } else if (type == wire::kEtherTypeIpv4) {
    const wire::Ipv4Header* ip = wire::parse_ipv4(packet);
    if (ip == nullptr || ip->is_fragment()) return claim;
    claim.source = WireAddress::v4(ip->source.data());
    read_payload(packet.first(ip->total_length.host()).subspan(ip->header_bytes()), ip->protocol, claim);
  } else if (type == wire::kEtherTypeIpv6) {
    const wire::Ipv6Header* ip = wire::parse_ipv6(packet);
    if (ip == nullptr) return claim;
    claim.source = WireAddress::v6(ip->source.data());
    read_payload(packet.subspan(sizeof *ip, ip->payload_length.host()), ip->next_header, claim);
  }
  return claim;
}

/// The slot of its attachment; 0: a stranger's.
[[nodiscard]] std::uint32_t sender(const TableState& tables, const Claim& claim) noexcept {
  if (claim.kind == Claim::Kind::kCircuit) return claim.number;
  if (claim.kind == Claim::Kind::kVpc) {
    const Attachment* vpc = tables.vnis[claim.number].load(std::memory_order_acquire);
    return vpc != nullptr && vpc->accepted.contains(claim.source) ? vpc->slot : 0;
  }
  if (claim.kind == Claim::Kind::kSa) {
    const Sa* const* sa = tables.inbound.find(claim.number, claim.hash);
    const CompiledSaPath* path = sa == nullptr || *sa == nullptr ? nullptr : (*sa)->compiled();
    return path != nullptr && path->source == claim.source ? (*sa)->tunnel_slot() : 0;
  }
  return 0;
}

void refuse(Burst& burst, const Packet& received, std::uint32_t slot) noexcept {
  if (TrafficCounters* counters = burst.tables.ports[received.port.value()].counters.load(std::memory_order_acquire)) {
    counters[burst.worker].rx_packets.add();
    counters[burst.worker].rx_bytes.add(received.length);
  }
  const unsigned number = burst.add();
  Transit& packet = burst.packets[number];
  packet.data = received.data;
  packet.length = received.length;
  packet.port = received.port;
  packet.ingress = slot;
  burst.drop(number, Drop::kOverShare);
}

}  // namespace

std::size_t keep_shares(Burst& burst, FairShare& shares, std::span<Packet> received, std::size_t urgent) noexcept {
  const TableState& tables = burst.tables;
  std::array<Claim, Burst::kReceived> claims;
  for (std::size_t i = urgent; i < received.size(); ++i) {
    claims[i] = read(tables, received[i]);
    if (claims[i].kind == Claim::Kind::kVpc) __builtin_prefetch(&tables.vnis[claims[i].number]);
    if (claims[i].kind == Claim::Kind::kSa) {
      claims[i].hash = tables.inbound.hash(claims[i].number);
      tables.inbound.prefetch_bucket(claims[i].hash);
    }
  }
  std::size_t kept = urgent;
  for (std::size_t i = urgent; i < received.size(); ++i) {
    const bool host = claims[i].kind == Claim::Kind::kHost;
    const std::uint32_t slot = host ? 0 : sender(tables, claims[i]);
    if (host || shares.admit(slot, received[i].length)) {
      received[kept++] = received[i];
    } else {
      refuse(burst, received[i], slot);
    }
  }
  return kept;
}

}  // namespace simplon::forward
