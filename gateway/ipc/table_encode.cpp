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
                                                 tunnel.mtu, tunnel.clamp_mss)
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
    const auto nexthops = vector_of<fb::NextHop>(builder, route.nexthops, [&](const NextHop& hop) {
      return fb::CreateNextHop(builder, kind_of(hop.attachment.kind), hop.attachment.id, hop.weight);
    });
    return {fb::Object::Route, fb::CreateRoute(builder, route.domain.value(), prefix,
                                               static_cast<fb::RouteAction>(route.action), nexthops)
                                   .Union()};
  }
};

Offset<fb::Operation> encode(Builder& builder, const Operation& operation) {
  const Encoded encoded = std::visit(ObjectEncoder{builder}, operation.object);
  return fb::CreateOperation(builder, operation.delete_it, encoded.type, encoded.object);
}

Offset<fb::OperationError> encode(Builder& builder, const OperationError& error) {
  return fb::CreateOperationError(builder, error.index, builder.CreateString(error.what));
}

Offset<fb::AttachmentStats> encode(Builder& builder, const AttachmentStats& s) {
  return fb::CreateAttachmentStats(builder, kind_of(s.attachment.kind), s.attachment.id, s.rx_packets, s.rx_bytes,
                                   s.tx_packets, s.tx_bytes, s.punted, s.dropped, s.host_port_up, s.mtu);
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
                               s.tx_bytes, xdp_forwarding, s.xdp_packets);
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
  return fb::CreateNeighborStats(builder, destination, interface, mac, s.resolved, s.mtu);
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
    return {fb::Body::StatsRequest, fb::CreateStatsRequest(builder, request.token).Union()};
  }
  EncodedBody operator()(const Stats& s) const {
    const auto accounting = fb::CreateAccounting(builder, s.accounting.received, s.accounting.originated, s.accounting.sent,
                                                 s.accounting.punted, s.accounting.dropped);
    const auto drops = encode_all<fb::DropCount>(builder, s.drops);
    const auto attachments = encode_all<fb::AttachmentStats>(builder, s.attachments);
    const auto uplinks = encode_all<fb::UplinkStats>(builder, s.uplinks);
    const auto sas = encode_all<fb::SaStats>(builder, s.sas);
    const auto neighbors = encode_all<fb::NeighborStats>(builder, s.neighbors);
    return {fb::Body::Stats, fb::CreateStats(builder, s.token, s.generation.value(), accounting, drops, attachments, uplinks,
                                             sas, neighbors, s.routes, s.endpoints)
                                 .Union()};
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
