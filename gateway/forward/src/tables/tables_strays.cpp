// SPDX-License-Identifier: GPL-2.0-or-later
//
// A change of rules touches new connections only. With several workers the rules also say which worker has a connection, so
// those that would be looked for elsewhere under the new rules are noted one by one (shard.h), and forgotten when they end.
#include <algorithm>
#include <unordered_set>
#include <vector>

#include "gateway/forward/src/tables/tables_writer.h"

namespace simplon::forward {
namespace {

/// Chosen by us: of the calls of Tables::reclaim.
constexpr unsigned kRoundsPerSweep = 32;

void note_of_domain(TableState& state, DomainId id, const NatRules& nat) {
  for (unsigned worker = 0; worker < state.workers; ++worker) {
    if (state.connections[worker]->size() == 0) continue;
    state.connections[worker]->for_each([&](const ConnectionTable::Copy& copy) {
      if (copy.keys[0].domain() == id.value()) note_stray(state.strays, nat, copy, worker, state.workers);
      return true;
    });
  }
}

/// Whatever no connection needs any more.
void sweep(TableState& state) {
  std::unordered_set<FlowKey, FlowKeyHash> alive(0, FlowKeyHash{state.seed});
  for (const auto& table : state.connections) {
    table->for_each([&](const ConnectionTable::Copy& copy) {
      alive.insert({copy.keys[0], copy.keys[1], end_of(copy.keys[0], false)});
      return true;
    });
  }
  std::vector<FlowKey> gone;
  state.strays.for_each([&](const FlowKey& key, std::uint32_t) {
    if (!alive.contains(key)) gone.push_back(key);
  });
  for (const FlowKey& key : gone) state.strays.erase(key);
}

}  // namespace

void Tables::Writer::note_strays(DomainId id, const DomainPolicy& policy) {
  if (state.workers == 1 || !policy.tracks) return;
  note_of_domain(state, id, policy.nat);
  unsettled.emplace_back(id, state.quiescence.advance() + 1);
}

void Tables::Writer::settle_strays() {
  if (state.workers == 1) return;
  state.strays.go_on_growing(4096);
  std::erase_if(unsettled, [this](const auto& waiting) {
    if (!state.quiescence.passed(waiting.second)) return false;
    const auto found = domains.find(waiting.first);
    const DomainPolicy* policy =
        found == domains.end() ? nullptr : found->second.object->policy.load(std::memory_order_relaxed);
    if (policy != nullptr) note_of_domain(state, waiting.first, policy->nat);
    return true;
  });
  if (++stray_rounds % kRoundsPerSweep == 0 && state.strays.size() > 0) sweep(state);
}

}  // namespace simplon::forward
