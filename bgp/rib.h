// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
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
/// Threads: one. Cost: upsert and withdraw are O(1), one probe of a flat table; memory is 40 bytes a prefix (60 with
/// the free slots); nexthop sets are shared.
class Rib {
 public:
  /// Name of the interface with this index, or nothing if there is none.
  using InterfaceName = std::optional<std::string> (*)(const void* context, std::uint32_t ifindex);

  Rib();

  /// All routes become stale until they are upserted again.
  void begin_dump() noexcept { ++epoch_; }
  /// `nexthops` must not be empty (an empty set is a withdrawal).
  void upsert(const IpPrefix& prefix, std::span<const FpmNextHop> nexthops, std::uint32_t metric);
  void withdraw(const IpPrefix& prefix);
  /// Withdraws what is stale; O(size). Returns how many routes that were.
  std::size_t sweep();
  /// Withdraws everything.
  void clear();

  /// True if `take_changes` has something to look at.
  [[nodiscard]] bool dirty() const noexcept { return dirty_.size() > dirty_taken_; }
  [[nodiscard]] std::size_t dirty_count() const noexcept { return dirty_.size() - dirty_taken_; }

  /// Differences to what was taken before, of at most `limit` prefixes. Nexthops whose interface has no name any more are
  /// left out; a route without nexthops is not reported (withdrawn, if it was).
  [[nodiscard]] RouteChanges take_changes(std::size_t limit, InterfaceName interface_name, const void* context);

  /// Routes as they were last taken.
  [[nodiscard]] std::vector<LearnedRoute> taken() const;
  /// Prefixes that have a route now.
  [[nodiscard]] std::size_t size() const noexcept { return current_count_; }

 private:
  // Index into sets_; 0 is "no route".
  using SetId = std::uint32_t;

  struct Slot {
    IpPrefix prefix;
    bool used = false;
    bool dirty = false;
    SetId current = 0;
    SetId taken = 0;
    std::uint32_t current_metric = 0;
    std::uint32_t taken_metric = 0;
    std::uint32_t epoch = 0;
  };

  struct NextHopSet {
    std::vector<FpmNextHop> nexthops;  // sorted
    std::vector<RouteNextHop> named;   // those whose interface has a name
    std::size_t hash = 0;
    std::uint64_t references = 0;
  };

  [[nodiscard]] std::size_t slot_of(const IpPrefix& prefix) const noexcept;  // its slot, or the free one it would get
  void erase(std::size_t index) noexcept;
  void grow();
  void mark(Slot& slot);
  [[nodiscard]] SetId intern(std::span<const FpmNextHop> nexthops);
  void resolve_names(NextHopSet& set, InterfaceName interface_name, const void* context);
  void retain(SetId id) noexcept;
  void release(SetId id);
  void set_current(Slot& slot, SetId id, std::uint32_t metric);

  std::vector<Slot> slots_;  // open addressing, linear probing, size is a power of two
  std::size_t used_ = 0;
  std::size_t current_count_ = 0;
  std::uint32_t epoch_ = 1;

  std::vector<IpPrefix> dirty_;
  std::size_t dirty_taken_ = 0;

  std::vector<NextHopSet> sets_;
  std::vector<SetId> free_sets_;
  std::unordered_multimap<std::size_t, SetId> set_by_hash_;
  SetId last_set_ = 0;  // consecutive routes mostly share their nexthops
  std::vector<FpmNextHop> scratch_;
};

}  // namespace simplon::bgp
