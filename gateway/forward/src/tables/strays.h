// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "gateway/forward/src/policy/connections.h"
#include "gateway/forward/src/policy/flow.h"
#include "gateway/forward/src/tables/wait_free_map.h"

namespace simplon::forward {

struct NatRules;

/// One address and port of the flow, with nobody at the other end.
[[nodiscard]] inline FlowKey end_of(const FlowKey& key, bool destination) noexcept {
  const FlowKey from = destination ? key.reversed() : key;
  return {from.source, {}, from.context, from.ports & 0xffffU};
}

struct FlowKeyHash {
  HashSeed seed;
  [[nodiscard]] std::uint64_t operator()(const FlowKey& key) const noexcept { return key.hash(seed); }
};

/// Connections that are with another worker than `worker_of` says: the rules that they began under, or the number of workers,
/// are others now. By whole key, or by the end that source NAT is for.
using Strays = WaitFreeMap<FlowKey, std::uint32_t, FlowKeyHash>;

/// nullptr: it is none of them.
[[nodiscard]] inline const std::uint32_t* find_stray(const Strays& strays, const FlowKey& key) noexcept {
  if (const std::uint32_t* found = strays.find(key)) return found;
  if (const std::uint32_t* found = strays.find(end_of(key, false))) return found;
  return strays.find(end_of(key, true));
}

/// Writer thread: notes what packets of the connection would not find at `worker`.
void note_stray(Strays& strays, const NatRules& nat, const ConnectionTable::Copy& connection, unsigned worker, unsigned workers);

}  // namespace simplon::forward
