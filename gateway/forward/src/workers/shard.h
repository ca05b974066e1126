// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "gateway/forward/src/policy/connections.h"
#include "gateway/forward/src/policy/nat.h"
#include "gateway/forward/src/tables/strays.h"

namespace simplon::forward {

// Which of several workers has the connection of a packet. Both directions of a connection, and errors about it, must come to
// the same one, which is found without looking into any worker's table:
//
//   * Without translation the two keys are each other reversed: a hash that does not change when both ends are exchanged.
//   * Destination NAT is applied before: what follows sees the same two ends in both directions.
//   * With source NAT, the answers come to an outer address of ours: the block of their port names the worker that gave it
//     away. The packets towards it are those of one inner address and port, which has one outer port whoever it talks to: the
//     hash of that end alone. Packets to that end which belong to an untranslated connection (somebody outside began it)
//     have to come there too, so it is the end that counts, not the direction: that which source NAT is for. If it is for
//     both, the end whose packets would be translated on this way.

/// Chooses evenly by the upper half of the hash.
[[nodiscard]] constexpr unsigned worker_by(std::uint64_t hash, unsigned workers) noexcept {
  return static_cast<unsigned>((hash >> 32) * workers >> 32);
}

[[nodiscard]] inline std::uint64_t end_hash(const FlowKey& key, bool destination) noexcept {
  return end_of(key, destination).public_hash();
}

/// `key`: as the packet arrives, with the domain's addresses (behind the netmap of the attachment it came from). `ingress`:
/// slot. `egress(address)`: slot that packets to the address leave through; asked only if it matters.
template <class Egress>
[[nodiscard]] unsigned worker_of(const NatRules& nat, FlowKey key, std::uint32_t ingress, Egress&& egress,
                                 unsigned workers) noexcept {
  if (key.family() != 4 || nat.outside.empty()) return worker_by(ConnectionTable::shard_hash(key), workers);
  const NatRules::Destination* published = nat.destination(key);
  if (published != nullptr) {
    key = published->apply(key);
  } else if (nat.is_pool(static_cast<std::uint32_t>(key.destination.low))) {
    const unsigned worker = NatPorts::worker_of(key.destination_port(), workers);
    if (worker < workers) return worker;
  }
  const auto source = static_cast<std::uint32_t>(key.source.low);
  const auto destination = static_cast<std::uint32_t>(key.destination.low);
  bool from = nat.hairpin(source) != nullptr;
  bool to = nat.hairpin(destination) != nullptr;
  if (from && to) {
    const std::uint32_t exit = egress(key.destination);
    from = nat.source(exit, source) != nullptr || (published != nullptr && exit == ingress);
    to = !from && nat.source(ingress, destination) != nullptr;
  }
  if (from) return worker_by(end_hash(key, false), workers);
  if (to) return worker_by(end_hash(key, true), workers);
  return worker_by(ConnectionTable::shard_hash(key), workers);
}

}  // namespace simplon::forward
