// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/domain_routes.h"

#include <gtest/gtest.h>

#include "tests/unit/control/fakes.h"

namespace simplon::control {
namespace {

using ipc::AttachmentRef;

DomainLayout layout_with_two_tunnels() {
  DomainLayout layout;
  layout.id = DomainId(1);
  layout.name = "red";
  layout.ports["tun1"] = {AttachmentRef::tunnel(TunnelId(1)), "paris"};
  layout.ports["tun2"] = {AttachmentRef::tunnel(TunnelId(2)), "rome"};
  layout.ports["vpc101"] = {AttachmentRef::vpc(Vni(101)), "red-vpc"};
  return layout;
}

ConfiguredRoute configured(const char* to, RouteSource source, AttachmentRef attachment, const char* name) {
  return {prefix(to), source, attachment, name, {}};
}

DomainRoutes routes_of(const DomainLayout& layout) {
  DomainRoutes routes;
  routes.configure(layout);
  return routes;
}

std::vector<RouteView> everything(const DomainRoutes& routes) { return routes.view({}).routes; }

TEST(DomainRoutes, AnInterfaceNameLeadsToItsAttachment) {
  auto routes = routes_of(layout_with_two_tunnels());
  EXPECT_EQ(routes.learn({{learned("10.1.0.0/16", {"tun2"})}, {}}), std::vector<IpPrefix>{prefix("10.1.0.0/16")});
  const auto route = routes.resolve(prefix("10.1.0.0/16"));
  ASSERT_TRUE(route);
  EXPECT_EQ(route->domain, DomainId(1));
  EXPECT_EQ(route->action, ipc::RouteAction::kForward);
  EXPECT_EQ(route->nexthops, (std::vector<ipc::NextHop>{{AttachmentRef::tunnel(TunnelId(2)), 1}}));
}

TEST(DomainRoutes, OnACircuitTheGatewayMatters) {
  auto layout = layout_with_two_tunnels();
  const auto circuit = AttachmentRef::circuit(CircuitId(3));
  layout.ports["cir3"] = {circuit, "dallas"};
  auto routes = routes_of(layout);
  const IpAddress one = IpAddress::v4(0xc0a80f02);
  const IpAddress two = IpAddress::v4(0xc0a80f03);
  bgp::LearnedRoute route;
  route.prefix = prefix("10.1.0.0/16");
  route.nexthops = {{two, "cir3", 1}, {one, "cir3", 1}, {two, "cir3", 1}, {one, "tun1", 1}};
  routes.learn({{route}, {}});
  const auto resolved = routes.resolve(route.prefix);
  ASSERT_TRUE(resolved);
  EXPECT_EQ(resolved->nexthops,
            (std::vector<ipc::NextHop>{{AttachmentRef::tunnel(TunnelId(1)), 1}, {circuit, 1, one}, {circuit, 2, two}}));
}

TEST(DomainRoutes, OnACircuitALearnedRouteWithoutARouterLeadsNowhere) {
  auto layout = layout_with_two_tunnels();
  layout.ports["cir3"] = {AttachmentRef::circuit(CircuitId(3)), "dallas"};
  auto routes = routes_of(layout);
  bgp::LearnedRoute route;
  route.prefix = prefix("10.1.0.0/16");
  route.nexthops = {{std::nullopt, "cir3", 1}};
  routes.learn({{route}, {}});
  EXPECT_FALSE(routes.resolve(route.prefix)) << "the forwarder would look for 10.1.x.y itself on the circuit";
  EXPECT_TRUE(routes.resolve_all().empty());
  const auto view = everything(routes);
  ASSERT_EQ(view.size(), 1U);
  EXPECT_FALSE(view[0].resolved);
  EXPECT_EQ(view[0].reason, "FRR does not tell which router on circuit dallas it leads to");

  // A tunnel has one peer; and a nexthop that says where it leads is used.
  route.nexthops = {{std::nullopt, "cir3", 1}, {std::nullopt, "tun1", 1}};
  routes.learn({{route}, {}});
  EXPECT_EQ(routes.resolve(route.prefix)->nexthops, (std::vector<ipc::NextHop>{{AttachmentRef::tunnel(TunnelId(1)), 1}}));
}

TEST(DomainRoutes, TheSameLayoutAgainIsNoChange) {
  auto routes = routes_of(layout_with_two_tunnels());
  EXPECT_FALSE(routes.configure(layout_with_two_tunnels()));
  auto layout = layout_with_two_tunnels();
  layout.routes = {configured("10.1.0.0/24", RouteSource::kStatic, AttachmentRef::tunnel(TunnelId(1)), "paris")};
  EXPECT_TRUE(routes.configure(layout));
  layout.ports.erase("tun2");
  EXPECT_TRUE(routes.configure(layout));
  EXPECT_FALSE(routes.configure(layout));
  routes.unconfigure();
  EXPECT_TRUE(routes.configure(layout));
}

TEST(DomainRoutes, AnUnknownInterfaceIsKeptAndShownWithTheReason) {
  auto routes = routes_of(layout_with_two_tunnels());
  routes.learn({{learned("10.1.0.0/16", {"tun9"})}, {}});
  EXPECT_FALSE(routes.resolve(prefix("10.1.0.0/16")));
  const auto view = everything(routes);
  ASSERT_EQ(view.size(), 1U);
  EXPECT_FALSE(view[0].resolved);
  EXPECT_FALSE(view[0].selected);
  EXPECT_EQ(view[0].reason, "no attachment has the interface tun9");

  // It becomes a route when its interface appears, without being learned again.
  auto layout = layout_with_two_tunnels();
  layout.ports["tun9"] = {AttachmentRef::tunnel(TunnelId(9)), "oslo"};
  routes.configure(layout);
  EXPECT_TRUE(routes.resolve(prefix("10.1.0.0/16")));
}

TEST(DomainRoutes, TheOrderOfPreferenceIsLocalConnectedStaticBgp) {
  auto layout = layout_with_two_tunnels();
  const auto paris = AttachmentRef::tunnel(TunnelId(1));
  const auto vpc = AttachmentRef::vpc(Vni(101));
  layout.routes = {configured("10.1.0.0/24", RouteSource::kStatic, paris, "paris"),
                   configured("10.1.0.0/24", RouteSource::kConnected, vpc, "red-vpc"),
                   configured("10.2.0.0/24", RouteSource::kStatic, paris, "paris")};
  auto routes = routes_of(layout);
  routes.learn(
      {{learned("10.1.0.0/24", {"tun2"}), learned("10.2.0.0/24", {"tun2"}), learned("10.3.0.0/24", {"tun2"})}, {}});
  EXPECT_EQ(routes.resolve(prefix("10.1.0.0/24"))->nexthops[0].attachment, vpc);
  EXPECT_EQ(routes.resolve(prefix("10.2.0.0/24"))->nexthops[0].attachment, paris);
  EXPECT_EQ(routes.resolve(prefix("10.3.0.0/24"))->nexthops[0].attachment, AttachmentRef::tunnel(TunnelId(2)));

  const auto view = everything(routes);
  ASSERT_EQ(view.size(), 6U);
  EXPECT_TRUE(view[0].selected);
  EXPECT_EQ(view[0].source, RouteSource::kConnected);
  EXPECT_EQ(view[1].reason, "the connected route of the same prefix is preferred");
  EXPECT_EQ(view[2].source, RouteSource::kBgp);
  EXPECT_TRUE(view[2].resolved);
  EXPECT_FALSE(view[2].selected);
}

TEST(DomainRoutes, AStaticRouteThatCannotBeUsedLeavesTheLearnedOne) {
  auto layout = layout_with_two_tunnels();
  ConfiguredRoute broken{prefix("10.1.0.0/24"), RouteSource::kStatic, {}, "oslo", "tunnel oslo is disabled"};
  layout.routes = {broken};
  auto routes = routes_of(layout);
  EXPECT_FALSE(routes.resolve(prefix("10.1.0.0/24")));
  EXPECT_EQ(everything(routes)[0].reason, "tunnel oslo is disabled");
  routes.learn({{learned("10.1.0.0/24", {"tun1"})}, {}});
  EXPECT_EQ(routes.resolve(prefix("10.1.0.0/24"))->nexthops[0].attachment, AttachmentRef::tunnel(TunnelId(1)));
}

TEST(DomainRoutes, AStaticRouteNamesTheRouterOfACircuit) {
  auto layout = layout_with_two_tunnels();
  const auto circuit = AttachmentRef::circuit(CircuitId(3));
  const auto one = IpAddress::parse("192.168.15.2").value();
  const auto two = IpAddress::parse("192.168.15.3").value();
  for (const auto& gateway : {two, one}) {
    layout.routes.push_back({prefix("10.9.0.0/16"), RouteSource::kStatic, circuit, "dallas", {}, gateway});
  }
  const auto routes = routes_of(layout);
  EXPECT_EQ(routes.resolve(prefix("10.9.0.0/16"))->nexthops,
            (std::vector<ipc::NextHop>{{circuit, 1, one}, {circuit, 1, two}}));
  EXPECT_EQ(everything(routes)[0].hops[0].gateway, two);
}

TEST(DomainRoutes, SeveralTunnelsForOnePrefixAreOneEcmpSetInOneOrder) {
  auto layout = layout_with_two_tunnels();
  layout.routes = {configured("10.9.0.0/16", RouteSource::kStatic, AttachmentRef::tunnel(TunnelId(2)), "rome"),
                   configured("10.9.0.0/16", RouteSource::kStatic, AttachmentRef::tunnel(TunnelId(1)), "paris")};
  auto routes = routes_of(layout);
  const std::vector<ipc::NextHop> both{{AttachmentRef::tunnel(TunnelId(1)), 1},
                                       {AttachmentRef::tunnel(TunnelId(2)), 1}};
  EXPECT_EQ(routes.resolve(prefix("10.9.0.0/16"))->nexthops, both);

  routes.learn({{learned("10.8.0.0/16", {"tun2", "tun1"})}, {}});
  EXPECT_EQ(routes.resolve(prefix("10.8.0.0/16"))->nexthops, both);
  // Two neighbors behind one tunnel are one nexthop.
  routes.learn({{learned("10.7.0.0/16", {"tun2", "tun2"})}, {}});
  EXPECT_EQ(routes.resolve(prefix("10.7.0.0/16"))->nexthops.size(), 1U);
  // A nexthop that does not resolve is left out, the others carry the traffic.
  routes.learn({{learned("10.6.0.0/16", {"tun1", "tun77"})}, {}});
  EXPECT_EQ(routes.resolve(prefix("10.6.0.0/16"))->nexthops.size(), 1U);
}

ConfiguredRoute static_route(const char* to, std::uint32_t tunnel, std::uint8_t distance) {
  ConfiguredRoute made = configured(to, RouteSource::kStatic, AttachmentRef::tunnel(TunnelId(tunnel)), "t");
  made.distance = distance;
  return made;
}
ipc::NextHop hop(std::uint32_t tunnel, bool backup = false) { return {AttachmentRef::tunnel(TunnelId(tunnel)), 1, {}, backup}; }

TEST(DomainRoutes, TheNextDistanceStandsBy) {
  auto layout = layout_with_two_tunnels();
  layout.routes = {static_route("10.9.0.0/16", 3, 30), static_route("10.9.0.0/16", 2, 10), static_route("10.9.0.0/16", 1, 1),
                   static_route("10.9.0.0/16", 4, 10)};
  auto routes = routes_of(layout);
  EXPECT_EQ(routes.resolve(prefix("10.9.0.0/16"))->nexthops, (std::vector<ipc::NextHop>{hop(1), hop(2, true), hop(4, true)}));
  const auto view = everything(routes);
  ASSERT_EQ(view.size(), 3U);
  EXPECT_TRUE(view[0].selected && !view[0].backup);
  EXPECT_TRUE(view[1].backup && !view[1].selected);
  EXPECT_EQ(view[1].hops.size(), 2U);
  EXPECT_EQ(view[1].reason, "backup of the static route of the same prefix");
  EXPECT_FALSE(view[2].backup);
  EXPECT_EQ(view[2].reason, "the static route of the same prefix is preferred");
}

TEST(DomainRoutes, ALearnedRouteIsBackupOrHasOne) {
  auto layout = layout_with_two_tunnels();
  layout.routes = {static_route("10.8.0.0/16", 1, 1), static_route("10.9.0.0/16", 1, 200)};
  auto routes = routes_of(layout);
  routes.learn({{learned("10.8.0.0/16", {"tun2"}), learned("10.9.0.0/16", {"tun2"})}, {}});
  EXPECT_EQ(routes.resolve(prefix("10.8.0.0/16"))->nexthops, (std::vector<ipc::NextHop>{hop(1), hop(2, true)}));
  EXPECT_EQ(routes.resolve(prefix("10.9.0.0/16"))->nexthops, (std::vector<ipc::NextHop>{hop(2), hop(1, true)}));
  const auto view = everything(routes);
  ASSERT_EQ(view.size(), 4U);
  EXPECT_EQ(view[2].source, RouteSource::kBgp);
  EXPECT_TRUE(view[2].selected);
  EXPECT_EQ(view[3].reason, "backup of the bgp route of the same prefix");
  routes.learn({{}, {prefix("10.9.0.0/16")}});
  EXPECT_EQ(routes.resolve(prefix("10.9.0.0/16"))->nexthops, (std::vector<ipc::NextHop>{hop(1)}));
}

TEST(DomainRoutes, WhatLeadsNowhereElseIsNoBackup) {
  auto layout = layout_with_two_tunnels();
  layout.routes = {static_route("10.9.0.0/16", 2, 1), static_route("10.9.0.0/16", 2, 10), static_route("10.9.0.0/16", 1, 30),
                   configured("10.7.0.0/16", RouteSource::kConnected, AttachmentRef::vpc(Vni(101)), "red-vpc"),
                   static_route("10.7.0.0/16", 1, 1)};
  auto routes = routes_of(layout);
  routes.learn({{learned("10.9.0.0/16", {"tun2"})}, {}});
  EXPECT_EQ(routes.resolve(prefix("10.9.0.0/16"))->nexthops, (std::vector<ipc::NextHop>{hop(2), hop(1, true)}));
  EXPECT_EQ(routes.resolve(prefix("10.7.0.0/16"))->nexthops.size(), 1U) << "a link of ours has no backup";
  for (const auto& view : everything(routes)) {
    EXPECT_EQ(view.backup, view.prefix == prefix("10.9.0.0/16") && view.distance == 30) << view.reason;
  }
}

TEST(DomainRoutes, AViewHasALimitAndAPrefix) {
  auto layout = layout_with_two_tunnels();
  layout.routes = {static_route("10.2.0.0/16", 1, 1), static_route("10.2.0.0/16", 2, 1), static_route("10.2.0.0/16", 2, 30),
                   static_route("0.0.0.0/0", 1, 1)};
  auto routes = routes_of(layout);
  bgp::RouteChanges changes;
  for (std::uint32_t i = 0; i < 100; ++i) {
    auto route = learned("10.0.0.0/8", {"tun2"});
    route.prefix = IpPrefix(IpAddress::v4(0x0a020000U + (99 - i) * 256), 24);
    changes.upserts.push_back(route);
  }
  changes.upserts.push_back(learned("10.2.0.0/16", {"tun2"}));
  changes.upserts.push_back(learned("2001:db8::/32", {"tun2"}));
  routes.learn(changes);

  const auto all = routes.view({});
  EXPECT_EQ(all.total, 105U) << "1 default, 2 static and 1 learned of the /16, 100 learned, 1 of IPv6";
  ASSERT_EQ(all.routes.size(), all.total);
  const auto order = [](const RouteView& a, const RouteView& b) { return a.prefix < b.prefix; };
  EXPECT_TRUE(std::is_sorted(all.routes.begin(), all.routes.end(), order));
  for (std::size_t limit = 0; limit <= 106; ++limit) {
    const auto some = routes.view({{}, limit});
    EXPECT_EQ(some.total, all.total);
    ASSERT_EQ(some.routes.size(), std::min(limit, all.total));
    for (std::size_t i = 0; i < some.routes.size(); ++i) {
      EXPECT_EQ(some.routes[i].prefix, all.routes[i].prefix);
      EXPECT_EQ(some.routes[i].source, all.routes[i].source);
      EXPECT_EQ(some.routes[i].reason, all.routes[i].reason);
    }
  }

  // What is inside, and what covers it.
  const auto host = routes.view({prefix("10.2.7.9/32")});
  EXPECT_EQ(host.total, 5U);
  EXPECT_EQ(host.routes.back().prefix, prefix("10.2.7.0/24"));
  EXPECT_EQ(routes.view({prefix("10.2.8.0/21")}).total, 8U + 4U);
  EXPECT_EQ(routes.view({prefix("2001:db8:1::/48")}).total, 1U);
  EXPECT_EQ(routes.view({prefix("10.2.8.0/21"), 2}).routes.size(), 2U);
}

TEST(DomainRoutes, AnEcmpSetIsBounded) {
  DomainLayout layout;
  layout.id = DomainId(1);
  std::vector<std::string> interfaces;
  for (std::uint32_t i = 1; i <= 80; ++i) {
    interfaces.push_back("tun" + std::to_string(i));
    layout.ports[interfaces.back()] = {AttachmentRef::tunnel(TunnelId(i)), "t"};
  }
  auto routes = routes_of(layout);
  routes.learn({{learned("10.0.0.0/8", interfaces)}, {}});
  EXPECT_EQ(routes.resolve(prefix("10.0.0.0/8"))->nexthops.size(), kMaxNextHops);
}

TEST(DomainRoutes, LearningWhatIsKnownTouchesNothing) {
  auto routes = routes_of(layout_with_two_tunnels());
  routes.learn({{learned("10.1.0.0/16", {"tun1"})}, {}});
  EXPECT_TRUE(routes.learn({{learned("10.1.0.0/16", {"tun1"})}, {}}).empty());
  EXPECT_TRUE(routes.learn({{}, {prefix("10.99.0.0/16")}}).empty());
  EXPECT_EQ(routes.learn({{}, {prefix("10.1.0.0/16")}}).size(), 1U);
  EXPECT_FALSE(routes.resolve(prefix("10.1.0.0/16")));
}

TEST(DomainRoutes, ADomainThatIsNotConfiguredForwardsNothingButForgetsNothing) {
  auto routes = routes_of(layout_with_two_tunnels());
  routes.learn({{learned("10.1.0.0/16", {"tun1"})}, {}});
  routes.unconfigure();
  EXPECT_FALSE(routes.resolve(prefix("10.1.0.0/16")));
  EXPECT_TRUE(routes.resolve_all().empty());
  routes.configure(layout_with_two_tunnels());
  EXPECT_TRUE(routes.resolve(prefix("10.1.0.0/16")));
}

}  // namespace
}  // namespace simplon::control
