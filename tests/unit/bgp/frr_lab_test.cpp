// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include "platform/sys/netns.h"
#include "tests/unit/bgp/frr_lab.h"
#include "tests/unit/bgp/manual_peer.h"
#include "tests/unit/bgp/run_awaitable.h"
#include "tests/unit/bgp/specs.h"

namespace simplon::bgp {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

TEST_F(FrrLab, SessionWithPasswordAndBfdCarriesWhatPolicyPermits) {
  link('a', 1);
  bird('a', 1, {.routes4 = "10.1.0.0/16 10.2.3.0/24 10.2.3.128/25 192.168.0.0/16", .password = "s3cret", .bfd = true});
  make_speaker();
  EXPECT_FALSE(speaker->synchronized());
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001)};
  wanted.neighbors[0].password = "s3cret";
  wanted.neighbors[0].bfd = true;
  ASSERT_TRUE(reconcile(wanted));

  ASSERT_TRUE(expect("the permitted routes", [&] { return reported.size() == 2; }));
  ASSERT_TRUE(expect("the end of the dump", [&] { return speaker->synchronized(); }));
  EXPECT_TRUE(has_route("10.1.0.0/16", {"tun1"}));
  EXPECT_TRUE(has_route("10.2.3.0/24", {"tun1"}));  // 10.2.3.128/25 is too long, 192.168.0.0/16 in no rule
  EXPECT_EQ(reported[prefix("10.1.0.0/16")].nexthops[0].gateway, address("169.254.10.2"));

  ASSERT_TRUE(expect("our prefix at the site", [&] { return bird_route('a', "10.20.0.0/16").find("AS65515i") != std::string::npos; }));
  EXPECT_THAT(bird_route('a', "10.30.0.0/16"), HasSubstr("Network not found"));  // originated, but no export rule

  ASSERT_TRUE(expect("BFD up", [&] { return status_of("site-a").bfd_state == "up"; }));
  const auto site = status_of("site-a");
  EXPECT_EQ(site.state, "Established");
  EXPECT_EQ(site.prefixes_received, 4U);
  EXPECT_EQ(site.prefixes_accepted, 2U);
  EXPECT_EQ(site.prefixes_sent, 1U);
  EXPECT_EQ(site.problem, "");
  EXPECT_TRUE(status().running);
  EXPECT_EQ(status().problem, "");

  // A route that ends at the site ends here.
  bird('a', 1, {.routes4 = "10.2.3.0/24", .password = "s3cret", .bfd = true});
  ASSERT_TRUE(expect("the withdrawal", [&] { return reported.size() == 1; }));
  EXPECT_THAT(withdrawals, ElementsAre(prefix("10.1.0.0/16")));

  // The path is cut: BFD says so long before the hold time.
  const auto cut = std::chrono::steady_clock::now();
  shell("ip -n " + gateway + "-a link set eth0 down");
  ASSERT_TRUE(expect("the withdrawal after the cut", [&] { return reported.empty(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - cut, 5s);
}

TEST_F(FrrLab, ChangeOfOneNeighborLeavesTheOtherAloneAndEqualCostFollows) {
  link('a', 1);
  link('b', 2);
  bird('a', 1, {});
  bird('b', 2, {.asn = 65002});
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001), neighbor_of('b', 2, 65002)};
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("two nexthops", [&] { return has_route("10.1.0.0/16", {"tun1", "tun2"}); }));
  // The session is a second old before it could be mistaken for a new one.
  ASSERT_TRUE(expect("an age", [&] { return status_of("site-a").uptime_seconds >= 2; }));
  const auto began = session_began('a');

  // Rules, timers, password and prefix limit of b; b comes back with the password.
  wanted.neighbors[1].import.push_back(rule("192.168.0.0/16", 24));
  wanted.neighbors[1].export_ = {rule("10.30.0.0/16")};
  wanted.neighbors[1].hold = 60s;
  wanted.neighbors[1].max_prefixes = 77;
  wanted.neighbors[1].password = "n3w";
  ASSERT_TRUE(reconcile(wanted));
  bird('b', 2, {.routes4 = "10.1.0.0/16 192.168.7.0/24", .asn = 65002, .password = "n3w"});
  ASSERT_TRUE(expect("the newly permitted route", [&] { return has_route("192.168.7.0/24", {"tun2"}); }, 40s));
  ASSERT_TRUE(expect("the other prefix at b", [&] { return bird_route('b', "10.30.0.0/16").find("AS65515i") != std::string::npos; }));
  EXPECT_THAT(bird_route('b', "10.20.0.0/16"), HasSubstr("not found"));
  ASSERT_TRUE(expect("two nexthops again", [&] { return has_route("10.1.0.0/16", {"tun1", "tun2"}); }));

  // b goes entirely.
  wanted.neighbors.pop_back();
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("one nexthop", [&] { return has_route("10.1.0.0/16", {"tun1"}) && reported.size() == 1; }));

  EXPECT_TRUE(is_session_of('a', began));
  EXPECT_EQ(std::count(withdrawals.begin(), withdrawals.end(), prefix("10.1.0.0/16")), 0);
}

TEST_F(FrrLab, PolicyChangeAppliesWithoutAReset) {
  link('a', 1);
  bird('a', 1, {.routes4 = "10.1.0.0/16 172.16.1.0/24"});
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001)};
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("the route", [&] { return has_route("10.1.0.0/16", {"tun1"}); }));
  const auto began = session_began('a');

  wanted.neighbors[0].import = {rule("172.16.0.0/12", 24)};
  wanted.neighbors[0].export_.push_back(rule("10.30.0.0/16"));
  wanted.originate.push_back(prefix("10.20.0.0/24"));
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("the other route alone", [&] { return has_route("172.16.1.0/24", {"tun1"}) && reported.size() == 1; }));
  ASSERT_TRUE(expect("one more prefix at the site", [&] { return bird_route('a', "10.30.0.0/16").find("AS65515i") != std::string::npos; }));
  EXPECT_THAT(bird_route('a', "10.20.0.0/24"), HasSubstr("not found"));
  EXPECT_TRUE(is_session_of('a', began));
}

/// Each step is read back from FRR by `reconcile` itself: what FRR refuses or bends is an error.
TEST_F(FrrLab, EveryKindOfChangeSticks) {
  make_speaker();
  auto wanted = two_sites();
  wanted.netns = gateway;
  auto& a = wanted.neighbors[0];
  auto& b = wanted.neighbors[1];
  const std::vector<std::pair<const char*, std::function<void()>>> steps = {
      {"first", [] {}},
      {"again", [] {}},
      {"a gets the other family", [&] { a.import.push_back(rule("fd00:1234::/32", 48)); }},
      {"a loses it", [&] { a.import.pop_back(); }},
      {"b loses IPv4", [&] { b.import = {rule("::/0", 128)}; }},
      {"b gets IPv4", [&] { b.export_ = {rule("0.0.0.0/0", 32)}; }},
      {"no rules", [&] { a.import.clear(); a.export_.clear(); b.import.clear(); b.export_.clear(); }},
      {"host routes", [&] { a.import = {rule("10.0.0.1/32"), rule("0.0.0.0/0"), rule("10.0.0.0/8", 8)}; }},
      {"names swap", [&] { std::swap(a.name, b.name); }},
      {"timers", [&] { a.keepalive = 60s; a.hold = 180s; b.keepalive = 0s; b.hold = 0s; }},
      {"keepalives rarer than three in a hold time", [&] { a.keepalive = 20s; a.hold = 30s; b.keepalive = 10s; b.hold = 20s; }},
      {"BFD goes", [&] { a.bfd = false; }},
      {"BFD comes", [&] { a.bfd = true; b.bfd = true; }},
      {"password goes", [&] { a.password.clear(); }},
      {"odd password", [&] { a.password = "!#|?\"'\\ $(x)"; a.password.erase(a.password.find(' '), 1); }},
      {"limits", [&] { a.max_prefixes = 1; b.max_prefixes = 4294967295; }},
      {"neighbor's AS", [&] { a.remote_asn = 4294967295; }},
      {"inside our AS", [&] { a.remote_asn = 65515; }},
      {"router id", [&] { wanted.router_id = address("1.2.3.4"); }},
      {"prefixes", [&] { wanted.originate = {prefix("0.0.0.0/0"), prefix("::/0"), prefix("10.0.0.1/32")}; }},
      {"our AS", [&] { wanted.asn = 4200000000; }},
      {"no neighbors", [&] { wanted.neighbors.clear(); wanted.originate.clear(); }},
  };
  for (const auto& [name, step] : steps) {
    SCOPED_TRACE(name);
    step();
    ASSERT_TRUE(reconcile(wanted));
  }
}

TEST_F(FrrLab, NewSpeakerAdoptsTheRunningInstance) {
  link('a', 1);
  bird('a', 1, {.routes4 = "10.1.0.0/16 10.2.0.0/16"});
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001)};
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("both routes", [&] { return reported.size() == 2; }));
  const auto began = session_began('a');
  const std::vector<pid_t> pids = {pid_of("zebra"), pid_of("bgpd"), pid_of("bfdd")};

  speaker.reset();
  bird('a', 1, {.routes4 = "10.2.0.0/16"});  // while nobody listens
  make_speaker();
  EXPECT_FALSE(speaker->synchronized());
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("the end of the dump", [&] { return speaker->synchronized(); }));
  EXPECT_THAT(reported, SizeIs(1));
  EXPECT_TRUE(has_route("10.2.0.0/16", {"tun1"}));
  EXPECT_THAT(withdrawals, IsEmpty());
  EXPECT_TRUE(is_session_of('a', began));
  EXPECT_EQ((std::vector<pid_t>{pid_of("zebra"), pid_of("bgpd"), pid_of("bfdd")}), pids);
}

TEST_F(FrrLab, APasswordThatIsNotKnownStaysWithItsSessionAndConcernsNoOther) {
  link('a', 1);
  link('b', 2);
  bird('a', 1, {.password = "s3cret"});
  bird('b', 2, {.asn = 65002});
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001), neighbor_of('b', 2, 65002)};
  wanted.neighbors[0].password = "s3cret";
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("both sessions", [&] { return has_route("10.1.0.0/16", {"tun1", "tun2"}); }));
  const auto began = session_began('a');

  // As after a start of simplond that cannot read the file.
  speaker.reset();
  make_speaker();
  wanted.neighbors[0].password.clear();
  wanted.neighbors[0].keep_as_is = true;
  wanted.neighbors[0].max_prefixes = 77;
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("the end of the dump", [&] { return speaker->synchronized(); }));
  EXPECT_TRUE(has_route("10.1.0.0/16", {"tun1", "tun2"}));
  EXPECT_TRUE(is_session_of('a', began));

  // As after a boot: nobody knows it.
  ASSERT_TRUE(run(io, speaker->stop()));
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("the other session", [&] { return has_route("10.1.0.0/16", {"tun2"}); }));
  EXPECT_EQ(status_of("site-a").problem, "its password is not known");
  wanted.neighbors[0].password = "s3cret";
  wanted.neighbors[0].keep_as_is = false;
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("both sessions again", [&] { return has_route("10.1.0.0/16", {"tun1", "tun2"}); }, 40s));
}

TEST_F(FrrLab, KilledBgpdComesBackWithoutAWithdrawal) {
  ASSERT_NO_FATAL_FAILURE(start_with_two_routes());
  ASSERT_TRUE(expect("our prefix at the site", [&] { return bird_route('a', "10.20.0.0/16").find("AS65515i") != std::string::npos; }));

  const pid_t killed = pid_of("bgpd");
  ASSERT_EQ(::kill(killed, SIGKILL), 0);
  ASSERT_TRUE(expect("another bgpd with the session", [&] {
    // The site keeps our prefix meanwhile: it was told that we go on forwarding.
    EXPECT_THAT(bird_route('a', "10.20.0.0/16"), HasSubstr("AS65515i"));
    return pid_of("bgpd") != killed && status_of("site-a").state == "Established";
  }));
  // A new route proves that the feed goes on after the restart.
  bird('a', 1, {.routes4 = "10.1.0.0/16 10.2.0.0/16 10.3.0.0/16"});
  ASSERT_TRUE(expect("a new route", [&] { return reported.size() == 3; }));
  EXPECT_THAT(withdrawals, IsEmpty());
  ASSERT_TRUE(expect("our prefix at the site, not stale", [&] {
    const auto text = bird_route('a', "10.20.0.0/16 all");
    return text.find("AS65515i") != std::string::npos && text.find("STALE") == std::string::npos;
  }));
}

TEST_F(FrrLab, KilledZebraComesBackWithoutAWithdrawal) {
  ASSERT_NO_FATAL_FAILURE(start_with_two_routes());
  const auto began = session_began('a');

  const pid_t killed = pid_of("zebra");
  ASSERT_EQ(::kill(killed, SIGKILL), 0);
  ASSERT_TRUE(expect("another zebra", [&] { return pid_of("zebra") != killed && pid_of("zebra") != 0; }));
  // Meanwhile one route ends; zebra and FPM can only tell by not telling.
  bird('a', 1, {.routes4 = "10.1.0.0/16 10.3.0.0/16"});
  ASSERT_TRUE(expect("the difference, once bgpd is attached again",
         [&] { return has_route("10.3.0.0/16", {"tun1"}) && reported.size() == 2; }, 40s));
  EXPECT_THAT(withdrawals, ElementsAre(prefix("10.2.0.0/16")));
  EXPECT_TRUE(has_route("10.1.0.0/16", {"tun1"}));
  EXPECT_TRUE(is_session_of('a', began));
}

TEST_F(FrrLab, ZebraAndBgpdKilledTogetherComeBackWithoutAWithdrawal) {
  ASSERT_NO_FATAL_FAILURE(start_with_two_routes());

  // The site is away for longer than a dump of nothing takes.
  shell("ip -n " + gateway + "-a link set eth0 down");
  ASSERT_NO_FATAL_FAILURE(kill_zebra_and_bgpd());
  io.restart();
  io.run_for(4s);
  EXPECT_THAT(withdrawals, IsEmpty());
  bird('a', 1, {.routes4 = "10.1.0.0/16 10.3.0.0/16"});
  shell("ip -n " + gateway + "-a link set eth0 up");
  ASSERT_TRUE(expect("the difference, once the session is back",
         [&] { return has_route("10.3.0.0/16", {"tun1"}) && reported.size() == 2; }, 60s));
  EXPECT_THAT(withdrawals, ElementsAre(prefix("10.2.0.0/16")));
}

TEST_F(FrrLab, RoutesOfANeighborThatAnnouncesThemLateAreNotSweptBefore) {
  link('a', 1);
  ManualPeer peer(io, gateway + "-a", "169.254.10.2");
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001)};
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("a session", [&] { return peer.sessions() == 1; }));
  peer.announce(1);
  peer.announce(2);
  peer.end_of_rib();
  ASSERT_TRUE(expect("both routes", [&] { return reported.size() == 2 && speaker->synchronized(); }));

  ASSERT_NO_FATAL_FAILURE(kill_zebra_and_bgpd());
  ASSERT_TRUE(expect("a session", [&] { return peer.sessions() == 2; }));
  peer.announce(1);
  ASSERT_TRUE(expect("a session for longer than FPM has to be silent", [&] { return status_of("site-a").uptime_seconds >= 6; }));
  EXPECT_THAT(withdrawals, IsEmpty());
  peer.announce(3);
  peer.end_of_rib();
  ASSERT_TRUE(expect("the difference", [&] { return has_route("10.3.0.0/16", {"tun1"}) && reported.size() == 2; }));
  EXPECT_THAT(withdrawals, ElementsAre(prefix("10.2.0.0/16")));
}

TEST_F(FrrLab, DaemonsInANamespaceThatIsGoneAreStartedInTheNewOne) {
  link('a', 1);
  bird('a', 1, {.routes4 = "10.1.0.0/16"});
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001)};
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("the route", [&] { return has_route("10.1.0.0/16", {"tun1"}); }));
  const pid_t bgpd = pid_of("bgpd");

  shell("ip netns del " + gateway);
  ASSERT_TRUE(sys::create_netns(gateway));
  ASSERT_TRUE(sys::prepare_domain_netns(gateway));
  speaker.reset();
  make_speaker();
  ASSERT_TRUE(reconcile(wanted));
  EXPECT_NE(pid_of("bgpd"), bgpd);
  for (const char* daemon : {"zebra", "bfdd", "bgpd"}) {
    shell("test $(stat -Lc %i /proc/" + std::to_string(pid_of(daemon)) + "/ns/net) = $(stat -c %i /run/netns/" + gateway + ")");
  }
  ASSERT_TRUE(expect("the feed from the new one", [&] { return status().fpm_connected; }));
}

TEST_F(FrrLab, WhatRunsAndDoesNotAnswerIsStartedAgain) {
  link('a', 1);
  bird('a', 1, {.routes4 = "10.1.0.0/16"});
  Speaker::Options options;
  options.hung_after = 2s;
  make_speaker(options);
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001)};
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("the route", [&] { return reported.size() == 1 && speaker->synchronized(); }));
  for (const char* daemon : {"bfdd", "bgpd"}) {
    const pid_t hung = pid_of(daemon);
    const pid_t other = pid_of(std::string(daemon) == "bgpd" ? "zebra" : "bgpd");
    ASSERT_EQ(::kill(hung, SIGSTOP), 0);
    ASSERT_TRUE(expect("status to say so", [&] {
      return status().problem.find(std::string(daemon) + " of " + gateway + " runs but does not answer") != std::string::npos;
    })) << status().problem;
    ASSERT_TRUE(expect("another process", [&] { return pid_of(daemon) != hung && pid_of(daemon) != 0; }, 40s));
    EXPECT_EQ(pid_of(std::string(daemon) == "bgpd" ? "zebra" : "bgpd"), other) << "the others are left alone";
    ASSERT_TRUE(expect("the session", [&] { return status_of("site-a").state == "Established" && status().problem.empty(); }, 40s));
  }
  EXPECT_TRUE(has_route("10.1.0.0/16", {"tun1"}));
}

TEST_F(FrrLab, Ipv6SessionCarriesBothFamilies) {
  link('a', 1);
  bird('a', 1, {.routes4 = "10.1.0.0/16", .routes6 = "fd00:aa::/48", .over_ipv6 = true});
  make_speaker();
  auto wanted = spec();
  wanted.originate.push_back(prefix("fd20::/48"));
  auto site = neighbor("site-a", "fd00:10::2", 65001);
  site.import = {rule("10.0.0.0/8", 24), rule("fd00:aa::/32", 64)};
  site.export_ = {rule("10.20.0.0/16"), rule("fd20::/48")};
  wanted.neighbors = {site};
  ASSERT_TRUE(reconcile(wanted));
  // Domains make no link-local addresses by themselves, and FRR cannot do without.
  ASSERT_TRUE(expect("the diagnosis", [&] { return status_of("site-a").problem.find("link-local") != std::string::npos; }));
  shell("ip -n " + gateway + " addr add fe80::1/64 dev tun1 nodad");
  ASSERT_TRUE(expect("a route of each family",
         [&] { return has_route("10.1.0.0/16", {"tun1"}) && has_route("fd00:aa::/48", {"tun1"}); }));
  ASSERT_TRUE(expect("our IPv6 prefix at the site", [&] { return bird_route('a', "fd20::/48").find("AS65515i") != std::string::npos; }));
  ASSERT_TRUE(expect("our IPv4 prefix at the site", [&] { return bird_route('a', "10.20.0.0/16").find("AS65515i") != std::string::npos; }));
}

TEST_F(FrrLab, ProblemsAreNamed) {
  link('a', 1);
  bird('a', 1, {.asn = 65009});
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001)};
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("wrong AS", [&] { return status_of("site-a").problem == "the neighbor is in another AS than 65001"; }));

  bird('a', 1, {.gateway_asn = 65510});
  ASSERT_TRUE(expect("our AS is refused", [&] { return status_of("site-a").problem == "the neighbor refuses our AS 65515"; }, 40s));

  bird('a', 1, {.password = "theirs"});
  wanted.neighbors[0].password = "ours";
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("passwords differ", [&] { return status_of("site-a").problem == "TCP-MD5 signatures do not match"; }, 90s));

  bird('a', 1, {.routes4 = "10.1.1.0/24 10.1.2.0/24 10.1.3.0/24 10.1.4.0/24", .password = "ours"});
  wanted.neighbors[0].max_prefixes = 2;
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("prefix limit", [&] { return status_of("site-a").problem == "the neighbor announced more than 2 prefixes"; }, 40s));

  // The limit would hold the session for 5 minutes; a higher one brings it back at once.
  wanted.neighbors[0].max_prefixes = 1000;
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("a session", [&] { return status_of("site-a").state == "Established"; }, 40s));
  shell("ip -n " + gateway + " link set tun1 down");
  // The hold time, 30 s, ends the session; the loss of carrier does not (frr_config.cpp says why).
  ASSERT_TRUE(expect("no interface", [&] { return status_of("site-a").problem.find("no interface") == 0; }, 60s));
}

TEST_F(FrrLab, StopLeavesNothing) {
  link('a', 1);
  bird('a', 1, {});
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor_of('a', 1, 65001)};
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("the route", [&] { return reported.size() == 1; }));
  const auto bgpd = sys::identify_process(pid_of("bgpd")).value();
  const auto stopped = run(io, speaker->stop());
  ASSERT_TRUE(stopped) << stopped.error().message();
  EXPECT_THAT(reported, IsEmpty());
  EXPECT_FALSE(sys::process_alive(bgpd));
  EXPECT_FALSE(std::filesystem::exists("/run/simplon-frr/" + gateway + ".bgpd.conf"));
  EXPECT_FALSE(std::filesystem::exists("/var/run/frr/" + gateway));
  EXPECT_FALSE(status().running);
  // And it can begin again.
  ASSERT_TRUE(reconcile(wanted));
  ASSERT_TRUE(expect("the route again", [&] { return reported.size() == 1; }));
}

TEST_F(FrrLab, SpecThatCannotBeIsRefusedBeforeAnythingStarts) {
  make_speaker();
  auto wanted = spec();
  wanted.neighbors = {neighbor("x", "169.254.10.2", 0)};
  const auto refused = run(io, speaker->reconcile(wanted));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidConfig);
  EXPECT_FALSE(std::filesystem::exists("/var/run/frr/" + gateway));
}

TEST_F(FrrLab, SecondListenerIsAConflict) {
  make_speaker();
  const auto second = Speaker::create(io, gateway, {}, [](const RouteChanges&) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  const auto nowhere = Speaker::create(io, gateway + "x", {}, [](const RouteChanges&) {});
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace simplon::bgp
