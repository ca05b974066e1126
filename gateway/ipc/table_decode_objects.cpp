// SPDX-License-Identifier: GPL-2.0-or-later
//
// What simplond programs. A malformed operation is an error of that operation only: it keeps its place in the Update, so
// that the index in the Ack is right.
#include <string>
#include <utility>

#include "gateway/ipc/src/table_bodies.h"
#include "gateway/ipc/src/table_fields.h"

namespace simplon::ipc {
namespace {

// From table.fbs.
constexpr std::size_t kMaxNextHops = 64;
// Given by the kernel: IFNAMSIZ without the terminator, NAME_MAX.
constexpr std::size_t kMaxInterfaceName = 15;
constexpr std::size_t kMaxNetnsName = 200;
// Given by IEEE 802.1Q clause 9.6.
constexpr std::uint16_t kMaxVlan = 4094;

Object decode(const fb::Domain& domain, bool, Fields& fields) {
  return Domain{fields.id<DomainId>(domain.id(), "domain id"), text_of(domain.name())};
}

Object decode(const fb::Uplink& uplink, bool, Fields& fields) {
  return Uplink{fields.name(uplink.interface(), "interface", kMaxInterfaceName)};
}

Object decode(const fb::Vpc& from, bool key_only, Fields& fields) {
  Vpc vpc;
  vpc.vni = fields.vni(from.vni());
  if (key_only) return vpc;
  vpc.name = text_of(from.name());
  vpc.domain = fields.id<DomainId>(from.domain(), "domain id");
  vpc.vtep = fields.address(from.vtep(), "vtep");
  vpc.udp_port = from.udp_port();
  if (vpc.udp_port == 0) fields.refuse("udp_port is 0");
  vpc.gateway_mac = fields.mac(from.gateway_mac(), "gateway_mac");
  if (from.prefixes() != nullptr) {
    for (const auto* prefix : *from.prefixes()) vpc.prefixes.push_back(fields.prefix(prefix, "prefix"));
  }
  if (from.accepted_vteps() != nullptr) {
    for (const auto* vtep : *from.accepted_vteps()) {
      vpc.accepted_vteps.push_back(fields.address(vtep->bytes(), "accepted vtep"));
    }
  }
  vpc.mtu = from.mtu();
  return vpc;
}

Object decode(const fb::Endpoint& from, bool key_only, Fields& fields) {
  Endpoint endpoint;
  endpoint.vni = fields.vni(from.vni());
  endpoint.address = fields.address(from.address(), "address");
  if (key_only) return endpoint;
  endpoint.mac = fields.mac(from.mac(), "mac");
  endpoint.vtep = fields.address(from.vtep(), "vtep");
  return endpoint;
}

Object decode(const fb::Tunnel& from, bool key_only, Fields& fields) {
  Tunnel tunnel;
  tunnel.id = fields.id<TunnelId>(from.id(), "tunnel id");
  if (key_only) return tunnel;
  tunnel.name = text_of(from.name());
  tunnel.domain = fields.id<DomainId>(from.domain(), "domain id");
  tunnel.local = fields.address(from.local(), "local");
  tunnel.mtu = from.mtu();
  tunnel.clamp_mss = from.clamp_mss();
  if (from.outer_df() > fb::OuterDf::MAX) fields.refuse("outer DF is " + std::to_string(static_cast<unsigned>(from.outer_df())));
  tunnel.outer_df = static_cast<OuterDf>(from.outer_df());
  tunnel.ignores_df = from.ignores_df();
  tunnel.negotiation = from.negotiation();
  tunnel.closed = from.closed();
  return tunnel;
}

std::uint16_t vlan_of(std::uint16_t vlan, std::uint16_t least, const char* field, Fields& fields) {
  if (vlan < least || vlan > kMaxVlan) fields.refuse(std::string(field) + " is " + std::to_string(vlan));
  return vlan;
}

Object decode(const fb::Circuit& from, bool key_only, Fields& fields) {
  Circuit circuit;
  circuit.id = fields.id<CircuitId>(from.id(), "circuit id");
  if (key_only) return circuit;
  circuit.name = text_of(from.name());
  circuit.domain = fields.id<DomainId>(from.domain(), "domain id");
  circuit.interface = fields.name(from.interface(), "interface", kMaxInterfaceName);
  circuit.vlan = vlan_of(from.vlan(), 1, "vlan", fields);
  circuit.outer_vlan = vlan_of(from.outer_vlan(), 0, "outer vlan", fields);
  circuit.outer_type = from.outer_type();
  if (circuit.outer_type != 0x8100 && circuit.outer_type != 0x88a8) {
    fields.refuse("outer type is " + std::to_string(circuit.outer_type));
  }
  circuit.mtu = from.mtu();
  circuit.clamp_mss = from.clamp_mss();
  return circuit;
}

Object decode(const fb::HostPort& from, bool key_only, Fields& fields) {
  HostPort port;
  port.attachment = fields.attachment(from.kind(), from.id());
  if (key_only) return port;
  port.interface = fields.name(from.interface(), "interface", kMaxInterfaceName);
  port.netns = fields.name(from.netns(), "netns", kMaxNetnsName);
  if (from.addresses() != nullptr) {
    for (const auto* address : *from.addresses()) port.addresses.push_back(fields.interface_address(address, "address"));
  }
  port.mtu = from.mtu();
  return port;
}

Object decode(const fb::Route& from, bool key_only, Fields& fields) {
  Route route;
  route.domain = fields.id<DomainId>(from.domain(), "domain id");
  route.prefix = fields.prefix(from.prefix(), "prefix");
  if (key_only) return route;
  if (from.action() < fb::RouteAction::Forward || from.action() > fb::RouteAction::Unreachable) {
    fields.refuse("route action " + std::to_string(static_cast<unsigned>(from.action())) + " is unknown");
  }
  route.action = static_cast<RouteAction>(from.action());
  const std::size_t hops = (from.nexthops() == nullptr ? 0 : from.nexthops()->size()) +
                           (from.backups() == nullptr ? 0 : from.backups()->size());
  if (hops > kMaxNextHops) {
    fields.refuse(std::to_string(hops) + " nexthops are over the limit of 64");
    return route;
  }
  for (const bool backup : {false, true}) {
    const auto* some = backup ? from.backups() : from.nexthops();
    if (some == nullptr) continue;
    for (const auto* hop : *some) {
      NextHop& added = route.nexthops.emplace_back(NextHop{fields.attachment(hop->kind(), hop->id()), hop->weight()});
      if (hop->gateway() != nullptr) added.gateway = fields.address(hop->gateway(), "gateway");
      added.backup = backup;
    }
  }
  return route;
}

// From table.fbs and the model of the configuration.
constexpr std::size_t kMaxAclRules = 256;
constexpr std::size_t kMaxNatRules = 1000;
constexpr std::size_t kMaxPolicyName = 64;

AclRule decode_rule(const fb::AclRule& from, Fields& fields) {
  AclRule rule;
  rule.name = fields.name(from.name(), "rule name", kMaxPolicyName);
  rule.allow = from.allow();
  if (from.direction() != 1 && from.direction() != 2) {
    fields.refuse("direction " + std::to_string(from.direction()) + " of rule " + rule.name + " is unknown");
  }
  rule.direction = static_cast<AclDirection>(from.direction());
  rule.stateful = from.stateful();
  if (!from.any_protocol()) rule.protocol = from.protocol();
  rule.sources = fields.prefixes(from.sources(), "source");
  rule.destinations = fields.prefixes(from.destinations(), "destination");
  rule.source_ports = fields.ranges(from.source_ports(), "source_ports");
  rule.destination_ports = fields.ranges(from.destination_ports(), "destination_ports");
  return rule;
}

Object decode(const fb::Acl& from, bool key_only, Fields& fields) {
  Acl acl;
  acl.name = fields.name(from.name(), "name", kMaxPolicyName);
  if (key_only) return acl;
  acl.allow_by_default = from.allow_by_default();
  if (from.rules() == nullptr) return acl;
  if (from.rules()->size() > kMaxAclRules) {
    fields.refuse(std::to_string(from.rules()->size()) + " rules are over the limit of 256");
    return acl;
  }
  for (const auto* rule : *from.rules()) acl.rules.push_back(decode_rule(*rule, fields));
  return acl;
}

Object decode(const fb::Policy& from, bool key_only, Fields& fields) {
  Policy policy;
  policy.attachment = fields.attachment(from.kind(), from.id());
  if (key_only) return policy;
  policy.domain = fields.id<DomainId>(from.domain(), "domain id");
  policy.acl = text_of(from.acl());
  if (!policy.acl.empty()) (void)fields.name(from.acl(), "acl", kMaxPolicyName);
  if (from.reverse_path() > 2) fields.refuse("reverse_path " + std::to_string(from.reverse_path()) + " is unknown");
  policy.reverse_path = static_cast<ReversePath>(from.reverse_path());
  policy.bits_from = from.bits_from();
  policy.packets_from = from.packets_from();
  policy.bits_to = from.bits_to();
  policy.packets_to = from.packets_to();
  policy.max_connections = from.max_connections();
  return policy;
}

NatRule decode_rule(const fb::NatRule& from, Fields& fields) {
  NatRule rule;
  rule.name = fields.name(from.name(), "rule name", kMaxPolicyName);
  if (from.kind() < 1 || from.kind() > 4) fields.refuse("kind " + std::to_string(from.kind()) + " of rule " + rule.name + " is unknown");
  rule.kind = static_cast<NatKind>(from.kind());
  if (rule.kind != NatKind::kDestination) rule.attachment = fields.attachment(from.attachment_kind(), from.attachment_id());
  rule.sources = fields.prefixes(from.sources(), "source");
  rule.outside = fields.prefix(from.outside(), "outside");
  if (rule.kind != NatKind::kSource) rule.inside = fields.prefix(from.inside(), "inside");
  rule.protocol = from.protocol();
  rule.outside_port = from.outside_port();
  rule.inside_port = from.inside_port();
  rule.port_blocks = from.port_blocks();
  return rule;
}

Object decode(const fb::Nat& from, bool key_only, Fields& fields) {
  Nat nat;
  nat.domain = fields.id<DomainId>(from.domain(), "domain id");
  if (key_only || from.rules() == nullptr) return nat;
  if (from.rules()->size() > kMaxNatRules) {
    fields.refuse(std::to_string(from.rules()->size()) + " rules are over the limit of 1000");
    return nat;
  }
  for (const auto* rule : *from.rules()) nat.rules.push_back(decode_rule(*rule, fields));
  return nat;
}

ReceivedOperation decode(const fb::Operation& from) {
  Fields fields;
  Operation operation;
  operation.delete_it = from.delete_it();
  const bool key_only = operation.delete_it;
  // The verifier accepts a union whose type is set and whose value is not.
  if (from.object() == nullptr) return fail(ErrorCode::kPeer, "an operation without an object");
  switch (from.object_type()) {
    case fb::Object::Domain:
      operation.object = decode(*from.object_as_Domain(), key_only, fields);
      break;
    case fb::Object::Uplink:
      operation.object = decode(*from.object_as_Uplink(), key_only, fields);
      break;
    case fb::Object::Vpc:
      operation.object = decode(*from.object_as_Vpc(), key_only, fields);
      break;
    case fb::Object::Endpoint:
      operation.object = decode(*from.object_as_Endpoint(), key_only, fields);
      break;
    case fb::Object::Tunnel:
      operation.object = decode(*from.object_as_Tunnel(), key_only, fields);
      break;
    case fb::Object::HostPort:
      operation.object = decode(*from.object_as_HostPort(), key_only, fields);
      break;
    case fb::Object::Route:
      operation.object = decode(*from.object_as_Route(), key_only, fields);
      break;
    case fb::Object::Acl:
      operation.object = decode(*from.object_as_Acl(), key_only, fields);
      break;
    case fb::Object::Policy:
      operation.object = decode(*from.object_as_Policy(), key_only, fields);
      break;
    case fb::Object::Nat:
      operation.object = decode(*from.object_as_Nat(), key_only, fields);
      break;
    case fb::Object::Circuit:
      operation.object = decode(*from.object_as_Circuit(), key_only, fields);
      break;
    default:
      return fail(ErrorCode::kPeer, "object type " + std::to_string(static_cast<unsigned>(from.object_type())) + " is unknown");
  }
  if (!fields.error().empty()) return fail(ErrorCode::kInvalidConfig, key_of(operation.object) + ": " + fields.error());
  return operation;
}

}  // namespace

Result<TableMessage> decode(const fb::Update& from) {
  Update update;
  update.generation = Generation(from.generation());
  if (from.operations() != nullptr) {
    update.operations.reserve(from.operations()->size());
    for (const auto* operation : *from.operations()) update.operations.push_back(decode(*operation));
  }
  return TableMessage(std::move(update));
}

}  // namespace simplon::ipc
