// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "gateway/forward/hash_seed.h"
#include "gateway/forward/src/policy/nat.h"
#include "gateway/forward/src/tables/address_key.h"

namespace simplon::forward {

struct Burst;
struct Transit;

/// The way of the first piece of a fragmented packet, which has the ports, for the others. A few of them, in sets of eight. In a full
/// set the oldest of the attachment that has most of it makes room, as long as that has more than the new one: whoever floods
/// the gateway with first pieces ends his own.
class FragmentWays {
 public:
  struct Key {
    /// As they came.
    AddressWords source;
    AddressWords destination;
    std::uint64_t context = 0;
    std::uint32_t id = 0;
    /// Slot of the attachment it came from, and whose it is: no other may go on with it.
    std::uint32_t ingress = 0;
    std::uint32_t ingress_use = 0;
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct Way {
    Key key;
    Ipv4Ends to;
    /// Slot, and whose it was: a minute later it may be another one's.
    std::uint32_t egress = 0;
    std::uint32_t egress_use = 0;
    std::uint32_t until = 0;
    /// It was handed over to this one, which knows the rest.
    std::uint16_t worker = 0;
    bool translated = false;
  };
  explicit FragmentWays(HashSeed seed) noexcept : seed_(seed) {}
  /// `now` in seconds.
  void remember(const Way& way, std::uint32_t now) noexcept { *place_for(way.key, now) = way; }
  [[nodiscard]] const Way* find(const Key& key, std::uint32_t now) const noexcept {
    const Way* set = ways_[set_of(key)].data();
    for (const Way* way = set; way != set + kPlaces; ++way) {
      if (way->key == key && now < way->until) return way;
    }
    return nullptr;
  }
  /// RFC 8200 section 4.5 waits 60 seconds for the rest; RFC 1122 section 3.3.2 as well.
  static constexpr std::uint32_t kSeconds = 60;

 private:
  static constexpr std::size_t kSets = 128;
  static constexpr std::size_t kPlaces = 8;
  [[nodiscard]] std::size_t set_of(const Key& key) const noexcept {
    const std::uint64_t ends = mix(mix(seed_, key.source.low, key.source.high), mix(seed_, key.destination.low, key.destination.high));
    return mix(ends ^ key.context, mix(seed_, key.id, key.ingress)) & (kSets - 1);
  }
  [[nodiscard]] Way* place_for(const Key& key, std::uint32_t now) noexcept {
    std::array<Way, kPlaces>& set = ways_[set_of(key)];
    Way* empty = nullptr;
    for (Way& way : set) {
      if (way.key == key) return &way;
      if (way.until <= now) empty = &way;
    }
    if (empty != nullptr) return empty;
    const auto count = [&set](std::uint32_t ingress) {
      return std::count_if(set.begin(), set.end(), [ingress](const Way& way) { return way.key.ingress == ingress; });
    };
    const auto own = count(key.ingress);
    auto most = own;
    for (const Way& way : set) most = std::max(most, count(way.key.ingress));
    Way* oldest = nullptr;
    for (Way& way : set) {
      const bool loses = most > own ? count(way.key.ingress) == most : way.key.ingress == key.ingress;
      if (loses && (oldest == nullptr || way.until < oldest->until)) oldest = &way;
    }
    return oldest;
  }

  HashSeed seed_;
  std::array<std::array<Way, kPlaces>, kSets> ways_{};
};

/// What the pieces of a fragmented packet have in common, but for what `identify_fragment` adds.
[[nodiscard]] FragmentWays::Key datagram_of(const Transit& packet, std::uint32_t domain) noexcept;
/// The rest of it; false if there is none.
[[nodiscard]] bool identify_fragment(const Burst& burst, const Transit& packet, FragmentWays::Key& key) noexcept;

}  // namespace simplon::forward
