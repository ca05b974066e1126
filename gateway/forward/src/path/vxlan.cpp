// SPDX-License-Identifier: GPL-2.0-or-later
//
// VXLAN as a gateway speaks it (RFC 7348 section 6.1: "VXLAN gateways"). Nothing is flooded or learned: a frame is
// accepted only from a listed VTEP, to our VTEP and the VPC's port, with the gateway's MAC address and a source address of
// the VPC; it is sent only to an endpoint that the tables know.
#include <cstddef>
#include <cstring>
#include <span>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/ecn.h"
#include "gateway/forward/src/path/fixup.h"
#include "gateway/forward/src/path/gateway_address.h"
#include "gateway/forward/src/path/stages.h"
#include "gateway/forward/src/path/udp_checksum.h"
#include "gateway/forward/src/path/vxlan_frame.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/neighbor_discovery.h"
#include "platform/wire/udp.h"
#include "platform/wire/vxlan.h"

namespace simplon::forward {
namespace {

/// `packet` starts with the VXLAN header; the UDP header lies in front of it.
[[nodiscard]] std::uint16_t udp_destination_port(const Transit& packet) noexcept {
  return reinterpret_cast<const wire::UdpHeader*>(packet.data - sizeof(wire::UdpHeader))->destination_port.host();
}

struct Inside {
  wire::VxlanHeader vxlan;
  wire::EthernetHeader ethernet;
};
struct PlainInside {
  wire::UdpHeader udp;
  Inside around;
  wire::Ipv4Header ip;
};

/// What is not IPv4 to the gateway; `packet` starts with the VXLAN header. True: it is IPv6 to the gateway and goes on.
[[gnu::noinline]] bool accept_unusual(Burst& burst, unsigned number, Transit& packet, const Attachment& vpc,
                                      const WireAddress& vtep) noexcept {
  const wire::EthernetHeader& ethernet = reinterpret_cast<const Inside*>(packet.data)->ethernet;
  const std::span<const std::uint8_t> inner = packet.bytes().subspan(sizeof(Inside));
  const std::uint16_t type = ethernet.type.host();
  const bool to_many = ethernet.destination.is_multicast();
  const bool to_gateway = ethernet.destination == vpc.gateway_mac;
  if ((to_many || to_gateway) &&
      (type == wire::kEtherTypeArp || (type == wire::kEtherTypeIpv6 && wire::is_neighbor_solicitation(inner))) &&
      take_question(burst, number, packet, vpc, vtep)) [[unlikely]] {
    return false;
  }
  if (to_many) {
    burst.drop(number, Drop::kVxlanInnerBroadcast);
  } else if (!to_gateway) {
    burst.drop(number, Drop::kVxlanWrongMac);
  } else if (type != wire::kEtherTypeIpv6) {
    burst.drop(number, Drop::kVxlanInnerType);
  } else {
    return true;
  }
  return false;
}

/// The last of decapsulation.
void enter_domain(Burst& burst, unsigned number, const Transit& packet, const Attachment& vpc) noexcept {
  TrafficCounters& counters = vpc.counters[burst.worker];
  counters.rx_packets.add();
  counters.rx_bytes.add(packet.length);
  __builtin_prefetch(vpc.domain);
  burst.inner.push(number);
}

/// Any frame, field by field; what is wrong gets its name.
[[gnu::noinline]] void accept(Burst& burst, unsigned number, Transit& packet) noexcept {
  const std::size_t length = packet.length;
  const auto& inside = *reinterpret_cast<const Inside*>(packet.data);
  if (length < sizeof inside.vxlan) return burst.drop(number, Drop::kVxlanTruncated);
  // RFC 7348 section 5: the I flag must be 1
  if (!inside.vxlan.vni_valid()) return burst.drop(number, Drop::kVxlanFlags);
  if (packet.attachment == nullptr) return burst.drop(number, Drop::kVxlanUnknownVni);
  const Attachment& vpc = *packet.attachment;
  if (udp_destination_port(packet) != vpc.udp_port) return burst.drop(number, Drop::kVxlanWrongPort);
  const WireAddress peer = packet.outer_source();
  if (packet.outer_destination() != vpc.vtep) return burst.drop(number, Drop::kVxlanWrongVtep);
  if (!vpc.accepted.contains(peer)) return burst.drop(number, Drop::kVxlanUnknownPeer);

  // From here on the frame is this VPC's, and so is its drop.
  packet.ingress = vpc.slot;
  if (length < sizeof inside) return burst.drop(number, Drop::kVxlanInnerTruncated);
  unsigned family = 4;
  if (inside.ethernet.type.host() != wire::kEtherTypeIpv4 || inside.ethernet.destination != vpc.gateway_mac) {
    if (!accept_unusual(burst, number, packet, vpc, peer)) return;
    family = 6;
  }
  packet.data += sizeof inside;
  if (!parse_inner({packet.data, length - sizeof inside}, packet.inner)) return burst.drop(number, packet.inner.drop);
  if (packet.inner.family != family) {
    return burst.drop(number, family == 4 ? Drop::kIpv4Malformed : Drop::kIpv6Malformed);
  }
  packet.length = packet.inner.length;  // without the padding of a short frame
  if (!vpc.owns(packet.inner.source_address())) return burst.drop(number, Drop::kVxlanSpoofedSource);  // RFC 2827
  if (!carry_congestion(packet, packet.outer, family)) return burst.drop(number, Drop::kEcnNotCapable);
  if (packet.fixup) complete_checksum(packet.data, packet.inner);

  enter_domain(burst, number, packet, vpc);
}

/// What nearly every frame is: plain IPv4 to the gateway, from a VTEP and an address that are found at once. False: it is
/// something else, wrong or only rare, and nothing was done.
[[nodiscard]] bool accept_plain(Burst& burst, unsigned number, Transit& packet) noexcept {
  const auto& in = *reinterpret_cast<const PlainInside*>(packet.data - sizeof(wire::UdpHeader));
  const std::size_t length = packet.length;
  if (length < sizeof in - sizeof in.udp || packet.attachment == nullptr || packet.outer_family != 4 || packet.fixup) {
    return false;
  }
  const Attachment& vpc = *packet.attachment;
  const auto& outer = *reinterpret_cast<const wire::Ipv4Header*>(packet.outer);
  const std::uint32_t source = load32(in.ip.source.data());
  const std::uint32_t destination = load32(in.ip.destination.data());
  if (!in.around.vxlan.vni_valid() || in.udp.destination_port.host() != vpc.udp_port || vpc.vtep.family != 4 ||
      load32(outer.destination.data()) != vpc.vtep.low || !vpc.accepted.has_inline4(load32(outer.source.data())) ||
      in.around.ethernet.destination != vpc.gateway_mac || in.around.ethernet.type.host() != wire::kEtherTypeIpv4 ||
      !wire::is_plain_ipv4(in.ip, length - sizeof in.around) || !vpc.owns_plainly(source) || is_martian4(source) ||
      is_martian4(destination) || may_carry_congestion(outer.tos)) {
    return false;
  }
  packet.data += sizeof in.around;
  packet.length = in.ip.total_length.host();
  packet.inner.take_plain(in.ip);
  packet.ingress = vpc.slot;
  enter_domain(burst, number, packet, vpc);
  return true;
}

/// What the VPC prepared, in front of the packet, with whatever differs from packet to packet filled in.
void put_headers6(Transit& packet, const Attachment& vpc, std::uint8_t outer_class) noexcept {
  // All is read before anything is written: the compiler must take a packet's bytes for anything.
  const Endpoint endpoint = *packet.endpoint;
  const std::uint16_t inner_bytes = packet.length;
  packet.data -= sizeof(VxlanHeaders6);
  packet.length = static_cast<std::uint16_t>(inner_bytes + sizeof(VxlanHeaders6));
  auto& headers = *reinterpret_cast<VxlanHeaders6*>(packet.data);
  headers = vpc.headers6;
  headers.ethernet = packet.adjacency->ethernet;
  headers.ethernet.type = wire::kEtherTypeIpv6;
  std::memcpy(headers.ip.destination.data(), &endpoint.vtep, headers.ip.destination.size());
  headers.ip.version_class_flow = (6U << 28) | (std::uint32_t{outer_class} << 20);
  headers.udp.source_port = vxlan_source_port(packet.flow_hash);
  headers.udp.length = static_cast<std::uint16_t>(sizeof headers - offsetof(VxlanHeaders6, udp) + inner_bytes);
  headers.ip.payload_length = headers.udp.length.host();
  headers.inner.destination = endpoint.mac;
}

void encapsulate(Burst& burst, unsigned number, Transit& packet) noexcept {
  const Attachment& vpc = *packet.attachment;
  const bool v4 = vpc.vtep.family == 4;
  if (!burst.has_room(packet, v4 ? sizeof(VxlanHeaders4) : sizeof(VxlanHeaders6), 0)) {
    return burst.drop(number, Drop::kNoHeadroom);
  }
  TrafficCounters& counters = vpc.exit_counters[burst.worker];
  counters.tx_packets.add();
  counters.tx_bytes.add(packet.length);
  packet.port = packet.adjacency->port;
  burst.to_uplink.push(number);
  const std::uint8_t outer_class =
      packet.inner.family == 0 ? std::uint8_t{0} : traffic_class(packet.data, packet.inner.family);
  const std::uint8_t family = packet.inner.family;
  if (v4) [[likely]] {
    packet.data = put_vxlan4(packet.data, packet.length, outer_class, packet.flow_hash, vpc, *packet.endpoint, *packet.adjacency);
    packet.length = static_cast<std::uint16_t>(packet.length + sizeof(VxlanHeaders4));
  } else {
    put_headers6(packet, vpc, outer_class);
  }
  if (family != 4) {
    auto& inner = *reinterpret_cast<wire::EthernetHeader*>(packet.data + (v4 ? offsetof(VxlanHeaders4, inner)
                                                                              : offsetof(VxlanHeaders6, inner)));
    // Answers of gateway_address.h have no family: ARP begins with a 0, an advertisement is IPv6.
    const auto* packet_bytes = reinterpret_cast<const std::uint8_t*>(&inner + 1);
    inner.type = family == 6 || (*packet_bytes >> 4) == 6 ? wire::kEtherTypeIpv6 : wire::kEtherTypeArp;
  }
  if (!v4) {
    // RFC 6935 would allow zero, but stock Linux drops it unless told otherwise (udp6zerocsumrx).
    auto& headers = *reinterpret_cast<VxlanHeaders6*>(packet.data);
    set_udp6_checksum(headers.ip, reinterpret_cast<std::uint8_t*>(&headers.udp), headers.udp.length.host());
  }
}

}  // namespace

void vxlan_decap(Burst& burst) noexcept {
  for (unsigned i = 0; i < burst.vxlan_in.size(); ++i) {
    burst.fetch_ahead(burst.vxlan_in, i);
    const unsigned number = burst.vxlan_in[i];
    if (!accept_plain(burst, number, burst.packets[number])) accept(burst, number, burst.packets[number]);
  }
}

void vxlan_encap(Burst& burst) noexcept {
  for (unsigned i = 0; i < burst.to_vpc.size(); ++i) {
    burst.fetch_ahead(burst.to_vpc, i);
    encapsulate(burst, burst.to_vpc[i], burst.packets[burst.to_vpc[i]]);
  }
}

}  // namespace simplon::forward
