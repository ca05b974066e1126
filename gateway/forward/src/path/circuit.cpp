// SPDX-License-Identifier: GPL-2.0-or-later
//
// Circuits: IP in Ethernet with one or two VLAN tags (IEEE 802.1Q), and routers on the other end that speak ARP or ND.
//
// The kernel has its view of a circuit in a TAP, whose frames are those of the circuit without tags. It is the kernel that
// speaks ARP and ND there, and the protocols of link scope: all that is multicast, ARP, and IPv6 of link-local addresses goes
// to it as it came, and what it writes leaves as it is, with tags. Only packets of hosts for hosts are ours.
//
//     uplink:  | destination | source | outer tag | tag | type | packet |
//     TAP:                 | destination | source       | type | packet |
#include <cstring>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/circuit_frame.h"
#include "gateway/forward/src/path/fixup.h"
#include "gateway/forward/src/path/host_frame.h"
#include "gateway/forward/src/path/stages.h"

namespace simplon::forward {
namespace {

void count_in(const Burst& burst, const Attachment& circuit, std::size_t bytes) noexcept {
  TrafficCounters& counters = circuit.counters[burst.worker];
  counters.rx_packets.add();
  counters.rx_bytes.add(bytes);
}

void count_out(const Burst& burst, const Attachment& circuit, std::size_t bytes) noexcept {
  TrafficCounters& counters = circuit.counters[burst.worker];
  counters.tx_packets.add();
  counters.tx_bytes.add(bytes);
}

/// `packet` starts with the Ethernet header.
void hand_to_kernel(Burst& burst, unsigned number, Transit& packet, const Attachment& circuit, std::size_t tag_bytes) noexcept {
  const HostPort* host_port = burst.tables.attachments[circuit.slot].host_port.load(std::memory_order_acquire);
  if (host_port == nullptr || host_port->mac.is_zero()) return burst.drop(number, Drop::kNoHostPort);
  std::memmove(packet.data + tag_bytes, packet.data, wire::kAddressesBytes);
  packet.data += tag_bytes;
  packet.length = static_cast<std::uint16_t>(packet.length - tag_bytes);
  count_in(burst, circuit, packet.length - sizeof(wire::EthernetHeader));
  packet.egress = circuit.slot;
  packet.port = host_port->port;
  burst.to_host.push(number);
}

/// Link-local addresses are never forwarded, but spoken between neighbors.
[[nodiscard]] bool is_between_neighbors(std::span<const std::uint8_t> bytes) noexcept {
  const wire::Ipv6Header* ip = wire::parse_ipv6(bytes);
  return ip != nullptr && (wire::is_link_local(ip->source) || wire::is_link_local(ip->destination));
}

void accept(Burst& burst, unsigned number, Transit& packet) noexcept {
  wire::VlanTags tags;
  if (!wire::parse_vlan_tags(packet.bytes(), tags)) return burst.drop(number, Drop::kVlanTruncated);
  const Attachment* circuit = circuit_with(burst.tables, packet.port, tags);
  if (circuit == nullptr) return burst.drop(number, Drop::kVlanUnknown);

  // From here on the frame is this circuit's, and so is its drop.
  packet.ingress = circuit->slot;
  packet.attachment = circuit;
  const auto& ethernet = *reinterpret_cast<const wire::EthernetHeader*>(packet.data);
  if (ethernet.destination.is_multicast()) return hand_to_kernel(burst, number, packet, *circuit, tags.bytes);
  if (ethernet.destination != circuit->gateway_mac) return burst.drop(number, Drop::kCircuitWrongMac);
  if (tags.type == wire::kEtherTypeArp) return hand_to_kernel(burst, number, packet, *circuit, tags.bytes);
  if (tags.type != wire::kEtherTypeIpv4 && tags.type != wire::kEtherTypeIpv6) {
    return burst.drop(number, Drop::kCircuitType);
  }
  const std::size_t headers = sizeof ethernet + tags.bytes;
  const std::span<std::uint8_t> inner = packet.bytes().subspan(headers);
  const unsigned family = tags.type == wire::kEtherTypeIpv4 ? 4 : 6;
  if (family == 6 && is_between_neighbors(inner)) return hand_to_kernel(burst, number, packet, *circuit, tags.bytes);
  if (!parse_inner(inner, packet.inner)) return burst.drop(number, packet.inner.drop);
  if (packet.inner.family != family) {
    return burst.drop(number, family == 4 ? Drop::kIpv4Malformed : Drop::kIpv6Malformed);
  }
  packet.data += headers;
  packet.length = packet.inner.length;  // without the padding of a short frame
  if (packet.fixup) complete_checksum(packet.data, packet.inner);
  count_in(burst, *circuit, packet.length);
  __builtin_prefetch(circuit->domain);
  burst.inner.push(number);
}

void encapsulate(Burst& burst, unsigned number, Transit& packet) noexcept {
  const Attachment& circuit = *packet.attachment;
  const CircuitLink& link = circuit.link;
  if (link.port == kNoPort) return burst.drop(number, Drop::kPortMissing);
  if (!burst.has_room(packet, link.header_bytes, 0)) return burst.drop(number, Drop::kNoHeadroom);
  const MacAddress to = packet.neighbor->mac;
  count_out(burst, circuit, packet.length);
  packet.data -= link.header_bytes;
  packet.length = static_cast<std::uint16_t>(packet.length + link.header_bytes);
  std::memcpy(packet.data, link.header.data(), link.header_bytes);
  std::memcpy(packet.data, to.bytes.data(), sizeof to);
  const Be16 type(packet.inner.family == 4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6);
  std::memcpy(packet.data + link.header_bytes - sizeof type, &type, sizeof type);
  packet.port = link.port;
  burst.to_uplink.push(number);
}

}  // namespace

void circuit_decap(Burst& burst) noexcept {
  for (unsigned i = 0; i < burst.circuit_in.size(); ++i) {
    burst.fetch_ahead(burst.circuit_in, i);
    accept(burst, burst.circuit_in[i], burst.packets[burst.circuit_in[i]]);
  }
}

void circuit_encap(Burst& burst) noexcept {
  for (unsigned i = 0; i < burst.to_circuit.size(); ++i) {
    burst.fetch_ahead(burst.to_circuit, i);
    encapsulate(burst, burst.to_circuit[i], burst.packets[burst.to_circuit[i]]);
  }
}

void classify_host_frame(Burst& burst, unsigned number, Transit& packet, std::uint32_t slot) noexcept {
  const Attachment* circuit = burst.tables.attachments[slot].object.load(std::memory_order_acquire);
  packet.ingress = slot;
  if (slot == 0 || circuit == nullptr || circuit->kind != AttachmentKind::kCircuit) {
    return burst.drop(number, Drop::kNoAttachment);
  }
  packet.from_host = true;
  packet.egress = slot;
  const CircuitLink& link = circuit->link;
  if (packet.length < sizeof(wire::EthernetHeader)) return burst.drop(number, Drop::kEthernetTruncated);
  if (link.port == kNoPort) return burst.drop(number, Drop::kPortMissing);
  if (!burst.has_room(packet, link.tag_bytes(), 0)) return burst.drop(number, Drop::kNoHeadroom);
  count_out(burst, *circuit, packet.length - sizeof(wire::EthernetHeader));
  std::uint8_t* front = packet.data - link.tag_bytes();
  std::memmove(front, packet.data, wire::kAddressesBytes);
  std::memcpy(front + wire::kAddressesBytes, link.header.data() + wire::kAddressesBytes, link.tag_bytes());
  packet.data = front;
  packet.length = static_cast<std::uint16_t>(packet.length + link.tag_bytes());
  packet.port = link.port;
  burst.to_uplink.push(number);
}

}  // namespace simplon::forward
