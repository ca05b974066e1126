// SPDX-License-Identifier: GPL-2.0-or-later
#include <flatbuffers/flatbuffers.h>

#include "gateway/ipc/table_protocol.h"
#include "table_generated.h"

namespace simplon::ipc {
namespace {

using Builder = flatbuffers::FlatBufferBuilder;
template <class T>
using Offset = flatbuffers::Offset<T>;
using Bytes = Offset<flatbuffers::Vector<std::uint8_t>>;

Bytes bytes_of(Builder& builder, const IpAddress& address) {
  return builder.CreateVector(address.bytes().data(), address.bytes().size());
}

Bytes bytes_of(Builder& builder, const MacAddress& mac) { return builder.CreateVector(mac.bytes.data(), mac.bytes.size()); }

Offset<fb::Prefix> prefix_of(Builder& builder, const IpAddress& address, unsigned length) {
  return fb::CreatePrefix(builder, bytes_of(builder, address), static_cast<std::uint8_t>(length));
}

template <class T, class Range, class Make>
Offset<flatbuffers::Vector<Offset<T>>> vector_of(Builder& builder, const Range& range, Make make) {
  std::vector<Offset<T>> offsets;
  offsets.reserve(range.size());
  for (const auto& element : range) offsets.push_back(make(element));
  return builder.CreateVector(offsets);
}

fb::AttachmentKind kind_of(AttachmentKind kind) { return static_cast<fb::AttachmentKind>(kind); }

struct Encoded {
  fb::Object type;
  Offset<void> object;
};

struct ObjectEncoder {
  Builder& builder;

  Encoded operator()(const Domain& domain) const {
    const auto name = builder.CreateString(domain.name);
    return {fb::Object::Domain, fb::CreateDomain(builder, domain.id.value(), name).Union()};
  }
  Encoded operator()(const Uplink& uplink) const {
    return {fb::Object::Uplink, fb::CreateUplink(builder, builder.CreateString(uplink.interface)).Union()};
  }
  Encoded operator()(const Vpc& vpc) const {
    const auto name = builder.CreateString(vpc.name);
    const auto vtep = bytes_of(builder, vpc.vtep);
    const auto mac = bytes_of(builder, vpc.gateway_mac);
    const auto prefixes = vector_of<fb::Prefix>(
        builder, vpc.prefixes, [&](const IpPrefix& p) { return prefix_of(builder, p.address(), p.length()); });
    const auto accepted = vector_of<fb::Address>(
        builder, vpc.accepted_vteps, [&](const IpAddress& a) { return fb::CreateAddress(builder, bytes_of(builder, a)); });
    return {fb::Object::Vpc, fb::CreateVpc(builder, vpc.vni.value(), name, vpc.domain.value(), vtep, vpc.udp_port, mac,
                                           prefixes, accepted, vpc.mtu)
                                 .Union()};
  }
  Encoded operator()(const Endpoint& endpoint) const {
    const auto address = bytes_of(builder, endpoint.address);
    const auto mac = bytes_of(builder, endpoint.mac);
    const auto vtep = bytes_of(builder, endpoint.vtep);
    return {fb::Object::Endpoint, fb::CreateEndpoint(builder, endpoint.vni.value(), address, mac, vtep).Union()};
  }
  Encoded operator()(const Tunnel& tunnel) const {
    const auto name = builder.CreateString(tunnel.name);
    const auto local = bytes_of(builder, tunnel.local);
    return {fb::Object::Tunnel, fb::CreateTunnel(builder, tunnel.id.value(), name, tunnel.domain.value(), local,
                                                 tunnel.mtu, tunnel.clamp_mss,
                                                 static_cast<fb::OuterDf>(tunnel.outer_df), tunnel.ignores_df, tunnel.negotiation,
                                                 tunnel.closed)
                                    .Union()};
  }
  Encoded operator()(const Circuit& circuit) const {
    const auto name = builder.CreateString(circuit.name);
    const auto interface = builder.CreateString(circuit.interface);
    return {fb::Object::Circuit,
            fb::CreateCircuit(builder, circuit.id.value(), name, circuit.domain.value(), interface, circuit.vlan,
                              circuit.outer_vlan, circuit.outer_type, circuit.mtu, circuit.clamp_mss)
                .Union()};
  }
  Encoded operator()(const HostPort& port) const {
    const auto interface = builder.CreateString(port.interface);
    const auto netns = builder.CreateString(port.netns);
    const auto addresses = vector_of<fb::Prefix>(
        builder, port.addresses, [&](const InterfaceAddress& a) { return prefix_of(builder, a.address, a.length); });
    return {fb::Object::HostPort, fb::CreateHostPort(builder, kind_of(port.attachment.kind), port.attachment.id, interface,
                                                     netns, addresses, port.mtu)
                                      .Union()};
  }
  Encoded operator()(const Route& route) const {
    const auto prefix = prefix_of(builder, route.prefix.address(), route.prefix.length());
    std::vector<NextHop> primaries, backups;
    for (const NextHop& hop : route.nexthops) (hop.backup ? backups : primaries).push_back(hop);
    const auto encoded = [&](const std::vector<NextHop>& hops) {
      return vector_of<fb::NextHop>(builder, hops, [&](const NextHop& hop) {
        const Bytes gateway = hop.gateway ? bytes_of(builder, *hop.gateway) : Bytes{};
        return fb::CreateNextHop(builder, kind_of(hop.attachment.kind), hop.attachment.id, hop.weight, gateway);
      });
    };
    const auto nexthops = encoded(primaries);
    const auto standby = backups.empty() ? decltype(nexthops){} : encoded(backups);
    return {fb::Object::Route, fb::CreateRoute(builder, route.domain.value(), prefix,
                                               static_cast<fb::RouteAction>(route.action), nexthops, standby)
                                   .Union()};
  }
  Encoded operator()(const Acl& acl) const {
    const auto name = builder.CreateString(acl.name);
    const auto rules = vector_of<fb::AclRule>(builder, acl.rules, [&](const AclRule& rule) { return encode(rule); });
    return {fb::Object::Acl, fb::CreateAcl(builder, name, acl.allow_by_default, rules).Union()};
  }
  Encoded operator()(const Policy& policy) const {
    const auto acl = builder.CreateString(policy.acl);
    return {fb::Object::Policy,
            fb::CreatePolicy(builder, kind_of(policy.attachment.kind), policy.attachment.id, policy.domain.value(), acl,
                             static_cast<std::uint8_t>(policy.reverse_path), policy.bits_from, policy.packets_from,
                             policy.bits_to, policy.packets_to, policy.max_connections)
                .Union()};
  }
  Encoded operator()(const Nat& nat) const {
    const auto rules = vector_of<fb::NatRule>(builder, nat.rules, [&](const NatRule& rule) { return encode(rule); });
    return {fb::Object::Nat, fb::CreateNat(builder, nat.domain.value(), rules).Union()};
  }

 private:
  [[nodiscard]] auto prefixes(const std::vector<IpPrefix>& all) const {
    return vector_of<fb::Prefix>(builder, all,
                                 [&](const IpPrefix& p) { return prefix_of(builder, p.address(), p.length()); });
  }
  [[nodiscard]] auto ranges(const std::vector<NumberRange>& all) const {
    return vector_of<fb::NumberRange>(
        builder, all, [&](const NumberRange& r) { return fb::CreateNumberRange(builder, r.first, r.last); });
  }
  [[nodiscard]] Offset<fb::AclRule> encode(const AclRule& rule) const {
    const auto name = builder.CreateString(rule.name);
    const auto sources = prefixes(rule.sources);
    const auto destinations = prefixes(rule.destinations);
    const auto source_ports = ranges(rule.source_ports);
    const auto destination_ports = ranges(rule.destination_ports);
    return fb::CreateAclRule(builder, name, rule.allow, static_cast<std::uint8_t>(rule.direction), rule.stateful,
                             !rule.protocol.has_value(), rule.protocol.value_or(0), sources, destinations, source_ports,
                             destination_ports);
  }
  [[nodiscard]] Offset<fb::NatRule> encode(const NatRule& rule) const {
    const auto name = builder.CreateString(rule.name);
    const auto sources = prefixes(rule.sources);
    const auto outside = prefix_of(builder, rule.outside.address(), rule.outside.length());
    const auto inside = prefix_of(builder, rule.inside.address(), rule.inside.length());
    return fb::CreateNatRule(builder, name, static_cast<std::uint8_t>(rule.kind), kind_of(rule.attachment.kind),
                             rule.attachment.id, sources, outside, inside, rule.protocol, rule.outside_port,
                             rule.inside_port, rule.port_blocks);
  }
};

Offset<fb::RuleCount> encode(Builder& builder, const RuleCount& count) {
  return fb::CreateRuleCount(builder, builder.CreateString(count.name), count.packets);
}

Offset<fb::Operation> encode(Builder& builder, const Operation& operation) {
  const Encoded encoded = std::visit(ObjectEncoder{builder}, operation.object);
  return fb::CreateOperation(builder, operation.delete_it, encoded.type, encoded.object);
}

Offset<fb::OperationError> encode(Builder& builder, const OperationError& error) {
  return fb::CreateOperationError(builder, error.index, builder.CreateString(error.what));
}

Offset<fb::AttachmentStats> encode(Builder& builder, const AttachmentStats& s) {
  return fb::CreateAttachmentStats(builder, kind_of(s.attachment.kind), s.attachment.id, s.rx_packets, s.rx_bytes,
                                   s.tx_packets, s.tx_bytes, s.punted, s.dropped, s.host_port_up, s.mtu, s.connections);
}

Offset<fb::DropCount> encode(Builder& builder, const DropCount& drop) {
  const auto name = builder.CreateString(drop.name);
  const auto reference = builder.CreateString(drop.reference);
  const auto sentence = builder.CreateString(drop.sentence);
  return fb::CreateDropCount(builder, name, reference, sentence, drop.packets);
}

Offset<fb::UplinkStats> encode(Builder& builder, const UplinkStats& s) {
  const auto interface = builder.CreateString(s.interface);
  const auto mode = builder.CreateString(s.mode);
  const auto error = builder.CreateString(s.error);
  const auto xdp_forwarding = builder.CreateString(s.xdp_forwarding);
  return fb::CreateUplinkStats(builder, interface, mode, s.queues, s.up, error, s.rx_packets, s.rx_bytes, s.tx_packets,
                               s.tx_bytes, xdp_forwarding, s.xdp_packets, s.control_rings, s.rx_ring_full,
                               s.control_ring_full, s.fill_ring_empty);
}

Offset<fb::SaStats> encode(Builder& builder, const SaStats& s) {
  const auto suite = builder.CreateString(s.suite);
  const auto source = bytes_of(builder, s.source);
  const auto destination = bytes_of(builder, s.destination);
  return fb::CreateSaStats(builder, s.spi.value(), s.tunnel.value(), s.inbound, s.active, s.encap, s.esn, suite, source,
                           destination, s.packets, s.bytes, s.sequence, s.replayed, s.failed, s.age_seconds);
}

Offset<fb::NeighborStats> encode(Builder& builder, const NeighborStats& s) {
  const auto destination = bytes_of(builder, s.destination);
  const auto interface = builder.CreateString(s.interface);
  const auto mac = bytes_of(builder, s.mac);
  return fb::CreateNeighborStats(builder, destination, interface, mac, s.resolved, s.mtu, s.circuit.value(), s.learned_mtu,
                                 s.learned_for_seconds);
}

Offset<fb::PacketFilter> encode(Builder& builder, const PacketFilter& filter) {
  const auto prefix = [&](const std::optional<IpPrefix>& given) {
    return given ? prefix_of(builder, given->address(), given->length()) : Offset<fb::Prefix>();
  };
  const auto source = prefix(filter.source);
  const auto destination = prefix(filter.destination);
  const auto host = prefix(filter.host);
  return fb::CreatePacketFilter(builder, source, destination, host,
                                static_cast<std::int16_t>(filter.protocol ? *filter.protocol : -1),
                                filter.source_port.value_or(0), filter.destination_port.value_or(0), filter.port.value_or(0));
}

Offset<fb::TraceFact> encode(Builder& builder, const TraceFact& fact) {
  const auto name = builder.CreateString(fact.name);
  const auto value = builder.CreateString(fact.value);
  const AttachmentRef about = fact.attachment.value_or(AttachmentRef{});
  return fb::CreateTraceFact(builder, name, value, kind_of(about.kind), about.id,
                             fact.domain ? fact.domain->value() : 0);
}

Offset<fb::TraceStep> encode(Builder& builder, const TraceStep& step) {
  const auto stage = builder.CreateString(step.stage);
  const auto packet = builder.CreateString(step.packet);
  const auto drop = builder.CreateString(step.drop);
  const auto facts =
      vector_of<fb::TraceFact>(builder, step.facts, [&](const TraceFact& fact) { return encode(builder, fact); });
  return fb::CreateTraceStep(builder, stage, packet, drop, facts);
}

Offset<fb::CapturedPacket> encode(Builder& builder, const CapturedPacket& packet) {
  const AttachmentRef attachment = packet.attachment.value_or(AttachmentRef{});
  const auto uplink = builder.CreateString(packet.uplink);
  const auto drop = builder.CreateString(packet.drop);
  const auto bytes = builder.CreateVector(packet.bytes);
  return fb::CreateCapturedPacket(builder, packet.time_ns, static_cast<std::uint8_t>(packet.point), packet.ethernet,
                                  kind_of(attachment.kind), attachment.id, uplink, drop, packet.length, bytes);
}

Offset<fb::AclStats> encode(Builder& builder, const AclStats& s) {
  const auto name = builder.CreateString(s.name);
  const auto rules = vector_of<fb::RuleCount>(builder, s.rules, [&](const RuleCount& r) { return encode(builder, r); });
  return fb::CreateAclStats(builder, name, rules);
}

Offset<fb::NatStats> encode(Builder& builder, const NatStats& s) {
  const auto rules = vector_of<fb::RuleCount>(builder, s.rules, [&](const RuleCount& r) { return encode(builder, r); });
  return fb::CreateNatStats(builder, s.domain.value(), rules);
}

Offset<fb::WorkerQueue> encode(Builder& builder, const WorkerStats::Queue& queue) {
  return fb::CreateWorkerQueue(builder, builder.CreateString(queue.interface), queue.queue);
}

Offset<fb::WorkerStats> encode(Builder& builder, const WorkerStats& s) {
  const auto queues =
      vector_of<fb::WorkerQueue>(builder, s.queues, [&](const WorkerStats::Queue& queue) { return encode(builder, queue); });
  return fb::CreateWorkerStats(builder, s.cpu ? static_cast<std::int32_t>(*s.cpu) : -1, s.busy_percent, s.received, s.dropped,
                               queues);
}

Offset<fb::ConnectionStats> encode(Builder& builder, const ConnectionStats& s) {
  const auto source = bytes_of(builder, s.source);
  const auto destination = bytes_of(builder, s.destination);
  const auto translated_source = bytes_of(builder, s.translated_source);
  const auto translated_destination = bytes_of(builder, s.translated_destination);
  return fb::CreateConnectionStats(builder, s.domain.value(), s.protocol, static_cast<std::uint8_t>(s.state), source,
                                   destination, s.source_port, s.destination_port, translated_source,
                                   translated_destination, s.translated_source_port, s.translated_destination_port,
                                   kind_of(s.from.kind), s.from.id, kind_of(s.to.kind), s.to.id, s.packets_out,
                                   s.packets_back, s.bytes_out, s.bytes_back, s.age_seconds, s.idle_seconds,
                                   s.expires_in_seconds, s.closing);
}

template <class T, class Range>
Offset<flatbuffers::Vector<Offset<T>>> encode_all(Builder& builder, const Range& range) {
  return vector_of<T>(builder, range, [&](const auto& element) { return encode(builder, element); });
}

struct EncodedBody {
  fb::Body type;
  Offset<void> body;
};

struct BodyEncoder {
  Builder& builder;

  EncodedBody operator()(const Hello& hello) const {
    const auto software = builder.CreateString(hello.software);
    return {fb::Body::Hello, fb::CreateHello(builder, hello.version, software, hello.instance, hello.observer).Union()};
  }
  EncodedBody operator()(const SyncBegin& begin) const {
    return {fb::Body::SyncBegin, fb::CreateSyncBegin(builder, begin.epoch.value()).Union()};
  }
  EncodedBody operator()(const SyncEnd& end) const {
    return {fb::Body::SyncEnd, fb::CreateSyncEnd(builder, end.epoch.value(), end.generation.value()).Union()};
  }
  EncodedBody operator()(const Update& update) const {
    const auto operations = vector_of<fb::Operation>(builder, update.operations, [&](const ReceivedOperation& operation) {
      SIMPLON_CHECK(operation.has_value());
      return encode(builder, *operation);
    });
    return {fb::Body::Update, fb::CreateUpdate(builder, update.generation.value(), operations).Union()};
  }
  EncodedBody operator()(const Ack& ack) const {
    const auto errors = encode_all<fb::OperationError>(builder, ack.errors);
    return {fb::Body::Ack, fb::CreateAck(builder, ack.generation.value(), errors).Union()};
  }
  EncodedBody operator()(const StatsRequest& request) const {
    return {fb::Body::StatsRequest, fb::CreateStatsRequest(builder, request.token, request.connections).Union()};
  }
  EncodedBody operator()(const Stats& s) const {
    const auto accounting = fb::CreateAccounting(builder, s.accounting.received, s.accounting.originated, s.accounting.sent,
                                                 s.accounting.punted, s.accounting.dropped, s.accounting.icmp_suppressed);
    const auto drops = encode_all<fb::DropCount>(builder, s.drops);
    const auto attachments = encode_all<fb::AttachmentStats>(builder, s.attachments);
    const auto uplinks = encode_all<fb::UplinkStats>(builder, s.uplinks);
    const auto sas = encode_all<fb::SaStats>(builder, s.sas);
    const auto neighbors = encode_all<fb::NeighborStats>(builder, s.neighbors);
    const auto acls = encode_all<fb::AclStats>(builder, s.acls);
    const auto nats = encode_all<fb::NatStats>(builder, s.nats);
    const auto connections = encode_all<fb::ConnectionStats>(builder, s.connections);
    const auto workers = encode_all<fb::WorkerStats>(builder, s.workers);
    const auto too_big = encode_all<fb::RuleCount>(builder, s.too_big);
    return {fb::Body::Stats, fb::CreateStats(builder, s.token, s.generation.value(), accounting, drops, attachments, uplinks,
                                             sas, neighbors, s.routes, s.endpoints, acls, nats, s.connections_used,
                                             s.connections_most, connections, workers, s.routes_on_backup,
                                             s.switches_to_backup, too_big)
                                 .Union()};
  }
  EncodedBody operator()(const TraceRequest& request) const {
    const auto packet = builder.CreateVector(request.packet);
    const auto vtep = request.vtep ? bytes_of(builder, *request.vtep) : Bytes();
    const auto filter = encode(builder, request.filter);
    return {fb::Body::TraceRequest,
            fb::CreateTraceRequest(builder, request.token, kind_of(request.from.kind), request.from.id, packet,
                                   request.from_kernel, vtep, request.live, filter, request.wait_seconds)
                .Union()};
  }
  EncodedBody operator()(const TraceReply& trace) const {
    const auto error = builder.CreateString(trace.error);
    const auto hint = builder.CreateString(trace.hint);
    const auto drop = builder.CreateString(trace.drop);
    const auto reference = builder.CreateString(trace.reference);
    const auto sentence = builder.CreateString(trace.sentence);
    const auto remedy = builder.CreateString(trace.remedy);
    const auto steps = encode_all<fb::TraceStep>(builder, trace.steps);
    return {fb::Body::Trace, fb::CreateTrace(builder, trace.token, error, hint, static_cast<std::uint8_t>(trace.verdict), drop,
                                             reference, sentence, remedy, steps)
                                 .Union()};
  }
  EncodedBody operator()(const CaptureRequest& request) const {
    const AttachmentRef attachment = request.attachment.value_or(AttachmentRef{});
    const auto uplink = builder.CreateString(request.uplink);
    const auto drop = builder.CreateString(request.drop);
    const auto filter = encode(builder, request.filter);
    return {fb::Body::CaptureRequest, fb::CreateCaptureRequest(builder, kind_of(attachment.kind), attachment.id, uplink,
                                                               request.points, drop, request.snaplen, filter)
                                          .Union()};
  }
  EncodedBody operator()(const CaptureData& data) const {
    const auto error = builder.CreateString(data.error);
    const auto hint = builder.CreateString(data.hint);
    const auto packets = encode_all<fb::CapturedPacket>(builder, data.packets);
    return {fb::Body::CaptureData, fb::CreateCaptureData(builder, error, hint, packets, data.lost).Union()};
  }
};

std::vector<std::uint8_t> finish(Builder& builder, const EncodedBody& body) {
  fb::FinishEnvelopeBuffer(builder, fb::CreateEnvelope(builder, body.type, body.body));
  const std::size_t size = builder.GetSize();
  std::vector<std::uint8_t> frame(4 + size);
  for (unsigned i = 0; i < 4; ++i) frame[i] = static_cast<std::uint8_t>(size >> (24 - 8 * i));
  std::copy_n(builder.GetBufferPointer(), size, frame.begin() + 4);
  return frame;
}

}  // namespace

std::vector<std::uint8_t> encode_table_message(const TableMessage& message) {
  Builder builder(1024);
  return finish(builder, std::visit(BodyEncoder{builder}, message));
}

std::vector<std::uint8_t> encode_update(Generation generation, std::span<const Operation> operations) {
  Builder builder(operations.size() * 128 + 1024);
  const auto encoded =
      vector_of<fb::Operation>(builder, operations, [&](const Operation& operation) { return encode(builder, operation); });
  return finish(builder, {fb::Body::Update, fb::CreateUpdate(builder, generation.value(), encoded).Union()});
}

}  // namespace simplon::ipc
