// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sizes: what fits through a tunnel, what becomes of what does not, and how TCP is told before it matters.
#include <algorithm>

#include "tests/differential/oracle/oracle.h"

namespace simplon::oracle {
namespace {

constexpr std::size_t kUdp = 8;

std::size_t ip_header(const IpAddress& address) { return address.is_v4() ? 20 : 40; }

}  // namespace

/// The largest packet that, padded, with SPI, sequence number, IV, pad length, next header (2) and ICV, fits the path.
/// The encrypted part comes in words, or in blocks.
std::size_t Oracle::tunnel_mtu(TunnelId id, const OutboundSa& sa, const AdjacencyEntry& neighbor) const {
  const forward::SaPath& path = sa.spec.path;
  const std::size_t around =
      ip_header(path.source) + (path.encap ? kUdp : 0) + 8 + sa.cipher.iv_bytes() + sa.cipher.icv_bytes();
  const std::size_t unit = sa.cipher.alignment();
  std::size_t mtu = 0;
  if (neighbor.path_mtu >= around + unit) mtu = (neighbor.path_mtu - around) / unit * unit - 2;
  const std::size_t bound = world_.tunnels.at(id).mtu;
  return bound == 0 ? mtu : std::min(mtu, bound);
}

std::size_t Oracle::mtu_out(const Departure& exit) const {
  if (exit.circuit != nullptr) return exit.circuit->mtu;
  if (exit.sa != nullptr) return tunnel_mtu(TunnelId{exit.egress.id}, *exit.sa, *exit.neighbor);
  const std::size_t around = ip_header(exit.vpc->vtep) + kUdp + 8 + 14;
  const std::size_t path = exit.neighbor->path_mtu;
  return std::min<std::size_t>(path > around ? path - around : 0, exit.vpc->mtu);
}

/// For answers through the attachment that a packet came from; 0: not known.
std::size_t Oracle::mtu_back(AttachmentId ingress) const {
  if (ingress.kind == forward::AttachmentKind::kVpc) {
    const auto vpc = world_.vpcs.find(Vni{ingress.id});
    return vpc == world_.vpcs.end() ? 0 : vpc->second.mtu;
  }
  if (ingress.kind == forward::AttachmentKind::kCircuit) {
    const auto circuit = world_.circuits.find(CircuitId{ingress.id});
    return circuit == world_.circuits.end() ? 0 : circuit->second.mtu;
  }
  const TunnelId id{ingress.id};
  const auto tunnel = world_.tunnels.find(id);
  if (tunnel == world_.tunnels.end()) return 0;
  const auto sa = world_.outbound.find(id);
  if (sa == world_.outbound.end()) return tunnel->second.mtu;
  const AdjacencyEntry* neighbor = world_.neighbor(sa->second.spec.path.destination);
  return neighbor == nullptr ? tunnel->second.mtu : tunnel_mtu(id, sa->second, *neighbor);
}

/// The MSS option of a SYN is lowered to what fits both ways (RFC 9293 section 3.7.1), if a tunnel on either side asks
/// for it. The checksum is updated, not computed: a wrong one stays wrong (RFC 1624).
void Oracle::clamp_mss(Inside& packet, AttachmentId egress, std::size_t mtu) const {
  if (packet.ip.flow.protocol != 6 || packet.ip.later_fragment) return;
  const std::size_t tcp = packet.ip.transport;
  Bytes& bytes = packet.bytes;
  if (bytes.size() < tcp + 20 || (bytes[tcp + 13] & 2) == 0) return;
  const std::size_t end = tcp + (bytes[tcp + 12] >> 4) * std::size_t{4};
  if (end < tcp + 20 || end > bytes.size()) return;

  const auto asks = [this](AttachmentId attachment) {
    if (attachment.kind == forward::AttachmentKind::kVpc) return false;
    if (attachment.kind == forward::AttachmentKind::kCircuit) {
      const auto circuit = world_.circuits.find(CircuitId{attachment.id});
      return circuit != world_.circuits.end() && circuit->second.clamp_mss;
    }
    const auto tunnel = world_.tunnels.find(TunnelId{attachment.id});
    return tunnel != world_.tunnels.end() && tunnel->second.clamp_mss;
  };
  if (!asks(egress) && !asks(packet.ingress)) return;
  if (packet.ingress != egress) {
    const std::size_t back = mtu_back(packet.ingress);
    if (back != 0) mtu = std::min(mtu, back);
  }
  const std::size_t headers = (packet.ip.family == 4 ? 20U : 40U) + 20U;
  if (mtu <= headers) return;
  const std::size_t limit = mtu - headers;

  std::size_t at = tcp + 20;
  while (at < end && bytes[at] != 0) {
    if (bytes[at] == 1) {
      ++at;
      continue;
    }
    if (at + 1 >= end || bytes[at + 1] < 2 || at + bytes[at + 1] > end) return;
    if (bytes[at] == 2 && bytes[at + 1] == 4) break;
    at += bytes[at + 1];
  }
  if (at >= end || bytes[at] == 0) return;
  const std::size_t mss = at + 2;
  if (get16(bytes, mss) <= limit) return;

  const auto words = [&] {  // the words of the segment in which the option's value lies
    const std::size_t first = mss - (mss - tcp) % 2;
    return std::uint32_t{get16(bytes, first)} + (first == mss ? 0U : get16(bytes, first + 2));
  };
  const std::uint32_t before = words();
  put16(bytes, mss, limit);
  std::uint64_t sum = (~std::uint32_t{get16(bytes, tcp + 16)} & 0xffff) + std::uint64_t{words()} + 2 * 0xffff - before;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  put16(bytes, tcp + 16, ~sum & 0xffff);
}

/// RFC 791 section 2.3 and 3.1: the first keeps all options, the others those that are to be copied.
std::vector<Bytes> Oracle::fragments(const Bytes& packet, const IpPacket& ip, std::size_t mtu) {
  const View bytes(packet);
  const View header = bytes.first(ip.header_bytes);
  Bytes later_header = copy(header.first(20));
  each_option(header, [&later_header](std::uint8_t type, View option) {
    if ((type & 0x80) != 0) add(later_header, option);
  });
  while (later_header.size() % 4 != 0) add8(later_header, 0);
  later_header[0] = static_cast<std::uint8_t>(0x40 | (later_header.size() / 4));

  std::vector<Bytes> parts;
  for (std::size_t at = ip.header_bytes; at < packet.size();) {
    Bytes part = parts.empty() ? copy(header) : later_header;
    const std::size_t room = (mtu - part.size()) / 8 * 8;
    const std::size_t left = packet.size() - at;
    const bool last = left <= room && !parts.empty();
    const View piece = bytes.subspan(at, std::min(left, room));
    put16(part, 2, part.size() + piece.size());
    const std::size_t offset = ip.fragment_offset + at - ip.header_bytes;
    put16(part, 6, (last && !ip.more_fragments ? 0U : 0x2000U) | offset / 8);
    add(part, piece);
    write_header_checksum(part);
    parts.push_back(std::move(part));
    at += piece.size();
  }
  return parts;
}

}  // namespace simplon::oracle
