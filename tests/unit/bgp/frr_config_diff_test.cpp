// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/frr_config_diff.h"

#include <gmock/gmock.h>

#include "bgp/src/frr_config.h"
#include "tests/unit/bgp/specs.h"

namespace simplon::bgp {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// From what FRR shows when it holds `from` to `to`. `render` is close enough to `show running-config` here; the real text
/// is in RunningConfigOfFrr below and in the lab.
ConfigChange change(const SpeakerSpec& from, const SpeakerSpec& to) {
  return diff_config(render(from, 2620).bgpd, render(to, 2620).bgpd).value();
}

TEST(FrrConfigDiff, ParsesContextsByIndentation) {
  const auto nodes = parse_config("!\nhostname x\nrouter bgp 1\n bgp router-id 1.1.1.1\n !\n address-family ipv4 unicast\n"
                                  "  network 10.0.0.0/8\n exit-address-family\nexit\n!\nend\n").value();
  ASSERT_EQ(nodes.size(), 2U);
  EXPECT_EQ(nodes[1].line, "router bgp 1");
  ASSERT_EQ(nodes[1].children.size(), 2U);
  EXPECT_EQ(nodes[1].children[1].line, "address-family ipv4 unicast");
  EXPECT_EQ(nodes[1].children[1].children, (std::vector<ConfigNode>{{"network 10.0.0.0/8", {}}}));
}

TEST(FrrConfigDiff, DeepNestingIsAnError) {
  std::string text;
  for (std::size_t depth = 0; depth < 20; ++depth) text += std::string(depth, ' ') + "x\n";
  EXPECT_FALSE(parse_config(text));
}

TEST(FrrConfigDiff, RunningConfigOfFrrThatHoldsEverythingNeedsNothing) {
  const auto config = render(two_sites(), 2620);
  EXPECT_THAT(diff_config(read_data("running.bgpd.txt"), config.bgpd).value().commands, IsEmpty());
  EXPECT_THAT(diff_config(read_data("running.zebra.txt"), config.zebra).value().commands, IsEmpty());
  EXPECT_THAT(diff_config(read_data("running.bfdd.txt"), config.bfdd).value().commands, IsEmpty());
}

TEST(FrrConfigDiff, EmptyDaemonGetsPoliciesThenNeighborsThenActivation) {
  const auto commands = diff_config("hostname x\n", render(two_sites(), 2620).bgpd).value().commands;
  const auto at = [&](const std::string& command) {
    return std::find(commands.begin(), commands.end(), command) - commands.begin();
  };
  const auto end = static_cast<std::ptrdiff_t>(commands.size());
  EXPECT_LT(at("route-map OUT-site-a-4 deny 65535"), at("router bgp 65515"));
  EXPECT_LT(at("neighbor 169.254.10.2 remote-as 65001"), at("neighbor 169.254.10.2 activate"));
  EXPECT_LT(at("neighbor 169.254.10.2 activate"), end);
  EXPECT_EQ(commands.back(), "exit");
}

TEST(FrrConfigDiff, ChangeOfOneNeighborDoesNotNameAnother) {
  auto wanted = two_sites();
  wanted.neighbors[0].keepalive = std::chrono::seconds(3);
  wanted.neighbors[0].hold = std::chrono::seconds(9);
  EXPECT_THAT(change(two_sites(), wanted).commands,
              ElementsAre("router bgp 65515", "neighbor 169.254.10.2 timers 3 9", "exit"));
}

TEST(FrrConfigDiff, NewRuleIsOneListEntry) {
  auto wanted = two_sites();
  wanted.neighbors[0].import.push_back(rule("172.16.0.0/12", 24));
  EXPECT_THAT(change(two_sites(), wanted).commands,
              ElementsAre("ip prefix-list IN-site-a-4 permit 172.16.0.0/12 le 24"));
}

TEST(FrrConfigDiff, ChangedRuleIsAddedBeforeTheOldOneGoes) {
  auto wanted = two_sites();
  wanted.neighbors[0].import[0].max_length = 28;
  const std::string running = "ip prefix-list IN-site-a-4 seq 5 permit 10.1.0.0/16\n"
                              "ip prefix-list IN-site-a-4 seq 10 permit 192.168.0.0/16 le 24\n";
  const std::string list = "ip prefix-list IN-site-a-4 permit 10.1.0.0/16\n"
                           "ip prefix-list IN-site-a-4 permit 192.168.0.0/16 le 28\n";
  EXPECT_THAT(diff_config(running, list).value().commands,
              ElementsAre("ip prefix-list IN-site-a-4 permit 192.168.0.0/16 le 28",
                          "no ip prefix-list IN-site-a-4 seq 10 permit 192.168.0.0/16 le 24"));
}

TEST(FrrConfigDiff, RemovedNeighborGoesAsAWholeAndItsPolicyAfterIt) {
  auto wanted = two_sites();
  wanted.neighbors.pop_back();
  const auto commands = change(two_sites(), wanted).commands;
  ASSERT_GE(commands.size(), 3U);
  EXPECT_EQ(commands[0], "router bgp 65515");
  EXPECT_EQ(commands[1], "no neighbor fd00:1::2");
  EXPECT_EQ(commands[2], "exit");
  EXPECT_THAT(commands, Contains("no route-map IN-site-b-6 permit 10"));
  EXPECT_THAT(commands, Contains("no ipv6 prefix-list OUT-site-b-6 permit fd20::/48"));
  EXPECT_THAT(commands, Each(Not(HasSubstr("169.254.10.2"))));
}

TEST(FrrConfigDiff, PasswordChangeIsOneCommand) {
  auto wanted = two_sites();
  wanted.neighbors[0].password = "other";
  EXPECT_THAT(change(two_sites(), wanted).commands,
              ElementsAre("router bgp 65515", "neighbor 169.254.10.2 password other", "exit"));
  wanted.neighbors[0].password.clear();
  EXPECT_THAT(change(two_sites(), wanted).commands,
              ElementsAre("router bgp 65515", "no neighbor 169.254.10.2 password", "exit"));
}

TEST(FrrConfigDiff, BfdChangesGracefulRestartAndResetsOnlyThatNeighbor) {
  auto wanted = two_sites();
  wanted.neighbors[0].bfd = false;
  const auto changed = change(two_sites(), wanted);
  EXPECT_THAT(changed.commands,
              ElementsAre("router bgp 65515", "no neighbor 169.254.10.2 bfd",
                          "no neighbor 169.254.10.2 graceful-restart-disable", "neighbor 169.254.10.2 graceful-restart",
                          "exit"));
  EXPECT_THAT(changed.resets, ElementsAre("169.254.10.2"));
}

TEST(FrrConfigDiff, AHigherPrefixLimitIsToldAndALowerOneIsNot) {
  auto wanted = two_sites();
  wanted.neighbors[0].max_prefixes += 1;
  auto changed = change(two_sites(), wanted);
  EXPECT_THAT(changed.raised_limits, ElementsAre("169.254.10.2"));
  EXPECT_THAT(changed.resets, IsEmpty());
  EXPECT_THAT(change(wanted, two_sites()).raised_limits, IsEmpty());
  EXPECT_THAT(change(wanted, wanted).raised_limits, IsEmpty());
  // A reset is enough; and a neighbor that was not there has no session that a limit ended.
  wanted.neighbors[0].bfd = !wanted.neighbors[0].bfd;
  changed = change(two_sites(), wanted);
  EXPECT_THAT(changed.resets, ElementsAre("169.254.10.2"));
  EXPECT_THAT(changed.raised_limits, IsEmpty());
  EXPECT_THAT(diff_config("hostname x\n", render(wanted, 2620).bgpd).value().raised_limits, IsEmpty());
}

TEST(FrrConfigDiff, NewNeighborIsNotReset) {
  auto from = two_sites();
  from.neighbors.pop_back();
  EXPECT_THAT(change(from, two_sites()).resets, IsEmpty());
}

TEST(FrrConfigDiff, NewPrefixIsOneNetworkCommand) {
  auto wanted = two_sites();
  wanted.originate.push_back(prefix("10.30.0.0/16"));
  EXPECT_THAT(change(two_sites(), wanted).commands,
              ElementsAre("router bgp 65515", "address-family ipv4 unicast", "network 10.30.0.0/16",
                          "exit-address-family", "exit"));
}

TEST(FrrConfigDiff, WithdrawnPrefixIsOneCommand) {
  auto wanted = two_sites();
  wanted.originate = {prefix("10.20.0.0/16")};
  EXPECT_THAT(change(two_sites(), wanted).commands,
              ElementsAre("router bgp 65515", "address-family ipv6 unicast", "no network fd20::/48",
                          "exit-address-family", "exit"));
}

TEST(FrrConfigDiff, AnotherAsReplacesTheInstance) {
  auto wanted = two_sites();
  wanted.asn = 65000;
  const auto commands = change(two_sites(), wanted).commands;
  EXPECT_EQ(commands.front(), "no router bgp 65515");
  EXPECT_THAT(commands, Contains("router bgp 65000"));
}

TEST(FrrConfigDiff, WhatAnOperatorAddedToBgpGoesOtherGlobalLinesStay) {
  const auto wanted = render(two_sites(), 2620).bgpd;
  const auto running = wanted +
                       "debug bgp updates\nip prefix-list HAND seq 5 permit 10.0.0.0/8\n"
                       "router bgp 65515 vrf x\n neighbor 1.1.1.1 remote-as 1\nexit\n";
  EXPECT_THAT(diff_config(running, wanted).value().commands,
              ElementsAre("no router bgp 65515 vrf x", "no ip prefix-list HAND seq 5 permit 10.0.0.0/8"));
}

TEST(FrrConfigDiff, PeerGroupsOfAnOperatorGoAfterTheirMembers) {
  const std::string wanted = "router bgp 1\n bgp router-id 1.1.1.1\n";
  const std::string running = "router bgp 1\n bgp router-id 1.1.1.1\n neighbor G peer-group\n neighbor G remote-as 5\n"
                              " neighbor 10.0.0.9 peer-group G\n";
  EXPECT_THAT(diff_config(running, wanted).value().commands,
              ElementsAre("router bgp 1", "no neighbor 10.0.0.9", "no neighbor G peer-group", "exit"));
}

TEST(FrrConfigDiff, AnotherBfdIntervalIsPutBackToTheDefault) {
  const std::string running = "bfd\n profile simplon\n  transmit-interval 50\n exit\n !\nexit\n";
  EXPECT_THAT(diff_config(running, render(two_sites(), 2620).bfdd).value().commands,
              ElementsAre("bfd", "profile simplon", "transmit-interval 300", "exit", "exit"));
}

TEST(FrrConfigDiff, FpmPortIsCompared) {
  const auto running = read_data("running.zebra.txt");
  EXPECT_THAT(diff_config(running, render(two_sites(), 2621).zebra).value().commands,
              ElementsAre("fpm address 127.0.0.1 port 2621"));
}

}  // namespace
}  // namespace simplon::bgp
