// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a stage left in a packet, in words. One function a stage; a stage without one shows up with its name alone.
#include "gateway/forward/src/watch/explain.h"

#include <algorithm>
#include <cstdio>

#include "gateway/forward/src/path/pipeline.h"
#include "platform/wire/esp.h"
#include "platform/wire/icmp.h"
#include "platform/wire/tcp.h"
#include "platform/wire/udp.h"
#include "platform/wire/vlan.h"
#include "platform/wire/vxlan.h"

namespace simplon::forward {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::string hex8(std::uint32_t value) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", value);
  return text;
}

std::string address(const WireAddress& wire) { return wire.to_ip().to_string(); }

std::string protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case wire::kProtocolTcp:
      return "TCP";
    case wire::kProtocolUdp:
      return "UDP";
    case wire::kProtocolIcmp:
      return "ICMP";
    case wire::kProtocolIcmpv6:
      return "ICMPv6";
    default:
      return "protocol " + std::to_string(protocol);
  }
}

/// "10.1.0.5 -> 172.16.0.9 TCP 1025 -> 443, 60 bytes, TTL 64"
std::string flow(const InnerPacket& inner, std::uint16_t length) {
  if (inner.family == 0) return std::to_string(length) + " bytes";
  std::string text = address(inner.source_address()) + " -> " + address(inner.destination_address()) + " " +
                     protocol_name(inner.protocol);
  if (inner.has_ports()) {
    const std::uint32_t ports = byteswap(inner.ports);
    text += " " + std::to_string(ports >> 16) + " -> " + std::to_string(ports & 0xffff);
  }
  if (inner.fragment) text += inner.later_fragment ? ", a later fragment" : ", a first fragment";
  return text + ", " + std::to_string(length) + " bytes, " + (inner.family == 4 ? "TTL " : "hop limit ") +
         std::to_string(inner.hops);
}

std::string sa_words(const Sighting::SaView& sa) {
  std::string text = "SPI " + hex8(sa.spi.value()) + (sa.inbound ? " in, " : " out, ") +
                     std::string(crypto::to_string(sa.suite)) + (sa.esn ? ", ESN" : "");
  if (sa.encap) text += ", in UDP";
  return text;
}

class Explainer {
 public:
  Explainer(const Tables& tables, const Sighting& seen) : tables_(tables), seen_(seen) {}

  TraceStep step() {
    TraceStep step;
    step.stage = std::string(stage_info(seen_.stage).name);
    step.packet = seen_.role == Sighting::Role::kPacket ? "packet" : seen_.role == Sighting::Role::kAnswer ? "icmp-error" : "fragment";
    switch (seen_.stage) {
      case Stage::kClassify:
        classify();
        break;
      case Stage::kVxlanDecap:
        vxlan_decap();
        break;
      case Stage::kCircuitDecap:
        about_slot("circuit", seen_.ingress);
        if (seen_.inner.family != 0) fact("packet", flow(seen_.inner, seen_.length));
        break;
      case Stage::kEspLookup:
        esp_lookup();
        break;
      case Stage::kEspDecrypt:
        fact("packet", flow(seen_.inner, seen_.length));
        break;
      case Stage::kIpForward:
        ip_forward();
        break;
      case Stage::kPolice:
        fact("packet", flow(seen_.inner, seen_.length));
        break;
      case Stage::kResolve:
      case Stage::kResolveAnswers:
        resolve();
        break;
      case Stage::kPmtu:
      case Stage::kPmtuAnswers:
        pmtu();
        break;
      case Stage::kIcmpErrors:
        icmp_error();
        break;
      case Stage::kVxlanEncap:
      case Stage::kEspEncrypt:
        frame();
        break;
      case Stage::kCircuitEncap:
        tagged_frame();
        break;
      case Stage::kTransmit:
        transmit();
        break;
    }
    if (seen_.dropped) step.drop = std::string(info(seen_.drop).counter);
    step.facts = std::move(facts_);
    return step;
  }

 private:
  void fact(const char* name, std::string value) { facts_.push_back({name, std::move(value), {}, {}, {}}); }
  void about(const char* name, AttachmentId attachment, std::string value = {}) {
    facts_.push_back({name, std::move(value), attachment, {}, {}});
  }
  void about_slot(const char* name, std::uint32_t slot) {
    if (slot == 0) return;
    if (const auto id = tables_.attachment_at(slot)) about(name, *id);
  }
  void about_port(const char* name) { facts_.push_back({name, {}, {}, {}, seen_.port}); }

  void outer() {
    if (seen_.outer_family == 0) return;
    fact("outer", address(seen_.outer_source) + " -> " + address(seen_.outer_destination));
  }

  void classify() {
    if (seen_.from_host) {
      about_slot("from", seen_.ingress);
      fact("packet", flow(seen_.inner, seen_.length));
      return;
    }
    if (seen_.port != kNoPort) about_port("port");
    outer();
    if (seen_.vni != 0) fact("vni", std::to_string(seen_.vni));
  }

  void vxlan_decap() {
    outer();
    about_slot("vpc", seen_.ingress);
    if (seen_.inner.family != 0) fact("packet", flow(seen_.inner, seen_.length));
  }

  void esp_lookup() {
    outer();
    if (!seen_.has_sa) return fact("sa", "none has this SPI");
    fact("sa", sa_words(seen_.sa));
    fact("path", address(seen_.sa.source) + " -> " + address(seen_.sa.destination));
    fact("replay", "highest sequence number " + std::to_string(seen_.sa.sequence));
  }

  void ip_forward() {
    const auto from = tables_.attachment_at(seen_.ingress);
    const auto domain = from ? tables_.domain_of(*from) : std::nullopt;
    if (!domain) return;
    facts_.push_back({"domain", {}, {}, *domain, {}});
    if (seen_.dropped && seen_.drop == Drop::kEspSelector) return fact("sa", sa_words(seen_.sa));
    const IpAddress destination = seen_.inner.destination_address().to_ip();
    const auto route = tables_.matching_route(*domain, destination);
    if (!route) return fact("route", "none to " + destination.to_string());
    const char* action = route->action == RouteAction::kLocal ? ", ours" : route->action == RouteAction::kUnreachable ? ", unreachable" : "";
    fact("route", route->prefix.to_string() + action);
    if (route->action == RouteAction::kUnreachable) return;
    if (route->nexthops.size() == 1) return about("nexthop", route->nexthops.front().attachment);
    for (const NextHopEntry& hop : route->nexthops) {
      about("member", hop.attachment, (hop.backup ? "backup, weight " : "weight ") + std::to_string(hop.weight));
    }
    fact("flow-hash", hex8(seen_.flow_hash));
    about_slot("nexthop", seen_.egress);
  }

  void resolve() {
    about_slot("to", seen_.egress);
    if (seen_.has_endpoint) {
      fact("endpoint", address(seen_.inner.destination_address()) + " is " + seen_.endpoint.mac.to_string());
      fact("vtep", address(seen_.endpoint.vtep_address()));
    }
    if (seen_.has_sa) {
      fact("sa", sa_words(seen_.sa));
      fact("path", address(seen_.sa.source) + " -> " + address(seen_.sa.destination));
    }
    if (!seen_.has_adjacency) return;
    facts_.push_back({"adjacency", "to " + seen_.adjacency.ethernet.destination.to_string(), {}, {}, seen_.adjacency.port});
    fact("path-mtu", std::to_string(seen_.adjacency.path_mtu));
  }

  void pmtu() {
    if (seen_.inner.family == 0) return;
    fact("mtu", std::to_string(seen_.mtu));
    fact("length", std::to_string(seen_.length));
    if (seen_.inner.fragment && seen_.role == Sighting::Role::kFragment) fact("fragment", "made here");
    const Bytes head(seen_.head.data(), seen_.head_bytes);
    if (seen_.inner.protocol != wire::kProtocolTcp || seen_.inner.l4_offset >= head.size()) return;
    const Bytes segment = head.subspan(seen_.inner.l4_offset);
    if (segment.size() < sizeof(wire::TcpHeader) || (segment[13] & wire::kTcpSyn) == 0) return;
    if (const std::size_t at = wire::find_mss(segment); at != 0) {
      fact("mss", std::to_string(segment[at] << 8 | segment[at + 1]));
    }
  }

  void icmp_error() {
    fact("packet", flow(seen_.inner, seen_.length));
    const std::size_t at = seen_.inner.l4_offset;
    if (at + 2 > seen_.head_bytes) return;
    fact("message", "type " + std::to_string(seen_.head[at]) + ", code " + std::to_string(seen_.head[at + 1]));
  }

  /// The outer headers, read back from the frame.
  void frame() {
    if (seen_.dropped) return;
    Bytes rest(seen_.head.data(), seen_.head_bytes);
    const auto take = [&rest](std::size_t bytes) {
      const Bytes taken = rest.first(std::min(bytes, rest.size()));
      rest = rest.subspan(taken.size());
      return taken;
    };
    const auto* ethernet = wire::parse_ethernet(take(sizeof(wire::EthernetHeader)));
    if (ethernet == nullptr) return;
    fact("ethernet", ethernet->source.to_string() + " -> " + ethernet->destination.to_string());
    std::uint8_t protocol = 0;
    if (ethernet->type.host() == wire::kEtherTypeIpv4 && rest.size() >= sizeof(wire::Ipv4Header)) {
      const auto* ip = reinterpret_cast<const wire::Ipv4Header*>(take(sizeof(wire::Ipv4Header)).data());
      protocol = ip->protocol;
      fact("outer", address(WireAddress::v4(ip->source.data())) + " -> " + address(WireAddress::v4(ip->destination.data())) +
                        ", TTL " + std::to_string(ip->ttl) + ", TOS " + std::to_string(ip->tos) +
                        (ip->dont_fragment() ? ", DF" : ""));
    } else if (rest.size() >= sizeof(wire::Ipv6Header)) {
      const auto* ip = reinterpret_cast<const wire::Ipv6Header*>(take(sizeof(wire::Ipv6Header)).data());
      protocol = ip->next_header;
      fact("outer", address(WireAddress::v6(ip->source.data())) + " -> " + address(WireAddress::v6(ip->destination.data())) +
                        ", hop limit " + std::to_string(ip->hop_limit) + ", traffic class " +
                        std::to_string(ip->traffic_class()));
    }
    if (protocol == wire::kProtocolUdp && rest.size() >= sizeof(wire::UdpHeader)) {
      const auto* udp = reinterpret_cast<const wire::UdpHeader*>(take(sizeof(wire::UdpHeader)).data());
      fact("udp", std::to_string(udp->source_port.host()) + " -> " + std::to_string(udp->destination_port.host()));
    }
    if (seen_.stage == Stage::kVxlanEncap) {
      const auto* vxlan = wire::parse_vxlan(take(sizeof(wire::VxlanHeader)));
      if (vxlan != nullptr) fact("vxlan", "VNI " + std::to_string(vxlan->vni()));
      const auto* inner = wire::parse_ethernet(take(sizeof(wire::EthernetHeader)));
      if (inner != nullptr) fact("inner-ethernet", inner->source.to_string() + " -> " + inner->destination.to_string());
    } else if (rest.size() >= sizeof(wire::EspHeader)) {
      const auto* esp = reinterpret_cast<const wire::EspHeader*>(rest.data());
      fact("esp", "SPI " + hex8(esp->spi.host()) + ", sequence number " + std::to_string(esp->sequence.host()));
    }
    fact("length", std::to_string(seen_.length) + " bytes with Ethernet");
  }

  void tagged_frame() {
    const Bytes head(seen_.head.data(), seen_.head_bytes);
    wire::VlanTags tags;
    if (seen_.dropped || !wire::parse_vlan_tags(head, tags)) return;
    const auto* ethernet = wire::parse_ethernet(head);
    fact("ethernet", ethernet->source.to_string() + " -> " + ethernet->destination.to_string());
    fact("vlan", std::to_string(tags.vlan) + (tags.outer == 0 ? "" : " in " + std::to_string(tags.outer)));
    fact("length", std::to_string(seen_.length) + " bytes with Ethernet");
  }

  void transmit() {
    about_port("port");
    if (seen_.to_host) about_slot("host-port", seen_.egress);
  }

  const Tables& tables_;
  const Sighting& seen_;
  std::vector<TraceFact> facts_;
};

}  // namespace

Trace explain(const Tables& tables, const Recorder& recorder) {
  Trace trace;
  const Sighting* last = nullptr;
  for (const Sighting& seen : recorder.sightings()) {
    TraceStep& step = trace.steps.emplace_back(Explainer(tables, seen).step());
    if (seen.stage == Stage::kPolice && recorder.policy() != nullptr) {
      for (TraceFact& fact : explain_policy(tables, *recorder.policy())) step.facts.push_back(std::move(fact));
    }
    // A port that vanished is found out behind the last stage.
    if (seen.role == Sighting::Role::kPacket) last = &seen;
  }
  if (last == nullptr) return trace;
  if (last->dropped) {
    trace.drop = last->drop;
  } else if (last->stage == Stage::kTransmit) {
    trace.verdict = last->to_host ? TraceVerdict::kPunted : TraceVerdict::kForwarded;
  } else {
    trace.verdict = TraceVerdict::kWaiting;
  }
  return trace;
}

}  // namespace simplon::forward
