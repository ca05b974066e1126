// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bgp/speaker.h"
#include "platform/net/ip_prefix.h"

namespace simplon::bgp {

/// A nexthop as zebra sends it: by interface index.
struct FpmNextHop {
  std::uint32_t ifindex = 0;
  std::optional<IpAddress> gateway;
  std::uint16_t weight = 1;
  friend auto operator<=>(const FpmNextHop&, const FpmNextHop&) noexcept = default;
};

/// The routes of one FRR instance, and which of them were not yet told to anybody.
///
///     rib.begin_dump();                      // (re)connected: what is known becomes stale, but stays valid
///     rib.upsert(...); rib.withdraw(...);    // in the order of arrival
///     ... take_changes(): only real differences since the last call ...
///     rib.sweep();                           // the dump is complete: what is still stale goes
///
/// Coalescing: an update is DELROUTE and then NEWROUTE on the wire; between two calls of `take_changes` only the last
/// state of a prefix counts, and if it is the state that was taken before, nothing is reported.
/// Threads: one. Cost: upsert and withdraw are O(1), one probe of a flat table, about 0.2 us; 32 bytes a slot, of which at
/// least three eighths are used; nexthop sets are shared.
class Rib {
 public:
  /// Name of the interface with this index, or nothing if there is none.
  using InterfaceName = std::optional<std::string> (*)(const void* context, std::uint32_t ifindex);

  Rib();

  /// All routes become stale until they are upserted again.
  void begin_dump() {
    apply_delayed();
    ++epoch_;
  }
  /// `nexthops` must not be empty (an empty set is a withdrawal).
  void upsert(const IpPrefix& prefix, std::span<const FpmNextHop> nexthops);
  void withdraw(const IpPrefix& prefix);
  /// Withdraws what is stale; O(size). Returns how many routes that were.
  std::size_t sweep();
  /// Withdraws everything.
  void clear();

  /// True if `take_changes` has something to look at.
  [[nodiscard]] bool dirty() { return dirty_count() != 0; }
  [[nodiscard]] std::size_t dirty_count() {
    apply_delayed();
    return dirty_.size() - dirty_taken_;
  }

  /// Differences to what was taken before, of at most `limit` prefixes. Nexthops whose interface has no name any more are
  /// left out; a route without nexthops is not reported (withdrawn, if it was).
  [[nodiscard]] RouteChanges take_changes(std::size_t limit, InterfaceName interface_name, const void* context);

  /// Prefixes that have a route now.
  [[nodiscard]] std::size_t size() {
    apply_delayed();
    return current_count_;
  }

 private:
  // Index into sets_; 0 is "no route".
  using SetId = std::uint32_t;

  // All zero is a free slot. Half a cache line, so a probe never costs two.
  struct alignas(32) Slot {
    IpPrefix prefix;
    bool used;
    bool dirty;
    SetId current;
    SetId taken;
    std::uint32_t epoch;
  };

  /// Zeroed slots from the kernel, on huge pages if it has some: probes are random, and a miss of the TLB costs as much as
  /// one of the cache.
  class SlotArray {
   public:
    explicit SlotArray(std::size_t count);
    SlotArray(SlotArray&& other) noexcept
        : slots_(std::exchange(other.slots_, nullptr)), count_(std::exchange(other.count_, 0)) {}
    SlotArray& operator=(SlotArray&& other) noexcept {
      std::swap(slots_, other.slots_);
      std::swap(count_, other.count_);
      return *this;
    }
    SlotArray(const SlotArray&) = delete;
    SlotArray& operator=(const SlotArray&) = delete;
    ~SlotArray();

    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] Slot& operator[](std::size_t index) const noexcept { return slots_[index]; }
    [[nodiscard]] Slot* begin() const noexcept { return slots_; }
    [[nodiscard]] Slot* end() const noexcept { return slots_ + count_; }

   private:
    Slot* slots_;
    std::size_t count_;
  };

  /// Where a route leads; shared by all routes that lead there.
  struct NextHopSet {
    std::vector<FpmNextHop> nexthops;  // sorted
    std::vector<FpmNextHop> wire;      // as zebra orders them
    std::vector<RouteNextHop> named;   // those whose interface has a name
    std::size_t hash = 0;
    std::uint64_t references = 0;
  };

  /// A write whose slot is on its way from memory to the cache; `id` 0 is a withdrawal.
  struct Delayed {
    IpPrefix prefix;
    std::uint64_t hash = 0;
    SetId id = 0;
  };
  static constexpr std::size_t kDelayed = 16;

  void delay(const IpPrefix& prefix, SetId id);
  void apply_delayed();
  void apply(const Delayed& write);
  [[nodiscard]] std::size_t home_of(std::uint64_t hash) const noexcept { return static_cast<std::size_t>(hash >> shift_); }
  /// The slot of the prefix, or the free one it would get.
  [[nodiscard]] std::size_t slot_of(const IpPrefix& prefix, std::uint64_t hash) const noexcept;
  void erase(std::size_t index) noexcept;
  void grow();
  void mark(Slot& slot);
  [[nodiscard]] SetId intern(std::span<const FpmNextHop> nexthops);
  void resolve_names(NextHopSet& set, InterfaceName interface_name, const void* context);
  void retain(SetId id) noexcept;
  void release(SetId id);
  void set_current(Slot& slot, SetId id);

  SlotArray slots_;  // open addressing, linear probing, 2^(64 - shift_) slots
  unsigned shift_;
  std::size_t used_ = 0;
  std::size_t current_count_ = 0;
  std::uint32_t epoch_ = 1;

  std::vector<IpPrefix> dirty_;
  std::size_t dirty_taken_ = 0;

  std::vector<NextHopSet> sets_;
  std::vector<SetId> free_sets_;
  std::unordered_multimap<std::size_t, SetId> set_by_hash_;
  // Sets seen lately, by the hash of the nexthops in the order of the wire.
  std::array<SetId, 64> recent_sets_{};
  std::array<Delayed, kDelayed> delayed_;
  std::size_t delayed_count_ = 0;
  std::vector<FpmNextHop> scratch_;
};

}  // namespace simplon::bgp
