// SPDX-License-Identifier: GPL-2.0-or-later
//
// The stages' questions to the tables, in packet order, for one pair of addresses: classify, vxlan_decap or
// circuit_decap, ip_forward, resolve, pmtu. Whatever is not plainly forwarded from one VPC or circuit to another of the
// same domain has no shortcut: the worker drops, answers, punts or encrypts it. A domain with policy has none: every
// packet of it is judged.
//
// Where a route has several nexthops, the first answer is how they share the buckets of flows, and each of them is asked for by
// its number then. Those that have no shortcut at all (tunnels, attachments of other domains or not configured) are 0; when such
// a one gives up its buckets or takes some, the domains of the others hear of it (Writer::regroup).
#include "gateway/forward/shortcut.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "gateway/forward/mtu.h"
#include "gateway/forward/src/path/inner_packet.h"
#include "gateway/forward/src/path/path_room.h"
#include "gateway/forward/src/tables/tables_writer.h"
#include "gateway/forward/tables.h"

namespace simplon::forward {
namespace {

/// The same checks as of every packet, asked for with the least packet that has these addresses.
bool may_be_forwarded(const IpAddress& source, const IpAddress& destination) {
  std::array<std::uint8_t, sizeof(wire::Ipv6Header)> bytes{};
  std::size_t length = 0;
  if (source.is_v4()) {
    auto& ip = *reinterpret_cast<wire::Ipv4Header*>(bytes.data());
    length = sizeof ip;
    ip.version_ihl = 0x45;
    ip.total_length = static_cast<std::uint16_t>(length);
    std::copy_n(source.bytes().data(), 4, ip.source.begin());
    std::copy_n(destination.bytes().data(), 4, ip.destination.begin());
    wire::set_ipv4_checksum(ip);
  } else {
    auto& ip = *reinterpret_cast<wire::Ipv6Header*>(bytes.data());
    length = sizeof ip;
    ip.version_class_flow = 6U << 28;
    ip.next_header = wire::kProtocolNone;
    std::copy_n(source.bytes().data(), 16, ip.source.begin());
    std::copy_n(destination.bytes().data(), 16, ip.destination.begin());
  }
  InnerPacket ignored;
  return parse_inner({bytes.data(), length}, ignored);
}

/// What a packet on a circuit is asked for with: its source does not matter.
IpAddress any_source(bool v4) {
  return v4 ? IpAddress::v4({192, 0, 2, 1})
            : IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

/// vxlan_decap.
const Attachment* enter_vpc(const TableState& state, const Shortcut::Question& asked) {
  if (asked.vni.value() == 0 || asked.vni.value() >= kVnis || asked.source.is_v4() != asked.destination.is_v4())
    return nullptr;
  const Attachment* vpc = state.vnis[asked.vni.value()].load(std::memory_order_relaxed);
  if (vpc == nullptr || vpc->vtep.family != (asked.outer_source.is_v4() ? 4 : 6) ||
      !vpc->accepted.contains(WireAddress::from(asked.outer_source)) ||
      !may_be_forwarded(asked.source, asked.destination) || !vpc->owns(WireAddress::from(asked.source))) {
    return nullptr;
  }
  return vpc;
}

/// circuit_decap.
const Attachment* enter_circuit(const TableState& state, const Shortcut::Question& asked) {
  const std::uint32_t* slot = state.circuits.find(CircuitKey::of(asked.port, asked.outer_vlan, asked.vlan));
  if (slot == nullptr || !may_be_forwarded(any_source(asked.destination.is_v4()), asked.destination)) return nullptr;
  const Attachment* circuit = state.attachments[*slot].object.load(std::memory_order_relaxed);
  return circuit != nullptr && circuit->kind == AttachmentKind::kCircuit ? circuit : nullptr;
}

/// resolve, pmtu and vxlan_encap.
bool leave_into_vpc(const TableState& state, const Attachment& vpc, const IpAddress& destination, Shortcut& found) {
  const Endpoint* endpoint = state.endpoints.find(EndpointKey::of(vpc.id, WireAddress::from(destination)));
  if (endpoint == nullptr || endpoint->vtep_family != vpc.vtep.family) return false;
  const Adjacency* adjacency = state.adjacencies[endpoint->adjacency].load(std::memory_order_relaxed);
  if (adjacency == nullptr) return false;
  found.egress = AttachmentId::vpc(Vni(vpc.id));
  found.port = adjacency->port;
  found.ethernet_destination = adjacency->ethernet.destination;
  found.ethernet_source = adjacency->ethernet.source;
  found.outer_source = vpc.vtep.to_ip();
  found.outer_destination = endpoint->vtep_address().to_ip();
  found.egress_udp_port = vpc.udp_port;
  found.inner_destination = endpoint->mac;
  found.inner_source = vpc.gateway_mac;
  found.mtu = vpc_mtu(vpc, *adjacency, outer_ip_bytes(vpc.vtep));
  return true;
}

/// resolve, pmtu and circuit_encap. `circuit`: with the gateway that the route names.
bool leave_into_circuit(const TableState& state, const Attachment& circuit, const CircuitEntry& entry,
                        const IpAddress& destination, Shortcut& found) {
  const WireAddress next = circuit.link.gateway.family != 0 ? circuit.link.gateway : WireAddress::from(destination);
  const Neighbor* neighbor = state.neighbors.find(EndpointKey::of(circuit.id, next));
  if (neighbor == nullptr || circuit.link.port == kNoPort) return false;
  found.egress = AttachmentId::circuit(CircuitId(circuit.id));
  found.port = circuit.link.port;
  found.ethernet_destination = neighbor->mac;
  found.ethernet_source = circuit.gateway_mac;
  found.outer_type = entry.outer_vlan == 0 ? std::uint16_t{0} : entry.outer_type;
  found.outer_vlan = entry.outer_vlan;
  found.vlan = entry.vlan;
  found.mtu = circuit.mtu;
  return true;
}

/// The nexthops of a group that are VPCs or circuits of the domain, in order of their first buckets.
struct SpreadMembers {
  Shortcut::Spread of_bucket{};
  std::array<std::uint32_t, Shortcut::kMembers> slots{};
  std::size_t count = 0;
};
static_assert(std::tuple_size_v<Shortcut::Spread> == EcmpGroup::kBuckets);

SpreadMembers members_of(const TableState& state, const EcmpGroup& group, const Domain& domain) {
  SpreadMembers members;
  for (std::size_t bucket = 0; bucket < group.slots.size(); ++bucket) {
    const std::uint32_t slot = group.slots[bucket];
    const auto end = members.slots.begin() + static_cast<std::ptrdiff_t>(members.count);
    auto place = std::find(members.slots.begin(), end, slot);
    if (place == end) {
      const Attachment* to = state.attachments[slot].object.load(std::memory_order_relaxed);
      if (to == nullptr || to->kind == AttachmentKind::kTunnel || to->domain != &domain || place == members.slots.end()) continue;
      *place = slot;
      ++members.count;
    }
    members.of_bucket[bucket] = static_cast<std::uint8_t>(place - members.slots.begin() + 1);
  }
  return members;
}

}  // namespace

std::optional<Shortcut> Tables::shortcut(const Shortcut::Question& asked) const {
  const TableState& state = *state_;
  const auto in = writer_->ports.find(asked.port);
  if (in == writer_->ports.end() || in->second.kind != PortKind::kUplink) return std::nullopt;
  const bool tagged = asked.vlan != 0;
  if (!tagged && in->second.mac.is_zero()) return std::nullopt;
  const Attachment* from = tagged ? enter_circuit(state, asked) : enter_vpc(state, asked);
  if (from == nullptr) return std::nullopt;

  const Domain& domain = *from->domain;
  if (!domain.exists.load(std::memory_order_relaxed) || domain.policy.load(std::memory_order_relaxed) != nullptr)
    return std::nullopt;
  const RouteValue route(asked.destination.is_v4() ? domain.fib4.lookup(fib_key(asked.destination.v4_value()))
                                                   : domain.fib6.lookup(fib_key(asked.destination.bytes().data())));
  Shortcut found;
  found.ingress = AttachmentId{from->kind, from->id};
  found.domain = writer_->find_attachment(found.ingress)->domain();
  found.ethernet_to = tagged ? from->gateway_mac : in->second.mac;
  found.vtep = from->vtep.to_ip();
  found.udp_port = from->udp_port;
  found.gateway_mac = from->gateway_mac;

  std::uint32_t slot = route.slot();
  if (route.action() == RouteValue::Action::kGroup) {
    const EcmpGroup* group = state.groups[slot].load(std::memory_order_relaxed);
    if (group == nullptr) return std::nullopt;
    const SpreadMembers members = members_of(state, *group, domain);
    if (members.count < std::max<std::size_t>(asked.member, 1)) return std::nullopt;
    if (asked.member == 0) {
      found.spread = members.of_bucket;
      return found;
    }
    slot = members.slots[asked.member - 1U];
  } else if (route.action() != RouteValue::Action::kForward || asked.member != 0) {
    return std::nullopt;
  }
  const Attachment* to = state.attachments[slot].object.load(std::memory_order_relaxed);
  // A change in another domain would not be heard of.
  if (to == nullptr || to->domain != from->domain) return std::nullopt;

  if (to->kind == AttachmentKind::kVpc) {
    if (!leave_into_vpc(state, *to, asked.destination, found)) return std::nullopt;
  } else if (to->kind == AttachmentKind::kCircuit) {
    const Writer::AttachmentRecord* record = writer_->find_attachment(AttachmentId::circuit(CircuitId(to->id)));
    const auto* entry = record == nullptr ? nullptr : std::get_if<CircuitEntry>(&record->entry);
    if (entry == nullptr || !leave_into_circuit(state, *to, *entry, asked.destination, found)) return std::nullopt;
  } else {
    return std::nullopt;
  }
  const auto out = writer_->ports.find(found.port);
  if (out == writer_->ports.end() || out->second.kind != PortKind::kUplink) return std::nullopt;
  return found;
}

}  // namespace simplon::forward
