// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the attachment a packet leaves through to everything its encapsulation needs. Several passes over the burst, each
// touching what the one before has prefetched: with many tenants this stage is nothing but cache misses, and they overlap.
#include <array>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/routing.h"
#include "gateway/forward/src/path/stages.h"

namespace simplon::forward {
namespace {

/// Where the outer packet goes next; false: it is not known, and the packet is dropped.
bool find_adjacency(Burst& burst, unsigned number, Transit& packet, std::uint32_t slot) noexcept {
  packet.adjacency = burst.tables.adjacencies[slot].load(std::memory_order_acquire);
  if (packet.adjacency != nullptr) [[likely]] {
    __builtin_prefetch(packet.adjacency);
    return true;
  }
  burst.drop(number, Drop::kAdjacencyUnresolved);
  return false;
}

void to_vpc(Burst& burst, unsigned number, Transit& packet, std::uint64_t hash) noexcept {
  const Attachment& vpc = *packet.attachment;
  packet.endpoint =
      burst.tables.endpoints.find(EndpointKey::of(vpc.id, packet.inner.destination_address()), hash);
  // An endpoint's outer destination must be of the family of our VTEP.
  if (packet.endpoint == nullptr || packet.endpoint->vtep_family != vpc.vtep.family) {
    return burst.drop_with(number, Drop::kEndpointUnknown, Answer::kHostUnreachable);
  }
  if (find_adjacency(burst, number, packet, packet.endpoint->adjacency)) burst.to_vpc.push(number);
}

/// Whom on the circuit the packet is sent to.
[[nodiscard]] WireAddress next_on(const Attachment& circuit, const Transit& packet) noexcept {
  return circuit.link.gateway.family != 0 ? circuit.link.gateway : packet.inner.destination_address();
}

/// No answer to the sender if the neighbor is not known: most likely it is by the next packet.
[[gnu::noinline]] void to_circuit(Burst& burst, unsigned number, Transit& packet) noexcept {
  const Attachment& circuit = *packet.attachment;
  const WireAddress next = next_on(circuit, packet);
  packet.neighbor = burst.tables.neighbors.find(EndpointKey::of(circuit.id, next));
  if (packet.neighbor != nullptr) return burst.to_circuit.push(number);
  if (!burst.described) burst.tables.asked[burst.worker].ask(CircuitId(circuit.id), next.to_ip());
  burst.drop(number, Drop::kNeighborUnresolved);
}

/// Or to a circuit, which has no SA.
void to_tunnel(Burst& burst, unsigned number, Transit& packet) noexcept {
  if (packet.sa == nullptr) {
    if (packet.attachment->kind == AttachmentKind::kCircuit) return to_circuit(burst, number, packet);
    return burst.drop_with(number, Drop::kSaMissing, Answer::kNetUnreachable);
  }
  // RFC 4301 section 5.1: the peer drops what is outside. An ICMP error of ours is about a packet that was inside, and goes in the SA
  // that the answers to it would take (section 6.2).
  if (!packet.sa->any_to_any(packet.inner.family) && !packet.originated && !selected(packet)) [[unlikely]] {
    return burst.drop(number, Drop::kOutboundSelector);
  }
  if (find_adjacency(burst, number, packet, packet.sa->compiled()->adjacency)) burst.to_tunnel.push(number);
}

}  // namespace

void resolve(Burst& burst) noexcept {
  const TableState& tables = burst.tables;
  const unsigned count = burst.resolving.size();
  std::array<std::uint64_t, Burst::kCapacity> hashes;

  for (const unsigned number : burst.resolving) {
    Transit& packet = burst.packets[number];
    const AttachmentSlot& slot = tables.attachments[packet.egress];
    packet.attachment = slot.object.load(std::memory_order_acquire);
    if (packet.attachment != nullptr) packet.attachment->prefetch_departure();
  }
  for (unsigned i = 0; i < count; ++i) {
    Transit& packet = burst.packets[burst.resolving[i]];
    packet.sa = nullptr;
    if (packet.attachment == nullptr) continue;
    if (packet.attachment->kind == AttachmentKind::kVpc) {
      hashes[i] = tables.endpoints.hash(
          EndpointKey::of(packet.attachment->id, packet.inner.destination_address()));
      tables.endpoints.prefetch_bucket(hashes[i]);
    } else {
      packet.sa = tables.attachments[packet.egress].outbound.load(std::memory_order_acquire);
      if (packet.sa == nullptr) {
        if (packet.attachment->kind == AttachmentKind::kCircuit) {
          tables.neighbors.prefetch_bucket(
              tables.neighbors.hash(EndpointKey::of(packet.attachment->id, next_on(*packet.attachment, packet))));
        }
        continue;
      }
      __builtin_prefetch(packet.sa);
      __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(packet.sa) + 64, 1);
    }
  }
  for (unsigned i = 0; i < count; ++i) {
    const Transit& packet = burst.packets[burst.resolving[i]];
    if (packet.attachment == nullptr) continue;
    if (packet.attachment->kind == AttachmentKind::kVpc) {
      tables.endpoints.prefetch_node(hashes[i]);
    } else if (packet.sa != nullptr) {
      __builtin_prefetch(packet.sa->compiled());
    }
  }
  for (unsigned i = 0; i < count; ++i) {
    const unsigned number = burst.resolving[i];
    Transit& packet = burst.packets[number];
    if (packet.attachment == nullptr) {
      burst.drop(number, Drop::kNoAttachment);
    } else if (packet.attachment->kind == AttachmentKind::kVpc) {
      to_vpc(burst, number, packet, hashes[i]);
    } else {
      to_tunnel(burst, number, packet);
    }
  }
}

}  // namespace simplon::forward
