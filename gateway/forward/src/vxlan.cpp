// SPDX-License-Identifier: GPL-2.0-or-later
//
// VXLAN as a gateway speaks it (RFC 7348 section 6.1: "VXLAN gateways"). Nothing is flooded or learned: a frame is
// accepted only from a listed VTEP, to our VTEP and the VPC's port, with the gateway's MAC address and a source address of
// the VPC; it is sent only to an endpoint that the tables know.
#include <utility>

#include "gateway/forward/src/burst.h"
#include "gateway/forward/src/ecn.h"
#include "gateway/forward/src/fixup.h"
#include "gateway/forward/src/stages.h"
#include "gateway/forward/src/udp_checksum.h"
#include "platform/wire/arp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/udp.h"
#include "platform/wire/vxlan.h"

namespace simplon::forward {
namespace {

constexpr std::uint8_t kOuterTtl = 64;                // RFC 1700's default
constexpr std::uint16_t kFirstSourcePort = 49152;     // RFC 7348 section 5: the dynamic range
constexpr unsigned kSourcePorts = 65536 - kFirstSourcePort;

/// `packet` starts with the VXLAN header; the UDP header lies in front of it.
[[nodiscard]] std::uint16_t udp_destination_port(const Transit& packet) noexcept {
  return reinterpret_cast<const wire::UdpHeader*>(packet.data - sizeof(wire::UdpHeader))->destination_port.host();
}

struct OuterAddresses {
  WireAddress source;
  WireAddress destination;
};
[[nodiscard]] OuterAddresses outer_addresses(const Transit& packet) noexcept {
  if (packet.outer_family == 4) {
    const auto* ip = reinterpret_cast<const wire::Ipv4Header*>(packet.outer);
    return {WireAddress::v4(ip->source.data()), WireAddress::v4(ip->destination.data())};
  }
  const auto* ip = reinterpret_cast<const wire::Ipv6Header*>(packet.outer);
  return {WireAddress::v6(ip->source.data()), WireAddress::v6(ip->destination.data())};
}

/// Answers a request for the gateway's address from a known endpoint, at the endpoint's own VTEP; drops all other ARP.
void answer_arp(Burst& burst, unsigned number, Transit& packet, const Attachment& vpc) noexcept {
  const auto* ethernet = reinterpret_cast<const wire::EthernetHeader*>(packet.data);
  const MacAddress asker = ethernet->source;
  const wire::ArpPacket* request = wire::parse_arp(packet.bytes().subspan(sizeof(wire::EthernetHeader)));
  const HostPort* host_port =
      burst.tables.attachments[packet.ingress].host_port.load(std::memory_order_acquire);
  if (request == nullptr || request->operation.host() != wire::kArpRequest || host_port == nullptr ||
      host_port->v4.family == 0 || host_port->v4 != WireAddress::v4(request->target_ip.data())) {
    return burst.drop(number, Drop::kVxlanInnerArp);
  }
  const WireAddress sender = WireAddress::v4(request->sender_ip.data());
  const Endpoint* endpoint = burst.tables.endpoints.find(EndpointKey::of(vpc.id, sender));
  if (endpoint == nullptr || endpoint->mac != asker || request->sender_mac != asker ||
      endpoint->vtep.family != vpc.vtep.family) {
    return burst.drop(number, Drop::kVxlanInnerArp);
  }
  packet.adjacency = burst.tables.adjacencies[endpoint->adjacency].load(std::memory_order_acquire);
  if (packet.adjacency == nullptr) return burst.drop(number, Drop::kAdjacencyUnresolved);

  auto* reply = reinterpret_cast<wire::ArpPacket*>(packet.data + sizeof(wire::EthernetHeader));
  const auto asked = reply->target_ip;
  reply->operation = wire::kArpReply;
  reply->target_mac = asker;
  reply->target_ip = reply->sender_ip;
  reply->sender_mac = vpc.gateway_mac;
  reply->sender_ip = asked;
  packet.data += sizeof(wire::EthernetHeader);
  packet.length = sizeof(wire::ArpPacket);
  packet.inner = InnerPacket{};  // family 0: not IP
  packet.egress = packet.ingress;
  packet.attachment = &vpc;
  packet.endpoint = endpoint;
  burst.to_vpc.push(number);
}

void accept(Burst& burst, unsigned number, Transit& packet, const Attachment& vpc, std::uint32_t slot) noexcept {
  if (udp_destination_port(packet) != vpc.udp_port) return burst.drop(number, Drop::kVxlanWrongPort);
  const OuterAddresses outer = outer_addresses(packet);
  if (outer.destination != vpc.vtep) return burst.drop(number, Drop::kVxlanWrongVtep);
  if (!vpc.accepted.contains(outer.source)) return burst.drop(number, Drop::kVxlanUnknownPeer);

  // From here on the frame is this VPC's, and so is its drop.
  packet.ingress = slot;
  packet.data += sizeof(wire::VxlanHeader);
  packet.length = static_cast<std::uint16_t>(packet.length - sizeof(wire::VxlanHeader));
  const wire::EthernetHeader* ethernet = wire::parse_ethernet(packet.bytes());
  if (ethernet == nullptr) return burst.drop(number, Drop::kVxlanInnerTruncated);
  const std::uint16_t type = ethernet->type.host();
  if (type == wire::kEtherTypeArp && (ethernet->destination.is_multicast() || ethernet->destination == vpc.gateway_mac)) {
    return answer_arp(burst, number, packet, vpc);
  }
  if (ethernet->destination.is_multicast()) return burst.drop(number, Drop::kVxlanInnerBroadcast);
  if (ethernet->destination != vpc.gateway_mac) return burst.drop(number, Drop::kVxlanWrongMac);
  if (type != wire::kEtherTypeIpv4 && type != wire::kEtherTypeIpv6) return burst.drop(number, Drop::kVxlanInnerType);

  packet.data += sizeof(wire::EthernetHeader);
  packet.length = static_cast<std::uint16_t>(packet.length - sizeof(wire::EthernetHeader));
  if (!parse_inner(packet.bytes(), packet.inner)) return burst.drop(number, packet.inner.drop);
  if (packet.inner.family != (type == wire::kEtherTypeIpv4 ? 4 : 6)) {
    return burst.drop(number, type == wire::kEtherTypeIpv4 ? Drop::kIpv4Malformed : Drop::kIpv6Malformed);
  }
  packet.length = packet.inner.length;  // without the padding of a short frame
  if (!vpc.owns(packet.inner.source)) return burst.drop(number, Drop::kVxlanSpoofedSource);  // RFC 2827
  if (!carry_congestion(packet, packet.outer, packet.inner.family)) return burst.drop(number, Drop::kEcnNotCapable);
  if (packet.fixup) complete_checksum(packet.data, packet.inner);

  if (TrafficCounters* counters = burst.attachment_counters(packet.ingress)) {
    counters->rx_packets.add();
    counters->rx_bytes.add(packet.length);
  }
  packet.attachment = &vpc;
  burst.inner.push(number);
}

[[nodiscard]] std::uint16_t source_port(std::uint32_t flow_hash) noexcept {
  return static_cast<std::uint16_t>(kFirstSourcePort + (flow_hash & (kSourcePorts - 1)));
}
static_assert((kSourcePorts & (kSourcePorts - 1)) == 0);

/// Everything between the outer IP header and the inner packet, and the UDP length.
struct Middle {
  wire::UdpHeader udp;
  wire::VxlanHeader vxlan;
  wire::EthernetHeader ethernet;
};
static_assert(sizeof(Middle) == 30);

void encapsulate(Burst& burst, unsigned number, Transit& packet) noexcept {
  const Attachment& vpc = *packet.attachment;
  const bool v4 = vpc.vtep.family == 4;
  const std::size_t ip_bytes = v4 ? sizeof(wire::Ipv4Header) : sizeof(wire::Ipv6Header);
  const std::size_t front = sizeof(wire::EthernetHeader) + ip_bytes + sizeof(Middle);
  if (!burst.has_room(packet, front, 0)) return burst.drop(number, Drop::kNoHeadroom);

  const bool is_ip = packet.inner.family != 0;
  const std::uint8_t outer_class = is_ip ? traffic_class(packet.data, packet.inner.family) : std::uint8_t{0};
  std::uint8_t* at = packet.data - sizeof(Middle);
  auto* middle = reinterpret_cast<Middle*>(at);
  const std::size_t udp_length = sizeof(Middle) + packet.length;
  middle->udp.source_port = source_port(packet.flow_hash);
  middle->udp.destination_port = vpc.udp_port;
  middle->udp.length = static_cast<std::uint16_t>(udp_length);
  middle->udp.checksum = Be16{};  // RFC 7348 section 5: zero over IPv4
  middle->vxlan = wire::vxlan_header(vpc.id);
  middle->ethernet.destination = packet.endpoint->mac;
  middle->ethernet.source = vpc.gateway_mac;
  middle->ethernet.type = !is_ip ? wire::kEtherTypeArp
                                 : (packet.inner.family == 4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6);
  at -= ip_bytes;
  if (v4) {
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(at);
    ip->version_ihl = 0x45;
    ip->tos = outer_class;
    ip->total_length = static_cast<std::uint16_t>(ip_bytes + udp_length);
    ip->id = Be16{};  // an atomic datagram: RFC 6864 section 4.1
    ip->flags_offset = wire::kIpv4DontFragment;
    ip->ttl = kOuterTtl;
    ip->protocol = wire::kProtocolUdp;
    std::memcpy(ip->source.data(), &vpc.vtep.low, 4);
    std::memcpy(ip->destination.data(), &packet.endpoint->vtep.low, 4);
    wire::set_ipv4_checksum(*ip);
  } else {
    auto* ip = reinterpret_cast<wire::Ipv6Header*>(at);
    ip->version_class_flow = (6U << 28) | (std::uint32_t{outer_class} << 20);
    ip->payload_length = static_cast<std::uint16_t>(udp_length);
    ip->next_header = wire::kProtocolUdp;
    ip->hop_limit = kOuterTtl;
    std::memcpy(ip->source.data(), &vpc.vtep.low, 16);
    std::memcpy(ip->destination.data(), &packet.endpoint->vtep.low, 16);
    // RFC 6935 would allow zero, but stock Linux drops it unless told otherwise (udp6zerocsumrx).
    set_udp6_checksum(*ip, at + ip_bytes, udp_length);
  }
  at -= sizeof(wire::EthernetHeader);
  auto* ethernet = reinterpret_cast<wire::EthernetHeader*>(at);
  *ethernet = packet.adjacency->ethernet;
  ethernet->type = v4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6;

  if (TrafficCounters* counters = burst.attachment_counters(packet.egress)) {
    counters->tx_packets.add();
    counters->tx_bytes.add(packet.length);
  }
  packet.data = at;
  packet.length = static_cast<std::uint16_t>(packet.length + front);
  packet.port = packet.adjacency->port;
  burst.to_uplink.push(number);
}

}  // namespace

void vxlan_decap(Burst& burst) noexcept {
  // Several passes, so that the cache misses of all packets overlap: VNI to slot (fetched by classify), slot to VPC, then
  // the work.
  for (const unsigned number : burst.vxlan_in) {
    Transit& packet = burst.packets[number];
    packet.egress = burst.tables.vnis[packet.vni].load(std::memory_order_acquire);  // scratch until ip_forward
    __builtin_prefetch(&burst.tables.attachments[packet.egress]);
  }
  for (const unsigned number : burst.vxlan_in) {
    Transit& packet = burst.packets[number];
    packet.attachment = burst.tables.attachments[packet.egress].object.load(std::memory_order_acquire);
    if (packet.attachment == nullptr) continue;
    const auto* lines = reinterpret_cast<const std::uint8_t*>(packet.attachment);
    for (std::size_t at = 0; at < sizeof(Attachment); at += 64) __builtin_prefetch(lines + at);
  }
  for (const unsigned number : burst.vxlan_in) {
    Transit& packet = burst.packets[number];
    const wire::VxlanHeader* vxlan = wire::parse_vxlan(packet.bytes());
    if (vxlan == nullptr) {
      burst.drop(number, Drop::kVxlanTruncated);
      continue;
    }
    if (!vxlan->vni_valid()) {  // RFC 7348 section 5: the I flag must be 1
      burst.drop(number, Drop::kVxlanFlags);
      continue;
    }
    const std::uint32_t slot = std::exchange(packet.egress, 0);
    const Attachment* vpc = packet.attachment;
    if (slot == 0 || vpc == nullptr || vpc->kind != AttachmentKind::kVpc || vpc->id != packet.vni) {
      burst.drop(number, Drop::kVxlanUnknownVni);
      continue;
    }
    accept(burst, number, packet, *vpc, slot);
  }
}

void vxlan_encap(Burst& burst) noexcept {
  for (const unsigned number : burst.to_vpc) encapsulate(burst, number, burst.packets[number]);
}

}  // namespace simplon::forward
