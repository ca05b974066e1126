// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/adopt_connections.h"

#include <algorithm>
#include <unordered_map>

#include "gateway/forward/src/tables/table_state.h"
#include "gateway/forward/src/workers/shard.h"

namespace simplon::forward {
namespace {

using Slots = std::unordered_map<AttachmentId, std::uint32_t>;

Slots slots_of(const TableState& state) {
  Slots slots;
  for (std::uint32_t slot = 1; slot < kMaxAttachments; ++slot) {
    const Attachment* attachment = state.attachments[slot].object.load(std::memory_order_relaxed);
    if (attachment != nullptr) slots.emplace(AttachmentId{attachment->kind, attachment->id}, slot);
  }
  return slots;
}

FlowKey key_of(const ConnectionView& view, const IpAddress& source, const IpAddress& destination, std::uint32_t ports) {
  const WireAddress from = WireAddress::from(source);
  const WireAddress to = WireAddress::from(destination);
  return {{from.low, from.high},
          {to.low, to.high},
          FlowKey::context_of(view.domain.value(), from.family, view.protocol),
          ports};
}

/// Of a domain without NAT: none.
const NatRules& rules_of(const TableState& state, std::uint32_t slot) {
  static const NatRules none;
  const Attachment* attachment = state.attachments[slot].object.load(std::memory_order_relaxed);
  const DomainPolicy* policy = attachment == nullptr ? nullptr : attachment->domain->policy.load(std::memory_order_relaxed);
  return policy == nullptr ? none : policy->nat;
}

bool adopt(TableState& state, const Slots& slots, const ConnectionView& view, std::uint32_t now) {
  const auto from = slots.find(view.from);
  const auto to = slots.find(view.to);
  if (from == slots.end() || to == slots.end()) return false;
  const FlowKey first =
      key_of(view, view.source, view.destination, join_ports(view.source_port, view.destination_port));
  const FlowKey out = key_of(view, view.translated_source, view.translated_destination,
                             join_ports(view.translated_source_port, view.translated_destination_port));
  ConnectionTable::Beginning beginning;
  beginning.keys = {first, out.reversed()};
  beginning.sides = {from->second, to->second};
  beginning.covered = 3;  // by no list that is there now: its revision is 0
  const bool vpc_behind = view.from.kind != AttachmentKind::kVpc && view.to.kind == AttachmentKind::kVpc;
  beginning.owner = vpc_behind ? to->second : from->second;
  const NatRules& nat = rules_of(state, from->second);
  const bool source_nat = first.source != out.source || first.source_port() != out.source_port();
  const auto exit = [&](const AddressWords&) { return to->second; };
  const unsigned worker = source_nat ? NatPorts::worker_of(view.translated_source_port, state.workers)
                                     : worker_of(nat, first, from->second, exit, state.workers);
  if (worker == state.workers) return false;
  ConnectionTable& table = *state.connections[worker];
  if (source_nat) {
    beginning.mapping = table.nat().adopt(first, beginning.owner, static_cast<std::uint32_t>(out.source.low),
                                          view.translated_source_port);
    if (beginning.mapping == 0) return false;
  }
  const std::uint32_t index = table.add(beginning, now - std::min(now, view.idle_seconds));
  if (index == 0) {
    if (beginning.mapping != 0) table.nat().release(beginning.mapping);
    return false;
  }
  Connection& connection = table[index];
  connection.state = static_cast<std::uint8_t>(view.state);
  connection.closing = view.closing;
  connection.answered = view.packets_back > 0;
  connection.made = now - std::min(now, view.age_seconds);
  connection.packets[0] = view.packets_out;
  connection.packets[1] = view.packets_back;
  connection.bytes[0] = view.bytes_out;
  connection.bytes[1] = view.bytes_back;
  if (state.workers > 1) note_stray(state.strays, nat, {beginning.keys, beginning.sides}, worker, state.workers);
  return true;
}

}  // namespace

std::size_t adopt_connections(Tables& tables, std::span<const ConnectionView> connections, std::uint64_t now) {
  if (connections.empty()) return 0;
  TableState& state = tables.writable_state();
  const Slots slots = slots_of(state);
  std::size_t adopted = 0;
  for (const ConnectionView& view : connections) {
    if (adopt(state, slots, view, static_cast<std::uint32_t>(now))) ++adopted;
  }
  return adopted;
}

}  // namespace simplon::forward
