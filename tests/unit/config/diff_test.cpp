// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/config/document.h"
#include "tests/unit/config/sample.h"

namespace simplon::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

GatewayConfig full() { return parse_document(kFullDocument).config; }

std::vector<std::string> lines(const Diff& diff) {
  std::vector<std::string> out;
  for (const auto& change : diff.changes) {
    out.push_back(std::string(to_string(change.kind)) + " " + change.kind_of_object + " " + change.name + " " +
                  change.field + ": " + change.old_value + " -> " + change.new_value);
  }
  return out;
}

TEST(Diff, EqualConfigurationsDoNotDiffer) {
  const Diff none = diff(full(), full());
  EXPECT_TRUE(none.empty());
  EXPECT_THAT(none.impact, IsEmpty());
  EXPECT_EQ(none.summary(), "nothing changes");
}

TEST(Diff, OrderInTheDocumentDoesNotMatter) {
  GatewayConfig other = full();
  std::swap(other.tunnels[0], other.tunnels[1]);
  std::swap(other.vpcs[0], other.vpcs[1]);
  std::swap(other.vpcs[1].endpoints[0], other.vpcs[1].endpoints[1]);
  std::swap(other.domains[0].static_routes[0], other.domains[0].static_routes[1]);
  EXPECT_TRUE(diff(full(), other).empty());
}

TEST(Diff, FieldsAreNamedWithOldAndNewValue) {
  GatewayConfig other = full();
  other.tunnels[0].mtu_bytes = 1300;
  other.tunnels[0].child_rekey = std::chrono::seconds(90);
  other.vpcs[0].endpoints[0].vtep = *IpAddress::parse("10.255.0.12");
  EXPECT_THAT(lines(diff(full(), other)),
              ElementsAre("changed endpoint red/10.20.0.11 vtep: 10.255.0.11 -> 10.255.0.12",
                          "changed tunnel paris child-rekey: 30m -> 90s", "changed tunnel paris mtu: 1380 -> 1300"));
  EXPECT_EQ(diff(full(), other).summary(), "3 changes, no session is affected");
}

TEST(Diff, ObjectsComeAndGoWithWhatIsInThem) {
  const Diff all = diff({}, full());
  const Diff none = diff(full(), {});
  EXPECT_EQ(all.changes.size(), none.changes.size());
  EXPECT_THAT(lines(all), ::testing::Contains(HasSubstr("added endpoint red/10.20.0.11")));
  EXPECT_THAT(lines(all), ::testing::Contains(HasSubstr("added neighbor prod/paris-router")));
  EXPECT_THAT(lines(none), ::testing::Contains(HasSubstr("removed neighbor prod/paris-router")));
  EXPECT_THAT(all.summary(), HasSubstr("opens 2 tunnels, 1 circuit and 1 BGP session"));
  EXPECT_THAT(none.summary(), HasSubstr("closes 2 tunnels, 1 circuit and 1 BGP session"));
}

Reconfigure cost_of_tunnel(void (*change)(TunnelConfig&)) {
  GatewayConfig other = full();
  change(other.tunnels[0]);
  const Diff changed = diff(full(), other);
  for (const auto& impact : changed.impact) {
    if (impact.kind_of_object == "tunnel") return impact.reconfigure;
  }
  ADD_FAILURE() << "no impact";
  return Reconfigure::kInPlace;
}

TEST(Diff, TheCostIsThatOfTheWorstField) {
  EXPECT_EQ(cost_of_tunnel([](TunnelConfig& t) { t.dpd_delay = std::chrono::seconds(30); }), Reconfigure::kInPlace);
  EXPECT_EQ(cost_of_tunnel([](TunnelConfig& t) { t.psk_file = "/other"; }), Reconfigure::kInPlace);
  EXPECT_EQ(cost_of_tunnel([](TunnelConfig& t) { t.replay_window = 2048; }), Reconfigure::kRestartSession);
  EXPECT_EQ(cost_of_tunnel([](TunnelConfig& t) {
              t.psk_file = "/other";
              t.domain = "test";
              t.mtu_bytes.reset();
            }),
            Reconfigure::kReplace);
}

TEST(Diff, ANewKeyIsNegotiatedBesideTheOldOne) {
  GatewayConfig other = full();
  other.tunnels[0].psk_file = "/other";
  EXPECT_EQ(diff(full(), other).impact[0].words,
            "no packet is lost; new SAs are negotiated with the new key beside those that forward, which stay until then");
  other.tunnels[0].dpd_delay = std::chrono::seconds(30);
  EXPECT_THAT(diff(full(), other).impact[0].words,
              ::testing::AllOf(HasSubstr("from the next one on"), HasSubstr("psk-file: new SAs are negotiated")));
}

TEST(Diff, ACircuitOnAnotherVlanStops) {
  GatewayConfig other = full();
  other.circuits[0].vlan = 8;
  other.circuits[0].mtu_bytes = 1500;
  const Diff changed = diff(full(), other);
  EXPECT_THAT(lines(changed), ElementsAre("changed circuit dallas vlan: 7 -> 8", "changed circuit dallas mtu: 1492 -> 1500"));
  ASSERT_EQ(changed.impact.size(), 1U);
  EXPECT_EQ(changed.impact[0].reconfigure, Reconfigure::kRestartSession);
  EXPECT_THAT(changed.impact[0].words, HasSubstr("because vlan changes"));
  EXPECT_EQ(changed.summary(), "restarts 1 circuit");
  EXPECT_THAT(lines(diff({}, full())),
              ::testing::Contains("added circuit dallas :  -> VLAN 7 in 300 on wan0, 192.168.15.1/30, fd00:15::1/126"));
}

TEST(Diff, PolicyOfANeighborChangesInPlaceItsNumberDoesNot) {
  GatewayConfig other = full();
  other.domains[0].bgp->neighbors[0].import.clear();
  Diff changed = diff(full(), other);
  ASSERT_EQ(changed.impact.size(), 1U);
  EXPECT_EQ(changed.impact[0].reconfigure, Reconfigure::kNarrows);
  EXPECT_EQ(changed.impact[0].words, "import: routes that it no longer permits go at once");
  other.domains[0].bgp->neighbors[0].remote_asn = 65009;
  changed = diff(full(), other);
  EXPECT_EQ(changed.impact[0].reconfigure, Reconfigure::kRestartSession);
  EXPECT_EQ(changed.impact[0].words, "the BGP session is reset because asn changes");
  EXPECT_EQ(changed.summary(), "restarts 1 BGP session");
}

/// Of the one field that a change of the whole sample concerns.
Reconfigure cost_of(void (*change)(GatewayConfig&)) {
  GatewayConfig other = full();
  change(other);
  const Diff changed = diff(full(), other);
  EXPECT_EQ(changed.changes.size(), 1U);
  return changed.changes.empty() ? Reconfigure::kReplace : changed.changes[0].reconfigure;
}

TEST(Diff, WhatTakesTrafficAwayNarrowsAndWhatAddsDoesNot) {
  using Config = GatewayConfig;
  EXPECT_EQ(cost_of([](Config& c) { c.domains[0].static_routes.pop_back(); }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of([](Config& c) {
              c.domains[0].static_routes.push_back(c.domains[0].static_routes[0]);
              c.domains[0].static_routes.back().prefix = *IpPrefix::parse("203.0.113.0/24");
            }),
            Reconfigure::kInPlace);
  EXPECT_EQ(cost_of([](Config& c) { c.domains[0].nat.pop_back(); }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of([](Config& c) { c.vpcs[0].prefixes.push_back(*IpPrefix::parse("10.99.0.0/16")); }),
            Reconfigure::kInPlace);
  EXPECT_EQ(cost_of([](Config& c) { c.vpcs[0].prefixes[0] = *IpPrefix::parse("10.99.0.0/16"); }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of([](Config& c) { c.tunnels[0].inside.clear(); }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of([](Config& c) {
              c.domains[0].bgp->neighbors[0].import.push_back({*IpPrefix::parse("203.0.113.0/24"), 24});
            }),
            Reconfigure::kInPlace);
  EXPECT_EQ(cost_of([](Config& c) { c.domains[0].bgp->neighbors[0].max_prefixes -= 1; }), Reconfigure::kNarrows);
  EXPECT_EQ(cost_of([](Config& c) { c.domains[0].bgp->neighbors[0].max_prefixes += 1; }), Reconfigure::kInPlace);
}

TEST(Diff, OurAsNumberResetsAllSessionsOfTheDomain) {
  GatewayConfig other = full();
  other.domains[0].bgp->asn = 65000;
  EXPECT_EQ(diff(full(), other).summary(), "resets all BGP sessions of 1 domain");
}

}  // namespace
}  // namespace simplon::config
