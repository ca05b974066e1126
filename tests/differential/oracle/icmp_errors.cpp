// SPDX-License-Identifier: GPL-2.0-or-later
//
// ICMP errors: RFC 792 and RFC 1812 section 4.3, RFC 4443. They leave through the attachment that the packet came from.
#include <algorithm>

#include "tests/differential/oracle/oracle.h"

namespace simplon::oracle {
namespace {

/// RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e): never about an ICMP error or what may be one, or a later
/// fragment.
bool may_be_answered(View bytes, const IpPacket& ip) {
  if (ip.later_fragment) return false;
  if (ip.flow.protocol != (ip.family == 4 ? 1 : 58)) return true;
  if (ip.transport >= bytes.size()) return false;
  const std::uint8_t type = bytes[ip.transport];
  if (ip.family == 6) return type >= 128 && type != 137;
  return type != 3 && type != 4 && type != 5 && type != 11 && type != 12;
}

}  // namespace

/// Of the attachment it came from; if that has none, one of its domain, whichever.
std::vector<IpAddress> Oracle::our_addresses(const Inside& packet) const {
  const auto address_of = [&](AttachmentId attachment) -> std::optional<IpAddress> {
    const auto host_port = world_.host_ports.find(attachment);
    if (host_port == world_.host_ports.end()) return std::nullopt;
    for (const IpAddress& address : host_port->second.addresses) {
      const bool v4 = address.is_v4();
      if (v4 != (packet.ip.family == 4)) continue;
      if (v4 || address.bytes()[0] != 0xfe || (address.bytes()[1] & 0xc0) != 0x80) return address;
    }
    return std::nullopt;
  };
  if (const auto own = address_of(packet.ingress)) return {*own};
  std::vector<IpAddress> others;
  const auto domain = world_.domain_of(packet.ingress);
  if (!domain) return {};
  for (const auto& [attachment, host_port] : world_.host_ports) {
    if (world_.domain_of(attachment) != domain) continue;
    if (const auto address = address_of(attachment)) others.push_back(*address);
  }
  return others;
}

void Oracle::answer(const Inside& packet, Answer why, std::size_t mtu, Ending ending, Outcome& outcome) const {
  const auto done = [&] { outcome.endings.push_back(std::move(ending)); };
  if (!may_be_answered(packet.bytes, packet.ip)) return done();
  const std::vector<IpAddress> sources = our_addresses(packet);
  if (sources.empty()) return done();
  if (bucket && bucket->empty()) {
    ++ending.suppressed;
    return done();
  }
  ++ending.tokens;

  const bool v4 = packet.ip.family == 4;
  // Its sender knows no other addresses (RFC 5508 section 4.2).
  Bytes about = packet.came ? packet.came->first : packet.bytes;
  if (about != packet.bytes) {
    // Translated back: a checksum of 0xffff, which is another zero, comes back as 0 (RFC 1624).
    readdress(about, packet.came->second, talk_of(about, packet.came->second, {}).ends);
  }
  const IpAddress to = (packet.came ? packet.came->second : packet.ip).flow.source;
  std::uint8_t type = 0, code = 0;
  std::uint32_t word = 0;
  switch (why) {
    case Answer::kTimeExceeded:
      type = v4 ? 11 : 3;
      break;
    case Answer::kNetUnreachable:
      type = v4 ? 3 : 1;
      break;
    case Answer::kHostUnreachable:
      type = v4 ? 3 : 1;
      code = v4 ? 1 : 3;
      break;
    case Answer::kRejected:
      type = v4 ? 3 : 1;
      code = v4 ? 1 : 6;
      break;
    case Answer::kTooBig:  // RFC 1191 section 4; RFC 4443 section 3.2. No path has less than 68 and 1,280.
      type = v4 ? 3 : 2;
      code = v4 ? 4 : 0;
      word = static_cast<std::uint32_t>(std::max<std::size_t>(mtu, v4 ? 68 : 1280));
      break;
  }
  // As much of the packet as fits 576 bytes (RFC 1812 section 4.3.2.3), 1,280 bytes (RFC 4443 section 2.4 (c)).
  const std::size_t headers = (v4 ? 20U : 40U) + 8U;
  const std::size_t quoted = std::min(about.size(), (v4 ? 576U : 1280U) - headers);

  std::vector<Bytes> variants;
  for (const IpAddress& source : sources) {
    Bytes icmp;
    add8(icmp, type);
    add8(icmp, code);
    add16(icmp, 0);
    add32(icmp, word);
    add(icmp, View(about).first(quoted));
    const std::uint16_t pseudo = v4 ? std::uint16_t{0} : pseudo_header_sum(source, to, 58, icmp.size());
    put16(icmp, 2, internet_checksum(icmp, pseudo));

    Bytes bytes;
    if (v4) {
      bytes = {0x45, 0xc0, 0, 0, 0, 0, 0x40, 0, 64, 1, 0, 0};  // precedence 6: RFC 1812 section 4.3.2.5
      put16(bytes, 2, headers + quoted);
      add(bytes, source.bytes());
      add(bytes, to.bytes());
      put16(bytes, 10, internet_checksum(bytes));
    } else {
      add32(bytes, 0x6c000000);
      add16(bytes, icmp.size());
      add8(bytes, 58);
      add8(bytes, 64);
      add(bytes, source.bytes());
      add(bytes, to.bytes());
    }
    add(bytes, icmp);
    if (!parse_ip(bytes).drop) variants.push_back(std::move(bytes));  // else an address of ours that is none
  }
  if (variants.empty()) return done();

  ++ending.originated;
  Departure exit;
  exit.originated = true;
  exit.error = true;
  exit.packets = std::move(variants);
  if (packet.from_host) {
    exit.egress = packet.ingress;
    exit.to_host = true;
    exit.port = world_.host_ports.at(packet.ingress).port;
    if (port_missing(exit.port, forward::PortKind::kHost)) {
      ending.drops.push_back({forward::Drop::kPortMissing, std::nullopt});
    } else {
      ending.departures.push_back(std::move(exit));
    }
    return done();
  }
  if (packet.ingress.kind != forward::AttachmentKind::kCircuit) {
    send_answer({packet.ingress, {}}, to, std::move(exit), ending);
    return done();
  }
  // Behind a circuit are many neighbors: back to the sender leads the route to it.
  const IpAddress sender = packet.came ? packet.sender : to;
  const RouteEntry* back = world_.route_to(*world_.domain_of(packet.ingress), sender);
  if (back == nullptr || back->action != forward::RouteAction::kForward) {
    ending.drops.push_back({forward::Drop::kNoRoute, std::nullopt});
    return done();
  }
  for (const Hop& hop : world_.taking_part(*back)) {
    Ending one = ending;
    send_answer(hop, to, exit, one);
    outcome.endings.push_back(std::move(one));
  }
}

void Oracle::send_answer(const Hop& hop, const IpAddress& to, Departure exit, Ending& ending) const {
  if (const auto lost = find_exit(hop, to, nullptr, exit)) {
    ending.drops.push_back({*lost, std::nullopt});
    return;
  }
  if (exit.packets.front().size() > mtu_out(exit)) {  // never fragmented, never answered
    ending.drops.push_back(
        {to.is_v4() ? forward::Drop::kFragmentationNeeded : forward::Drop::kPacketTooBig, std::nullopt});
    return;
  }
  if (exit.sa != nullptr && !exit.sa->spec.esn && exit.sa->sequence == 0xffffffff) {
    ending.drops.push_back({forward::Drop::kEspSequenceExhausted, std::nullopt});
    return;
  }
  if (port_missing(exit.port, forward::PortKind::kUplink)) {
    exit.lost = forward::Drop::kPortMissing;
    ending.drops.push_back({forward::Drop::kPortMissing, std::nullopt});
  }
  ending.departures.push_back(std::move(exit));
}

}  // namespace simplon::oracle
