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
  outcome.parts.given_up = waiting_.forget(now);
  outcome.parts.packets = waiting_.packets();
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

  OuterPacket outer;
  std::size_t total = 0;
  bool fragment = false;
  outer.header_bytes = 40;
  if (type == 0x0800) {
    if (ip.size() < 20 || ip[0] >> 4 != 4) return drop(outcome, Drop::kOuterIpv4Malformed);
    const std::size_t header = (ip[0] & 15U) * std::size_t{4};
    total = get16(ip, 2);
    if (header < 20 || header > total || total > ip.size()) return drop(outcome, Drop::kOuterIpv4Malformed);
    if (ones_sum(ip.first(header)) != 0xffff) return drop(outcome, Drop::kOuterIpv4Checksum);
    fragment = (get16(ip, 6) & 0x3fff) != 0;
    outer.header_bytes = header;
    outer.id = get16(ip, 4);
    outer.offset = (get16(ip, 6) & 0x1fffU) * std::size_t{8};
    outer.more = (get16(ip, 6) & 0x2000) != 0;
    outer.protocol = ip[9];
    outer.traffic_class = ip[1];
    outer.source = address4(ip, 12);
    outer.destination = address4(ip, 16);
  } else if (type == 0x86dd) {
    if (ip.size() < 40 || ip[0] >> 4 != 6) return drop(outcome, Drop::kOuterIpv6Malformed);
    total = 40 + std::size_t{get16(ip, 4)};
    if (total > ip.size()) return drop(outcome, Drop::kOuterIpv6Malformed);
    outer.protocol = ip[6];
    outer.traffic_class = static_cast<std::uint8_t>(get16(ip, 0) >> 4);
    outer.source = address6(ip, 8);
    outer.destination = address6(ip, 24);
    fragment = outer.protocol == 44;
    if (fragment) {
      if (total < 48) return drop(outcome, Drop::kOuterFragment);
      outer.header_bytes = 48;
      outer.id = get32(ip, 44);
      outer.offset = get16(ip, 42) & 0xfff8U;
      outer.more = (get16(ip, 42) & 1) != 0;
      outer.protocol = ip[40];
    }
  } else {
    return drop(outcome, Drop::kEthernetType);
  }

  outer.payload = copy(ip.subspan(outer.header_bytes, total - outer.header_bytes));
  if (fragment) return part_of_outer(port, std::move(outer), outcome);
  from_outer(port, outer, outcome);
}

std::optional<Waiting::Owner> Oracle::owner_of(const OuterPacket& part) const {
  View data = part.payload;
  const bool encap = part.protocol == 17;
  if (encap && (data.size() < 8 || get16(data, 2) != 4500)) return std::nullopt;
  if (!encap && part.protocol != 50) return std::nullopt;
  if (encap) data = from(data, 8);
  if (data.size() < 8) return std::nullopt;
  const Spi spi{get32(data, 0)};
  const auto sa = world_.inbound.find(spi);
  if (sa == world_.inbound.end()) return std::nullopt;
  const bool from_peer = sa->second.spec.path.source == part.source;
  if (!encap && !from_peer) return std::nullopt;
  return Waiting::Owner{spi, from_peer};
}

void Oracle::part_of_outer(const Port& port, OuterPacket part, Outcome& outcome) {
  const auto owner = part.offset == 0 ? owner_of(part) : std::nullopt;
  const Waiting::Taken taken = waiting_.take(std::move(part), owner, now);
  outcome.parts.given_up += taken.given_up;
  outcome.parts.joined = taken.joined;
  outcome.parts.packets = waiting_.packets();
  if (taken.refused) return drop(outcome, Drop::kOuterFragment);
  if (taken.whole) return from_outer(port, *taken.whole, outcome);
  outcome.parts.kept = true;
  outcome.endings.emplace_back();
}

void Oracle::from_outer(const Port& port, const OuterPacket& outer, Outcome& outcome) {
  const IpAddress& source = outer.source;
  const IpAddress& destination = outer.destination;
  const std::uint8_t outer_class = outer.traffic_class;
  const View payload = outer.payload;
  if (outer.protocol == 50) return esp(source, destination, outer_class, std::nullopt, payload, outcome);
  if (outer.protocol != 17) return drop(outcome, Drop::kOuterProtocol);

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
  if (type == 0x86dd && (to_many || to_gateway) && is_solicitation(vpc, frame)) {
    return solicitation(vpc, source, frame, outcome);
  }
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

std::optional<IpAddress> Oracle::gateway_address(const VpcEntry& vpc, bool v4) const {
  const auto host_port = world_.host_ports.find(AttachmentId::vpc(vpc.vni));
  if (host_port == world_.host_ports.end()) return std::nullopt;
  for (const IpAddress& address : host_port->second.addresses) {
    if (address.is_v4() == v4 && (v4 || !address.is_link_local())) return address;
  }
  return std::nullopt;
}

const EndpointEntry* Oracle::endpoint_that_is(const VpcEntry& vpc, const IpAddress& address, View mac) const {
  const bool owned = std::any_of(vpc.prefixes.begin(), vpc.prefixes.end(),
                                 [&address](const IpPrefix& prefix) { return covers(prefix, address); });
  const auto endpoint = world_.endpoints.find({vpc.vni, address});
  if (!owned || endpoint == world_.endpoints.end() || endpoint->second.vtep.family() != vpc.vtep.family() ||
      !std::equal(mac.begin(), mac.end(), endpoint->second.mac.bytes.begin())) {
    return nullptr;
  }
  return &endpoint->second;
}

void Oracle::answer(const VpcEntry& vpc, const EndpointEntry& to, Bytes message, Outcome& outcome, Departure departure) {
  Ending& ending = outcome.endings.emplace_back();
  departure.egress = *outcome.ingress;
  departure.vpc = &vpc;
  departure.endpoint = &to;
  departure.neighbor = world_.neighbor(to.vtep);
  departure.answer = true;
  if (departure.neighbor == nullptr) {
    ending.drops.push_back({Drop::kAdjacencyUnresolved, outcome.ingress});
    return;
  }
  departure.port = departure.neighbor->port;
  if (port_missing(departure.port, forward::PortKind::kUplink)) {
    departure.lost = Drop::kPortMissing;
    ending.drops.push_back({Drop::kPortMissing, outcome.ingress});
  }
  departure.packets.push_back(std::move(message));
  ending.departures.push_back(std::move(departure));
}

/// RFC 826: the gateway's address is asked for by an endpoint that is what it says it is; the answer goes to the VTEP
/// that the tables name, whoever asked.
void Oracle::arp(const VpcEntry& vpc, View frame, Outcome& outcome) {
  const View message = from(frame, 14);
  constexpr std::array<std::uint8_t, 8> kRequest{0, 1, 8, 0, 6, 4, 0, 1};  // Ethernet, IPv4, request
  if (message.size() < 28 || !std::equal(kRequest.begin(), kRequest.end(), message.begin())) {
    return drop(outcome, Drop::kVxlanInnerArp);
  }
  const View mac = frame.subspan(6, 6);
  const EndpointEntry* endpoint = endpoint_that_is(vpc, address4(message, 14), mac);
  if (gateway_address(vpc, true) != address4(message, 24) || endpoint == nullptr ||
      !std::equal(mac.begin(), mac.end(), message.begin() + 8)) {
    return drop(outcome, Drop::kVxlanInnerArp);
  }
  Bytes reply{0, 1, 8, 0, 6, 4, 0, 2};
  add(reply, vpc.gateway_mac.bytes);
  add(reply, message.subspan(24, 4));
  add(reply, mac);
  add(reply, message.subspan(14, 4));
  answer(vpc, *endpoint, std::move(reply), outcome, {});
}

bool Oracle::is_solicitation(const VpcEntry& vpc, View frame) const {
  const View packet = from(frame, 14);
  if (packet.size() <= 40 || packet[0] >> 4 != 6 || packet[6] != 58 || packet[40] != 135) return false;
  if ((frame[0] & 1) != 0) return true;
  const IpAddress destination = address6(packet, 24);
  return destination.is_multicast() || destination.is_link_local() || destination == gateway_address(vpc, false);
}

/// RFC 4861 sections 7.1.1 and 7.2.4. Who asks from an address of the VPC must be that endpoint; who asks from a link-local one, or has
/// none yet, is answered where the question came from.
void Oracle::solicitation(const VpcEntry& vpc, const IpAddress& vtep, View frame, Outcome& outcome) {
  const auto refuse = [&] { drop(outcome, Drop::kVxlanInnerNeighbor); };
  const View mac = frame.subspan(6, 6);
  const std::size_t length = get16(frame, 14 + 4);
  if (length < 24 || from(frame, 14 + 40).size() < length || frame[14 + 7] != 255) return refuse();
  const View packet = frame.subspan(14, 40 + length);
  const IpAddress source = address6(packet, 8);
  const IpAddress destination = address6(packet, 24);
  const IpAddress target = address6(packet, 48);
  if (internet_checksum(from(packet, 40), pseudo_header_sum(source, destination, 58, length)) != 0) return refuse();
  if (packet[41] != 0 || source.is_multicast()) return refuse();
  bool with_mac = false;
  for (std::size_t at = 64; at < packet.size();) {
    if (packet.size() - at < 2 || packet[at + 1] == 0 || packet.size() - at < packet[at + 1] * 8U) return refuse();
    if (packet[at] == 1) {
      with_mac = true;
      const View said = packet.subspan(at + 2, 6);
      if (packet[at + 1] != 1 || !std::equal(mac.begin(), mac.end(), said.begin())) return refuse();
    }
    at += packet[at + 1] * 8U;
  }
  Bytes group{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  add(group, packet.subspan(48 + 13, 3));
  const bool to_group = std::equal(group.begin(), group.end(), packet.begin() + 24);
  if ((frame[0] & 1) != 0) {
    const bool of_group = frame[0] == 0x33 && frame[1] == 0x33 && std::equal(group.begin() + 12, group.end(), frame.begin() + 2);
    if (!to_group || !of_group) return refuse();
  } else if (!to_group && destination != target) {
    return refuse();
  }
  if (gateway_address(vpc, false) != target) return refuse();

  const bool nobody = source.is_unspecified();
  if (nobody && (with_mac || !to_group)) return refuse();
  Departure departure;
  const EndpointEntry* to = nullptr;
  if (nobody || source.is_link_local()) {
    // The way there must be one that something else leads to.
    const MacAddress asker{mac_at(frame, 6)};
    if (!world_.wanted(vtep) || asker.is_multicast() || asker.is_zero()) return refuse();
    departure.asker = std::make_shared<const EndpointEntry>(
        EndpointEntry{vpc.vni, source, nobody ? MacAddress{{0x33, 0x33, 0, 0, 0, 1}} : asker, vtep});
    to = departure.asker.get();
  } else {
    to = endpoint_that_is(vpc, source, mac);
  }
  if (to == nullptr) return refuse();

  const IpAddress asked_from = nobody ? IpAddress::parse("ff02::1").value() : source;
  Bytes body{136, 0, 0, 0, nobody ? std::uint8_t{0xa0} : std::uint8_t{0xe0}, 0, 0, 0};
  add(body, target.bytes());
  add(body, Bytes{2, 1});
  add(body, vpc.gateway_mac.bytes);
  put16(body, 2, internet_checksum(body, pseudo_header_sum(target, asked_from, 58, body.size())));
  Bytes message{0x60, 0, 0, 0, 0, static_cast<std::uint8_t>(body.size()), 58, 255};
  add(message, target.bytes());
  add(message, asked_from.bytes());
  add(message, body);
  answer(vpc, *to, std::move(message), outcome, std::move(departure));
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
  if (udp_source_port && path.encap && !sa.mapping && (source != path.source || *udp_source_port != path.source_port)) {
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
