// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/workers/shard.h"

namespace simplon::forward {

void note_stray(Strays& strays, const NatRules& nat, const ConnectionTable::Copy& connection, unsigned worker,
                unsigned workers) {
  for (const unsigned direction : {0U, 1U}) {
    const FlowKey& key = connection.keys[direction];
    const auto exit = [&](const AddressWords&) { return connection.sides[1 - direction]; };
    if (worker_of(nat, key, connection.sides[direction], exit, workers) == worker) continue;
    const FlowKey out = connection.keys[1].reversed();
    const bool source_nat = key.source != out.source || (key.ports & 0xffffU) != (out.ports & 0xffffU);
    strays.upsert(direction == 0 && source_nat ? end_of(key, false) : key, worker);
  }
}

}  // namespace simplon::forward
