// SPDX-License-Identifier: GPL-2.0-or-later
//
// The stages' questions to the tables, in packet order, for one pair of addresses: classify, vxlan_decap, ip_forward,
// resolve, pmtu. Whatever is not plainly forwarded from one VPC to another of the same domain has no shortcut: the
// worker drops, answers, punts, spreads or encrypts it. A domain with policy has none: every packet of it is judged.
#include "gateway/forward/shortcut.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "gateway/forward/mtu.h"
#include "gateway/forward/src/inner_packet.h"
#include "gateway/forward/src/tables_writer.h"
#include "gateway/forward/tables.h"

namespace simplon::forward {
namespace {

/// The same checks as of every packet, asked for with the least packet that has these addresses.
bool may_be_forwarded(const IpAddress& source, const IpAddress& destination) {
  std::array<std::uint8_t, sizeof(wire::Ipv6Header)> bytes{};
  std::size_t length = 0;
  if (source.is_v4()) {
    auto& ip = *reinterpret_cast<wire::Ipv4Header*>(bytes.data());
    length = sizeof ip;
    ip.version_ihl = 0x45;
    ip.total_length = static_cast<std::uint16_t>(length);
    std::copy_n(source.bytes().data(), 4, ip.source.begin());
    std::copy_n(destination.bytes().data(), 4, ip.destination.begin());
    wire::set_ipv4_checksum(ip);
  } else {
    auto& ip = *reinterpret_cast<wire::Ipv6Header*>(bytes.data());
    length = sizeof ip;
    ip.version_class_flow = 6U << 28;
    ip.next_header = wire::kProtocolNone;
    std::copy_n(source.bytes().data(), 16, ip.source.begin());
    std::copy_n(destination.bytes().data(), 16, ip.destination.begin());
  }
  InnerPacket ignored;
  return parse_inner({bytes.data(), length}, ignored);
}

}  // namespace

std::optional<Shortcut> Tables::shortcut(const Shortcut::Question& asked) const {
  const TableState& state = *state_;
  const bool v4 = asked.source.is_v4();
  if (v4 != asked.destination.is_v4() || asked.vni.value() == 0 || asked.vni.value() >= kVnis) return std::nullopt;

  const auto in = writer_->ports.find(asked.port);
  if (in == writer_->ports.end() || in->second.kind != PortKind::kUplink || in->second.mac.is_zero())
    return std::nullopt;
  const Attachment* vpc = state.vnis[asked.vni.value()].load(std::memory_order_relaxed);
  if (vpc == nullptr || vpc->vtep.family != (asked.outer_source.is_v4() ? 4 : 6) ||
      !vpc->accepted.contains(WireAddress::from(asked.outer_source)) ||
      !may_be_forwarded(asked.source, asked.destination) || !vpc->owns(WireAddress::from(asked.source))) {
    return std::nullopt;
  }

  const Domain& domain = *vpc->domain;
  if (!domain.exists.load(std::memory_order_relaxed) || domain.policy.load(std::memory_order_relaxed) != nullptr) return std::nullopt;
  const RouteValue route(v4 ? domain.fib4.lookup(fib_key(asked.destination.v4_value()))
                            : domain.fib6.lookup(fib_key(asked.destination.bytes().data())));
  // Which member of a group it is depends on ports.
  if (route.action() != RouteValue::Action::kForward) return std::nullopt;
  const Attachment* to = state.attachments[route.slot()].object.load(std::memory_order_relaxed);
  // A change in another domain would not be heard of.
  if (to == nullptr || to->kind != AttachmentKind::kVpc || to->domain != vpc->domain) return std::nullopt;

  const Endpoint* endpoint = state.endpoints.find(EndpointKey::of(to->id, WireAddress::from(asked.destination)));
  if (endpoint == nullptr || endpoint->vtep_family != to->vtep.family) return std::nullopt;
  const Adjacency* adjacency = state.adjacencies[endpoint->adjacency].load(std::memory_order_relaxed);
  if (adjacency == nullptr) return std::nullopt;
  const auto out = writer_->ports.find(adjacency->port);
  if (out == writer_->ports.end() || out->second.kind != PortKind::kUplink) return std::nullopt;

  Shortcut found;
  const Writer::AttachmentRecord* record = writer_->find_attachment(AttachmentId::vpc(asked.vni));
  found.domain = record->domain();
  found.uplink_mac = in->second.mac;
  found.vtep = vpc->vtep.to_ip();
  found.udp_port = vpc->udp_port;
  found.gateway_mac = vpc->gateway_mac;
  found.egress = Vni(to->id);
  found.port = adjacency->port;
  found.ethernet_destination = adjacency->ethernet.destination;
  found.ethernet_source = adjacency->ethernet.source;
  found.outer_source = to->vtep.to_ip();
  found.outer_destination = endpoint->vtep_address().to_ip();
  found.egress_udp_port = to->udp_port;
  found.inner_destination = endpoint->mac;
  found.inner_source = to->gateway_mac;
  const std::size_t room =
      vxlan_inner_mtu(adjacency->path_mtu, to->vtep.family == 4 ? sizeof(wire::Ipv4Header) : sizeof(wire::Ipv6Header));
  found.mtu = static_cast<std::uint16_t>(std::min<std::size_t>(room, to->mtu));
  return found;
}

}  // namespace simplon::forward
