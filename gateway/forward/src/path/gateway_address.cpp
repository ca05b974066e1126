// SPDX-License-Identifier: GPL-2.0-or-later
//
// ARP (RFC 826) and neighbor discovery (RFC 4861) of a VPC, as far as a gateway takes part: it says which MAC address its own
// addresses have, to whoever asked and nobody else, and asks nothing, since the configuration says where each endpoint is. Nothing
// is flooded or passed on.
//
// An asker with an address of the VPC must be the endpoint with that address and MAC address, and the answer goes to the endpoint's
// VTEP, whatever VTEP the question came from: who forges a question makes its victim hear what it knows already. For an IPv6
// link-local address, which hosts ask from when they confirm what they know, and the unspecified one of duplicate address detection
// there are no endpoints. That answer goes back to the VTEP of the question, which is one of the VPC's, so a forger hears it
// itself.
#include "gateway/forward/src/path/gateway_address.h"

#include <cstring>

#include "platform/wire/arp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/neighbor_discovery.h"
#include "platform/wire/vxlan.h"

namespace simplon::forward {
namespace {

/// Of the gateway in the VPC that the packet came from; family 0: none.
[[nodiscard]] WireAddress gateway_address(const Burst& burst, const Transit& packet, unsigned family) noexcept {
  const HostPort* port = burst.tables.attachments[packet.ingress].host_port.load(std::memory_order_acquire);
  return port == nullptr ? WireAddress{} : family == 4 ? port->v4 : port->v6;
}

/// What the asker says it is; nullptr: it is not.
[[nodiscard]] const Endpoint* known_endpoint(const Burst& burst, const Attachment& vpc, const WireAddress& address,
                                             const MacAddress& mac) noexcept {
  if (!vpc.owns(address)) return nullptr;  // RFC 2827
  const Endpoint* endpoint = burst.tables.endpoints.find(EndpointKey::of(vpc.id, address));
  // There is no way to a VTEP of another family than ours.
  return endpoint != nullptr && endpoint->mac == mac && endpoint->vtep_family == vpc.vtep.family ? endpoint : nullptr;
}

/// Where the answer can go, and that it may; false: dropped.
[[nodiscard]] bool may_answer(Burst& burst, unsigned number, Transit& packet, const Endpoint& asker) noexcept {
  packet.adjacency = burst.tables.adjacencies[asker.adjacency].load(std::memory_order_acquire);
  if (packet.adjacency == nullptr) {
    burst.drop(number, Drop::kAdjacencyUnresolved);
    return false;
  }
  if (burst.icmp.take_answer(packet.ingress, burst.now_ns)) return true;
  burst.drop(number, Drop::kVxlanAnswerRate);
  return false;
}

/// Sends the answer, which lies where the question did, behind the Ethernet header. To the stages it is no IP packet: they leave it
/// as it is.
void send(Burst& burst, unsigned number, Transit& packet, const Attachment& vpc, const Endpoint& asker, std::size_t bytes) noexcept {
  packet.data += sizeof(wire::EthernetHeader);
  packet.length = static_cast<std::uint16_t>(bytes);
  packet.inner = InnerPacket{};
  packet.egress = packet.ingress;
  packet.attachment = &vpc;
  packet.endpoint = &asker;
  burst.to_vpc.push(number);
}

[[nodiscard]] std::span<const std::uint8_t> behind_ethernet(const Transit& packet) noexcept {
  return packet.bytes().subspan(sizeof(wire::EthernetHeader));
}

/// It was sent to whom such a question is for (RFC 4861 section 7.2.2): the group of the target or, to confirm what is known, the target.
[[nodiscard]] bool sent_rightly(const wire::NeighborSolicitation& asked, const MacAddress& to) noexcept {
  const auto group = wire::solicited_node(asked.target);
  if (to.is_multicast()) return asked.destination == group && to == wire::multicast_mac(group);
  return asked.destination == group || asked.destination == asked.target;
}

/// Who asks, in `place` if the tables do not know it; nullptr: somebody who may not.
[[nodiscard]] const Endpoint* asker_of(const Burst& burst, const Attachment& vpc, const wire::NeighborSolicitation& asked,
                                       const MacAddress& mac, const WireAddress& vtep, Endpoint& place) noexcept {
  if (asked.source_mac && *asked.source_mac != mac) return nullptr;
  if (!asked.from_unspecified() && !wire::is_link_local(asked.source)) {
    return known_endpoint(burst, vpc, WireAddress::v6(asked.source.data()), mac);
  }
  const std::uint32_t* adjacency = burst.tables.vteps.find(EndpointKey::of(0, vtep));
  if (adjacency == nullptr || mac.is_multicast() || mac.is_zero()) return nullptr;
  place = {{vtep.low, vtep.high}, *adjacency, vtep.family, asked.from_unspecified() ? wire::kAllNodesMac : mac};
  return &place;
}

// With `packet` at the inner Ethernet header.

void answer_arp(Burst& burst, unsigned number, Transit& packet, const Attachment& vpc) noexcept {
  const MacAddress mac = reinterpret_cast<const wire::EthernetHeader*>(packet.data)->source;
  const wire::ArpPacket* request = wire::parse_arp(behind_ethernet(packet));
  const WireAddress ours = gateway_address(burst, packet, 4);
  if (request == nullptr || request->operation.host() != wire::kArpRequest || request->sender_mac != mac ||
      ours.family == 0 || ours != WireAddress::v4(request->target_ip.data())) {
    return burst.drop(number, Drop::kVxlanInnerArp);
  }
  const Endpoint* asker = known_endpoint(burst, vpc, WireAddress::v4(request->sender_ip.data()), mac);
  if (asker == nullptr) return burst.drop(number, Drop::kVxlanInnerArp);
  if (!may_answer(burst, number, packet, *asker)) return;

  auto& reply = *reinterpret_cast<wire::ArpPacket*>(packet.data + sizeof(wire::EthernetHeader));
  const auto asked = reply.target_ip;
  reply.operation = wire::kArpReply;
  reply.target_mac = mac;
  reply.target_ip = reply.sender_ip;
  reply.sender_mac = vpc.gateway_mac;
  reply.sender_ip = asked;
  send(burst, number, packet, vpc, *asker, sizeof reply);
}

/// Of a neighbor solicitation: nobody but we could answer it. It is to a group, or to an address of ours or of the link.
[[nodiscard]] bool is_for_us(const Burst& burst, const Transit& packet) noexcept {
  if (reinterpret_cast<const wire::EthernetHeader*>(packet.data)->destination.is_multicast()) return true;
  const auto& destination = reinterpret_cast<const wire::Ipv6Header*>(behind_ethernet(packet).data())->destination;
  return destination[0] == 0xff || wire::is_link_local(destination) ||
         WireAddress::v6(destination.data()) == gateway_address(burst, packet, 6);
}

void answer_solicitation(Burst& burst, unsigned number, Transit& packet, const Attachment& vpc, const WireAddress& vtep) noexcept {
  const wire::EthernetHeader ethernet = *reinterpret_cast<const wire::EthernetHeader*>(packet.data);
  const auto asked = wire::parse_neighbor_solicitation(behind_ethernet(packet));
  if (!asked || !sent_rightly(*asked, ethernet.destination) ||
      gateway_address(burst, packet, 6) != WireAddress::v6(asked->target.data())) {
    return burst.drop(number, Drop::kVxlanInnerNeighbor);
  }
  const Endpoint* asker = asker_of(burst, vpc, *asked, ethernet.source, vtep, burst.askers[number]);
  if (asker == nullptr) return burst.drop(number, Drop::kVxlanInnerNeighbor);
  const wire::NeighborAdvertisement answer = wire::neighbor_advertisement(*asked, vpc.gateway_mac);
  const std::size_t bytes = sizeof ethernet + sizeof answer;
  if (!burst.has_room(packet, 0, bytes > packet.length ? bytes - packet.length : 0)) return burst.drop(number, Drop::kNoHeadroom);
  if (!may_answer(burst, number, packet, *asker)) return;
  std::memcpy(packet.data + sizeof(wire::EthernetHeader), &answer, sizeof answer);
  send(burst, number, packet, vpc, *asker, sizeof answer);
}

}  // namespace

bool take_question(Burst& burst, unsigned number, Transit& packet, const Attachment& vpc, const WireAddress& vtep) noexcept {
  packet.data += sizeof(wire::VxlanHeader);
  packet.length = static_cast<std::uint16_t>(packet.length - sizeof(wire::VxlanHeader));
  if (reinterpret_cast<const wire::EthernetHeader*>(packet.data)->type.host() == wire::kEtherTypeArp) {
    answer_arp(burst, number, packet, vpc);
  } else if (is_for_us(burst, packet)) {
    answer_solicitation(burst, number, packet, vpc, vtep);
  } else {
    packet.data -= sizeof(wire::VxlanHeader);
    packet.length = static_cast<std::uint16_t>(packet.length + sizeof(wire::VxlanHeader));
    return false;
  }
  return true;
}

}  // namespace simplon::forward
