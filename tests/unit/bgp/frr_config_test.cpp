// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/frr_config.h"

#include <gmock/gmock.h>

#include "tests/unit/bgp/specs.h"

namespace simplon::bgp {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(FrrConfig, RendersTwoSitesAsInTheGoldenFiles) {
  const auto config = render(two_sites(), 2620);
  EXPECT_EQ(config.bgpd, read_data("two_sites.bgpd.conf"));
  EXPECT_EQ(config.zebra, read_data("two_sites.zebra.conf"));
  EXPECT_EQ(config.bfdd, read_data("two_sites.bfdd.conf"));
}

TEST(FrrConfig, NoRulesMeansNothingIsPermitted) {
  auto spec = two_sites();
  spec.neighbors[0].import.clear();
  const auto text = render(spec, 2620).bgpd;
  EXPECT_THAT(text, Not(HasSubstr("prefix-list IN-site-a-4 permit")));
  EXPECT_THAT(text, HasSubstr("route-map IN-site-a-4 permit 10\n match ip address prefix-list IN-site-a-4\n"));
  EXPECT_THAT(text, HasSubstr("route-map IN-site-a-4 deny 65535\n"));
  EXPECT_THAT(text, HasSubstr("neighbor 169.254.10.2 route-map IN-site-a-4 in\n"));
}

TEST(FrrConfig, PoliciesStandBeforeNeighborsAndActivateIsLast) {
  const auto text = render(two_sites(), 2620).bgpd;
  EXPECT_LT(text.find("route-map OUT-site-b-6 deny 65535"), text.find("router bgp"));
  EXPECT_LT(text.find("neighbor 169.254.10.2 password"), text.find("neighbor 169.254.10.2 activate"));
  EXPECT_LT(text.find("neighbor 169.254.10.2 route-map OUT-site-a-4 out"), text.find("neighbor 169.254.10.2 activate"));
}

TEST(FrrConfig, GracefulRestartIsForNeighborsWithoutBfd) {
  const auto text = render(two_sites(), 2620).bgpd;
  EXPECT_THAT(text, HasSubstr("neighbor 169.254.10.2 graceful-restart-disable\n"));
  EXPECT_THAT(text, HasSubstr("neighbor fd00:1::2 graceful-restart\n"));
}

TEST(FrrConfig, DuplicateRulesBecomeTheWiderOne) {
  auto spec = two_sites();
  spec.neighbors[0].import = {rule("10.0.0.0/8", 16), rule("10.0.0.0/8", 24), rule("10.0.0.0/8")};
  const auto text = render(spec, 2620).bgpd;
  EXPECT_THAT(text, HasSubstr("ip prefix-list IN-site-a-4 permit 10.0.0.0/8 le 24\n"));
  EXPECT_THAT(text, Not(HasSubstr("10.0.0.0/8 le 16")));
}

TEST(FrrConfig, ASpecThatPassesTheCheck) { EXPECT_TRUE(check_spec(two_sites())); }

TEST(FrrConfig, AllProblemsAreReportedTogether) {
  auto spec = two_sites();
  spec.asn = 0;
  spec.router_id = address("0.0.0.0");
  spec.neighbors[0].remote_asn = 0;
  spec.neighbors[0].hold = std::chrono::seconds(2);
  spec.neighbors[0].keepalive = std::chrono::seconds(1);
  spec.neighbors[1].name = "site-a";
  spec.neighbors[1].import[0].max_length = 20;
  const auto checked = check_spec(spec);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::kInvalidConfig);
  for (const char* part : {"AS 0", "router id 0.0.0.0", "remote AS 0", "hold time 2 s", "called site-a", "maximum length 20"}) {
    EXPECT_THAT(checked.error().what, HasSubstr(part));
  }
}

TEST(FrrConfig, NothingThatCouldBecomeAnotherCommandPasses) {
  const auto refused = [](auto change) {
    auto spec = two_sites();
    change(spec);
    return !check_spec(spec).has_value();
  };
  EXPECT_TRUE(refused([](auto& spec) { spec.neighbors[0].password = "a\nno router bgp 65515"; }));
  EXPECT_TRUE(refused([](auto& spec) { spec.neighbors[0].password = "two words"; }));
  EXPECT_TRUE(refused([](auto& spec) { spec.neighbors[0].password = std::string("a\0b", 3); }));
  EXPECT_TRUE(refused([](auto& spec) { spec.neighbors[0].password = std::string(81, 'x'); }));
  EXPECT_TRUE(refused([](auto& spec) { spec.neighbors[0].name = "a b"; }));
  EXPECT_TRUE(refused([](auto& spec) { spec.neighbors[0].name = ""; }));
  EXPECT_TRUE(refused([](auto& spec) { spec.netns = "../etc"; }));
  EXPECT_TRUE(refused([](auto& spec) { spec.netns = "a.b"; }));  // FRR takes no dot in a pathspace
  EXPECT_TRUE(refused([](auto& spec) { spec.neighbors[1].address = address("fe80::1"); }));
}

TEST(FrrConfig, APasswordProblemDoesNotShowThePassword) {
  auto spec = two_sites();
  spec.neighbors[0].password = "secret word";
  EXPECT_THAT(check_spec(spec).error().message(), Not(HasSubstr("secret")));
}

TEST(FrrConfig, RedactsPasswordCommands) {
  EXPECT_EQ(redacted("neighbor 10.0.0.2 password s3cret"), "neighbor 10.0.0.2 password <hidden>");
  EXPECT_EQ(redacted("neighbor 10.0.0.2 remote-as 65001"), "neighbor 10.0.0.2 remote-as 65001");
}

}  // namespace
}  // namespace simplon::bgp
