// SPDX-License-Identifier: GPL-2.0-or-later
//
// What ip_forward, resolve, pmtu and vxlan_encap do, for plain packets (express.h). Several passes, each touching what the one before
// has fetched: with many tenants there is little else to do than to wait for memory. A packet into a tunnel ends up in front of
// esp_encrypt; one that fits nowhere in here goes on in the stages from where it is.
#include <array>
#include <cstddef>

#include "gateway/forward/src/burst.h"
#include "gateway/forward/src/path_room.h"
#include "gateway/forward/src/routing.h"
#include "gateway/forward/src/stages.h"
#include "gateway/forward/src/vxlan_frame.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/tcp.h"

namespace simplon::forward {
namespace {

/// Where a packet leaves through.
struct Exit {
  const Attachment* attachment;
  std::uint64_t hash;  ///< VPCs: of the endpoint.
  const Sa* sa;        ///< Tunnels.
};

[[nodiscard]] wire::Ipv4Header& header_of(const PlainPacket& packet) noexcept {
  return *reinterpret_cast<wire::Ipv4Header*>(packet.data);
}

[[nodiscard]] bool without_policy(const Attachment& from) noexcept {
  return from.domain->exists.load(std::memory_order_acquire) &&
         from.domain->policy.load(std::memory_order_acquire) == nullptr;
}

/// The packet is in its Transit as the stages between decapsulation and ip_forward would have left it.
unsigned hand_over(Burst& burst, const PlainPacket& packet) noexcept {
  if (packet.number != PlainPacket::kNoNumber) return packet.number;
  const unsigned number = burst.add();
  Transit& transit = burst.packets[number];
  transit.data = packet.data;
  transit.length = packet.length;
  transit.attachment = packet.from;
  transit.ingress = packet.from->slot;
  transit.inner.take_plain(header_of(packet));
  return number;
}

/// ip_forward looks at it, from the beginning.
void leave_to_routing(Burst& burst, const PlainPacket& packet) noexcept { burst.inner.push(hand_over(burst, packet)); }

/// It is routed; resolve goes on.
void leave_to_resolve(Burst& burst, const PlainPacket& packet) noexcept {
  const unsigned number = hand_over(burst, packet);
  burst.packets[number].flow_hash = packet.flow_hash;
  burst.packets[number].egress = packet.egress;
  burst.resolving.push(number);
}

/// What came out of a tunnel, or the stages let pass: is it plain?
[[nodiscard]] bool is_plain(const Transit& packet) noexcept {
  const InnerPacket& inner = packet.inner;
  if (inner.family != 4 || inner.fragment || inner.l4_offset != sizeof(wire::Ipv4Header) || inner.hops <= 1) return false;
  if (packet.sa != nullptr && !packet.sa->any_to_any(4)) return false;
  if (inner.protocol != wire::kProtocolTcp) return true;
  if (packet.length < sizeof(wire::Ipv4Header) + sizeof(wire::TcpHeader)) return false;
  return (reinterpret_cast<const wire::TcpHeader*>(packet.data + sizeof(wire::Ipv4Header))->flags & wire::kTcpSyn) == 0;
}

/// Takes the plain packets out of `inner`, up to the first that is not; returns what stays there.
[[nodiscard]] Burst::Queue collect(Burst& burst) noexcept {
  Express& express = burst.express;
  Burst::Queue rest;
  bool in_order = true;
  for (const unsigned number : burst.inner) {
    const Transit& packet = burst.packets[number];
    if (packet.inner.family != 4 || !without_policy(*packet.attachment)) {
      rest.push(number);  // and so are all packets of its flow
      continue;
    }
    in_order = in_order && express.count < Express::kCapacity && is_plain(packet);
    if (!in_order) {
      rest.push(number);
      continue;
    }
    const auto destination = static_cast<std::uint32_t>(packet.inner.destination.low);
    express.packets[express.count++] = {packet.data,
                                        packet.attachment,
                                        destination,
                                        flow_hash4(static_cast<std::uint32_t>(packet.inner.source.low), destination,
                                                   packet.inner.ports, packet.inner.protocol),
                                        packet.length,
                                        static_cast<std::uint16_t>(number),
                                        0};
  }
  return rest;
}

/// Finds the slot that each packet leaves through, and keeps those that have one.
void route_all(Burst& burst) noexcept {
  Express& express = burst.express;
  std::array<FibQuery<std::uint64_t>, Express::kCapacity> queries;
  unsigned count = 0;
  for (unsigned i = 0; i < express.count; ++i) {
    const PlainPacket& packet = express.packets[i];
    if (!without_policy(*packet.from)) [[unlikely]] {
      leave_to_routing(burst, packet);
      continue;
    }
    queries[count] = {packet.from->domain->fib4.form(), fib_key(byteswap(packet.destination)), 0};
    if (i != count) express.packets[count] = packet;
    ++count;
  }
  fib_lookup(queries.data(), count);
  express.count = 0;
  for (unsigned i = 0; i < count; ++i) {
    const RouteValue value(queries[i].found);
    std::uint32_t slot = value.slot();
    if (value.action() != RouteValue::Action::kForward) [[unlikely]] {
      const EcmpGroup* group = value.action() == RouteValue::Action::kGroup
                                   ? burst.tables.groups[slot].load(std::memory_order_acquire)
                                   : nullptr;
      if (group == nullptr) {
        leave_to_routing(burst, express.packets[i]);
        continue;
      }
      slot = group->pick(express.packets[i].flow_hash);
    }
    __builtin_prefetch(&burst.tables.attachments[slot]);
    if (i != express.count) express.packets[express.count] = express.packets[i];
    express.packets[express.count++].egress = slot;
  }
}

/// Looks up and fetches what is behind the slots.
void find_exits(const Burst& burst, std::array<Exit, Express::kCapacity>& exits) noexcept {
  const Express& express = burst.express;
  const auto& endpoints = burst.tables.endpoints;
  for (unsigned i = 0; i < express.count; ++i) {
    const PlainPacket& packet = express.packets[i];
    const AttachmentSlot& slot = burst.tables.attachments[packet.egress];
    Exit& exit = exits[i];
    exit.attachment = slot.object.load(std::memory_order_acquire);
    exit.sa = nullptr;
    if (exit.attachment == nullptr) continue;
    if (exit.attachment->kind == AttachmentKind::kVpc) [[likely]] {
      exit.hash = endpoints.hash({packet.destination, 0, (exit.attachment->id << 8) | 4});
      endpoints.prefetch_bucket(exit.hash);
      __builtin_prefetch(&exit.attachment->headers4);
      __builtin_prefetch(exit.attachment->counters + burst.worker, 1);
    } else {
      exit.sa = slot.outbound.load(std::memory_order_acquire);
      __builtin_prefetch(exit.sa);
      __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(exit.sa) + 64, 1);
    }
  }
  for (unsigned i = 0; i < express.count; ++i) {
    if (exits[i].sa != nullptr) {
      __builtin_prefetch(exits[i].sa->compiled());
    } else if (exits[i].attachment != nullptr && exits[i].attachment->kind == AttachmentKind::kVpc) {
      endpoints.prefetch_node(exits[i].hash);
    }
  }
}

enum class Departure : std::uint8_t {
  kGone,
  // Nothing was done:
  kTooLong,  ///< To be cut up or answered.
  kUnusual,
};

[[nodiscard]] Departure depart_to_vpc(Burst& burst, const PlainPacket& packet, const Exit& exit) noexcept {
  const Attachment& vpc = *exit.attachment;
  const Endpoint* endpoint = burst.tables.endpoints.find({packet.destination, 0, (vpc.id << 8) | 4}, exit.hash);
  if (endpoint == nullptr || endpoint->vtep_family != 4 || vpc.vtep.family != 4) return Departure::kUnusual;
  const Adjacency* adjacency = burst.tables.adjacencies[endpoint->adjacency].load(std::memory_order_acquire);
  if (adjacency == nullptr || reinterpret_cast<std::uintptr_t>(packet.data) % kFrameBytes < sizeof(VxlanHeaders4)) {
    return Departure::kUnusual;
  }
  if (packet.length > vpc.mtu ||
      packet.length + sizeof(VxlanHeaders4) - sizeof(wire::EthernetHeader) > adjacency->path_mtu) {
    return Departure::kTooLong;
  }
  TrafficCounters& counters = vpc.counters[burst.worker];
  counters.tx_packets.add();
  counters.tx_bytes.add(packet.length);
  wire::Ipv4Header& ip = header_of(packet);
  const std::uint8_t outer_class = ip.tos;
  wire::decrement_ttl(ip);
  const PortId port = adjacency->port;
  std::uint8_t* frame = put_vxlan4(packet.data, packet.length, outer_class, packet.flow_hash, vpc, *endpoint, *adjacency);
  const auto frame_bytes = static_cast<std::uint16_t>(packet.length + sizeof(VxlanHeaders4));
  Express& express = burst.express;
  if (express.departed != 0 && burst.io[0].port != port) [[unlikely]] {
    const unsigned number = hand_over(burst, packet);
    Transit& transit = burst.packets[number];
    transit.data = frame;
    transit.length = frame_bytes;
    transit.port = port;
    burst.to_uplink.push(number);
    return Departure::kGone;
  }
  burst.io[express.departed] = {frame, frame_bytes, port};
  express.ingress[express.departed++] = packet.from->slot;
  return Departure::kGone;
}

[[nodiscard]] Departure depart_to_tunnel(Burst& burst, const PlainPacket& packet, const Exit& exit) noexcept {
  const CompiledSaPath& path = *exit.sa->compiled();
  const Adjacency* adjacency = burst.tables.adjacencies[path.adjacency].load(std::memory_order_acquire);
  if (adjacency == nullptr) return Departure::kUnusual;
  if (packet.length > tunnel_mtu(*exit.attachment, *exit.sa, path, *adjacency)) return Departure::kTooLong;
  wire::decrement_ttl(header_of(packet));
  const bool numbered = packet.number != PlainPacket::kNoNumber;
  const unsigned number = numbered ? packet.number : burst.add();
  Transit& transit = burst.packets[number];
  if (!numbered) {
    transit.data = packet.data;
    transit.length = packet.length;
    transit.ingress = packet.from->slot;
    transit.inner.family = 4;
  }
  transit.flow_hash = packet.flow_hash;
  transit.egress = packet.egress;
  transit.attachment = exit.attachment;
  transit.sa = exit.sa;
  transit.adjacency = adjacency;
  burst.to_tunnel.push(number);
  return Departure::kGone;
}

}  // namespace

void express_out(Burst& burst) noexcept {
  Express& express = burst.express;
  Burst::Queue rest;
  if (!burst.inner.empty()) {
    rest = collect(burst);
    burst.inner.clear();
  }
  if (express.count != 0) {
    std::array<Exit, Express::kCapacity> exits;
    route_all(burst);
    find_exits(burst, exits);
    bool in_order = true;
    for (unsigned i = 0; i < express.count; ++i) {
      const PlainPacket& packet = express.packets[i];
      const Exit& exit = exits[i];
      Departure departure = Departure::kUnusual;
      if (in_order && exit.sa != nullptr) {
        departure = depart_to_tunnel(burst, packet, exit);
      } else if (in_order && exit.attachment != nullptr && exit.attachment->kind == AttachmentKind::kVpc) {
        departure = depart_to_vpc(burst, packet, exit);
      }
      if (departure == Departure::kGone) [[likely]] continue;
      if (departure == Departure::kTooLong) in_order = false;  // those behind it may be of its flow
      leave_to_resolve(burst, packet);
    }
    burst.fitted_tunnel = burst.to_tunnel.size();
  }
  for (const unsigned number : rest) burst.inner.push(number);
}

}  // namespace simplon::forward
