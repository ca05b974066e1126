// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rules as sets of bits. A rule is a box: an interval, or several, in each of four dimensions (source, destination, source
// port, protocol with destination port). In each dimension the rules that contain a value are known as a bit set, made
// when the list is compiled; the rules that match a packet are the conjunction of its four sets, and the first rule is the
// lowest bit. So the cost grows with the logarithm of the number of rules, and with one word for every 64 of them.
#include "gateway/forward/src/policy/acl.h"

#include <bit>

#include "platform/wire/endian.h"

namespace simplon::forward {
namespace {

constexpr std::uint32_t kAnyPort = 65535;

template <class Key>
[[nodiscard]] Key key_of(const IpAddress& address) noexcept {
  if constexpr (sizeof(Key) == 4) {
    return address.v4_value();
  } else {
    return fib_key(address.bytes().data());
  }
}

template <class Key>
[[nodiscard]] std::vector<typename RuleIntervals<Key>::Interval> prefixes(
    const std::vector<const AclRuleEntry*>& rules, std::vector<IpPrefix> AclRuleEntry::*member) {
  constexpr unsigned kBits = sizeof(Key) * 8;
  std::vector<typename RuleIntervals<Key>::Interval> intervals;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if ((rules[i]->*member).empty()) intervals.push_back({i, 0, static_cast<Key>(~Key{0})});
    for (const IpPrefix& prefix : rules[i]->*member) {
      if (prefix.address().bits() != kBits) continue;
      const Key first = key_of<Key>(prefix.address());
      const Key hosts = prefix.length() == 0 ? static_cast<Key>(~Key{0})
                                             : static_cast<Key>((Key{1} << (kBits - prefix.length())) - 1);
      intervals.push_back({i, first, static_cast<Key>(first | hosts)});
    }
  }
  return intervals;
}

[[nodiscard]] std::vector<NumberRange> or_any(const std::vector<NumberRange>& ranges) {
  return ranges.empty() ? std::vector<NumberRange>{{}} : ranges;
}

[[nodiscard]] std::vector<RuleIntervals<std::uint32_t>::Interval> source_ports(
    const std::vector<const AclRuleEntry*>& rules) {
  std::vector<RuleIntervals<std::uint32_t>::Interval> intervals;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    for (const NumberRange& range : or_any(rules[i]->source_ports)) intervals.push_back({i, range.first, range.last});
  }
  return intervals;
}

[[nodiscard]] std::vector<RuleIntervals<std::uint32_t>::Interval> services(
    const std::vector<const AclRuleEntry*>& rules) {
  std::vector<RuleIntervals<std::uint32_t>::Interval> intervals;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!rules[i]->protocol) {
      intervals.push_back({i, 0, (255U << 16) | kAnyPort});
      continue;
    }
    const std::uint32_t protocol = std::uint32_t{*rules[i]->protocol} << 16;
    for (const NumberRange& range : or_any(rules[i]->destination_ports)) {
      intervals.push_back({i, protocol | range.first, protocol | range.last});
    }
  }
  return intervals;
}

[[nodiscard]] Uint128 wide(const AddressWords& address) noexcept {
  return (static_cast<Uint128>(byteswap(address.low)) << 64) | byteswap(address.high);
}

}  // namespace

template <class Key>
RuleMatcher<Key>::RuleMatcher(const std::vector<const AclRuleEntry*>& rules)
    : words_((rules.size() + 63) / 64),
      sources_(prefixes<Key>(rules, &AclRuleEntry::sources), words_),
      destinations_(prefixes<Key>(rules, &AclRuleEntry::destinations), words_),
      source_ports_(forward::source_ports(rules), words_),
      services_(forward::services(rules), words_) {}

template <class Key>
std::size_t RuleMatcher<Key>::find(Key source, Key destination, const AclPacket& packet) const noexcept {
  if (words_ == 0) return kNone;
  const std::uint64_t* by_source = sources_.matching(source);
  const std::uint64_t* by_destination = destinations_.matching(destination);
  const std::uint64_t* by_source_port = source_ports_.matching(packet.source_port);
  const std::uint64_t* by_service =
      services_.matching((std::uint32_t{packet.protocol} << 16) | packet.destination_port);
  for (std::size_t i = 0; i < words_; ++i) {
    const std::uint64_t all = by_source[i] & by_destination[i] & by_source_port[i] & by_service[i];
    if (all != 0) return i * 64 + static_cast<std::size_t>(std::countr_zero(all));
  }
  return kNone;
}

template class RuleMatcher<std::uint32_t>;
template class RuleMatcher<Uint128>;

Acl::Acl(const AclEntry& entry, std::vector<Counter*> counters, std::uint32_t revision)
    : allow_by_default_(entry.allow_by_default), revision_(revision) {
  std::array<std::vector<const AclRuleEntry*>, 2> rules;
  for (std::size_t i = 0; i < entry.rules.size(); ++i) {
    const AclRuleEntry& rule = entry.rules[i];
    const std::size_t direction = rule.direction == AclDirection::kFrom ? 0 : 1;
    rules_.push_back({rule.allow, rule.stateful, counters[i]});
    rules[direction].push_back(&rule);
    directions_[direction].rules.push_back(static_cast<std::uint16_t>(i));
  }
  for (std::size_t i = 0; i < rules.size(); ++i) {
    directions_[i].v4 = RuleMatcher<std::uint32_t>(rules[i]);
    directions_[i].v6 = RuleMatcher<Uint128>(rules[i]);
  }
}

AclDecision Acl::ask(AclDirection direction, const AclPacket& packet) const noexcept {
  const Direction& list = of(direction);
  const std::size_t found =
      packet.family == 4 ? list.v4.find(byteswap(static_cast<std::uint32_t>(packet.source.low)),
                                        byteswap(static_cast<std::uint32_t>(packet.destination.low)), packet)
                         : list.v6.find(wide(packet.source), wide(packet.destination), packet);
  if (found >= list.rules.size()) return {allow_by_default_, false, AclDecision::kDefault};
  const Rule& rule = rules_[list.rules[found]];
  return {rule.allow, rule.allow && rule.stateful, list.rules[found]};
}

}  // namespace simplon::forward
