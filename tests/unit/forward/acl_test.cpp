// SPDX-License-Identifier: GPL-2.0-or-later
//
// The compiled matcher against reading the rules one after the other.
#include "gateway/forward/src/policy/acl.h"

#include <gtest/gtest.h>

#include <random>

#include "platform/wire/endian.h"

namespace simplon::forward {
namespace {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint32_t below(std::uint32_t end) { return static_cast<std::uint32_t>(engine_() % end); }

 private:
  std::mt19937_64 engine_;
};

IpAddress address(Random& random, bool v6) {
  // Few bits, so that rules and packets meet.
  if (!v6) return IpAddress::v4(0x0a000000U | (random.below(4) << 16) | random.below(8));
  std::array<std::uint8_t, 16> bytes{0xfd};
  bytes[7] = static_cast<std::uint8_t>(random.below(4));
  bytes[15] = static_cast<std::uint8_t>(random.below(8));
  return IpAddress::v6(bytes);
}

std::vector<IpPrefix> prefixes(Random& random) {
  std::vector<IpPrefix> list;
  for (std::uint32_t i = random.below(4); i-- > 0;) {
    const bool v6 = random.below(2) == 0;
    const IpAddress at = address(random, v6);
    list.emplace_back(at, random.below(8) == 0 ? 0 : at.bits() - random.below(20));
  }
  return list;
}

std::vector<NumberRange> ranges(Random& random) {
  std::vector<NumberRange> list;
  for (std::uint32_t i = random.below(3); i-- > 0;) {
    const auto first = static_cast<std::uint16_t>(random.below(16));
    list.push_back(
        {first, random.below(6) == 0 ? std::uint16_t{65535} : static_cast<std::uint16_t>(first + random.below(6))});
  }
  return list;
}

AclEntry random_list(Random& random) {
  AclEntry acl;
  acl.name = "random";
  acl.allow_by_default = random.below(2) == 0;
  const std::uint32_t count = random.below(100);
  for (std::uint32_t i = 0; i < count; ++i) {
    AclRuleEntry rule;
    rule.name = std::to_string(i);
    rule.allow = random.below(2) == 0;
    rule.direction = random.below(2) == 0 ? AclDirection::kFrom : AclDirection::kTo;
    rule.stateful = random.below(2) == 0;
    rule.sources = prefixes(random);
    rule.destinations = prefixes(random);
    if (random.below(3) != 0) {
      rule.protocol = static_cast<std::uint8_t>(random.below(2) == 0 ? 6 : random.below(256));
      rule.destination_ports = ranges(random);
    }
    rule.source_ports = ranges(random);
    acl.rules.push_back(rule);
  }
  return acl;
}

bool one_of(const std::vector<IpPrefix>& prefixes, const IpAddress& address) {
  return prefixes.empty() || std::any_of(prefixes.begin(), prefixes.end(),
                                         [&](const IpPrefix& prefix) { return prefix.contains(address); });
}
bool one_of(const std::vector<NumberRange>& ranges, std::uint16_t port) {
  return ranges.empty() || std::any_of(ranges.begin(), ranges.end(), [port](const NumberRange& range) {
           return range.first <= port && port <= range.last;
         });
}

TEST(Acl, MatchesAsTheRulesAreRead) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const AclEntry entry = random_list(random);
    std::vector<Counter> counters(entry.rules.size());
    std::vector<Counter*> pointers;
    for (Counter& counter : counters) pointers.push_back(&counter);
    std::vector<std::uint64_t> expected_counts(entry.rules.size());
    const Acl acl(entry, pointers, 1);
    for (int i = 0; i < 300; ++i) {
      const bool v6 = random.below(2) == 0;
      const IpAddress source = address(random, v6);
      const IpAddress destination = address(random, v6);
      const WireAddress from = WireAddress::from(source);
      const WireAddress to = WireAddress::from(destination);
      AclPacket packet{{from.low, from.high}, {to.low, to.high}, from.family, 0, 0, 0};
      packet.protocol = static_cast<std::uint8_t>(random.below(2) == 0 ? 6 : random.below(256));
      packet.source_port = static_cast<std::uint16_t>(random.below(24));
      packet.destination_port = static_cast<std::uint16_t>(random.below(24));
      const AclDirection direction = random.below(2) == 0 ? AclDirection::kFrom : AclDirection::kTo;
      AclDecision expected{entry.allow_by_default, false};
      for (std::size_t r = 0; r < entry.rules.size(); ++r) {
        const AclRuleEntry& rule = entry.rules[r];
        if (rule.direction != direction || !one_of(rule.sources, source) || !one_of(rule.destinations, destination) ||
            (rule.protocol && *rule.protocol != packet.protocol) || !one_of(rule.source_ports, packet.source_port) ||
            (rule.protocol && !one_of(rule.destination_ports, packet.destination_port))) {
          continue;
        }
        expected = {rule.allow, rule.allow && rule.stateful};
        ++expected_counts[r];
        break;
      }
      const AclDecision decision = acl.decide(direction, packet, 0);
      ASSERT_EQ(decision.allow, expected.allow) << i;
      ASSERT_EQ(decision.stateful, expected.stateful) << i;
    }
    for (std::size_t r = 0; r < entry.rules.size(); ++r) EXPECT_EQ(counters[r].read(), expected_counts[r]) << r;
  }
}

}  // namespace
}  // namespace simplon::forward
