// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the attachment a packet leaves through to everything its encapsulation needs. Several passes over the burst, each
// touching what the one before has prefetched: with many tenants this stage is nothing but cache misses, and they overlap.
#include <array>

#include "gateway/forward/src/burst.h"
#include "gateway/forward/src/stages.h"

namespace simplon::forward {

void resolve(Burst& burst) noexcept {
  const TableState& tables = burst.tables;
  const unsigned count = burst.resolving.size();
  std::array<std::uint64_t, Burst::kCapacity> hashes;

  for (const unsigned number : burst.resolving) {
    Transit& packet = burst.packets[number];
    const AttachmentSlot& slot = tables.attachments[packet.egress];
    packet.attachment = slot.object.load(std::memory_order_acquire);
    __builtin_prefetch(packet.attachment);
  }
  for (unsigned i = 0; i < count; ++i) {
    Transit& packet = burst.packets[burst.resolving[i]];
    packet.sa = nullptr;
    if (packet.attachment == nullptr) continue;
    if (packet.attachment->kind == AttachmentKind::kVpc) {
      hashes[i] = tables.endpoints.hash(EndpointKey::of(packet.attachment->id, packet.inner.destination));
      tables.endpoints.prefetch_bucket(hashes[i]);
    } else {
      packet.sa = tables.attachments[packet.egress].outbound.load(std::memory_order_acquire);
      if (packet.sa == nullptr) continue;
      __builtin_prefetch(packet.sa);
      __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(packet.sa) + 64, 1);
    }
  }
  for (unsigned i = 0; i < count; ++i) {
    Transit& packet = burst.packets[burst.resolving[i]];
    if (packet.attachment == nullptr) continue;
    if (packet.attachment->kind == AttachmentKind::kVpc) {
      tables.endpoints.prefetch_node(hashes[i]);
    } else if (packet.sa != nullptr) {
      __builtin_prefetch(packet.sa->compiled());
    }
  }
  for (unsigned i = 0; i < count; ++i) {
    Transit& packet = burst.packets[burst.resolving[i]];
    if (packet.attachment == nullptr) continue;
    std::uint32_t adjacency = 0;
    if (packet.attachment->kind == AttachmentKind::kVpc) {
      packet.endpoint =
          tables.endpoints.find(EndpointKey::of(packet.attachment->id, packet.inner.destination), hashes[i]);
      if (packet.endpoint != nullptr) adjacency = packet.endpoint->adjacency;
    } else if (packet.sa != nullptr) {
      adjacency = packet.sa->compiled()->adjacency;
    }
    packet.adjacency = tables.adjacencies[adjacency].load(std::memory_order_acquire);
    __builtin_prefetch(packet.adjacency);
  }
  for (const unsigned number : burst.resolving) {
    Transit& packet = burst.packets[number];
    if (packet.attachment == nullptr) {
      burst.drop(number, Drop::kNoAttachment);
      continue;
    }
    const bool to_vpc = packet.attachment->kind == AttachmentKind::kVpc;
    // An endpoint's outer destination must be of the family of our VTEP.
    if (to_vpc && (packet.endpoint == nullptr || packet.endpoint->vtep.family != packet.attachment->vtep.family)) {
      burst.drop_with(number, Drop::kEndpointUnknown, Answer::kHostUnreachable);
    } else if (!to_vpc && packet.sa == nullptr) {
      burst.drop_with(number, Drop::kSaMissing, Answer::kNetUnreachable);
    } else if (packet.adjacency == nullptr) {
      burst.drop(number, Drop::kAdjacencyUnresolved);
    } else {
      (to_vpc ? burst.to_vpc : burst.to_tunnel).push(number);
    }
  }
}

}  // namespace simplon::forward
