// SPDX-License-Identifier: GPL-2.0-or-later
//
// Access lists, policies and NAT in the document.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "gateway/config/diff.h"
#include "gateway/config/validate.h"
#include "tests/unit/config/sample.h"

namespace simplon::config {
namespace {

using ::testing::HasSubstr;

GatewayConfig full() { return parse_document(kFullDocument).config; }

struct Mistake {
  const char* name;
  std::function<void(GatewayConfig&)> make;
  const char* path;
  const char* word;
  ErrorCode code = ErrorCode::kInvalidConfig;
};

class PolicyMistake : public ::testing::TestWithParam<Mistake> {};

TEST_P(PolicyMistake, IsFoundWhereItIs) {
  GatewayConfig config = full();
  GetParam().make(config);
  const auto issues = validate(config, {.check_files = false});
  const auto found = std::find_if(issues.begin(), issues.end(), [](const Issue& issue) {
    return issue.path == GetParam().path && issue.severity == Severity::kError;
  });
  ASSERT_NE(found, issues.end()) << to_error(issues).message();
  EXPECT_THAT(found->message(), HasSubstr(GetParam().word));
  EXPECT_EQ(found->code, GetParam().code);
}

AclRuleConfig& rule(GatewayConfig& c, std::size_t i) { return c.acls[0].rules[i]; }
NatRuleConfig& nat(GatewayConfig& c, std::size_t i) { return c.domains[0].nat[i]; }
IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }

INSTANTIATE_TEST_SUITE_P(
    All, PolicyMistake,
    ::testing::Values(Mistake{"UnknownList", [](GatewayConfig& c) { c.vpcs[0].policy.acl = "wbe"; },
                              "vpcs[0].policy.acl", "did you mean 'web'"},
                      Mistake{"ListTwice", [](GatewayConfig& c) { c.acls.push_back(c.acls[0]); }, "acls[1].name",
                              "exists already", ErrorCode::kConflict},
                      Mistake{"RuleTwice", [](GatewayConfig& c) { rule(c, 1).name = "https"; }, "acls[0].rules[1].name",
                              "exists already", ErrorCode::kConflict},
                      Mistake{"PortsWithoutProtocol", [](GatewayConfig& c) { rule(c, 0).protocol.reset(); },
                              "acls[0].rules[0].ports", "only TCP and UDP"},
                      Mistake{"TypesOfTcp", [](GatewayConfig& c) { rule(c, 1).protocol = 6; },
                              "acls[0].rules[1].icmp-types", "only ICMP"},
                      Mistake{"TwoVersions", [](GatewayConfig& c) { rule(c, 0).destination = {prefix("fd00::/64")}; },
                              "acls[0].rules[0]", "matches nothing"},
                      Mistake{"NatAttachmentMissing", [](GatewayConfig& c) { nat(c, 0).attachment.clear(); },
                              "domains[0].nat[0].attachment", "is missing"},
                      Mistake{"NatAttachmentUnknown", [](GatewayConfig& c) { nat(c, 0).attachment = "berlni"; },
                              "domains[0].nat[0].attachment", "did you mean 'berlin'"},
                      Mistake{"NatAttachmentElsewhere", [](GatewayConfig& c) { nat(c, 0).attachment = "blue"; },
                              "domains[0].nat[0].attachment", "belongs to domain 'test'", ErrorCode::kConflict},
                      Mistake{"NatIpv6", [](GatewayConfig& c) { nat(c, 0).outside = prefix("fd00::/64"); },
                              "domains[0].nat[0].outside", "is not IPv4"},
                      Mistake{"NatNetmapLengths", [](GatewayConfig& c) { nat(c, 2).outside = prefix("100.70.0.0/25"); },
                              "domains[0].nat[2].inside", "not of the same length"},
                      Mistake{"NatPoolInsideVpc", [](GatewayConfig& c) { nat(c, 0).outside = prefix("10.20.0.0/30"); },
                              "domains[0].nat[0].outside", "overlaps", ErrorCode::kConflict},
                      Mistake{"NatPublishedTwice",
                              [](GatewayConfig& c) {
                                c.domains[0].nat.push_back(nat(c, 1));
                                c.domains[0].nat.back().name = "again";
                              },
                              "domains[0].nat[3].outside", "published by rule 'web'", ErrorCode::kConflict},
                      Mistake{"NatPortWithoutProtocol", [](GatewayConfig& c) { nat(c, 1).protocol = 0; },
                              "domains[0].nat[1].protocol", "only TCP and UDP"},
                      Mistake{"NatNetworkPublished",
                              [](GatewayConfig& c) {
                                nat(c, 1).outside = prefix("100.64.1.0/24");
                                nat(c, 1).inside = prefix("10.20.0.0/24");
                              },
                              "domains[0].nat[1].outside", "netmap"},
                      Mistake{"NatInsideOfSource", [](GatewayConfig& c) { nat(c, 0).inside = prefix("10.20.0.0/24"); },
                              "domains[0].nat[0].inside", "use 'source'"}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(Policy, ValuesAreReadOneByOneAndAllMistakesAreTold) {
  const Document document = parse_document(R"(
gateway: {name: gw}
acls:
  - name: a
    default: maybe
    rules:
      - {name: r1, action: permit, direction: in, protocol: tpc, ports: [90-80], icmp-types: [256]}
domains:
  - name: d
    nat: [{name: n, type: masquerade, outside: 1.2.3.4, port-blocks: 200}]
vpcs:
  - {name: v, domain: d, vni: 1, prefixes: [10.0.0.0/8], policy: {reverse-path: maybe, max-connections: 0, rate-from: x}}
)");
  std::string all;
  for (const auto& issue : document.issues) all += issue.message() + "\n";
  for (const char* path : {"acls[0].default", "rules[0].action", "rules[0].direction", "rules[0].protocol",
                           "rules[0].ports[0]", "rules[0].icmp-types[0]", "nat[0].type", "nat[0].port-blocks",
                           "policy.reverse-path", "policy.max-connections", "policy.rate-from"}) {
    EXPECT_THAT(all, HasSubstr(path));
  }
}

TEST(Policy, ChangesEndNoSessionAndSayWhatStops) {
  const GatewayConfig before = full();
  GatewayConfig after = before;
  after.acls[0].rules[0].ports = {{443, 443}};
  after.vpcs[0].policy.bits_from = 5;
  after.domains[0].nat.pop_back();
  const Diff changes = diff(before, after);
  ASSERT_EQ(changes.changes.size(), 3U);
  for (const auto& change : changes.changes) EXPECT_EQ(change.reconfigure, Reconfigure::kNarrows) << change.field;
  EXPECT_EQ(changes.summary(), "3 changes, lets less pass than before at 3 objects");
  const auto acl = std::find_if(changes.impact.begin(), changes.impact.end(),
                                [](const Impact& impact) { return impact.kind_of_object == "acl"; });
  ASSERT_NE(acl, changes.impact.end());
  EXPECT_EQ(acl->words, "rules: open connections that the list no longer allows stop with their next packet");
}

/// Of the only field that differs.
Reconfigure cost_of(void (*before)(GatewayConfig&), void (*after)(GatewayConfig&)) {
  GatewayConfig from = full();
  before(from);
  GatewayConfig to = from;
  after(to);
  const Diff changed = diff(from, to);
  EXPECT_EQ(changed.changes.size(), 1U);
  return changed.changes.empty() ? Reconfigure::kReplace : changed.changes[0].reconfigure;
}

void as_it_is(GatewayConfig&) {}

AclRuleConfig rule(const char* name, bool allow) {
  AclRuleConfig made;
  made.name = name;
  made.allow = allow;
  return made;
}

TEST(Policy, OnlyWhatLetsLessPassNarrowsAnAccessList) {
  const auto two = [](GatewayConfig& c) { c.acls[0].rules = {rule("some", true), rule("none", false)}; };
  EXPECT_EQ(cost_of(two, [](GatewayConfig& c) { c.acls[0].rules.push_back(rule("more", true)); }), Reconfigure::kInPlace);
  EXPECT_EQ(cost_of(two, [](GatewayConfig& c) { c.acls[0].rules.pop_back(); }), Reconfigure::kInPlace);
  EXPECT_EQ(cost_of(two, [](GatewayConfig& c) { c.acls[0].rules.push_back(rule("more", false)); }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of(two, [](GatewayConfig& c) { c.acls[0].rules.erase(c.acls[0].rules.begin()); }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of(two, [](GatewayConfig& c) { std::swap(c.acls[0].rules[0], c.acls[0].rules[1]); }), Reconfigure::kNarrows);
  const auto open = [](GatewayConfig& c) { c.acls[0].allow_by_default = true; };
  const auto closed = [](GatewayConfig& c) { c.acls[0].allow_by_default = false; };
  EXPECT_EQ(cost_of(open, closed), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of(closed, open), Reconfigure::kInPlace);
}

TEST(Policy, OnlyATighterPolicyNarrows) {
  using Config = GatewayConfig;
  EXPECT_EQ(cost_of(as_it_is, [](Config& c) { c.vpcs[0].policy.bits_from *= 2; }), Reconfigure::kInPlace);
  EXPECT_EQ(cost_of(as_it_is, [](Config& c) { c.vpcs[0].policy.bits_from = 0; }), Reconfigure::kInPlace);
  EXPECT_EQ(cost_of(as_it_is, [](Config& c) { c.vpcs[0].policy.bits_from /= 2; }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of([](Config& c) { c.vpcs[0].policy.bits_from = 0; }, [](Config& c) { c.vpcs[0].policy.bits_from = 5; }),
            Reconfigure::kNarrows);
  EXPECT_EQ(cost_of(as_it_is, [](Config& c) { c.vpcs[0].policy.max_connections -= 1; }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of(as_it_is, [](Config& c) { c.vpcs[0].policy.acl.clear(); }), Reconfigure::kInPlace);
  EXPECT_EQ(cost_of(as_it_is, [](Config& c) { c.vpcs[0].policy.acl = "other"; }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of(as_it_is, [](Config& c) { c.vpcs[0].policy.reverse_path = ReversePathConfig::kOff; }),
            Reconfigure::kInPlace);
  EXPECT_EQ(cost_of(as_it_is, [](Config& c) { c.vpcs[0].policy.reverse_path = ReversePathConfig::kLoose; }),
            Reconfigure::kInPlace);
  EXPECT_EQ(cost_of([](Config& c) { c.vpcs[0].policy.reverse_path = ReversePathConfig::kOff; },
                    [](Config& c) { c.vpcs[0].policy.reverse_path = ReversePathConfig::kLoose; }),
            Reconfigure::kNarrows);
}

TEST(Policy, RulesInWords) {
  EXPECT_EQ(describe_rule(full().acls[0].rules[0]),
            "allow to tcp 172.16.0.0/12 -> 10.20.0.11/32 source-ports 1024-65535 ports 443, 8000-8100");
  EXPECT_EQ(describe_rule(full().domains[0].nat[1]),
            "destination: tcp 100.64.1.1/32 port 80 to 10.20.0.11/32 port 8080");
}

TEST(Nat, PoolsBeyondWhatCanBeInUseAreAWarning) {
  const auto about = [](const GatewayConfig& config) {
    const auto issues = validate(config, {.check_files = false});
    return std::find_if(issues.begin(), issues.end(), [](const Issue& issue) {
             return issue.severity == Severity::kWarning && issue.message().find("in use at a time") != std::string::npos;
           }) != issues.end();
  };
  GatewayConfig config = full();
  nat(config, 0).outside = prefix("100.96.0.0/20");
  EXPECT_FALSE(about(config));
  NatRuleConfig again = nat(config, 0);
  again.name = "again";
  again.outside = prefix("100.96.1.0/24");  // of the same addresses
  config.domains[0].nat.push_back(again);
  EXPECT_FALSE(about(config));
  config.domains[0].nat.back().outside = prefix("100.97.0.0/32");
  EXPECT_TRUE(about(config));
}

}  // namespace
}  // namespace simplon::config
