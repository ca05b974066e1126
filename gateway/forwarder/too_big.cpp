// SPDX-License-Identifier: GPL-2.0-or-later
//
//     IP | ICMP, with the MTU | quote: IP (ours) | ESP: SPI, sequence number
//                                                | UDP | ESP: SPI, sequence number
//                                                | UDP | VXLAN | Ethernet | IP up to its destination
//
// A quote ends anywhere behind the first 8 bytes after its IP header (RFC 792), though most routers quote as much as 576 or 1,280
// bytes allow (RFC 1812 section 4.3.2.3, RFC 4443 section 3.2). Its lengths are those of the whole packet and say nothing of how much
// there is. IPv6 extension headers are in none of our outer packets.
#include "gateway/forwarder/too_big.h"

#include <algorithm>
#include <array>

#include "platform/wire/esp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/icmp.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"
#include "platform/wire/vxlan.h"

namespace simplon::forwarder {
namespace {

using Bytes = std::span<const std::uint8_t>;
using Parsed = std::variant<TooBig, TooBigFault>;

/// nullptr: the quote ends before it does.
template <class Header>
[[nodiscard]] const Header* header_at(Bytes bytes, std::size_t offset) noexcept {
  if (bytes.size() < offset || bytes.size() - offset < sizeof(Header)) return nullptr;
  return reinterpret_cast<const Header*>(bytes.data() + offset);
}

Parsed parse_esp(Bytes bytes, TooBig about, QuotedEsp esp) {
  const auto* header = header_at<wire::EspHeader>(bytes, 0);
  if (header == nullptr) return TooBigFault::kShortQuote;
  esp.spi = Spi(header->spi.host());
  esp.sequence = header->sequence.host();
  about.content = esp;
  return about;
}

Parsed parse_vxlan(Bytes bytes, TooBig about, std::uint16_t port) {
  const auto* header = header_at<wire::VxlanHeader>(bytes, 0);
  const auto* ethernet = header_at<wire::EthernetHeader>(bytes, sizeof *header);
  if (ethernet == nullptr) return TooBigFault::kShortQuote;
  if (!header->vni_valid()) return TooBigFault::kForeign;
  QuotedVxlan vxlan;
  vxlan.destination_port = port;
  vxlan.vni = Vni(header->vni());
  vxlan.inner_source = ethernet->source;
  vxlan.inner_destination = ethernet->destination;
  const std::size_t inner = sizeof *header + sizeof *ethernet;
  if (ethernet->type.host() == wire::kEtherTypeIpv4) {
    const auto* ip = header_at<wire::Ipv4Header>(bytes, inner);
    if (ip == nullptr) return TooBigFault::kShortQuote;
    vxlan.inner_address = IpAddress::v4(ip->destination);
  } else if (ethernet->type.host() == wire::kEtherTypeIpv6) {
    const auto* ip = header_at<wire::Ipv6Header>(bytes, inner);
    if (ip == nullptr) return TooBigFault::kShortQuote;
    vxlan.inner_address = IpAddress::v6(ip->destination);
  } else {
    return TooBigFault::kForeign;  // ARP always fits
  }
  about.content = vxlan;
  return about;
}

/// `bytes`: behind the quoted IP header.
Parsed parse_payload(Bytes bytes, std::uint8_t protocol, TooBig about) {
  if (protocol == wire::kProtocolEsp) return parse_esp(bytes, about, {});
  if (protocol != wire::kProtocolUdp) return TooBigFault::kForeign;
  const auto* udp = header_at<wire::UdpHeader>(bytes, 0);
  if (udp == nullptr) return TooBigFault::kShortQuote;
  const Bytes inside = bytes.subspan(sizeof *udp);
  // Our VXLAN never comes from this port (vxlan_source_port). The peer's port is another one behind a NAT.
  if (udp->source_port.host() != wire::kPortEspInUdp) return parse_vxlan(inside, about, udp->destination_port.host());
  QuotedEsp esp;
  esp.encap = true;
  esp.source_port = udp->source_port.host();
  esp.destination_port = udp->destination_port.host();
  return parse_esp(inside, about, esp);
}

Parsed parse_quote4(Bytes quote, TooBig about) {
  const auto* ip = header_at<wire::Ipv4Header>(quote, 0);
  if (ip == nullptr) return TooBigFault::kShortQuote;
  // Ours have no options and are no fragments. Where one may be fragmented, no router has a reason to complain.
  if (ip->version_ihl != 0x45 || ip->is_fragment() || !ip->dont_fragment()) return TooBigFault::kForeign;
  about.source = IpAddress::v4(ip->source);
  about.destination = IpAddress::v4(ip->destination);
  about.packet_bytes = ip->total_length.host();
  return parse_payload(quote.subspan(sizeof *ip), ip->protocol, about);
}

Parsed parse_quote6(Bytes quote, TooBig about) {
  const auto* ip = header_at<wire::Ipv6Header>(quote, 0);
  if (ip == nullptr) return TooBigFault::kShortQuote;
  if (ip->version() != 6) return TooBigFault::kForeign;
  about.source = IpAddress::v6(ip->source);
  about.destination = IpAddress::v6(ip->destination);
  about.packet_bytes = static_cast<std::uint16_t>(std::min<std::size_t>(sizeof *ip + ip->payload_length.host(), 65535));
  return parse_payload(quote.subspan(sizeof *ip), ip->next_header, about);
}

Parsed parse4(Bytes packet) {
  const auto* ip = wire::parse_ipv4(packet);
  if (ip == nullptr || ip->is_fragment() || ip->protocol != wire::kProtocolIcmp || !wire::ipv4_checksum_ok(*ip)) {
    return TooBigFault::kMalformed;
  }
  const Bytes message = packet.first(ip->total_length.host()).subspan(ip->header_bytes());
  const auto* icmp = header_at<wire::IcmpHeader>(message, 0);
  if (icmp == nullptr || icmp->type != wire::kIcmpUnreachable || icmp->code != wire::kIcmpFragmentationNeeded ||
      !wire::checksum_ok(message)) {
    return TooBigFault::kMalformed;
  }
  TooBig about;
  about.router = IpAddress::v4(ip->source);
  about.mtu_bytes = icmp->word.host() & 0xffffU;
  return parse_quote4(message.subspan(sizeof *icmp), about);
}

Parsed parse6(Bytes packet) {
  const auto* ip = wire::parse_ipv6(packet);
  if (ip == nullptr || ip->next_header != wire::kProtocolIcmpv6) return TooBigFault::kMalformed;
  const Bytes message = packet.subspan(sizeof *ip, ip->payload_length.host());
  const auto* icmp = header_at<wire::IcmpHeader>(message, 0);
  const auto pseudo = wire::pseudo_header_sum({ip->source.data(), 32}, wire::kProtocolIcmpv6,
                                              static_cast<std::uint32_t>(message.size()));
  if (icmp == nullptr || icmp->type != wire::kIcmpv6PacketTooBig || !wire::checksum_ok(message, pseudo)) {
    return TooBigFault::kMalformed;
  }
  TooBig about;
  about.router = IpAddress::v6(ip->source);
  about.mtu_bytes = icmp->word.host();
  return parse_quote6(message.subspan(sizeof *icmp), about);
}

}  // namespace

Parsed parse_too_big(Bytes packet) {
  if (packet.empty()) return TooBigFault::kMalformed;
  return packet[0] >> 4 == 6 ? parse6(packet) : parse4(packet);
}

std::uint16_t plateau_below(std::uint16_t packet_bytes) noexcept {
  constexpr std::array<std::uint16_t, 9> kPlateaus = {65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508};
  for (const std::uint16_t plateau : kPlateaus) {
    if (plateau < packet_bytes) return plateau;
  }
  return 0;
}

}  // namespace simplon::forwarder
