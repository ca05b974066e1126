// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstddef>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/fixup.h"
#include "gateway/forward/src/path/host_frame.h"
#include "gateway/forward/src/path/stages.h"
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

/// Moves the front of the packet forward.
void strip(Transit& packet, std::size_t bytes) noexcept {
  packet.data += bytes;
  packet.length = static_cast<std::uint16_t>(packet.length - bytes);
}

/// `packet` is the payload of a UDP datagram.
void classify_datagram(Burst& burst, unsigned number, Transit& packet, std::uint16_t destination_port) noexcept {
  if (destination_port != wire::kPortEspInUdp) {
    const wire::VxlanHeader* vxlan = wire::parse_vxlan(packet.bytes());
    packet.attachment = burst.tables.vnis[vxlan == nullptr ? 0 : vxlan->vni()].load(std::memory_order_acquire);
    if (packet.attachment != nullptr) {
      packet.attachment->prefetch_arrival();
      __builtin_prefetch(&packet.attachment->vtep);
    }
    return burst.vxlan_in.push(number);
  }

  if (packet.length == 1 && packet.data[0] == 0xff) return burst.drop(number, Drop::kNatKeepalive);  // RFC 3948 2.3
  if (packet.length >= 4 && load32(packet.data) == 0) return burst.drop(number, Drop::kIkeMisdirected);  // RFC 3948 2.2
  packet.encap = true;
  burst.esp_in.push(number);
}

/// `packet` starts with the payload of the outer IP header.
void classify_udp(Burst& burst, unsigned number, Transit& packet) noexcept {
  const wire::UdpHeader* udp = wire::parse_udp(packet.bytes());
  if (udp == nullptr) return burst.drop(number, Drop::kUdpMalformed);
  packet.length = udp->length.host();
  strip(packet, sizeof *udp);
  classify_datagram(burst, number, packet, udp->destination_port.host());
}

void classify_ip_payload(Burst& burst, unsigned number, Transit& packet, std::uint8_t protocol) noexcept {
  switch (protocol) {
    case wire::kProtocolUdp:
      return classify_udp(burst, number, packet);
    case wire::kProtocolEsp:
      return burst.esp_in.push(number);
    default:
      return burst.drop(number, Drop::kOuterProtocol);
  }
}

/// Goes on with a packet that is whole again.
[[gnu::cold, gnu::noinline]] void classify_fragment(Burst& burst, unsigned number, Transit& packet, const OuterFragment& fragment) noexcept {
  if (burst.reassembly.take(burst, number, fragment)) classify_ip_payload(burst, number, packet, fragment.protocol);
}

void classify_ipv4(Burst& burst, unsigned number, Transit& packet) noexcept {
  const wire::Ipv4Header* ip = wire::parse_ipv4(packet.bytes());
  if (ip == nullptr) return burst.drop(number, Drop::kOuterIpv4Malformed);
  if (!wire::ipv4_checksum_ok(*ip)) return burst.drop(number, Drop::kOuterIpv4Checksum);  // RFC 1122 section 3.2.1.2
  if (ip->is_fragment()) {
    const auto header_bytes = static_cast<std::uint16_t>(ip->header_bytes());
    return classify_fragment(burst, number, packet,
                             {.header = packet.data,
                              .header_bytes = header_bytes,
                              .data_bytes = static_cast<std::uint16_t>(ip->total_length.host() - header_bytes),
                              .offset = static_cast<std::uint16_t>(ip->fragment_offset()),
                              .more = ip->more_fragments(),
                              .family = 4,
                              .protocol = ip->protocol,
                              .id = ip->id.host()});
  }
  packet.outer = packet.data;
  packet.outer_family = 4;
  packet.length = ip->total_length.host();
  strip(packet, ip->header_bytes());
  classify_ip_payload(burst, number, packet, ip->protocol);
}

void classify_ipv6_fragment(Burst& burst, unsigned number, Transit& packet, const wire::Ipv6Header& ip) noexcept {
  constexpr std::uint16_t kHeaders = sizeof ip + sizeof(wire::Ipv6FragmentHeader);
  const std::size_t length = sizeof ip + ip.payload_length.host();
  if (length < kHeaders) return burst.drop(number, Drop::kOuterFragment);
  const auto* part = reinterpret_cast<const wire::Ipv6FragmentHeader*>(packet.data + sizeof ip);
  const std::uint16_t offset_more = part->offset_more.host();
  classify_fragment(burst, number, packet,
                    {.header = packet.data,
                     .header_bytes = kHeaders,
                     .data_bytes = static_cast<std::uint16_t>(length - kHeaders),
                     .offset = static_cast<std::uint16_t>(offset_more & 0xfff8U),
                     .more = (offset_more & 1U) != 0,
                     .family = 6,
                     .protocol = part->next_header,
                     .id = part->id.host()});
}

void classify_ipv6(Burst& burst, unsigned number, Transit& packet) noexcept {
  const wire::Ipv6Header* ip = wire::parse_ipv6(packet.bytes());
  if (ip == nullptr) return burst.drop(number, Drop::kOuterIpv6Malformed);
  if (ip->next_header == wire::kProtocolFragment) return classify_ipv6_fragment(burst, number, packet, *ip);
  packet.outer = packet.data;
  packet.outer_family = 6;
  packet.length = static_cast<std::uint16_t>(sizeof *ip + ip->payload_length.host());
  const std::uint8_t next = ip->next_header;
  strip(packet, sizeof *ip);
  classify_ip_payload(burst, number, packet, next);
}

struct UdpFrame {
  wire::EthernetHeader ethernet;
  wire::Ipv4Header ip;
  wire::UdpHeader udp;
};

/// What nearly every frame is: to us, plain IPv4, UDP, all lengths in order. False: it is something else, wrong or only rare,
/// and nothing was done.
[[nodiscard]] bool classify_plain(Burst& burst, unsigned number, Transit& packet, const MacAddress& ours) noexcept {
  const auto& frame = *reinterpret_cast<const UdpFrame*>(packet.data);
  if (packet.length < sizeof frame || frame.ethernet.destination != ours ||
      frame.ethernet.type.host() != wire::kEtherTypeIpv4 || frame.ip.protocol != wire::kProtocolUdp ||
      !wire::is_plain_ipv4(frame.ip, packet.length - sizeof frame.ethernet)) {
    return false;
  }
  const std::size_t udp_bytes = frame.udp.length.host();
  if (udp_bytes < sizeof frame.udp || udp_bytes + sizeof frame.ip > frame.ip.total_length.host()) return false;
  packet.outer = packet.data + offsetof(UdpFrame, ip);
  packet.outer_family = 4;
  packet.data += sizeof frame;
  packet.length = static_cast<std::uint16_t>(udp_bytes - sizeof frame.udp);
  classify_datagram(burst, number, packet, frame.udp.destination_port.host());
  return true;
}

[[gnu::noinline]] void classify_frame(Burst& burst, unsigned number, Transit& packet, const Port& port) noexcept {
  const wire::EthernetHeader* ethernet = wire::parse_ethernet(packet.bytes());
  if (ethernet == nullptr) return burst.drop(number, Drop::kEthernetTruncated);
  const std::uint16_t type = ethernet->type.host();
  if (wire::is_vlan_type(type)) return burst.circuit_in.push(number);
  if (!port.entry.mac.is_zero() && ethernet->destination != port.entry.mac) {
    return burst.drop(number, Drop::kEthernetNotForUs);
  }
  strip(packet, sizeof *ethernet);
  if (type == wire::kEtherTypeIpv4) return classify_ipv4(burst, number, packet);
  if (type == wire::kEtherTypeIpv6) return classify_ipv6(burst, number, packet);
  burst.drop(number, Drop::kEthernetType);
}

/// A packet that the kernel routed to this attachment.
[[gnu::noinline]] void classify_host_packet(Burst& burst, unsigned number, Transit& packet, std::uint32_t attachment) noexcept {
  if (attachment == 0) return burst.drop(number, Drop::kNoAttachment);
  packet.from_host = true;
  packet.ingress = attachment;
  packet.egress = attachment;
  if (!parse_inner(packet.bytes(), packet.inner)) return burst.drop(number, packet.inner.drop);
  packet.length = packet.inner.length;
  if (packet.fixup) complete_checksum(packet.data, packet.inner);
  burst.resolving.push(number);
}

}  // namespace

void classify(Burst& burst) noexcept {
  const Port* port = nullptr;
  const PortSlot* slot = nullptr;
  TrafficCounters* counters = nullptr;
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  const auto count = [&] {
    if (packets == 0) return;
    counters->rx_packets.add(packets);
    counters->rx_bytes.add(bytes);
    packets = bytes = 0;
  };
  PortId last = kNoPort;
  for (unsigned i = 0; i < burst.received.size(); ++i) {
    const unsigned number = burst.received[i];
    burst.fetch_ahead(burst.received, i);
    Transit& packet = burst.packets[number];
    if (packet.port != last) {
      count();
      last = packet.port;
      slot = &burst.tables.ports[last.value()];
      port = slot->object.load(std::memory_order_acquire);
      TrafficCounters* all = slot->counters.load(std::memory_order_acquire);
      counters = all == nullptr ? nullptr : all + burst.worker;
    }
    if (port == nullptr || counters == nullptr) {
      burst.drop(number, Drop::kPortMissing);
      continue;
    }
    ++packets;
    bytes += packet.length;
    packet.fixup = port->entry.fixup;
    if (port->entry.kind == PortKind::kHost) {
      const std::uint32_t attachment = slot->attachment.load(std::memory_order_acquire);
      if (port->entry.frames) {
        classify_host_frame(burst, number, packet, attachment);
      } else {
        classify_host_packet(burst, number, packet, attachment);
      }
    } else if (!classify_plain(burst, number, packet, port->entry.mac)) {
      classify_frame(burst, number, packet, *port);
    }
  }
  count();
}

}  // namespace simplon::forward
