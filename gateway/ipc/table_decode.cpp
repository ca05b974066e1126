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
    if (kind != fb::AttachmentKind::Vpc && kind != fb::AttachmentKind::Tunnel) {
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
      route.nexthops.push_back({fields.attachment(hop->kind(), hop->id()), hop->weight()});
    }
  }
  return route;
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
                                   s->tx_bytes(), s->punted(), s->dropped(), s->host_port_up(), s->mtu()});
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
                                 fields.mac(s->mac(), "neighbor mac"), s->resolved(), s->mtu()});
    }
  }
  stats.routes = from.routes();
  stats.endpoints = from.endpoints();
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed statistics: " + fields.error());
  return TableMessage(std::move(stats));
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
      return TableMessage(StatsRequest{envelope.body_as_StatsRequest()->token()});
    case fb::Body::Stats:
      return decode(*envelope.body_as_Stats());
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
