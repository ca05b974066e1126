// SPDX-License-Identifier: GPL-2.0-or-later
//
// The way in: from a frame on an uplink, or a packet on a host port, to an inner IP packet. Checks are made from the
// outside to the inside, each layer's in the order in which its header is read; the first that fails names the drop.
#include <algorithm>

#include "tests/differential/oracle/oracle.h"
#include "tests/differential/oracle/reading.h"

namespace simplon::oracle {
namespace {

using forward::Drop;

void drop(Outcome& outcome, Drop why) {
  Ending ending;
  ending.drops.push_back({why, outcome.ingress});
  outcome.endings.push_back(std::move(ending));
}

/// RFC 6040 section 4.2, figure 4: the ECN field that goes on. Empty: drop.
std::optional<std::uint8_t> outgoing_ecn(std::uint8_t inner, std::uint8_t outer) {
  constexpr std::uint8_t kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3;
  if (outer == kCe) return inner == kNotEct ? std::nullopt : std::optional<std::uint8_t>(kCe);
  if (outer == kEct1 && inner == kEct0) return kEct1;
  return inner;
}

/// False if the packet has to be dropped.
bool carry_ecn(Bytes& packet, std::uint8_t inner_class, std::uint8_t outer_class) {
  const auto ecn = outgoing_ecn(inner_class & 3, outer_class & 3);
  if (!ecn) return false;
  if (*ecn != (inner_class & 3)) set_traffic_class(packet, static_cast<std::uint8_t>((inner_class & 0xfc) | *ecn));
  return true;
}

}  // namespace

Outcome Oracle::receive(PortId id, View bytes) {
  Outcome outcome;
  const auto port = world_.ports.find(id);
  if (port == world_.ports.end()) {
    drop(outcome, Drop::kPortMissing);
    return outcome;
  }
  forward::TrafficTotals& counts = world_.port_traffic[id];
  ++counts.rx_packets;
  counts.rx_bytes += bytes.size();
  if (port->second.kind == forward::PortKind::kUplink) {
    from_uplink(port->second, bytes, outcome);
  } else if (const auto owner = world_.tied.find(id); owner != world_.tied.end()) {
    if (port->second.frames) {
      from_tap(owner->second, bytes, outcome);
    } else {
      from_host(owner->second, port->second, bytes, outcome);
    }
  } else {
    drop(outcome, Drop::kNoAttachment);
  }
  return outcome;
}

/// The kernel has routed it already: it leaves through the attachment whose host port it came from, and no hop is
/// counted.
void Oracle::from_host(AttachmentId attachment, const Port& port, View bytes, Outcome& outcome) {
  outcome.origin = Origin::kHost;
  outcome.ingress = attachment;
  const ParsedIp parsed = parse_ip(bytes);
  if (parsed.drop) return drop(outcome, *parsed.drop);
  outcome.flow = parsed.packet.flow;
  Inside packet{copy(bytes.first(parsed.packet.length)), parsed.packet, attachment, true, nullptr};
  if (port.fixup) complete_checksum(packet.bytes, packet.ip);
  leave(std::move(packet), {attachment, {}}, outcome);
}

void Oracle::from_uplink(const Port& port, View frame, Outcome& outcome) {
  if (frame.size() < 14) return drop(outcome, Drop::kEthernetTruncated);
  const std::uint16_t type = get16(frame, 12);
  if (is_vlan_tag(type)) return from_circuit(port, frame, outcome);
  if (!port.mac.is_zero() && mac_at(frame, 0) != port.mac.bytes) return drop(outcome, Drop::kEthernetNotForUs);
  const View ip = from(frame, 14);

  std::size_t header = 40;
  std::size_t total = 0;
  std::uint8_t protocol = 0;
  std::uint8_t outer_class = 0;
  IpAddress source, destination;
  if (type == 0x0800) {
    if (ip.size() < 20 || ip[0] >> 4 != 4) return drop(outcome, Drop::kOuterIpv4Malformed);
    header = (ip[0] & 15U) * std::size_t{4};
    total = get16(ip, 2);
    if (header < 20 || header > total || total > ip.size()) return drop(outcome, Drop::kOuterIpv4Malformed);
    if (ones_sum(ip.first(header)) != 0xffff) return drop(outcome, Drop::kOuterIpv4Checksum);
    if ((get16(ip, 6) & 0x3fff) != 0) return drop(outcome, Drop::kOuterFragment);
    protocol = ip[9];
    outer_class = ip[1];
    source = address4(ip, 12);
    destination = address4(ip, 16);
  } else if (type == 0x86dd) {
    if (ip.size() < 40 || ip[0] >> 4 != 6) return drop(outcome, Drop::kOuterIpv6Malformed);
    total = 40 + std::size_t{get16(ip, 4)};
    if (total > ip.size()) return drop(outcome, Drop::kOuterIpv6Malformed);
    protocol = ip[6];
    outer_class = static_cast<std::uint8_t>(get16(ip, 0) >> 4);
    source = address6(ip, 8);
    destination = address6(ip, 24);
    if (protocol == 44) return drop(outcome, Drop::kOuterFragment);
  } else {
    return drop(outcome, Drop::kEthernetType);
  }

  const View payload = ip.subspan(header, total - header);
  if (protocol == 50) return esp(source, destination, outer_class, std::nullopt, payload, outcome);
  if (protocol != 17) return drop(outcome, Drop::kOuterProtocol);

  // The UDP checksum is not looked at: every payload brings its own protection (RFC 7348 section 5, RFC 3948
  // section 2.1).
  if (payload.size() < 8) return drop(outcome, Drop::kUdpMalformed);
  const std::size_t udp_length = get16(payload, 4);
  if (udp_length < 8 || udp_length > payload.size()) return drop(outcome, Drop::kUdpMalformed);
  const View inside = payload.subspan(8, udp_length - 8);
  const std::uint16_t udp_port = get16(payload, 2);
  if (udp_port != 4500) return vxlan(port, source, destination, outer_class, udp_port, inside, outcome);
  if (inside.size() == 1 && inside[0] == 0xff) return drop(outcome, Drop::kNatKeepalive);        // RFC 3948 2.3
  if (inside.size() >= 4 && get32(inside, 0) == 0) return drop(outcome, Drop::kIkeMisdirected);  // RFC 3948 2.2
  esp(source, destination, outer_class, get16(payload, 0), inside, outcome);
}

void Oracle::vxlan(const Port& port, const IpAddress& source, const IpAddress& destination, std::uint8_t outer_class,
                   std::uint16_t udp_port, View bytes, Outcome& outcome) {
  outcome.origin = Origin::kVxlan;
  if (bytes.size() < 8) return drop(outcome, Drop::kVxlanTruncated);
  if ((bytes[0] & 0x08) == 0) return drop(outcome, Drop::kVxlanFlags);
  const auto found = world_.vpcs.find(Vni{get32(bytes, 4) >> 8});
  if (found == world_.vpcs.end()) return drop(outcome, Drop::kVxlanUnknownVni);
  const VpcEntry& vpc = found->second;
  if (udp_port != vpc.udp_port) return drop(outcome, Drop::kVxlanWrongPort);
  if (destination != vpc.vtep) return drop(outcome, Drop::kVxlanWrongVtep);
  if (std::find(vpc.accepted_vteps.begin(), vpc.accepted_vteps.end(), source) == vpc.accepted_vteps.end()) {
    return drop(outcome, Drop::kVxlanUnknownPeer);
  }

  // From here on the frame is this VPC's, and so is its drop.
  outcome.ingress = AttachmentId::vpc(vpc.vni);
  const View frame = from(bytes, 8);
  if (frame.size() < 14) return drop(outcome, Drop::kVxlanInnerTruncated);
  const bool to_many = (frame[0] & 1) != 0;
  const bool to_gateway = mac_at(frame, 0) == vpc.gateway_mac.bytes;
  const std::uint16_t type = get16(frame, 12);
  if (type == 0x0806 && (to_many || to_gateway)) return arp(vpc, frame, outcome);
  if (to_many) return drop(outcome, Drop::kVxlanInnerBroadcast);
  if (!to_gateway) return drop(outcome, Drop::kVxlanWrongMac);
  if (type != 0x0800 && type != 0x86dd) return drop(outcome, Drop::kVxlanInnerType);

  const ParsedIp parsed = parse_ip(from(frame, 14));
  if (parsed.drop) return drop(outcome, *parsed.drop);
  if (parsed.packet.family != (type == 0x0800 ? 4U : 6U)) {
    return drop(outcome, type == 0x0800 ? Drop::kIpv4Malformed : Drop::kIpv6Malformed);
  }
  outcome.flow = parsed.packet.flow;
  Inside packet{copy(frame.subspan(14, parsed.packet.length)), parsed.packet, *outcome.ingress, false, nullptr};
  const bool owned = std::any_of(vpc.prefixes.begin(), vpc.prefixes.end(),
                                 [&packet](const IpPrefix& prefix) { return covers(prefix, packet.ip.flow.source); });
  if (!owned) return drop(outcome, Drop::kVxlanSpoofedSource);  // RFC 2827
  if (!carry_ecn(packet.bytes, packet.ip.traffic_class, outer_class)) return drop(outcome, Drop::kEcnNotCapable);
  if (port.fixup) complete_checksum(packet.bytes, packet.ip);
  forward::TrafficTotals& counts = world_.counts(packet.ingress);
  ++counts.rx_packets;
  counts.rx_bytes += packet.bytes.size();
  route(std::move(packet), outcome);
}

/// RFC 826: the gateway's address is asked for by an endpoint that is what it says it is; the answer goes to the VTEP
/// that the tables name, whoever asked.
void Oracle::arp(const VpcEntry& vpc, View frame, Outcome& outcome) {
  const View message = from(frame, 14);
  constexpr std::array<std::uint8_t, 8> kRequest{0, 1, 8, 0, 6, 4, 0, 1};  // Ethernet, IPv4, request
  const auto host_port = world_.host_ports.find(AttachmentId::vpc(vpc.vni));
  if (message.size() < 28 || !std::equal(kRequest.begin(), kRequest.end(), message.begin()) ||
      host_port == world_.host_ports.end()) {
    return drop(outcome, Drop::kVxlanInnerArp);
  }
  const IpAddress sender = address4(message, 14);
  const IpAddress asked = address4(message, 24);
  const auto& ours = host_port->second.addresses;
  const auto first4 = std::find_if(ours.begin(), ours.end(), [](const IpAddress& a) { return a.is_v4(); });
  const auto endpoint = world_.endpoints.find({vpc.vni, sender});
  if (first4 == ours.end() || *first4 != asked || endpoint == world_.endpoints.end() ||
      mac_at(frame, 6) != endpoint->second.mac.bytes || mac_at(message, 8) != endpoint->second.mac.bytes ||
      endpoint->second.vtep.family() != vpc.vtep.family()) {
    return drop(outcome, Drop::kVxlanInnerArp);
  }
  Ending& ending = outcome.endings.emplace_back();
  Departure departure;
  departure.egress = *outcome.ingress;
  departure.vpc = &vpc;
  departure.endpoint = &endpoint->second;
  departure.neighbor = world_.neighbor(endpoint->second.vtep);
  departure.arp = true;
  if (departure.neighbor == nullptr) {
    ending.drops.push_back({Drop::kAdjacencyUnresolved, outcome.ingress});
    return;
  }
  departure.port = departure.neighbor->port;
  if (port_missing(departure.port, forward::PortKind::kUplink)) {
    departure.lost = Drop::kPortMissing;
    ending.drops.push_back({Drop::kPortMissing, outcome.ingress});
  }
  Bytes reply{0, 1, 8, 0, 6, 4, 0, 2};
  add(reply, vpc.gateway_mac.bytes);
  add(reply, asked.bytes());
  add(reply, endpoint->second.mac.bytes);
  add(reply, sender.bytes());
  departure.packets.push_back(std::move(reply));
  ending.departures.push_back(std::move(departure));
}

/// `udp_source_port`: of ESP in UDP.
void Oracle::esp(const IpAddress& source, const IpAddress& destination, std::uint8_t outer_class,
                 std::optional<std::uint16_t> udp_source_port, View bytes, Outcome& outcome) {
  outcome.origin = Origin::kEsp;
  if (bytes.size() < 8) return drop(outcome, Drop::kEspTruncated);
  const auto found = world_.inbound.find(Spi{get32(bytes, 0)});
  if (found == world_.inbound.end()) return drop(outcome, Drop::kEspUnknownSpi);
  InboundSa& sa = found->second;
  if (!sa.cipher.is_aead()) outcome.origin = Origin::kEspInBatch;
  // Lengths are the suite's: SPI, sequence number, IV, at least one word or block of ciphertext and only whole ones,
  // ICV.
  const std::size_t around = 8 + sa.cipher.iv_bytes() + sa.cipher.icv_bytes();
  const std::size_t unit = sa.cipher.alignment();
  if (bytes.size() < around + unit || (bytes.size() - around) % unit != 0) return drop(outcome, Drop::kEspTruncated);
  if (destination != sa.spec.path.destination) return drop(outcome, Drop::kEspUnknownSpi);
  if (udp_source_port.has_value() != sa.spec.path.encap) return drop(outcome, Drop::kEspEncapMismatch);

  const std::uint32_t low = get32(bytes, 4);
  // Packets of CBC and HMAC are opened many at a time: those before may not have moved the window when its high half is
  // guessed.
  if (sa.spec.esn && !sa.cipher.is_aead() && sa.seen.whole(low) != sa.seen.whole(low, sa.settled) && on_guess)
    on_guess();
  const std::uint64_t sequence = sa.spec.esn ? sa.seen.whole(low) : low;
  if (!sa.seen.is_new(sequence)) {
    // The same if it is a forgery with a number that came in the same burst: which of both is its name?
    if (!sa.cipher.is_aead() && on_guess && !sa.cipher.open(bytes, sequence, sa.spec.esn)) on_guess();
    ++sa.usage.replayed;
    return drop(outcome, Drop::kEspReplayed);
  }
  const std::optional<Bytes> plain = sa.cipher.open(bytes, sequence, sa.spec.esn);
  if (!plain) {
    ++sa.usage.failed;
    return drop(outcome, Drop::kEspAuthentication);
  }
  sa.seen.see(sequence);  // only now: RFC 4303 section 3.4.3
  const forward::SaPath& path = sa.spec.path;
  if (udp_source_port && !sa.mapping && (source != path.source || *udp_source_port != path.source_port)) {
    sa.mapping = forward::SaMapping{source, *udp_source_port};
  }
  // It is the tunnel's from here on.
  outcome.ingress = AttachmentId::tunnel(sa.spec.tunnel);
  ++sa.usage.packets;
  const std::optional<EspContents> contents = without_padding(*plain);
  if (!contents) return drop(outcome, Drop::kEspPadding);
  sa.usage.bytes += contents->packet.size();
  if (contents->next_header == 59) return drop(outcome, Drop::kEspDummy);
  if (contents->next_header != 4 && contents->next_header != 41) return drop(outcome, Drop::kEspNextHeader);
  if (!world_.tunnels.contains(sa.spec.tunnel)) return drop(outcome, Drop::kEspNoTunnel);

  const ParsedIp parsed = parse_ip(contents->packet);
  if (parsed.drop) return drop(outcome, *parsed.drop);
  if (parsed.packet.family != (contents->next_header == 4 ? 4U : 6U)) {
    return drop(outcome, contents->next_header == 4 ? Drop::kIpv4Malformed : Drop::kIpv6Malformed);
  }
  outcome.flow = parsed.packet.flow;
  Inside packet{copy(View(contents->packet).first(parsed.packet.length)), parsed.packet, *outcome.ingress, false, &sa};
  if (!carry_ecn(packet.bytes, packet.ip.traffic_class, outer_class)) return drop(outcome, Drop::kEcnNotCapable);
  forward::TrafficTotals& counts = world_.counts(packet.ingress);
  ++counts.rx_packets;
  counts.rx_bytes += packet.bytes.size();
  route(std::move(packet), outcome);
}

}  // namespace simplon::oracle
