// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/rib.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "platform/base/huge_page.h"

// A flat table of prefixes and a small pool of nexthop sets.
//
// Each slot holds two states of its prefix: `current`, what FPM said last, and `taken`, what the reader was told last. A
// change only writes `current` and puts the prefix on the dirty list once; `take_changes` compares the two. So a DELROUTE
// and NEWROUTE of the same route cost two writes and report nothing, which is what makes zebra's way of updating harmless.
//
// A full dump has a million routes but only a handful of nexthop sets, so sets are interned and routes hold a number. Each
// state of a slot holds one reference.
//
// The table of a million prefixes does not fit any cache, so nearly each probe waits for memory. Writes are therefore
// delayed by up to 16: the slot is prefetched when a write comes and touched when 16 others have come. Everything that
// reads applies them first, so nobody can tell. A slot's home is given by the *top* bits of the hash: growing the
// table then keeps the order of the slots and is two sequential passes instead of a million random writes.
//
// Deletion is backward shift (no tombstones): slots move, so nothing keeps a pointer to one over a call.
//
// Stale: every upsert stamps the slot with the epoch of the present dump; what has an older stamp when the dump is
// complete was not in it.

namespace simplon::bgp {
namespace {

constexpr unsigned kInitialBits = 10;
constexpr std::size_t kSmallTable = 1 << 16;
constexpr std::size_t kPrefetchAhead = 8;

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

/// operator== without a call.
bool same(const IpPrefix& left, const IpPrefix& right) noexcept {
  static_assert(std::has_unique_object_representations_v<IpPrefix> && sizeof(IpPrefix) == 18);
  struct Words {
    std::uint64_t first, second;
    std::uint16_t third;
  } a{}, b{};
  std::memcpy(&a, &left, sizeof left);
  std::memcpy(&b, &right, sizeof right);
  return a.first == b.first && a.second == b.second && a.third == b.third;
}

std::size_t hash_of(std::span<const FpmNextHop> nexthops) noexcept {
  std::uint64_t hash = nexthops.size();
  for (const auto& nexthop : nexthops) {
    hash = mix(hash ^ ((std::uint64_t{nexthop.ifindex} << 16) | nexthop.weight));
    if (!nexthop.gateway) continue;
    const auto bytes = nexthop.gateway->bytes();
    std::uint64_t tail = 0;  // what differs between gateways
    std::memcpy(&tail, bytes.data() + (bytes.size() == 4 ? 0 : 8), bytes.size() == 4 ? 4 : 8);
    hash = mix(hash ^ tail);
  }
  return static_cast<std::size_t>(hash);
}

}  // namespace

Rib::SlotArray::SlotArray(std::size_t count) : count_(count) {
  static_assert(std::is_trivially_copyable_v<Slot> && sizeof(Slot) == 32);
  const std::size_t bytes = count * sizeof(Slot);
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  want_huge_pages(memory, bytes);
  slots_ = static_cast<Slot*>(memory);
}

Rib::SlotArray::~SlotArray() {
  if (slots_ != nullptr) ::munmap(slots_, count_ * sizeof(Slot));
}

Rib::Rib() : slots_(std::size_t{1} << kInitialBits), shift_(64 - kInitialBits), sets_(1) {}

std::size_t Rib::slot_of(const IpPrefix& prefix, std::uint64_t hash) const noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t index = home_of(hash);
  while (slots_[index].used && !same(slots_[index].prefix, prefix)) index = (index + 1) & mask;
  return index;
}

void Rib::erase(std::size_t index) noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t hole = index;
  for (std::size_t next = (hole + 1) & mask; slots_[next].used; next = (next + 1) & mask) {
    const std::size_t home = home_of(hash_of(slots_[next].prefix));
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
  const unsigned bits = slots_.size() < kSmallTable ? 3 : 1;
  const SlotArray old = std::exchange(slots_, SlotArray(slots_.size() << bits));
  shift_ -= bits;
  for (const auto& slot : old) {
    if (slot.used) slots_[slot_of(slot.prefix, hash_of(slot.prefix))] = slot;
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
  for (auto& recent : recent_sets_) {
    if (recent == id) recent = 0;
  }
}

Rib::SetId Rib::intern(std::span<const FpmNextHop> nexthops) {
  const std::size_t wire_hash = hash_of(nexthops);
  SetId& recent = recent_sets_[wire_hash % recent_sets_.size()];
  if (recent != 0 &&
      std::equal(nexthops.begin(), nexthops.end(), sets_[recent].wire.begin(), sets_[recent].wire.end())) {
    return recent;
  }
  scratch_.assign(nexthops.begin(), nexthops.end());
  std::sort(scratch_.begin(), scratch_.end());
  scratch_.erase(std::unique(scratch_.begin(), scratch_.end()), scratch_.end());
  const std::size_t hash = hash_of(scratch_);
  auto [from, to] = set_by_hash_.equal_range(hash);
  for (auto it = from; it != to; ++it) {
    NextHopSet& set = sets_[it->second];
    if (set.nexthops != scratch_) continue;
    set.wire.assign(nexthops.begin(), nexthops.end());
    return recent = it->second;
  }
  SetId id = 0;
  if (free_sets_.empty()) {
    id = static_cast<SetId>(sets_.size());
    sets_.emplace_back();
  } else {
    id = free_sets_.back();
    free_sets_.pop_back();
  }
  sets_[id] = NextHopSet{.nexthops = scratch_,
                         .wire = {nexthops.begin(), nexthops.end()},
                         .named = {},
                         .hash = hash,
                         .references = 0};
  set_by_hash_.emplace(hash, id);
  return recent = id;
}

void Rib::set_current(Slot& slot, SetId id) {
  if (slot.current == 0) ++current_count_;
  if (id == 0) --current_count_;
  retain(id);
  release(std::exchange(slot.current, id));
}

void Rib::upsert(const IpPrefix& prefix, std::span<const FpmNextHop> nexthops) {
  delay(prefix, nexthops.empty() ? 0 : intern(nexthops));
}

void Rib::withdraw(const IpPrefix& prefix) { delay(prefix, 0); }

void Rib::delay(const IpPrefix& prefix, SetId id) {
  retain(id);
  if (delayed_count_ == kDelayed) apply_delayed();
  Delayed& write = delayed_[delayed_count_++];
  write = {.prefix = prefix, .hash = hash_of(prefix), .id = id};
  __builtin_prefetch(&slots_[home_of(write.hash)], 1);
}

void Rib::apply_delayed() {
  for (std::size_t i = 0; i < delayed_count_; ++i) {
    apply(delayed_[i]);
    release(delayed_[i].id);
  }
  delayed_count_ = 0;
}

void Rib::apply(const Delayed& write) {
  std::size_t index = slot_of(write.prefix, write.hash);
  if (!slots_[index].used) {
    if (write.id == 0) return;
    if ((used_ + 1) * 4 > slots_.size() * 3) {
      grow();
      index = slot_of(write.prefix, write.hash);
    }
    slots_[index].prefix = write.prefix;
    slots_[index].used = true;
    ++used_;
  }
  Slot& slot = slots_[index];
  if (write.id != 0) slot.epoch = epoch_;
  if (slot.current == write.id) return;
  set_current(slot, write.id);
  mark(slot);
}

std::size_t Rib::sweep() {
  apply_delayed();
  std::size_t swept = 0;
  for (auto& slot : slots_) {
    if (!slot.used || slot.current == 0 || slot.epoch == epoch_) continue;
    set_current(slot, 0);
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
  apply_delayed();
  RouteChanges changes;
  SetId resolved = 0;
  for (; dirty_taken_ < dirty_.size() && limit > 0; ++dirty_taken_, --limit) {
    if (dirty_taken_ + kPrefetchAhead < dirty_.size()) {
      __builtin_prefetch(&slots_[home_of(hash_of(dirty_[dirty_taken_ + kPrefetchAhead]))], 1);
    }
    const IpPrefix& prefix = dirty_[dirty_taken_];
    const std::size_t index = slot_of(prefix, hash_of(prefix));
    Slot& slot = slots_[index];
    if (!slot.used) continue;
    slot.dirty = false;
    SetId id = slot.current;
    if (id != 0 && id != resolved) {
      resolve_names(sets_[id], interface_name, context);
      resolved = id;
    }
    if (id != 0 && sets_[id].named.empty()) id = 0;
    if (id != slot.taken) {
      if (id != 0) {
        changes.upserts.push_back({.prefix = slot.prefix, .nexthops = sets_[id].named});
      } else {
        changes.withdrawals.push_back(slot.prefix);
      }
      retain(id);
      release(std::exchange(slot.taken, id));
    }
    if (slot.current == 0) erase(index);
  }
  if (dirty_taken_ == dirty_.size()) {
    dirty_.clear();
    dirty_taken_ = 0;
  }
  return changes;
}

}  // namespace simplon::bgp
