// SPDX-License-Identifier: GPL-2.0-or-later
//
// Circuits: a VLAN of an uplink, or one inside another. A frame belongs to the circuit that has exactly its tags. What
// routers say to each other on the link (multicast, ARP, IPv6 of link-local addresses) is the kernel's, as it came but
// for the tags; what the kernel writes leaves as it is, with tags; the rest are packets to be forwarded.
#include "tests/differential/oracle/oracle.h"
#include "tests/differential/oracle/reading.h"

namespace simplon::oracle {

using forward::Drop;

namespace {

/// RFC 4291 section 2.5.6. A packet that is not whole is nobody's.
bool link_local(View packet) {
  if (packet.size() < 40 || packet[0] >> 4 != 6 || packet.size() < 40 + std::size_t{get16(packet, 4)}) return false;
  const auto local = [packet](std::size_t at) { return packet[at] == 0xfe && (packet[at + 1] & 0xc0) == 0x80; };
  return local(8) || local(24);
}

}  // namespace

void Oracle::from_circuit(const Port& port, View frame, Outcome& outcome) {
  const auto drop = [&outcome](Drop why) { outcome.endings.emplace_back().drops.push_back({why, outcome.ingress}); };
  // A third tag is a payload.
  if (frame.size() < 18) return drop(Drop::kVlanTruncated);
  const bool two = is_vlan_tag(get16(frame, 16));
  if (two && frame.size() < 22) return drop(Drop::kVlanTruncated);
  const std::uint16_t first = get16(frame, 14) & 0xfff;  // without priority and drop eligibility
  const std::uint16_t second = two ? get16(frame, 18) & 0xfff : 0;
  // Behind a priority tag (VLAN 0) stands a second one in vain: such frames are of the uplink's own VLAN (IEEE 802.1Q
  // clause 6.9).
  const CircuitEntry* circuit = two && first == 0 ? nullptr
                                : two             ? world_.circuit_with(port.id, first, second)
                                                  : world_.circuit_with(port.id, 0, first);
  if (circuit == nullptr) return drop(Drop::kVlanUnknown);

  // From here on it is the circuit's, and so is its drop.
  outcome.origin = Origin::kCircuit;
  outcome.ingress = AttachmentId::circuit(circuit->id);
  const std::size_t tags = two ? 8 : 4;
  const std::uint16_t type = get16(frame, 12 + tags);
  const View payload = from(frame, 14 + tags);
  if ((frame[0] & 1) != 0) return hand_to_kernel(*circuit, frame, tags, outcome);
  if (mac_at(frame, 0) != circuit->mac.bytes) return drop(Drop::kCircuitWrongMac);
  if (type == 0x0806) return hand_to_kernel(*circuit, frame, tags, outcome);
  if (type != 0x0800 && type != 0x86dd) return drop(Drop::kCircuitType);
  if (type == 0x86dd && link_local(payload)) return hand_to_kernel(*circuit, frame, tags, outcome);

  const ParsedIp parsed = parse_ip(payload);
  if (parsed.drop) return drop(*parsed.drop);
  if (parsed.packet.family != (type == 0x0800 ? 4U : 6U)) {
    return drop(type == 0x0800 ? Drop::kIpv4Malformed : Drop::kIpv6Malformed);
  }
  outcome.flow = parsed.packet.flow;
  Inside packet{copy(payload.first(parsed.packet.length)), parsed.packet, *outcome.ingress, false, nullptr};
  if (port.fixup) complete_checksum(packet.bytes, packet.ip);
  forward::TrafficTotals& counts = world_.counts(packet.ingress);
  ++counts.rx_packets;
  counts.rx_bytes += packet.bytes.size();
  route(std::move(packet), outcome);
}

void Oracle::hand_to_kernel(const CircuitEntry& circuit, View frame, std::size_t tags, Outcome& outcome) {
  Ending& ending = outcome.endings.emplace_back();
  const AttachmentId id = AttachmentId::circuit(circuit.id);
  const auto host_port = world_.host_ports.find(id);
  if (host_port == world_.host_ports.end()) {
    ending.drops.push_back({Drop::kNoHostPort, id});
    return;
  }
  Bytes untagged = copy(frame.first(12));
  add(untagged, from(frame, 12 + tags));
  forward::TrafficTotals& counts = world_.counts(id);
  ++counts.rx_packets;
  counts.rx_bytes += untagged.size() - 14;
  if (port_missing(host_port->second.port, forward::PortKind::kHost)) {
    ending.drops.push_back({Drop::kPortMissing, id});
    return;
  }
  Departure departure;
  departure.packets.push_back(std::move(untagged));
  departure.egress = id;
  departure.port = host_port->second.port;
  departure.to_host = true;
  ending.departures.push_back(std::move(departure));
}

void Oracle::from_tap(AttachmentId attachment, View frame, Outcome& outcome) const {
  outcome.origin = Origin::kHost;
  outcome.ingress = attachment;
  Ending& ending = outcome.endings.emplace_back();
  const auto drop = [&](Drop why) { ending.drops.push_back({why, attachment}); };
  const auto circuit = world_.circuits.find(CircuitId{attachment.id});
  if (attachment.kind != forward::AttachmentKind::kCircuit || circuit == world_.circuits.end()) {
    return drop(Drop::kNoAttachment);
  }
  if (frame.size() < 14) return drop(Drop::kEthernetTruncated);
  Departure departure;
  departure.packets.push_back(copy(frame));
  departure.egress = attachment;
  departure.circuit = &circuit->second;
  departure.whole_frame = true;
  departure.port = circuit->second.port;
  if (port_missing(departure.port, forward::PortKind::kUplink)) {
    departure.lost = Drop::kPortMissing;
    drop(Drop::kPortMissing);
  }
  ending.departures.push_back(std::move(departure));
}

}  // namespace simplon::oracle
