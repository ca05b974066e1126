// SPDX-License-Identifier: GPL-2.0-or-later
//
// The decision, and the way out: where the domain's routes send a packet (RFC 1812 section 5.2.1), and the headers that
// it leaves with.
#include <algorithm>

#include "tests/differential/oracle/oracle.h"

namespace simplon::oracle {

using forward::Drop;

namespace {

/// RFC 7296 section 3.13.1: in one of the ranges. Fragments and protocols without ports match selectors with any port
/// only (RFC 4301 section 4.4.1.1).
bool in_selectors(const std::vector<forward::Selector>& selectors, const IpAddress& address, const IpPacket& ip,
                  std::uint16_t port) {
  if (selectors.empty()) return true;
  return std::any_of(selectors.begin(), selectors.end(), [&](const forward::Selector& selector) {
    const bool any_port = selector.port_from == 0 && selector.port_to == 65535;
    return address.family() == selector.from.family() && selector.from <= address && address <= selector.to &&
           (selector.protocol == 0 || selector.protocol == ip.flow.protocol) &&
           (any_port || (ip.has_ports && selector.port_from <= port && port <= selector.port_to));
  });
}

bool allowed(const SaSpec& sa, const IpPacket& ip) {
  return in_selectors(sa.source_selectors, ip.flow.source, ip, ip.flow.source_port) &&
         in_selectors(sa.destination_selectors, ip.flow.destination, ip, ip.flow.destination_port);
}

}  // namespace

/// The checks in this order: selectors of the SA, domain, policy, route, and for what is not for us the hop limit.
void Oracle::route(Inside packet, Outcome& outcome) const {
  const auto drop = [&](Drop why) { outcome.endings.emplace_back().drops.push_back({why, packet.ingress}); };
  if (packet.sa != nullptr && !allowed(packet.sa->spec, packet.ip)) return drop(Drop::kEspSelector);
  const DomainId domain = *world_.domain_of(packet.ingress);
  if (!world_.domains.contains(domain)) return drop(Drop::kNoDomain);
  if (world_.policed(domain)) return police(std::move(packet), domain, outcome);
  const RouteEntry* route = world_.route_to(domain, packet.ip.flow.destination);
  if (ends_here(packet, route, outcome)) return;

  // One of several nexthops that cannot take packets leaves them to the others.
  std::vector<Hop> choices = world_.taking_part(*route);
  if (choices.size() > 1) {
    if (const auto known = known_path_(*route, packet.ip.flow)) choices = {*known};
  }
  for (const Hop& choice : choices) {
    leave(packet, choice, outcome);
    outcome.choices.resize(outcome.endings.size(), choice);
  }
}

bool Oracle::ends_here(const Inside& packet, const RouteEntry* route, Outcome& outcome) const {
  const auto refuse = [&](Drop why, Answer answer_with) {
    Ending ending;
    ending.drops.push_back({why, packet.ingress});
    answer(packet, answer_with, 0, std::move(ending), outcome);
    return true;
  };
  if (route == nullptr) return refuse(Drop::kNoRoute, Answer::kNetUnreachable);
  if (route->action == forward::RouteAction::kUnreachable) return refuse(Drop::kUnreachable, Answer::kRejected);
  if (route->action == forward::RouteAction::kLocal) {  // whatever its hop limit: eBGP uses 1
    punt(packet, route->nexthops.front().attachment, outcome.endings.emplace_back());
    return true;
  }
  return packet.ip.hops <= 1 && refuse(Drop::kTtlExpired, Answer::kTimeExceeded);
}

void Oracle::punt(const Inside& packet, AttachmentId attachment, Ending& ending) const {
  const auto host_port = world_.host_ports.find(attachment);
  if (host_port == world_.host_ports.end()) {
    ending.drops.push_back({Drop::kNoHostPort, packet.ingress});
    return;
  }
  Departure departure;
  // To a TAP it goes in a frame from nobody.
  Bytes whole;
  if (attachment.kind == forward::AttachmentKind::kCircuit) {
    whole = copy(host_port->second.mac.bytes);
    add(whole, Bytes{2, 0, 0, 0, 0, 1});
    add16(whole, packet.ip.family == 4 ? 0x0800 : 0x86dd);
  }
  add(whole, packet.bytes);
  departure.packets.push_back(std::move(whole));
  departure.egress = attachment;
  departure.port = host_port->second.port;
  departure.to_host = true;
  if (port_missing(departure.port, forward::PortKind::kHost)) {
    ending.drops.push_back({Drop::kPortMissing, packet.ingress});
    return;
  }
  ending.departures.push_back(std::move(departure));
}

bool Oracle::port_missing(PortId id, forward::PortKind kind) const {
  const auto port = world_.ports.find(id);
  return port == world_.ports.end() || port->second.kind != kind;
}

std::optional<Drop> Oracle::find_exit(const Hop& hop, const IpAddress& inner_destination, const IpPacket* forwarded,
                                      Departure& departure) const {
  const AttachmentId egress = hop.attachment;
  departure.egress = egress;
  if (!world_.domain_of(egress)) return Drop::kNoAttachment;
  if (egress.kind == forward::AttachmentKind::kCircuit) {
    departure.circuit = &world_.circuits.at(CircuitId{egress.id});
    const auto neighbor = world_.neighbors.find({CircuitId{egress.id}, hop.gateway.value_or(inner_destination)});
    if (neighbor == world_.neighbors.end()) return Drop::kNeighborUnresolved;
    departure.to = neighbor->second;
    departure.port = departure.circuit->port;
    return std::nullopt;
  }
  IpAddress outer;
  if (egress.kind == forward::AttachmentKind::kVpc) {
    departure.vpc = &world_.vpcs.at(Vni{egress.id});
    const auto endpoint = world_.endpoints.find({Vni{egress.id}, inner_destination});
    if (endpoint == world_.endpoints.end()) return Drop::kEndpointUnknown;
    departure.endpoint = &endpoint->second;
    outer = endpoint->second.vtep;
    // Our VTEP cannot be the source of packets to another family.
    if (outer.family() != departure.vpc->vtep.family()) return Drop::kEndpointUnknown;
  } else {
    const auto sa = world_.outbound.find(TunnelId{egress.id});
    if (sa == world_.outbound.end()) return Drop::kSaMissing;
    // RFC 4301 section 5.1.
    if (forwarded != nullptr && !allowed(sa->second.spec, *forwarded)) return Drop::kOutboundSelector;
    departure.sa = &sa->second;
    departure.outer_df = world_.tunnels.at(TunnelId{egress.id}).outer_df;
    outer = sa->second.spec.path.destination;
  }
  departure.neighbor = world_.neighbor(outer);
  if (departure.neighbor == nullptr) return Drop::kAdjacencyUnresolved;
  departure.port = departure.neighbor->port;
  return std::nullopt;
}

/// Exit first, then size, then the hop: an ICMP error quotes the packet as it came.
void Oracle::leave(Inside packet, const Hop& hop, Outcome& outcome) const {
  const AttachmentId egress = hop.attachment;
  Departure exit;
  Ending ending;
  if (const auto why = find_exit(hop, packet.ip.flow.destination, &packet.ip, exit)) {
    ending.drops.push_back({*why, packet.ingress});
    if (*why == Drop::kEndpointUnknown) return answer(packet, Answer::kHostUnreachable, 0, std::move(ending), outcome);
    if (*why == Drop::kSaMissing) return answer(packet, Answer::kNetUnreachable, 0, std::move(ending), outcome);
    outcome.endings.push_back(std::move(ending));
    return;
  }
  const std::size_t mtu = mtu_out(exit);
  const bool fits = packet.bytes.size() <= mtu;
  if (!fits && packet.ip.family == 6) {
    ending.drops.push_back({Drop::kPacketTooBig, packet.ingress});
    return answer(packet, Answer::kTooBig, mtu, std::move(ending), outcome);
  }
  const bool ignores_df = exit.sa != nullptr && world_.tunnels.at(TunnelId{egress.id}).ignores_df;
  const bool forbidden = packet.ip.dont_fragment && !ignores_df;
  if (!fits && (forbidden || mtu < 68)) {  // RFC 791 section 3.2: every path carries 68 bytes
    ending.drops.push_back({Drop::kFragmentationNeeded, packet.ingress});
    return answer(packet, Answer::kTooBig, mtu, std::move(ending), outcome);
  }
  clamp_mss(packet, egress, mtu);
  if (!packet.from_host) take_hop(packet.bytes);
  if (port_missing(exit.port, forward::PortKind::kUplink)) exit.lost = Drop::kPortMissing;
  // A sender that sets "don't fragment" need not number its datagrams (RFC 6864 section 4.1); what is cut up has to be.
  if (!fits && packet.ip.dont_fragment && !packet.ip.more_fragments && packet.ip.fragment_offset == 0) {
    exit.identified = std::make_shared<const bool>(true);
  }
  // RFC 4303 section 3.3.3: a counter never cycles.
  std::uint64_t numbers_left = ~std::uint64_t{0};
  if (exit.sa != nullptr) numbers_left = (exit.sa->spec.esn ? numbers_left : 0xffffffff) - exit.sa->sequence;
  const std::vector<Bytes> parts = fits ? std::vector<Bytes>{packet.bytes} : fragments(packet.bytes, packet.ip, mtu);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::optional<AttachmentId> from = i == 0 ? std::optional(packet.ingress) : std::nullopt;
    if (i > 0) ++ending.originated;
    if (i >= numbers_left) {
      ending.drops.push_back({Drop::kEspSequenceExhausted, from});
      continue;
    }
    if (exit.lost) ending.drops.push_back({*exit.lost, from});
    Departure departure = exit;
    departure.originated = i > 0;
    departure.packets.push_back(parts[i]);
    ending.departures.push_back(std::move(departure));
  }
  outcome.endings.push_back(std::move(ending));
}

void Oracle::settle(const Ending& ending) {
  for (const Departure& departure : ending.departures) {
    const std::size_t bytes = departure.packets.front().size() - (departure.whole_frame ? 14U : 0U);
    const bool closed = departure.circuit != nullptr && departure.circuit->port == forward::kNoPort;
    if (!departure.to_host && !closed) {
      forward::TrafficTotals& counts = world_.counts(departure.egress);
      ++counts.tx_packets;
      counts.tx_bytes += bytes;
      if (departure.sa != nullptr) {
        ++departure.sa->usage.packets;
        departure.sa->usage.bytes += bytes;
      }
    }
    if (departure.lost) continue;
    forward::TrafficTotals& port = world_.port_traffic[departure.port];
    ++port.tx_packets;
    port.tx_bytes += frame_bytes(departure);
    if (departure.to_host) ++world_.counts(departure.egress).punted;
  }
  for (const Ending::Dropped& dropped : ending.drops) {
    if (dropped.from && world_.mentioned(*dropped.from)) ++world_.counts(*dropped.from).dropped;
  }
  if (bucket && ending.tokens > 0) bucket->take();
}

namespace {

void add_ip(Bytes& frame, const IpAddress& source, const IpAddress& destination, std::uint8_t traffic_class,
            std::uint16_t id, std::uint8_t protocol, std::size_t payload, bool may_fragment = false) {
  constexpr std::uint8_t kTtl = 64;
  const std::size_t start = frame.size();
  if (source.is_v4()) {
    add8(frame, 0x45);
    add8(frame, traffic_class);
    add16(frame, 20 + payload);
    add16(frame, id);
    add16(frame, may_fragment ? 0 : 0x4000);  // VXLAN never: RFC 7348 section 4.3
    add8(frame, kTtl);
    add8(frame, protocol);
    add16(frame, 0);
    add(frame, source.bytes());
    add(frame, destination.bytes());
    put16(frame, start + 10, internet_checksum(from(frame, start)));
  } else {
    add32(frame, (6U << 28) | (std::uint32_t{traffic_class} << 20));
    add16(frame, payload);
    add8(frame, protocol);
    add8(frame, kTtl);
    add(frame, source.bytes());
    add(frame, destination.bytes());
  }
}

/// Without a checksum over IPv4, with one over IPv6 (RFC 8200 section 8.1).
void add_udp(Bytes& frame, const IpAddress& source, const IpAddress& destination, std::size_t source_port,
             std::size_t destination_port, View payload) {
  const std::size_t start = frame.size();
  add16(frame, source_port);
  add16(frame, destination_port);
  add16(frame, 8 + payload.size());
  add16(frame, 0);
  add(frame, payload);
  if (source.is_v4()) return;
  const std::uint16_t sum =
      internet_checksum(from(frame, start), pseudo_header_sum(source, destination, 17, 8 + payload.size()));
  put16(frame, start + 6, sum == 0 ? 0xffff : sum);
}

std::uint8_t class_of(View packet) {
  return packet[0] >> 4 == 4 ? packet[1] : static_cast<std::uint8_t>(get16(packet, 0) >> 4);
}

Bytes ethernet_header(const AdjacencyEntry& neighbor, bool v4) {
  Bytes frame;
  add(frame, neighbor.destination.bytes);
  add(frame, neighbor.source.bytes);
  add16(frame, v4 ? 0x0800 : 0x86dd);
  return frame;
}

/// RFC 7348 section 5. The outer header has the inner one's DSCP and ECN (RFC 6040 section 4.1).
Bytes vxlan_frame(const Departure& departure, View packet, std::uint16_t source_port) {
  const VpcEntry& vpc = *departure.vpc;
  const IpAddress& ours = vpc.vtep;
  const IpAddress& theirs = departure.endpoint->vtep;
  Bytes inside;
  add32(inside, 0x08000000);
  add32(inside, vpc.vni.value() << 8);
  add(inside, departure.endpoint->mac.bytes);
  add(inside, vpc.gateway_mac.bytes);
  add16(inside, packet[0] >> 4 == 4 ? 0x0800 : packet[0] >> 4 == 6 ? 0x86dd : 0x0806);
  add(inside, packet);
  Bytes frame = ethernet_header(*departure.neighbor, ours.is_v4());
  add_ip(frame, ours, theirs, departure.answer ? std::uint8_t{0} : class_of(packet), 0, 17, 8 + inside.size());
  add_udp(frame, ours, theirs, source_port, vpc.udp_port, inside);
  return frame;
}

/// IEEE 802.1Q clause 9: the tags stand behind the addresses.
Bytes tagged_frame(const Departure& departure, View packet) {
  const CircuitEntry& circuit = *departure.circuit;
  Bytes frame;
  if (departure.whole_frame) {
    add(frame, packet.first(12));
  } else {
    add(frame, departure.to.bytes);
    add(frame, circuit.mac.bytes);
  }
  if (circuit.outer_vlan != 0) {
    add16(frame, circuit.outer_type);
    add16(frame, circuit.outer_vlan);
  }
  add16(frame, 0x8100);
  add16(frame, circuit.vlan);
  if (departure.whole_frame) {
    add(frame, from(packet, 12));
  } else {
    add16(frame, packet[0] >> 4 == 4 ? 0x0800 : 0x86dd);
    add(frame, packet);
  }
  return frame;
}

/// RFC 4301 section 8.1. Nobody but its sender may fragment an IPv6 packet.
bool may_be_fragmented(forward::OuterDf policy, View packet) {
  if (policy != forward::OuterDf::kCopy) return policy == forward::OuterDf::kClear;
  return packet[0] >> 4 == 4 && (packet[6] & 0x40) == 0;
}

/// What `seen` is of such a datagram has as identification, if it opens.
std::optional<std::uint16_t> identification_in(View seen, const Departure& departure, std::size_t packet_bytes, std::uint64_t sequence) {
  const SaSpec& sa = departure.sa->spec;
  const EspCipher& cipher = departure.sa->cipher;
  const std::size_t at = 14 + (sa.path.source.is_v4() ? 20U : 40U) + (sa.path.encap ? 8U : 0U);
  if (seen.size() < at + 8 + cipher.iv_bytes() + packet_bytes + cipher.icv_bytes()) return std::nullopt;
  const auto plain = cipher.open(from(seen, at), sequence, sa.esn);
  if (!plain) return std::nullopt;
  return get16(*plain, 4);
}

Bytes identified_as(View packet, std::uint16_t identification) {
  Bytes same = copy(packet);
  put16(same, 4, identification);
  write_header_checksum(same);
  return same;
}

/// The identification goes on with the sequence number, from the SPI on, so that packets that somebody fragments differ.
Bytes esp_frame(const Departure& departure, View packet, std::uint64_t sequence, View seen, std::optional<std::uint16_t> identification) {
  const SaSpec& sa = departure.sa->spec;
  const EspCipher& cipher = departure.sa->cipher;
  Bytes iv = cipher.iv_of(sequence);
  const std::size_t at = 14 + (sa.path.source.is_v4() ? 20U : 40U) + (sa.path.encap ? 8U : 0U) + 8;
  if (!cipher.is_aead() && seen.size() >= at + iv.size()) iv = copy(seen.subspan(at, iv.size()));
  const Bytes inside = identification ? identified_as(packet, *identification) : copy(packet);
  const Bytes esp = cipher.protect(sa.spi, sequence, sa.esn, iv, esp_plaintext(inside, cipher.alignment()));
  const auto outer_class = static_cast<std::uint8_t>(class_of(packet) & (sa.copy_dscp ? 0xff : 3));
  const IpAddress& ours = sa.path.source;
  const IpAddress& theirs = sa.path.destination;
  Bytes frame = ethernet_header(*departure.neighbor, ours.is_v4());
  const auto id = static_cast<std::uint16_t>(sequence + sa.spi.value());
  const bool may_fragment = may_be_fragmented(departure.outer_df, packet);
  if (!sa.path.encap) {
    add_ip(frame, ours, theirs, outer_class, id, 50, esp.size(), may_fragment);
    add(frame, esp);
    return frame;
  }
  add_ip(frame, ours, theirs, outer_class, id, 17, 8 + esp.size(), may_fragment);
  add_udp(frame, ours, theirs, sa.path.source_port, sa.path.destination_port, esp);
  return frame;
}

}  // namespace

std::size_t frame_bytes(const Departure& departure) {
  const std::size_t packet = departure.packets.front().size();
  if (departure.to_host) return packet;
  if (departure.circuit != nullptr) {
    return packet + (departure.whole_frame ? 0U : 14U) + (departure.circuit->outer_vlan != 0 ? 8U : 4U);
  }
  const auto ip = [](const IpAddress& address) -> std::size_t { return address.is_v4() ? 20 : 40; };
  if (departure.vpc != nullptr) return 14 + ip(departure.vpc->vtep) + 8 + 8 + 14 + packet;
  const forward::SaPath& path = departure.sa->spec.path;
  const EspCipher& cipher = departure.sa->cipher;
  const std::size_t padded = (packet + 2 + cipher.alignment() - 1) / cipher.alignment() * cipher.alignment();
  return 14 + ip(path.source) + (path.encap ? 8 : 0) + 8 + cipher.iv_bytes() + padded + cipher.icv_bytes();
}

std::optional<std::uint16_t> identification_of(const Departure& departure, std::size_t which, std::uint64_t number, View seen) {
  if (departure.identified == nullptr) return std::nullopt;
  return identification_in(seen, departure, departure.packets[which].size(), number);
}

Bytes frame_of(const Departure& departure, std::size_t which, std::uint64_t number, View seen, std::optional<std::uint16_t> identification) {
  const Bytes& packet = departure.packets[which];
  if (departure.to_host) return packet;
  if (departure.circuit != nullptr) return tagged_frame(departure, packet);
  if (departure.vpc != nullptr) return vxlan_frame(departure, packet, static_cast<std::uint16_t>(number));
  return esp_frame(departure, packet, number, seen, identification);
}

}  // namespace simplon::oracle
