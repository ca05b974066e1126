// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "gateway/forward/counters.h"
#include "gateway/forward/policy_objects.h"
#include "gateway/forward/src/fib/fib.h"
#include "gateway/forward/src/tables/address_key.h"

namespace simplon::forward {

/// What rules look at, in host order.
struct AclPacket {
  AddressWords source;
  AddressWords destination;
  std::uint8_t family = 4;
  std::uint8_t protocol = 0;
  std::uint16_t source_port = 0;
  /// Of ICMP: the type.
  std::uint16_t destination_port = 0;
};

/// Which rules match a value: the line of values is cut where some rule begins or ends, and each piece has one bit a rule.
template <class Key>
class RuleIntervals {
 public:
  struct Interval {
    std::size_t rule;
    Key first;
    Key last;
  };
  RuleIntervals() = default;
  RuleIntervals(const std::vector<Interval>& intervals, std::size_t words) : words_(words) {
    starts_.push_back(0);
    for (const Interval& interval : intervals) {
      starts_.push_back(interval.first);
      if (static_cast<Key>(interval.last + 1) != 0) starts_.push_back(static_cast<Key>(interval.last + 1));
    }
    std::sort(starts_.begin(), starts_.end());
    starts_.erase(std::unique(starts_.begin(), starts_.end()), starts_.end());
    bits_.resize(starts_.size() * words);
    for (const Interval& interval : intervals) {
      for (std::size_t i = piece(interval.first); i < starts_.size() && starts_[i] <= interval.last; ++i) {
        bits_[i * words + interval.rule / 64] |= std::uint64_t{1} << (interval.rule % 64);
      }
    }
  }
  [[nodiscard]] const std::uint64_t* matching(Key value) const noexcept { return &bits_[piece(value) * words_]; }

 private:
  [[nodiscard]] std::size_t piece(Key value) const noexcept {
    return static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), value) - starts_.begin()) - 1;
  }
  std::size_t words_ = 0;
  std::vector<Key> starts_;
  std::vector<std::uint64_t> bits_;
};

/// The rules of one direction and family. Cost of a match: four binary searches, and the conjunction of four bit sets.
template <class Key>
class RuleMatcher {
 public:
  static constexpr std::size_t kNone = ~std::size_t{0};
  RuleMatcher() = default;
  /// `rules`: those of the direction, in order.
  explicit RuleMatcher(const std::vector<const AclRuleEntry*>& rules);
  /// Index of the first rule that matches, or kNone.
  [[nodiscard]] std::size_t find(Key source, Key destination, const AclPacket& packet) const noexcept;

 private:
  std::size_t words_ = 0;
  RuleIntervals<Key> sources_;
  RuleIntervals<Key> destinations_;
  RuleIntervals<std::uint32_t> source_ports_;
  /// Protocol and destination port in one number.
  RuleIntervals<std::uint32_t> services_;
};

struct AclDecision {
  /// No rule matched.
  static constexpr std::uint16_t kDefault = 0xffff;
  bool allow = false;
  bool stateful = false;
  /// Its place in the whole list.
  std::uint16_t rule = kDefault;
};

/// An access list, compiled. Immutable but for its counters, which belong to the writer and outlive it.
class Acl {
 public:
  /// `counters`: for each rule an array of counter_shares(workers).
  Acl(const AclEntry& entry, std::vector<Counter*> counters, std::uint32_t revision);
  [[nodiscard]] AclDecision decide(AclDirection direction, const AclPacket& packet, unsigned worker) const noexcept {
    const AclDecision decision = ask(direction, packet);
    if (decision.rule != AclDecision::kDefault) rules_[decision.rule].packets[worker].add();
    return decision;
  }
  /// The same, but counts nothing.
  [[nodiscard]] AclDecision ask(AclDirection direction, const AclPacket& packet) const noexcept;
  /// Another one for each list that was ever compiled: connections remember by which they were allowed.
  [[nodiscard]] std::uint32_t revision() const noexcept { return revision_; }

 private:
  struct Direction {
    std::vector<std::uint16_t> rules;  ///< Their places in the whole list.
    RuleMatcher<std::uint32_t> v4;
    RuleMatcher<Uint128> v6;
  };
  struct Rule {
    bool allow;
    bool stateful;
    Counter* packets;
  };
  [[nodiscard]] const Direction& of(AclDirection direction) const noexcept {
    return directions_[direction == AclDirection::kFrom ? 0 : 1];
  }

  std::vector<Rule> rules_;
  std::array<Direction, 2> directions_;
  bool allow_by_default_;
  std::uint32_t revision_;
};

}  // namespace simplon::forward
