// SPDX-License-Identifier: GPL-2.0-or-later
//
// What ip_forward, resolve, pmtu and vxlan_encap do, for plain packets (express.h). Several passes, each touching what the one before
// has fetched: with many tenants there is little else to do than to wait for memory. A packet into a tunnel ends up in front of
// esp_encrypt; one that fits nowhere in here goes on in the stages from where it is.
#include <algorithm>
#include <array>
#include <cstddef>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/path_room.h"
#include "gateway/forward/src/path/routing.h"
#include "gateway/forward/src/path/stages.h"
#include "gateway/forward/src/path/vxlan_frame.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/tcp.h"

namespace simplon::forward {
namespace {

/// Where packets of a domain for one address go. Found once a burst, since packets come in runs.
struct Way {
  enum class End : std::uint8_t {
    kRouting,  ///< ip_forward knows.
    kGroup,    ///< Each flow by itself.
    kResolve,  ///< Through `slot`; resolve knows the rest.
    kVpc,
    kTunnel,
  };

  const Domain* domain;
  std::uint32_t destination;
  std::uint32_t slot;
  const Attachment* attachment;
  const EcmpGroup* group;
  const Endpoint* endpoint;    ///< VPCs; before it is known, `hash` leads to it.
  const Sa* sa;                ///< Tunnels.
  const Adjacency* adjacency;
  std::uint64_t hash;
  std::uint16_t most;  ///< Bytes of a packet that fit.
  End end;
};

/// All that packets of a burst take: one for each packet, and one more for each that a group sends somewhere. The first is none.
struct Ways {
  std::array<Way, 2 * Express::kCapacity + 1> way;
  unsigned count = 1;
};

[[nodiscard]] wire::Ipv4Header& header_of(const PlainPacket& packet) noexcept {
  return *reinterpret_cast<wire::Ipv4Header*>(packet.data);
}

[[nodiscard]] bool without_policy(const Domain& domain) noexcept {
  return domain.exists.load(std::memory_order_acquire) && domain.policy.load(std::memory_order_acquire) == nullptr;
}

/// The packet is in its Transit as the stages between decapsulation and ip_forward would have left it.
unsigned hand_over(Burst& burst, const PlainPacket& packet) noexcept {
  if (packet.number != PlainPacket::kNoNumber) {
    InnerPacket& inner = burst.packets[packet.number].inner;
    if (inner.family == 0) inner.take_plain(header_of(packet));
    return packet.number;
  }
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
void leave_to_resolve(Burst& burst, const PlainPacket& packet, std::uint32_t slot) noexcept {
  const unsigned number = hand_over(burst, packet);
  burst.packets[number].flow_hash = packet.flow_hash;
  burst.packets[number].egress = slot;
  burst.resolving.push(number);
}

/// What the stages let pass: is it plain?
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
    if (packet.inner.family != 4 || !without_policy(*packet.attachment->domain)) {
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

/// Sorts the packets by domain and destination, and looks these up.
void route(Burst& burst, Ways& ways) noexcept {
  constexpr unsigned kRecent = 64;
  std::array<std::uint8_t, kRecent> recent{};
  std::array<FibQuery<std::uint64_t>, Express::kCapacity + 1> queries;
  ways.way[0].domain = nullptr;
  unsigned count = 1;
  PlainPacket* const end = burst.express.packets.data() + burst.express.count;
  for (PlainPacket* packet = burst.express.packets.data(); packet != end; ++packet) {
    const Domain* domain = packet->from->domain;
    const std::uint32_t destination = packet->destination;
    std::uint8_t& place = recent[((destination >> 24) ^ (destination >> 16) ^ (reinterpret_cast<std::uintptr_t>(domain) >> 7)) % kRecent];
    const Way& last = ways.way[place];
    if (last.domain != domain || last.destination != destination) {
      Way& way = ways.way[count];
      way.domain = domain;
      way.destination = destination;
      way.end = without_policy(*domain) ? Way::End::kResolve : Way::End::kRouting;
      queries[count] = {domain->fib4.form(), fib_key(byteswap(destination)), 0};
      place = static_cast<std::uint8_t>(count++);
    }
    packet->way = place;
  }
  fib_lookup(queries.data() + 1, count - 1);
  bool grouped = false;
  for (unsigned i = 1; i < count; ++i) {
    Way& way = ways.way[i];
    const RouteValue value(queries[i].found);
    way.slot = value.slot();
    if (value.action() == RouteValue::Action::kForward) [[likely]] {
      __builtin_prefetch(&burst.tables.attachments[way.slot]);
      continue;
    }
    if (way.end != Way::End::kResolve) continue;
    way.group = value.action() == RouteValue::Action::kGroup ? burst.tables.groups[way.slot].load(std::memory_order_acquire) : nullptr;
    way.end = way.group == nullptr ? Way::End::kRouting : Way::End::kGroup;
    grouped = grouped || way.group != nullptr;
  }
  ways.count = count;
  if (!grouped) [[likely]] return;
  for (PlainPacket* packet = burst.express.packets.data(); packet != end; ++packet) {
    const Way& way = ways.way[packet->way];
    if (way.end != Way::End::kGroup) continue;
    Way& own = ways.way[ways.count];
    own = way;
    own.end = Way::End::kResolve;
    own.slot = way.group->pick(packet->flow_hash);
    packet->way = static_cast<std::uint16_t>(ways.count++);
  }
}

/// Looks up what is behind the slots, in passes that fetch for the next.
void find_exits(const Burst& burst, Ways& ways) noexcept {
  const TableState& tables = burst.tables;
  Way* const first = ways.way.data() + 1;
  Way* const end = ways.way.data() + ways.count;
  for (Way* way = first; way != end; ++way) {
    if (way->end != Way::End::kResolve) continue;
    const AttachmentSlot& slot = tables.attachments[way->slot];
    way->attachment = slot.object.load(std::memory_order_acquire);
    if (way->attachment != nullptr) way->attachment->prefetch_departure();
  }
  for (Way* way = first; way != end; ++way) {
    if (way->end != Way::End::kResolve || way->attachment == nullptr) continue;
    if (way->attachment->kind == AttachmentKind::kVpc) {
      way->end = Way::End::kVpc;
      way->hash = tables.endpoints.hash({way->destination, 0, (way->attachment->id << 8) | 4});
      tables.endpoints.prefetch_bucket(way->hash);
      __builtin_prefetch(way->attachment->exit_counters + burst.worker, 1);
    } else if (const Sa* sa = tables.attachments[way->slot].outbound.load(std::memory_order_acquire)) {
      way->end = Way::End::kTunnel;
      way->sa = sa;
      __builtin_prefetch(way->attachment->exit_counters + burst.worker, 1);
      __builtin_prefetch(sa);
      __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(sa) + 64, 1);
    }
  }
  for (Way* way = first; way != end; ++way) {
    if (way->end == Way::End::kVpc) {
      tables.endpoints.prefetch_node(way->hash);
    } else if (way->end == Way::End::kTunnel) {
      __builtin_prefetch(way->sa->compiled());
    }
  }
  for (Way* way = first; way != end; ++way) {
    if (way->end == Way::End::kVpc) {
      const Attachment& attachment = *way->attachment;
      const Endpoint* endpoint = tables.endpoints.find({way->destination, 0, (attachment.id << 8) | 4}, way->hash);
      way->end = Way::End::kResolve;
      if (endpoint == nullptr || endpoint->vtep_family != 4 || !attachment.over_ipv4) continue;
      way->endpoint = endpoint;
      way->adjacency = tables.adjacencies[endpoint->adjacency].load(std::memory_order_acquire);
      if (way->adjacency == nullptr) continue;
      way->most = vpc_mtu(attachment, *way->adjacency, sizeof(wire::Ipv4Header));
      way->end = Way::End::kVpc;
    } else if (way->end == Way::End::kTunnel) {
      const CompiledSaPath& path = *way->sa->compiled();
      way->adjacency = tables.adjacencies[path.adjacency].load(std::memory_order_acquire);
      if (way->adjacency == nullptr || !way->sa->any_to_any(4)) {
        way->end = Way::End::kResolve;
      } else {
        way->most = tunnel_mtu(*way->attachment, *way->sa, path, *way->adjacency);
      }
    }
  }
}

/// False: there is no room in front of it, and nothing was done.
[[nodiscard]] bool depart_to_vpc(Burst& burst, const PlainPacket packet, const Way& way) noexcept {
  if (reinterpret_cast<std::uintptr_t>(packet.data) % kFrameBytes < sizeof(VxlanHeaders4)) return false;
  const Attachment& vpc = *way.attachment;
  TrafficCounters& counters = vpc.exit_counters[burst.worker];
  counters.tx_packets.add();
  counters.tx_bytes.add(packet.length);
  const PortId port = way.adjacency->port;
  const auto frame_bytes = static_cast<std::uint16_t>(packet.length + sizeof(VxlanHeaders4));
  Express& express = burst.express;
  std::uint8_t* const frame = packet.data - sizeof(VxlanHeaders4);
  if (express.departed == 0 || burst.io[0].port == port) [[likely]] {
    burst.io[express.departed] = {frame, frame_bytes, port};
    express.ingress[express.departed++] = packet.from->slot;
  } else {
    const unsigned number = hand_over(burst, packet);
    Transit& transit = burst.packets[number];
    transit.data = frame;
    transit.length = frame_bytes;
    transit.port = port;
    burst.to_uplink.push(number);
  }
  wire::Ipv4Header& ip = header_of(packet);
  const std::uint8_t outer_class = ip.tos;
  wire::decrement_ttl(ip);
  put_vxlan4(packet.data, packet.length, outer_class, packet.flow_hash, vpc, *way.endpoint, *way.adjacency);
  return true;
}

void depart_to_tunnel(Burst& burst, const PlainPacket packet, const Way& way) noexcept {
  const bool numbered = packet.number != PlainPacket::kNoNumber;
  const unsigned number = numbered ? packet.number : burst.add();
  Transit& transit = burst.packets[number];
  if (!numbered) {
    transit.data = packet.data;
    transit.length = packet.length;
    transit.ingress = packet.from->slot;
  }
  transit.inner.family = 4;
  transit.flow_hash = packet.flow_hash;
  transit.egress = way.slot;
  transit.attachment = way.attachment;
  transit.sa = way.sa;
  transit.adjacency = way.adjacency;
  burst.to_tunnel.push(number);
  wire::decrement_ttl(header_of(packet));
}

void depart(Burst& burst, const Ways& ways) noexcept {
  bool in_order = true;
  for (unsigned i = 0, count = burst.express.count; i < count; ++i) {
    const PlainPacket packet = burst.express.packets[i];
    const Way& way = ways.way[packet.way];
    if (way.end >= Way::End::kVpc && in_order) [[likely]] {
      if (packet.length > way.most) {
        in_order = false;  // it is cut up or answered, and those behind it may be of its flow
      } else if (way.end == Way::End::kTunnel) {
        depart_to_tunnel(burst, packet, way);
        continue;
      } else if (depart_to_vpc(burst, packet, way)) {
        continue;
      }
    }
    if (way.end == Way::End::kRouting) {
      leave_to_routing(burst, packet);
    } else {
      leave_to_resolve(burst, packet, way.slot);
    }
  }
}

}  // namespace

void express_out(Burst& burst) noexcept {
  Burst::Queue rest;
  if (!burst.inner.empty()) {
    rest = collect(burst);
    burst.inner.clear();
  }
  if (burst.express.count != 0) {
    Ways ways;
    route(burst, ways);
    find_exits(burst, ways);
    depart(burst, ways);
    burst.fitted_tunnel = burst.to_tunnel.size();
  }
  for (const unsigned number : rest) burst.inner.push(number);
}

}  // namespace simplon::forward
