// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bytes to values. FlatBuffers' verifier makes every later access safe; what it cannot know (that an address has 4 or 16
// bytes, that a VNI has 24 bits) is checked here. A malformed operation is an error of that operation only: it keeps its
// place in the Update, so that the index in the Ack is right.
#include <flatbuffers/flatbuffers.h>

#include "gateway/ipc/table_protocol.h"
#include "table_generated.h"

namespace simplon::ipc {
namespace {

// Chosen by us, beyond the verifier's defaults: a full-size message has at most this many tables.
constexpr flatbuffers::uoffset_t kMaxTables = 2'000'000;
constexpr flatbuffers::uoffset_t kMaxDepth = 16;
// Given by RFC 7348 section 5.
constexpr std::uint32_t kMaxVni = 0xffffff;
// From table.fbs.
constexpr std::size_t kMaxNextHops = 64;

using FbBytes = flatbuffers::Vector<std::uint8_t>;

std::string text_of(const flatbuffers::String* string) { return string == nullptr ? std::string{} : string->str(); }

/// Collects the first error, so that the field list of an object reads as a list.
class Fields {
 public:
  IpAddress address(const FbBytes* bytes, const char* field) {
    if (bytes != nullptr) {
      if (auto parsed = IpAddress::from_bytes({bytes->data(), bytes->size()})) return *parsed;
    }
    refuse(std::string(field) + " is not an address of 4 or 16 bytes");
    return {};
  }
  MacAddress mac(const FbBytes* bytes, const char* field) {
    MacAddress mac;
    if (bytes != nullptr && bytes->size() == mac.bytes.size()) {
      std::copy(bytes->begin(), bytes->end(), mac.bytes.begin());
    } else {
      refuse(std::string(field) + " is not a MAC address of 6 bytes");
    }
    return mac;
  }
  InterfaceAddress interface_address(const fb::Prefix* prefix, const char* field) {
    if (prefix == nullptr) {
      refuse(std::string(field) + " is missing");
      return {};
    }
    InterfaceAddress result{address(prefix->address(), field), prefix->length()};
    if (result.length > result.address.bits()) refuse(std::string(field) + " has a length of " + std::to_string(result.length));
    return result;
  }
  IpPrefix prefix(const fb::Prefix* given, const char* field) {
    const InterfaceAddress address = interface_address(given, field);
    if (error_.empty() && address.network().address() != address.address) {
      refuse(std::string(field) + " " + address.to_string() + " has host bits set");
    }
    return address.network();
  }
  Vni vni(std::uint32_t value) {
    if (value == 0 || value > kMaxVni) refuse("VNI " + std::to_string(value) + " is not within 1 to 16777215");
    return Vni(value);
  }
  template <class Id>
  Id id(std::uint32_t value, const char* field) {
    if (value == 0) refuse(std::string(field) + " is 0");
    return Id(value);
  }
  AttachmentRef attachment(fb::AttachmentKind kind, std::uint32_t id) {
    if (kind < fb::AttachmentKind::Vpc || kind > fb::AttachmentKind::Circuit) {
      refuse("attachment kind " + std::to_string(static_cast<unsigned>(kind)) + " is unknown");
    } else if (id == 0) {
      refuse("attachment id is 0");
    }
    return {static_cast<AttachmentKind>(kind), id};
  }
  std::string name(const flatbuffers::String* string, const char* field, std::size_t max) {
    std::string name = text_of(string);
    if (name.empty() || name.size() > max || name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
      refuse(std::string(field) + " '" + name + "' is not a name of 1 to " + std::to_string(max) + " characters");
    }
    return name;
  }
  std::vector<IpPrefix> prefixes(const flatbuffers::Vector<flatbuffers::Offset<fb::Prefix>>* given, const char* field) {
    std::vector<IpPrefix> all;
    if (given == nullptr) return all;
    for (const auto* one : *given) all.push_back(prefix(one, field));
    return all;
  }
  std::vector<NumberRange> ranges(const flatbuffers::Vector<flatbuffers::Offset<fb::NumberRange>>* given, const char* field) {
    std::vector<NumberRange> all;
    if (given == nullptr) return all;
    for (const auto* one : *given) {
      if (one->first() > one->last()) refuse(std::string(field) + " has an empty range");
      all.push_back({one->first(), one->last()});
    }
    return all;
  }
  void refuse(std::string why) {
    if (error_.empty()) error_ = std::move(why);
  }
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  std::string error_;
};

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
  if (from.nexthops() != nullptr) {
    if (from.nexthops()->size() > kMaxNextHops) {
      fields.refuse(std::to_string(from.nexthops()->size()) + " nexthops are over the limit of 64");
      return route;
    }
    for (const auto* hop : *from.nexthops()) {
      NextHop& added = route.nexthops.emplace_back(NextHop{fields.attachment(hop->kind(), hop->id()), hop->weight()});
      if (hop->gateway() != nullptr) added.gateway = fields.address(hop->gateway(), "gateway");
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

Result<TableMessage> decode(const fb::Update& from) {
  Update update;
  update.generation = Generation(from.generation());
  if (from.operations() != nullptr) {
    update.operations.reserve(from.operations()->size());
    for (const auto* operation : *from.operations()) update.operations.push_back(decode(*operation));
  }
  return TableMessage(std::move(update));
}

Result<TableMessage> decode(const fb::Ack& from) {
  Ack ack;
  ack.generation = Generation(from.generation());
  if (from.errors() != nullptr) {
    for (const auto* error : *from.errors()) ack.errors.push_back({error->index(), text_of(error->what())});
  }
  return TableMessage(std::move(ack));
}

std::vector<RuleCount> decode_counts(const flatbuffers::Vector<flatbuffers::Offset<fb::RuleCount>>* from) {
  std::vector<RuleCount> counts;
  if (from == nullptr) return counts;
  for (const auto* count : *from) counts.push_back({text_of(count->name()), count->packets()});
  return counts;
}

/// An attachment that is gone has kind kNone.
AttachmentRef decode_side(fb::AttachmentKind kind, std::uint32_t id, Fields& fields) {
  return kind == fb::AttachmentKind::None ? AttachmentRef{} : fields.attachment(kind, id);
}

ConnectionStats decode_connection(const fb::ConnectionStats& s, Fields& fields) {
  ConnectionStats c;
  c.domain = DomainId(s.domain());
  c.protocol = s.protocol();
  if (s.state() > 2) fields.refuse("connection state " + std::to_string(s.state()) + " is unknown");
  c.state = static_cast<ConnectionState>(s.state());
  c.source = fields.address(s.source(), "connection source");
  c.destination = fields.address(s.destination(), "connection destination");
  c.source_port = s.source_port();
  c.destination_port = s.destination_port();
  c.translated_source = fields.address(s.translated_source(), "translated source");
  c.translated_destination = fields.address(s.translated_destination(), "translated destination");
  c.translated_source_port = s.translated_source_port();
  c.translated_destination_port = s.translated_destination_port();
  c.from = decode_side(s.from_kind(), s.from_id(), fields);
  c.to = decode_side(s.to_kind(), s.to_id(), fields);
  c.packets_out = s.packets_out();
  c.packets_back = s.packets_back();
  c.bytes_out = s.bytes_out();
  c.bytes_back = s.bytes_back();
  c.age_seconds = s.age_seconds();
  c.idle_seconds = s.idle_seconds();
  c.expires_in_seconds = s.expires_in_seconds();
  return c;
}

void decode_policy_stats(const fb::Stats& from, Stats& stats, Fields& fields) {
  if (from.acls() != nullptr) {
    for (const auto* acl : *from.acls()) stats.acls.push_back({text_of(acl->name()), decode_counts(acl->rules())});
  }
  if (from.nats() != nullptr) {
    for (const auto* nat : *from.nats()) stats.nats.push_back({DomainId(nat->domain()), decode_counts(nat->rules())});
  }
  stats.connections_used = from.connections_used();
  stats.connections_most = from.connections_most();
  if (from.connections() != nullptr) {
    for (const auto* one : *from.connections()) stats.connections.push_back(decode_connection(*one, fields));
  }
}

std::vector<WorkerStats> decode_workers(const fb::Stats& from) {
  std::vector<WorkerStats> workers;
  if (from.workers() == nullptr) return workers;
  for (const auto* s : *from.workers()) {
    WorkerStats& worker = workers.emplace_back();
    if (s->cpu() >= 0) worker.cpu = static_cast<std::uint32_t>(s->cpu());
    worker.busy_percent = s->busy_percent();
    worker.received = s->received();
    worker.dropped = s->dropped();
    if (s->queues() == nullptr) continue;
    for (const auto* queue : *s->queues()) worker.queues.push_back({text_of(queue->interface()), queue->queue()});
  }
  return workers;
}

Result<TableMessage> decode(const fb::Stats& from) {
  Fields fields;
  Stats stats;
  stats.token = from.token();
  stats.generation = Generation(from.generation());
  if (const auto* a = from.accounting()) {
    stats.accounting = {a->received(), a->originated(), a->sent(), a->punted(), a->dropped()};
  }
  if (from.drops() != nullptr) {
    for (const auto* drop : *from.drops()) {
      stats.drops.push_back({text_of(drop->name()), text_of(drop->reference()), text_of(drop->sentence()), drop->packets()});
    }
  }
  if (from.attachments() != nullptr) {
    for (const auto* s : *from.attachments()) {
      stats.attachments.push_back({fields.attachment(s->kind(), s->id()), s->rx_packets(), s->rx_bytes(), s->tx_packets(),
                                   s->tx_bytes(), s->punted(), s->dropped(), s->host_port_up(), s->mtu(),
                                   s->connections()});
    }
  }
  if (from.uplinks() != nullptr) {
    for (const auto* s : *from.uplinks()) {
      stats.uplinks.push_back({text_of(s->interface()), text_of(s->mode()), s->queues(), s->up(), text_of(s->error()),
                               s->rx_packets(), s->rx_bytes(), s->tx_packets(), s->tx_bytes(), text_of(s->xdp_forwarding()),
                               s->xdp_packets()});
    }
  }
  if (from.sas() != nullptr) {
    for (const auto* s : *from.sas()) {
      SaStats sa;
      sa.spi = Spi(s->spi());
      sa.tunnel = TunnelId(s->tunnel());
      sa.inbound = s->inbound();
      sa.active = s->active();
      sa.encap = s->encap();
      sa.esn = s->esn();
      sa.suite = text_of(s->suite());
      sa.source = fields.address(s->source(), "SA source");
      sa.destination = fields.address(s->destination(), "SA destination");
      sa.packets = s->packets();
      sa.bytes = s->bytes();
      sa.sequence = s->sequence();
      sa.replayed = s->replayed();
      sa.failed = s->failed();
      sa.age_seconds = s->age_seconds();
      stats.sas.push_back(std::move(sa));
    }
  }
  if (from.neighbors() != nullptr) {
    for (const auto* s : *from.neighbors()) {
      stats.neighbors.push_back({fields.address(s->destination(), "neighbor destination"), text_of(s->interface()),
                                 fields.mac(s->mac(), "neighbor mac"), s->resolved(), s->mtu(), CircuitId(s->circuit())});
    }
  }
  stats.routes = from.routes();
  stats.endpoints = from.endpoints();
  decode_policy_stats(from, stats, fields);
  stats.workers = decode_workers(from);
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed statistics: " + fields.error());
  return TableMessage(std::move(stats));
}

std::vector<std::uint8_t> bytes_of(const FbBytes* bytes) {
  return bytes == nullptr ? std::vector<std::uint8_t>{} : std::vector<std::uint8_t>(bytes->begin(), bytes->end());
}

/// None is allowed.
std::optional<AttachmentRef> attachment_if_any(fb::AttachmentKind kind, std::uint32_t id, Fields& fields) {
  if (kind == fb::AttachmentKind::None && id == 0) return std::nullopt;
  return fields.attachment(kind, id);
}

PacketFilter decode(const fb::PacketFilter* from, Fields& fields) {
  PacketFilter filter;
  if (from == nullptr) return filter;
  if (from->source() != nullptr) filter.source = fields.prefix(from->source(), "filter source");
  if (from->destination() != nullptr) filter.destination = fields.prefix(from->destination(), "filter destination");
  if (from->host() != nullptr) filter.host = fields.prefix(from->host(), "filter host");
  if (from->protocol() > 255) fields.refuse("filter protocol " + std::to_string(from->protocol()) + " is above 255");
  if (from->protocol() >= 0) filter.protocol = static_cast<std::uint8_t>(from->protocol());
  if (from->source_port() != 0) filter.source_port = from->source_port();
  if (from->destination_port() != 0) filter.destination_port = from->destination_port();
  if (from->port() != 0) filter.port = from->port();
  return filter;
}

Result<TableMessage> decode(const fb::TraceRequest& from) {
  Fields fields;
  TraceRequest request;
  request.token = from.token();
  request.from = fields.attachment(from.kind(), from.id());
  request.packet = bytes_of(from.packet());
  request.from_kernel = from.from_kernel();
  if (from.vtep() != nullptr) request.vtep = fields.address(from.vtep(), "vtep");
  request.live = from.live();
  request.filter = decode(from.filter(), fields);
  request.wait_seconds = from.wait_seconds();
  if (request.wait_seconds > kMaxTraceWaitSeconds) {
    fields.refuse("a wait of " + std::to_string(request.wait_seconds) + " s is longer than " + std::to_string(kMaxTraceWaitSeconds));
  }
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed TraceRequest: " + fields.error());
  return TableMessage(std::move(request));
}

Result<TableMessage> decode(const fb::Trace& from) {
  Fields fields;
  TraceReply trace;
  trace.token = from.token();
  trace.error = text_of(from.error());
  trace.hint = text_of(from.hint());
  if (from.verdict() > static_cast<std::uint8_t>(TraceVerdict::kWaiting)) {
    fields.refuse("verdict " + std::to_string(from.verdict()) + " is unknown");
  }
  trace.verdict = static_cast<TraceVerdict>(from.verdict());
  trace.drop = text_of(from.drop());
  trace.reference = text_of(from.reference());
  trace.sentence = text_of(from.sentence());
  trace.remedy = text_of(from.remedy());
  if (from.steps() != nullptr) {
    for (const auto* s : *from.steps()) {
      TraceStep step{text_of(s->stage()), text_of(s->packet()), text_of(s->drop()), {}};
      if (s->facts() != nullptr) {
        for (const auto* f : *s->facts()) {
          TraceFact fact{text_of(f->name()), text_of(f->value()), attachment_if_any(f->kind(), f->id(), fields), {}};
          if (f->domain() != 0) fact.domain = DomainId(f->domain());
          step.facts.push_back(std::move(fact));
        }
      }
      trace.steps.push_back(std::move(step));
    }
  }
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed Trace: " + fields.error());
  return TableMessage(std::move(trace));
}

Result<TableMessage> decode(const fb::CaptureRequest& from) {
  Fields fields;
  CaptureRequest request;
  request.attachment = attachment_if_any(from.kind(), from.id(), fields);
  request.uplink = text_of(from.uplink());
  request.points = from.points();
  if (request.points == 0 || request.points > 127) fields.refuse("points " + std::to_string(request.points) + " are unknown");
  request.drop = text_of(from.drop());
  request.snaplen = from.snaplen();
  request.filter = decode(from.filter(), fields);
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed CaptureRequest: " + fields.error());
  return TableMessage(std::move(request));
}

Result<TableMessage> decode(const fb::CaptureData& from) {
  Fields fields;
  CaptureData data;
  data.error = text_of(from.error());
  data.hint = text_of(from.hint());
  data.lost = from.lost();
  if (from.packets() != nullptr) {
    for (const auto* p : *from.packets()) {
      CapturedPacket packet;
      packet.time_ns = p->time_ns();
      packet.point = static_cast<CapturePoint>(p->point());
      if (p->point() == 0 || p->point() > 64 || (p->point() & (p->point() - 1)) != 0) {
        fields.refuse("capture point " + std::to_string(p->point()) + " is unknown");
      }
      packet.ethernet = p->ethernet();
      packet.attachment = attachment_if_any(p->kind(), p->id(), fields);
      packet.uplink = text_of(p->uplink());
      packet.drop = text_of(p->drop());
      packet.length = p->length();
      packet.bytes = bytes_of(p->bytes());
      data.packets.push_back(std::move(packet));
    }
  }
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed CaptureData: " + fields.error());
  return TableMessage(std::move(data));
}

Result<TableMessage> decode_verified(const fb::Envelope& envelope) {
  if (envelope.body() == nullptr) return fail(ErrorCode::kPeer, "a table message without a body");
  switch (envelope.body_type()) {
    case fb::Body::Hello: {
      const auto* hello = envelope.body_as_Hello();
      return TableMessage(Hello{hello->version(), text_of(hello->software()), hello->instance(), hello->observer()});
    }
    case fb::Body::SyncBegin:
      return TableMessage(SyncBegin{Epoch(envelope.body_as_SyncBegin()->epoch())});
    case fb::Body::SyncEnd: {
      const auto* end = envelope.body_as_SyncEnd();
      return TableMessage(SyncEnd{Epoch(end->epoch()), Generation(end->generation())});
    }
    case fb::Body::Update:
      return decode(*envelope.body_as_Update());
    case fb::Body::Ack:
      return decode(*envelope.body_as_Ack());
    case fb::Body::StatsRequest:
      return TableMessage(
          StatsRequest{envelope.body_as_StatsRequest()->token(), envelope.body_as_StatsRequest()->connections()});
    case fb::Body::Stats:
      return decode(*envelope.body_as_Stats());
    case fb::Body::TraceRequest:
      return decode(*envelope.body_as_TraceRequest());
    case fb::Body::Trace:
      return decode(*envelope.body_as_Trace());
    case fb::Body::CaptureRequest:
      return decode(*envelope.body_as_CaptureRequest());
    case fb::Body::CaptureData:
      return decode(*envelope.body_as_CaptureData());
    default:
      return fail(ErrorCode::kPeer,
                  "table message of unknown type " + std::to_string(static_cast<unsigned>(envelope.body_type())));
  }
}

}  // namespace

Result<TableMessage> decode_table_message(std::span<const std::uint8_t> envelope) {
  // Accesses are aligned relative to the start of the buffer, so the start has to be aligned.
  std::vector<std::uint8_t> aligned;
  if (reinterpret_cast<std::uintptr_t>(envelope.data()) % alignof(std::uint64_t) != 0) {
    aligned.assign(envelope.begin(), envelope.end());
    envelope = aligned;
  }
  flatbuffers::Verifier verifier(envelope.data(), envelope.size(), kMaxDepth, kMaxTables);
  if (!fb::VerifyEnvelopeBuffer(verifier)) {
    return fail(ErrorCode::kPeer, "a table message of " + std::to_string(envelope.size()) + " bytes does not verify");
  }
  return decode_verified(*fb::GetEnvelope(envelope.data()));
}

void TableFramer::append(std::span<const std::uint8_t> bytes) {
  if (consumed_ > 0 && consumed_ == buffer_.size()) {
    buffer_.clear();
    consumed_ = 0;
  } else if (consumed_ > (std::size_t{1} << 20)) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(consumed_));
    consumed_ = 0;
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<std::vector<std::uint8_t>>> TableFramer::next() {
  using Next = std::optional<std::vector<std::uint8_t>>;
  const std::size_t available = buffer_.size() - consumed_;
  if (available < 4) return Next{};
  const std::uint8_t* at = buffer_.data() + consumed_;
  const std::size_t length = std::size_t{at[0]} << 24 | std::size_t{at[1]} << 16 | std::size_t{at[2]} << 8 | at[3];
  if (length == 0 || length > kMaxTableMessageBytes) {
    return fail(ErrorCode::kPeer, "a table message claims " + std::to_string(length) + " bytes",
                "at most 16 MiB are allowed; is the peer of this version?");
  }
  if (available < 4 + length) return Next{};
  Next envelope(std::in_place, at + 4, at + 4 + length);
  consumed_ += 4 + length;
  return envelope;
}

}  // namespace simplon::ipc
