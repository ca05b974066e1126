// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "tests/unit/config/fake_backend.h"
#include "tests/unit/config/page_width.h"

namespace simplon::cli {
namespace {

using daemon::ServedBackend;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Pages, StatusBeginsWithTheVerdictAndEndsWithTheRemedy) {
  const Page page = render_status(replies::status(), {});
  EXPECT_TRUE(page.degraded);
  EXPECT_THAT(
      page.text,
      StartsWith("gw   DEGRADED   up 3h 4m   configuration: version 12   forwarder: generation 412 (wanted: 413)\n"));
  EXPECT_THAT(page.text, HasSubstr("tunnels 1 of 2 up, BGP 1 of 2 established"));
  EXPECT_THAT(page.text, HasSubstr("frr/prod           DOWN  does not start"));
  EXPECT_THAT(page.text, HasSubstr("1,000 received + 2 originated = 900 sent + 80 punted + 22 dropped"));
  EXPECT_THAT(page.text, HasSubstr("700 forwarded in XDP"));
  EXPECT_THAT(page.text, HasSubstr("37 % busy on CPU 2, queues wan0/0 wan0/2, in 1,000 packets"));
  EXPECT_THAT(page.text, HasSubstr("0 % busy, queues -, in 0 packets"));
  EXPECT_THAT(page.text, HasSubstr("in 42s version 11 comes back"));
  EXPECT_THAT(page.text, ::testing::EndsWith("  tunnel berlin: the peer answered AUTHENTICATION_FAILED\n    hint: "
                                             "compare the pre-shared keys on both sides\n"));
  expect_fits(page.text);
}

TEST(Pages, AHealthyStatusIsNotDegraded) {
  json reply = replies::status();
  reply["verdict"] = "ok";
  reply["problems"] = json::array();
  EXPECT_FALSE(render_status(reply, {}).degraded);
}

TEST(Pages, AStatusTellsWhatTheKernelCouldNotHandOver) {
  json reply = replies::status();
  EXPECT_THAT(render_status(reply, {}).text, AllOf(Not(HasSubstr("lost")), Not(HasSubstr("control packets"))));
  json& uplink = reply["uplinks"][0];
  uplink["queues"] = 4;
  uplink["control_rings"] = 3;
  uplink["rx_ring_full"] = 1234;
  uplink["control_ring_full"] = 1;
  uplink["fill_ring_empty"] = 2;
  std::string words = render_status(reply, {}).text;
  expect_fits(words);
  // Whatever way it is wrapped.
  std::string line;
  std::istringstream in(words);
  for (std::string word; in >> word;) line += word + " ";
  EXPECT_THAT(line, AllOf(HasSubstr("no ring for control packets on 1 of 4 queues,"), HasSubstr("1,234 packets lost because no worker"),
                          HasSubstr("1 control packet lost"), HasSubstr("no frame to receive into 2 times")));
  uplink["control_rings"] = 0;
  EXPECT_THAT(render_status(reply, {}).text, HasSubstr("no ring for"));
}

TEST(Pages, TunnelsAreATableWithProblemsBelow) {
  const Page page = render_tunnels(replies::tunnels(), {});
  EXPECT_TRUE(page.degraded);
  EXPECT_THAT(page.text, StartsWith("1 of 2 tunnels up\n"));
  EXPECT_THAT(page.text, HasSubstr("tunnel berlin: the peer answered AUTHENTICATION_FAILED"));
  EXPECT_THAT(page.text, HasSubstr("tunnel berlin: the forwarder does not know it"));
  expect_fits(page.text);
}

TEST(Pages, ATunnelPutsConfigObservedAndProgrammedSideBySide) {
  const Page page = render_tunnel(replies::tunnels()["tunnels"][0], {});
  EXPECT_FALSE(page.degraded);
  EXPECT_THAT(page.text,
              StartsWith("paris   UP   domain prod   charon: up 3h 4m   forwarder: generation 412 (current)\n"));
  EXPECT_THAT(page.text,
              AllOf(HasSubstr("CONFIG"), HasSubstr("OBSERVED (charon)"), HasSubstr("PROGRAMMED (forwarder)")));
  EXPECT_THAT(page.text, AllOf(HasSubstr("c1a0f3e2"), HasSubstr("in 41m"), HasSubstr("87 ms"), HasSubstr("1422"),
                               HasSubstr("1 replayed, 0 not authentic")));
  EXPECT_THAT(page.text, Not(HasSubstr("psk")));
  expect_fits(page.text);
  expect_fits(render_tunnel(replies::tunnels()["tunnels"][1], {}).text);
}

TEST(Pages, ATunnelThatTheForwarderDoesNotServeIsDegraded) {
  json tunnel = replies::tunnels()["tunnels"][0];
  tunnel["programmed"]["sas"] = json::array();
  const Page page = render_tunnel(tunnel, {});
  EXPECT_TRUE(page.degraded);
  EXPECT_THAT(page.text, HasSubstr("DEGRADED"));
  EXPECT_THAT(page.text, HasSubstr("the forwarder has no SA for it"));
}

TEST(Pages, OtherNouns) {
  Page page = render_vpcs(replies::vpcs(), {});
  EXPECT_THAT(page.text,
              AllOf(StartsWith("1 VPC\n"), HasSubstr("10.20.0.0/24"), HasSubstr("hint: is the compute host up?")));
  expect_fits(page.text);
  page = render_vpc(replies::vpcs()["vpcs"][0], {});
  EXPECT_THAT(page.text, AllOf(StartsWith("red   DEGRADED   domain prod   VNI 100"),
                               HasSubstr("fab0 02:aa:00:00:00:11"), HasSubstr("not resolved")));
  expect_fits(page.text);
  page = render_circuits(replies::circuits(), {});
  EXPECT_TRUE(page.degraded);
  EXPECT_THAT(page.text, AllOf(StartsWith("1 of 2 circuits up\n"), HasSubstr("7 in 300"),
                               HasSubstr("circuit dallas-2: 192.168.15.6 does not answer ARP")));
  expect_fits(page.text);
  page = render_circuit(replies::circuits()["circuits"][0], {});
  EXPECT_FALSE(page.degraded);
  EXPECT_THAT(page.text, AllOf(StartsWith("dallas   UP   domain prod"), HasSubstr("7 in 300 on wan0"),
                               HasSubstr("192.168.15.2"), HasSubstr("02:aa:00:00:00:12"), HasSubstr("primary path")));
  expect_fits(page.text);
  page = render_circuit(replies::circuits()["circuits"][1], {});
  EXPECT_THAT(page.text, AllOf(StartsWith("dallas-2   NO-NEIGHBOR"), HasSubstr("does not answer"),
                               HasSubstr("hint: has the other end the same VLAN?")));
  expect_fits(page.text);
  page = render_endpoints(replies::vpcs(), {});
  EXPECT_THAT(page.text, AllOf(StartsWith("2 endpoints\n"), HasSubstr("10.20.0.12")));
  expect_fits(page.text);
  page = render_routes(replies::routes(), {});
  EXPECT_THAT(page.text, AllOf(StartsWith("2 routes   forwarder: generation 412 (current)\ndomain prod: 2 routes\n"),
                               HasSubstr("tunnel paris via 169.254.10.2, tunnel berlin x3"),
                               HasSubstr("our own address (tunnel paris)"), Not(HasSubstr("not all"))));
  expect_fits(page.text);
  auto many = replies::routes();
  many["more"] = true;
  many["total"] = many["domains"][0]["total"] = 1000000;
  page = render_routes(many, {});
  EXPECT_THAT(page.text, AllOf(StartsWith("the first 2 of 1,000,000 routes"), HasSubstr("domain prod: 1,000,000 routes\n"),
                               HasSubstr("hint: not all routes are shown: simplon route show --prefix PREFIX")));
  expect_fits(page.text);
  page = render_bgp(replies::bgp(), {});
  EXPECT_TRUE(page.degraded);
  EXPECT_THAT(page.text, AllOf(StartsWith("1 of 2 sessions established\n"),
                               HasSubstr("neighbor prod/berlin-router: the TCP connection is refused")));
  expect_fits(page.text);
  page = render_history(replies::history(), {});
  EXPECT_THAT(page.text, AllOf(StartsWith("version 12 is current, 2 versions kept\n"), HasSubstr("12 current"),
                               HasSubstr("tunnel add berlin")));
  expect_fits(page.text);
}

TEST(Policy, RulesAreShownWithWhatTheyDecided) {
  EXPECT_THAT(render_acls(replies::acls(), {}).text, HasSubstr("vpc red"));
  const std::string acl = render_acl(replies::acls()["acls"][0], {}).text;
  EXPECT_THAT(acl, HasSubstr("12,345"));
  EXPECT_THAT(acl, HasSubstr("deny everything else"));
  EXPECT_THAT(render_nat(replies::nat(), {}).text, HasSubstr("source at paris: any as 100.64.0.1/32"));
  const std::string connections = render_connections(replies::connections(), {}).text;
  EXPECT_THAT(connections, HasSubstr("2 connections of 262,144 possible, 1 listed"));
  EXPECT_THAT(connections, HasSubstr("10.20.0.11:40000"));
}

TEST(Pages, DropsAreSortedAndTheCountersAreChecked) {
  json reply = replies::drops();
  Page page = render_drops(reply, false, {});
  EXPECT_FALSE(page.degraded);
  EXPECT_THAT(page.text, StartsWith("22 packets dropped of 1,000 received and 2 originated"));
  EXPECT_THAT(page.text, HasSubstr("7 ICMP errors not sent"));
  EXPECT_LT(page.text.find("endpoint_unknown"), page.text.find("esp_replay"));
  EXPECT_THAT(page.text, Not(HasSubstr("ttl_expired")));
  EXPECT_THAT(render_drops(reply, true, {}).text, HasSubstr("ttl_expired"));
  expect_fits(page.text);
  reply["drops"][0]["packets"] = 3;
  page = render_drops(reply, false, {});
  EXPECT_TRUE(page.degraded);
  EXPECT_THAT(page.text, HasSubstr("do not add up"));
}

TEST(Pages, ATraceIsToldStageByStageAndEndsWithTheRemedy) {
  const Page page = render_trace(replies::trace(), {});
  EXPECT_TRUE(page.degraded);
  EXPECT_THAT(page.text, StartsWith("DROPPED no_route   from vpc red   generation 412\n  10.20.0.5 -> 9.9.9.9 TCP"));
  EXPECT_THAT(page.text, AllOf(HasSubstr("vxlan_decap"), HasSubstr("none to 9.9.9.9"), HasSubstr("icmp_errors (ICMP error)"),
                               HasSubstr("The domain has no route to the destination. (RFC 1812")));
  EXPECT_LT(page.text.find("icmp_errors"), page.text.find("hint: add a route to 9.9.9.9"));
  expect_fits(page.text);
  json forwarded = replies::trace();
  forwarded["verdict"] = "forwarded";
  forwarded["drop"] = nullptr;
  EXPECT_FALSE(render_trace(forwarded, {}).degraded);
  EXPECT_THAT(render_trace(forwarded, {}).text, StartsWith("forwarded   from vpc red"));
}

TEST(Pages, ATraceOfPolicyFitsThePage) {
  json trace = replies::trace();
  trace["steps"].push_back(json::parse(R"({"stage": "police", "packet": "packet", "drop": "", "facts": [
    {"name": "acl-from", "value": "vpc:red, list internet, rule 12 https: allow, stateful"},
    {"name": "nat", "value": "source rule egress: 10.20.100.105 40000 -> 198.51.100.109 443 becomes 203.0.113.100 12345 -> 198.51.100.109 443, pool 203.0.113.100/32"}]})"));
  const Page page = render_trace(trace, {});
  EXPECT_THAT(page.text, AllOf(HasSubstr("police"), HasSubstr("rule 12 https: allow, stateful"), HasSubstr("becomes 203.0.113.100 12345"), HasSubstr("203.0.113.100/32")));
  expect_fits(page.text);
}

TEST(Pages, ChangesAreShownWithOldAndNewValue) {
  const std::string text = render_changes(replies::changes(), {});
  EXPECT_THAT(text, AllOf(HasSubstr("~ tunnel paris remote: 198.51.100.7 -> 198.51.100.8"),
                          HasSubstr("+ endpoint red/10.20.0.13"),
                          HasSubstr("impact:\n  tunnel paris: IKE is negotiated again")));
  expect_fits(text);
}

TEST(Pages, AnyShapeOfReplyIsRendered) {
  const std::vector<json> kOdd = {
      json(),
      json::object(),
      json::array(),
      7,
      "x",
      {{"tunnels", 7}},
      {{"tunnels", {1, nullptr, {{"name", 3}}}}},
      {{"vpcs", {nullptr}}},
      {{"circuits", {nullptr, {{"config", 1}, {"observed", {{"neighbors", {2}}}}}}}},
      {{"domains", {{{"routes", {1}}, {"neighbors", {2}}}}}},
      {{"drops", {1}}, {"accounting", 5}},
      {{"steps", {1, {{"facts", {2, nullptr}}}}}, {"drop", {{"name", 3}}}, {"from", 4}},
      {{"acls", {1}}, {"domains", 5}, {"connections", {2}}},
      {{"versions", {nullptr}}, {"programs", {1}}, {"uplinks", "x"}, {"problems", {{{"what", 1}}}}, {"errors", {1}}}};
  for (const auto& odd : kOdd) {
    for (const auto& page :
         {render_status(odd, {}), render_tunnels(odd, {}), render_tunnel(odd, {}), render_vpcs(odd, {}),
          render_vpc(odd, {}), render_circuits(odd, {}), render_circuit(odd, {}), render_endpoints(odd, {}), render_routes(odd, {}),
          render_bgp(odd, {}), render_drops(odd, true, {}), render_trace(odd, {}), render_acls(odd, {}), render_acl(odd, {}),
          render_nat(odd, {}), render_connections(odd, {}), render_config(odd, {}), render_history(odd, {})})
      expect_fits(page.text);
    static_cast<void>(render_changes(odd, {}) + render_warnings(odd, {}) + render_errors(odd, "refused", {}) +
                      render_pending(odd, {}));
  }
}

TEST(Table, WrapsWhatDoesNotFit) {
  Table table({"NAME", "WORDS"});
  std::string words;
  for (int i = 0; i < 60; ++i) words += "word ";
  table.add({"a", words});
  table.add({std::string(150, 'x'), "y"});
  expect_fits(table.render());
}

TEST(Table, Numbers) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1234567), "1,234,567");
  EXPECT_EQ(format_count(12'345'678), "12.3 M");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "16383.9 PiB");
  EXPECT_EQ(format_age(59), "59s");
  EXPECT_EQ(format_age(11040), "3h 4m");
  EXPECT_EQ(format_age(2 * 86400), "2d");
  EXPECT_EQ(plural(1, "tunnel"), "1 tunnel");
  EXPECT_EQ(plural(2, "entry", "entries"), "2 entries");
}

}  // namespace
}  // namespace simplon::cli
