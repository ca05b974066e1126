// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/rib.h"

#include <algorithm>
#include <cstring>
#include <utility>

// A flat table of prefixes and a small pool of nexthop sets.
//
// Each slot holds two states of its prefix: `current`, what FPM said last, and `taken`, what the reader was told last. A
// change only writes `current` and puts the prefix on the dirty list once; `take_changes` compares the two. So a DELROUTE
// and NEWROUTE of the same route cost two writes and report nothing, which is what makes zebra's way of updating harmless.
//
// A full dump has a million routes but only a handful of nexthop sets, so sets are interned and routes hold a number. Each
// state of a slot holds one reference.
//
// Deletion is backward shift (no tombstones): slots move, so nothing keeps a pointer to one over a call.
//
// Stale: every upsert stamps the slot with the epoch of the present dump; what has an older stamp when the dump is
// complete was not in it.

namespace simplon::bgp {
namespace {

constexpr std::size_t kInitialSlots = 1024;

std::uint64_t mix(std::uint64_t x) noexcept {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ULL;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ULL;
  x ^= x >> 32;
  return x;
}

std::uint64_t hash_of(const IpPrefix& prefix) noexcept {
  const auto bytes = prefix.address().bytes();
  if (bytes.size() == 4) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data(), 4);
    return mix((std::uint64_t{value} << 8) | prefix.length());
  }
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  std::memcpy(&high, bytes.data(), 8);
  std::memcpy(&low, bytes.data() + 8, 8);
  return mix(high ^ mix(low + prefix.length()));
}

std::size_t hash_of(std::span<const FpmNextHop> nexthops) noexcept {
  std::uint64_t hash = nexthops.size();
  for (const auto& nexthop : nexthops) {
    hash = mix(hash ^ ((std::uint64_t{nexthop.ifindex} << 16) | nexthop.weight));
    if (nexthop.gateway) hash = mix(hash ^ std::hash<IpAddress>{}(*nexthop.gateway));
  }
  return static_cast<std::size_t>(hash);
}

}  // namespace

Rib::Rib() : slots_(kInitialSlots), sets_(1) {}

std::size_t Rib::slot_of(const IpPrefix& prefix) const noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t index = static_cast<std::size_t>(hash_of(prefix)) & mask;
  while (slots_[index].used && !(slots_[index].prefix == prefix)) index = (index + 1) & mask;
  return index;
}

void Rib::erase(std::size_t index) noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t hole = index;
  for (std::size_t next = (hole + 1) & mask; slots_[next].used; next = (next + 1) & mask) {
    const std::size_t home = static_cast<std::size_t>(hash_of(slots_[next].prefix)) & mask;
    // The entry may fill the hole if its home is not between the hole and itself (cyclically).
    if (((next - home) & mask) >= ((next - hole) & mask)) {
      slots_[hole] = slots_[next];
      hole = next;
    }
  }
  slots_[hole] = Slot{};
  --used_;
}

void Rib::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const auto& slot : old) {
    if (slot.used) slots_[slot_of(slot.prefix)] = slot;
  }
}

void Rib::mark(Slot& slot) {
  if (slot.dirty) return;
  slot.dirty = true;
  dirty_.push_back(slot.prefix);
}

void Rib::retain(SetId id) noexcept {
  if (id != 0) ++sets_[id].references;
}

void Rib::release(SetId id) {
  if (id == 0 || --sets_[id].references != 0) return;
  auto [from, to] = set_by_hash_.equal_range(sets_[id].hash);
  for (auto it = from; it != to; ++it) {
    if (it->second == id) {
      set_by_hash_.erase(it);
      break;
    }
  }
  sets_[id] = NextHopSet{};
  free_sets_.push_back(id);
  if (last_set_ == id) last_set_ = 0;
}

Rib::SetId Rib::intern(std::span<const FpmNextHop> nexthops) {
  // zebra keeps a set in the same order, so equality with the last one needs no sorting most of the time.
  if (last_set_ != 0 && std::equal(nexthops.begin(), nexthops.end(), sets_[last_set_].nexthops.begin(),
                                   sets_[last_set_].nexthops.end())) {
    return last_set_;
  }
  scratch_.assign(nexthops.begin(), nexthops.end());
  std::sort(scratch_.begin(), scratch_.end());
  scratch_.erase(std::unique(scratch_.begin(), scratch_.end()), scratch_.end());
  const std::size_t hash = hash_of(scratch_);
  auto [from, to] = set_by_hash_.equal_range(hash);
  for (auto it = from; it != to; ++it) {
    if (sets_[it->second].nexthops == scratch_) return last_set_ = it->second;
  }
  SetId id = 0;
  if (free_sets_.empty()) {
    id = static_cast<SetId>(sets_.size());
    sets_.emplace_back();
  } else {
    id = free_sets_.back();
    free_sets_.pop_back();
  }
  sets_[id] = NextHopSet{.nexthops = scratch_, .named = {}, .hash = hash, .references = 0};
  set_by_hash_.emplace(hash, id);
  return last_set_ = id;
}

void Rib::set_current(Slot& slot, SetId id, std::uint32_t metric) {
  if (slot.current != id) {
    if (slot.current == 0) ++current_count_;
    if (id == 0) --current_count_;
    retain(id);
    release(std::exchange(slot.current, id));
  }
  slot.current_metric = metric;
}

void Rib::upsert(const IpPrefix& prefix, std::span<const FpmNextHop> nexthops, std::uint32_t metric) {
  if (nexthops.empty()) return withdraw(prefix);
  std::size_t index = slot_of(prefix);
  if (!slots_[index].used) {
    if ((used_ + 1) * 4 > slots_.size() * 3) {
      grow();
      index = slot_of(prefix);
    }
    slots_[index].prefix = prefix;
    slots_[index].used = true;
    ++used_;
  }
  Slot& slot = slots_[index];
  slot.epoch = epoch_;
  const SetId id = intern(nexthops);
  if (slot.current == id && slot.current_metric == metric) return;
  set_current(slot, id, metric);
  mark(slot);
}

void Rib::withdraw(const IpPrefix& prefix) {
  Slot& slot = slots_[slot_of(prefix)];
  if (!slot.used || slot.current == 0) return;
  set_current(slot, 0, 0);
  mark(slot);
}

std::size_t Rib::sweep() {
  std::size_t swept = 0;
  for (auto& slot : slots_) {
    if (!slot.used || slot.current == 0 || slot.epoch == epoch_) continue;
    set_current(slot, 0, 0);
    mark(slot);
    ++swept;
  }
  return swept;
}

void Rib::clear() {
  begin_dump();
  sweep();
}

void Rib::resolve_names(NextHopSet& set, InterfaceName interface_name, const void* context) {
  if (set.named.size() == set.nexthops.size()) return;
  set.named.clear();
  for (const auto& nexthop : set.nexthops) {
    if (auto name = interface_name(context, nexthop.ifindex)) {
      set.named.push_back({.gateway = nexthop.gateway, .interface = *std::move(name), .weight = nexthop.weight});
    }
  }
}

RouteChanges Rib::take_changes(std::size_t limit, InterfaceName interface_name, const void* context) {
  RouteChanges changes;
  SetId resolved = 0;
  for (; dirty_taken_ < dirty_.size() && limit > 0; ++dirty_taken_, --limit) {
    const std::size_t index = slot_of(dirty_[dirty_taken_]);
    Slot& slot = slots_[index];
    if (!slot.used) continue;
    slot.dirty = false;
    SetId id = slot.current;
    if (id != 0 && id != resolved) {
      resolve_names(sets_[id], interface_name, context);
      resolved = id;
    }
    if (id != 0 && sets_[id].named.empty()) id = 0;
    if (id != slot.taken || (id != 0 && slot.current_metric != slot.taken_metric)) {
      if (id != 0) {
        changes.upserts.push_back({.prefix = slot.prefix, .nexthops = sets_[id].named, .metric = slot.current_metric});
      } else {
        changes.withdrawals.push_back(slot.prefix);
      }
      retain(id);
      release(std::exchange(slot.taken, id));
    }
    slot.taken_metric = slot.current_metric;
    if (slot.current == 0) erase(index);
  }
  if (dirty_taken_ == dirty_.size()) {
    dirty_.clear();
    dirty_taken_ = 0;
  }
  return changes;
}

std::vector<LearnedRoute> Rib::taken() const {
  std::vector<LearnedRoute> routes;
  for (const auto& slot : slots_) {
    if (slot.used && slot.taken != 0) {
      routes.push_back({.prefix = slot.prefix, .nexthops = sets_[slot.taken].named, .metric = slot.taken_metric});
    }
  }
  return routes;
}

}  // namespace simplon::bgp
