// SPDX-License-Identifier: GPL-2.0-or-later
//
// A shortcut exists for what the stages would plainly forward between VPCs and circuits, and every write after which
// that may be different says so.
#include "gateway/forward/shortcut.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <functional>
#include <vector>

#include "gateway/forward/memory_io.h"
#include "gateway/forward/tables.h"

namespace simplon::forward {
namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
IpPrefix prefix(const std::string& text) { return IpPrefix::parse(text).value(); }
MacAddress mac(const char* text) { return MacAddress::parse(text).value(); }

constexpr PortId kUplink{1};
constexpr DomainId kHome{1};
constexpr DomainId kElsewhere{2};

/// VPC 10 (10.0.0.0/24) and VPC 20 (10.0.1.0/24) in domain 1, a route between them; VPC 30 in domain 2.
class ShortcutTest : public ::testing::Test {
 protected:
  ShortcutTest() : pool_(FramePool::create(16).value()), io_(std::make_shared<MemoryIo>(pool_)) {
    EXPECT_TRUE(tables_.upsert_port(uplink()));
    EXPECT_TRUE(tables_.upsert_domain(kHome));
    EXPECT_TRUE(tables_.upsert_domain(kElsewhere));
    EXPECT_TRUE(tables_.upsert_vpc(vpc(10, "10.0.0.0/24")));
    EXPECT_TRUE(tables_.upsert_vpc(vpc(20, "10.0.1.0/24")));
    EXPECT_TRUE(tables_.upsert_vpc(vpc(30, "10.0.2.0/24", kElsewhere)));
    EXPECT_TRUE(tables_.upsert_endpoint(endpoint()));
    EXPECT_TRUE(tables_.upsert_route(route()));
    EXPECT_TRUE(tables_.set_adjacency(ip("192.0.2.20"), adjacency()));
    tables_.commit();
    tables_.on_change([this](DomainId domain) { changes_.push_back(domain); });
  }

  [[nodiscard]] PortEntry uplink() const {
    return {kUplink, PortKind::kUplink, mac("02:00:00:00:00:aa"), false, {io_}};
  }
  static VpcEntry vpc(std::uint32_t vni, const char* network, DomainId domain = kHome) {
    return {Vni{vni},           domain, ip("192.0.2.1"), 4789, mac("02:00:00:00:00:01"), {prefix(network)},
            {ip("192.0.2.10")}, 1450};
  }
  static EndpointEntry endpoint() { return {Vni{20}, ip("10.0.1.5"), mac("02:00:00:00:00:05"), ip("192.0.2.20")}; }
  static RouteEntry route() {
    return {kHome, prefix("10.0.1.0/24"), RouteAction::kForward, {{AttachmentId::vpc(Vni{20}), 1}}};
  }
  static AdjacencyEntry adjacency() {
    return {true, kUplink, mac("02:00:00:00:00:aa"), mac("02:00:00:00:00:bb"), 1500};
  }
  [[nodiscard]] std::optional<Shortcut> ask(const char* source = "10.0.0.7", const char* destination = "10.0.1.5",
                                            const char* outer = "192.0.2.10", std::uint32_t vni = 10) const {
    return tables_.shortcut({.port = kUplink,
                             .vni = Vni{vni},
                             .outer_source = ip(outer),
                             .source = ip(source),
                             .destination = ip(destination)});
  }
  /// The domains that `write` names.
  std::vector<DomainId> named_by(const std::function<void()>& write) {
    changes_.clear();
    write();
    tables_.commit();
    changes_.erase(std::unique(changes_.begin(), changes_.end()), changes_.end());
    return changes_;
  }

  FramePool pool_;
  std::shared_ptr<MemoryIo> io_;
  Tables tables_;
  std::vector<DomainId> changes_;
};

TEST_F(ShortcutTest, SaysAllThatTheTablesDecide) {
  const auto found = ask();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->domain, kHome);
  EXPECT_EQ(found->ethernet_to, mac("02:00:00:00:00:aa"));
  EXPECT_EQ(found->vtep, ip("192.0.2.1"));
  EXPECT_EQ(found->udp_port, 4789);
  EXPECT_EQ(found->gateway_mac, mac("02:00:00:00:00:01"));
  EXPECT_EQ(found->ingress, AttachmentId::vpc(Vni{10}));
  EXPECT_EQ(found->egress, AttachmentId::vpc(Vni{20}));
  EXPECT_EQ(found->port, kUplink);
  EXPECT_EQ(found->ethernet_destination, mac("02:00:00:00:00:bb"));
  EXPECT_EQ(found->outer_destination, ip("192.0.2.20"));
  EXPECT_EQ(found->inner_destination, mac("02:00:00:00:00:05"));
  EXPECT_EQ(found->mtu, 1450);
}

TEST_F(ShortcutTest, ThereIsNoneForWhatIsDroppedPuntedOrEncrypted) {
  EXPECT_FALSE(ask("10.9.9.9")) << "a source outside the VPC";
  EXPECT_FALSE(ask("10.0.0.7", "10.0.1.6")) << "no endpoint";
  EXPECT_FALSE(ask("10.0.0.7", "10.0.7.1")) << "no route";
  EXPECT_FALSE(ask("10.0.0.7", "10.0.1.5", "192.0.2.66")) << "a VTEP that is not listed";
  EXPECT_FALSE(ask("10.0.0.7", "10.0.1.5", "192.0.2.10", 11)) << "no VPC";
  EXPECT_FALSE(ask("10.0.0.7", "224.0.0.1")) << "multicast";
  EXPECT_FALSE(ask("127.0.0.1")) << "loopback";
  const auto lead_to = [this](RouteAction action, std::vector<NextHopEntry> hops) {
    ASSERT_TRUE(tables_.upsert_route({kHome, prefix("10.0.1.0/24"), action, std::move(hops)}));
    tables_.commit();
  };
  lead_to(RouteAction::kLocal, {{AttachmentId::vpc(Vni{20}), 1}});
  EXPECT_FALSE(ask()) << "for us";
  lead_to(RouteAction::kUnreachable, {});
  EXPECT_FALSE(ask()) << "unreachable";
  lead_to(RouteAction::kForward, {{AttachmentId::tunnel(TunnelId{3}), 1}});
  EXPECT_FALSE(ask()) << "a tunnel";
  lead_to(RouteAction::kForward, {{AttachmentId::vpc(Vni{30}), 1}});
  EXPECT_FALSE(ask()) << "another domain";
  lead_to(RouteAction::kForward, {{AttachmentId::vpc(Vni{30}), 1}, {AttachmentId::tunnel(TunnelId{3}), 1}});
  EXPECT_FALSE(ask()) << "several, none of which has one";
}

TEST_F(ShortcutTest, EveryWriteThatMayEndOneNamesItsDomain) {
  const std::vector<DomainId> home{kHome};
  const std::vector<DomainId> all{DomainId{}};
  EXPECT_EQ(named_by([&] { tables_.remove_endpoint(Vni{20}, ip("10.0.1.5")); }), home);
  EXPECT_FALSE(ask());
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_endpoint(endpoint())); }), home);
  EXPECT_FALSE(ask()) << "the adjacency is not resolved yet";
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.set_adjacency(ip("192.0.2.20"), adjacency())); }), std::vector<DomainId>{})
      << "there was none to end";
  EXPECT_TRUE(ask());
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.set_adjacency(ip("192.0.2.20"), {})); }), all);
  ASSERT_TRUE(tables_.set_adjacency(ip("192.0.2.20"), adjacency()));
  EXPECT_EQ(named_by([&] { tables_.remove_route(kHome, prefix("10.0.1.0/24")); }), home);
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_route(route())); }), home);
  RouteEntry more = route();
  more.prefix = prefix("10.0.1.5/32");
  more.action = RouteAction::kUnreachable;
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_route(more)); }), home);
  EXPECT_FALSE(ask());
  tables_.remove_route(kHome, more.prefix);
  tables_.commit();
  VpcEntry changed = vpc(10, "10.0.0.0/24");
  changed.accepted_vteps.clear();
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_vpc(changed)); }), home);
  EXPECT_FALSE(ask());
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_vpc(vpc(10, "10.0.0.0/24"))); }), home);
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_vpc(vpc(20, "10.0.1.0/24", kElsewhere))); }),
            (std::vector<DomainId>{kHome, kElsewhere}));
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_vpc(vpc(20, "10.0.1.0/24"))); }),
            (std::vector<DomainId>{kElsewhere, kHome}));
  EXPECT_TRUE(ask());
  EXPECT_EQ(named_by([&] { tables_.remove_vpc(Vni{20}); }), home);
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_vpc(vpc(20, "10.0.1.0/24"))); }), home);
  EXPECT_EQ(named_by([&] { tables_.remove_domain(kHome); }), home);
  EXPECT_FALSE(ask());
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_domain(kHome)); }), home);
  EXPECT_EQ(named_by([&] { tables_.remove_port(kUplink); }), all);
  EXPECT_FALSE(ask());
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_port(uplink())); }), all);
  EXPECT_TRUE(ask());
}

TEST_F(ShortcutTest, AWriteThatChangesNothingNamesNobody) {
  EXPECT_TRUE(
      named_by([&] {
        ASSERT_TRUE(tables_.upsert_domain(kHome));
        ASSERT_TRUE(tables_.upsert_vpc(vpc(10, "10.0.0.0/24")));
        ASSERT_TRUE(tables_.upsert_endpoint(endpoint()));
        ASSERT_TRUE(tables_.upsert_route(route()));
        ASSERT_TRUE(tables_.set_adjacency(ip("192.0.2.20"), adjacency()));
        ASSERT_TRUE(tables_.upsert_endpoint({Vni{77}, ip("10.0.1.5"), mac("02:00:00:00:00:05"), ip("192.0.2.20")}));
        tables_.remove_endpoint(Vni{77}, ip("10.0.1.5"));
        tables_.remove_route(kHome, prefix("10.77.0.0/16"));
      }).empty());
}

TEST_F(ShortcutTest, ThereAreSomeOverIpv6) {
  VpcEntry six = vpc(10, "10.0.0.0/24");
  six.vtep = ip("2001:db8::1");
  six.accepted_vteps = {ip("2001:db8::10")};
  ASSERT_TRUE(tables_.upsert_vpc(six));
  EXPECT_FALSE(ask());
  const auto found = ask("10.0.0.7", "10.0.1.5", "2001:db8::10");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->vtep, ip("2001:db8::1"));
  EXPECT_EQ(found->outer_destination, ip("192.0.2.20"));
}

/// Circuit 3 (VLAN 100, 192.0.2.128/30) and circuit 4 (VLAN 7 in 300) in domain 1 on the uplink; behind 3 10.3.0.0/16.
class CircuitShortcutTest : public ShortcutTest {
 protected:
  CircuitShortcutTest() {
    EXPECT_TRUE(tables_.upsert_circuit(circuit()));
    EXPECT_TRUE(
        tables_.upsert_circuit({CircuitId{4}, kHome, kUplink, 7, 300, 0x88a8, mac("02:00:00:00:00:aa"), 1400, true}));
    EXPECT_TRUE(tables_.upsert_route(line()));
    EXPECT_TRUE(tables_.upsert_route(
        {kHome, prefix("192.0.2.128/30"), RouteAction::kForward, {{AttachmentId::circuit(CircuitId{4}), 1}}}));
    EXPECT_TRUE(tables_.upsert_neighbor(neighbor()));
    tables_.commit();
  }
  static CircuitEntry circuit() {
    return {CircuitId{3}, kHome, kUplink, 100, 0, 0x88a8, mac("02:00:00:00:00:aa"), 1500, true};
  }
  static RouteEntry line() {
    return {kHome,
            prefix("10.3.0.0/16"),
            RouteAction::kForward,
            {{AttachmentId::circuit(CircuitId{3}), 1, ip("192.0.2.129")}}};
  }
  static NeighborEntry neighbor(const char* to = "02:dd:00:00:00:03") {
    return {CircuitId{3}, ip("192.0.2.129"), mac(to)};
  }
  [[nodiscard]] std::optional<Shortcut> out(std::uint8_t member = 0) const {
    return tables_.shortcut({.port = kUplink,
                             .vni = Vni{10},
                             .outer_source = ip("192.0.2.10"),
                             .source = ip("10.0.0.7"),
                             .destination = ip("10.3.0.9"),
                             .member = member});
  }
  void lead_to(std::vector<NextHopEntry> hops) {
    RouteEntry several = line();
    several.nexthops = std::move(hops);
    ASSERT_TRUE(tables_.upsert_route(several));
    tables_.commit();
  }
  /// Of the nexthop that leads there; 0: none does.
  [[nodiscard]] std::uint8_t number_of(AttachmentId egress) const {
    for (std::uint8_t number = 1; number <= Shortcut::kMembers; ++number) {
      if (const auto found = out(number); found && found->egress == egress) return number;
    }
    return 0;
  }
  /// Buckets of the nexthop with the number.
  [[nodiscard]] std::ptrdiff_t share(std::uint8_t number) const {
    const auto found = out();
    return found && found->spread ? std::count(found->spread->begin(), found->spread->end(), number) : -1;
  }
  static NextHopEntry through(std::uint32_t circuit, const char* gateway, std::uint16_t weight = 1) {
    return {AttachmentId::circuit(CircuitId{circuit}), weight, ip(gateway)};
  }
  [[nodiscard]] std::optional<Shortcut> in(std::uint16_t vlan = 100, std::uint16_t outer = 0,
                                           const char* destination = "10.0.1.5") const {
    return tables_.shortcut({.port = kUplink, .outer_vlan = outer, .vlan = vlan, .destination = ip(destination)});
  }
};

TEST_F(CircuitShortcutTest, SaysAllThatTheTablesDecide) {
  const auto there = out();
  ASSERT_TRUE(there);
  EXPECT_EQ(there->ingress, AttachmentId::vpc(Vni{10}));
  EXPECT_EQ(there->egress, AttachmentId::circuit(CircuitId{3}));
  EXPECT_EQ(there->port, kUplink);
  EXPECT_EQ(there->ethernet_destination, mac("02:dd:00:00:00:03"));
  EXPECT_EQ(there->ethernet_source, mac("02:00:00:00:00:aa"));
  EXPECT_EQ(there->outer_type, 0);
  EXPECT_EQ(there->vlan, 100);
  EXPECT_EQ(there->mtu, 1500);

  const auto back = in();
  ASSERT_TRUE(back);
  EXPECT_EQ(back->domain, kHome);
  EXPECT_EQ(back->ingress, AttachmentId::circuit(CircuitId{3}));
  EXPECT_EQ(back->egress, AttachmentId::vpc(Vni{20}));
  EXPECT_EQ(back->ethernet_to, mac("02:00:00:00:00:aa"));
  EXPECT_EQ(in(7, 300)->ingress, AttachmentId::circuit(CircuitId{4}));

  const auto across = in(100, 0, "10.3.0.9");
  ASSERT_TRUE(across);
  EXPECT_EQ(across->egress, AttachmentId::circuit(CircuitId{3}));

  // Directly to a neighbor, with two tags.
  EXPECT_FALSE(in(100, 0, "192.0.2.130"));
  ASSERT_TRUE(tables_.upsert_neighbor({CircuitId{4}, ip("192.0.2.130"), mac("02:dd:00:00:00:04")}));
  const auto near = in(100, 0, "192.0.2.130");
  ASSERT_TRUE(near);
  EXPECT_EQ(near->outer_type, 0x88a8);
  EXPECT_EQ(near->outer_vlan, 300);
  EXPECT_EQ(near->vlan, 7);
}

TEST_F(CircuitShortcutTest, ThereIsNoneForWhatIsTheWorkers) {
  EXPECT_FALSE(in(101)) << "no circuit";
  EXPECT_FALSE(in(7)) << "one tag of two";
  EXPECT_FALSE(in(100, 300)) << "no circuit";
  EXPECT_FALSE(in(100, 0, "10.0.1.6")) << "no endpoint";
  EXPECT_FALSE(in(100, 0, "224.0.0.5")) << "multicast";
  EXPECT_FALSE(in(100, 0, "fe80::1")) << "link-local";
  tables_.remove_neighbor(CircuitId{3}, ip("192.0.2.129"));
  EXPECT_FALSE(out()) << "no neighbor";
  ASSERT_TRUE(tables_.upsert_neighbor(neighbor()));
  PolicyEntry policy;
  policy.attachment = AttachmentId::circuit(CircuitId{4});
  policy.domain = kHome;
  ASSERT_TRUE(tables_.upsert_policy(policy));
  tables_.commit();
  EXPECT_FALSE(out()) << "policy somewhere in the domain";
  EXPECT_FALSE(in()) << "policy somewhere in the domain";
}

TEST_F(CircuitShortcutTest, EveryWriteThatMayEndOneNamesItsDomain) {
  const std::vector<DomainId> home{kHome};
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_neighbor(neighbor("02:dd:00:00:00:33"))); }), home);
  EXPECT_EQ(out()->ethernet_destination, mac("02:dd:00:00:00:33"));
  EXPECT_EQ(named_by([&] { tables_.remove_neighbor(CircuitId{3}, ip("192.0.2.129")); }), home);
  EXPECT_TRUE(named_by([&] { ASSERT_TRUE(tables_.upsert_neighbor(neighbor())); }).empty()) << "nothing went there";
  EXPECT_TRUE(named_by([&] {
                ASSERT_TRUE(tables_.upsert_neighbor(neighbor()));
                ASSERT_TRUE(tables_.upsert_circuit(circuit()));
                tables_.remove_neighbor(CircuitId{3}, ip("192.0.2.131"));
              }).empty())
      << "nothing changed";
  for (const auto& change : std::vector<std::function<void(CircuitEntry&)>>{
           [](auto& entry) { entry.vlan = 101; }, [](auto& entry) { entry.mtu = 1300; },
           [](auto& entry) { entry.port = kNoPort; }, [](auto& entry) { entry.mac = mac("02:00:00:00:00:ab"); },
           [](auto& entry) { entry.outer_vlan = 9; }}) {
    CircuitEntry entry = circuit();
    change(entry);
    EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_circuit(entry)); }), home);
    EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_circuit(circuit())); }), home);
    EXPECT_TRUE(out() && in());
  }
  CircuitEntry elsewhere = circuit();
  elsewhere.domain = kElsewhere;
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_circuit(elsewhere)); }),
            (std::vector<DomainId>{kHome, kElsewhere}));
  EXPECT_FALSE(out() || in());
  EXPECT_EQ(named_by([&] { ASSERT_TRUE(tables_.upsert_circuit(circuit())); }),
            (std::vector<DomainId>{kElsewhere, kHome}));
  EXPECT_EQ(named_by([&] { tables_.remove_circuit(CircuitId{3}); }), home);
  EXPECT_FALSE(out() || in());
}

TEST_F(CircuitShortcutTest, SeveralNexthopsShareTheBucketsAndEachHasItsOwn) {
  EXPECT_FALSE(out(1)) << "there is one only";
  ASSERT_TRUE(tables_.upsert_neighbor({CircuitId{4}, ip("192.0.2.130"), mac("02:dd:00:00:00:04")}));
  lead_to({through(3, "192.0.2.129", 3), through(4, "192.0.2.130", 1)});
  ASSERT_TRUE(out());
  EXPECT_EQ(out()->domain, kHome);
  EXPECT_EQ(out()->ingress, AttachmentId::vpc(Vni{10}));
  const std::uint8_t line3 = number_of(AttachmentId::circuit(CircuitId{3}));
  const std::uint8_t line4 = number_of(AttachmentId::circuit(CircuitId{4}));
  ASSERT_EQ(line3 + line4, 3) << "1 and 2";
  EXPECT_NEAR(static_cast<double>(share(line3)), 192, 2);
  EXPECT_EQ(share(1) + share(2), 256);
  EXPECT_FALSE(out(line4)->spread);
  EXPECT_EQ(out(line4)->ethernet_destination, mac("02:dd:00:00:00:04"));
  EXPECT_FALSE(out(3));
  tables_.remove_neighbor(CircuitId{4}, ip("192.0.2.130"));
  EXPECT_EQ(number_of(AttachmentId::circuit(CircuitId{3})), 1) << "the other is left out";
  EXPECT_EQ(share(1), 256);
  EXPECT_TRUE(out() && out(1));
  EXPECT_FALSE(out(2));

  // As many as there are numbers; the rest is the worker's.
  std::vector<NextHopEntry> many;
  for (int i = 0; i < 40; ++i) many.push_back(through(3, ("192.0.2." + std::to_string(150 + i)).c_str()));
  lead_to(many);
  EXPECT_GT(share(Shortcut::kMembers), 0);
  EXPECT_GT(share(0), 0);
}

TEST_F(CircuitShortcutTest, WhoeverGivesUpBucketsOrTakesSomeIsHeardOf) {
  const auto names_home = [&](const std::function<void()>& write) {
    const std::vector<DomainId> named = named_by(write);
    return std::find(named.begin(), named.end(), kHome) != named.end();
  };
  const AttachmentId tunnel = AttachmentId::tunnel(TunnelId{3});
  const AttachmentId circuit_3 = AttachmentId::circuit(CircuitId{3});
  lead_to({through(3, "192.0.2.129"), {AttachmentId::vpc(Vni{20}), 1}, {tunnel, 1}, {AttachmentId::vpc(Vni{30}), 1}});
  const auto of_worker = share(0);
  EXPECT_NEAR(static_cast<double>(of_worker), 86, 40) << "another domain's; the tunnel gives them up";
  EXPECT_NE(number_of(circuit_3), 0);

  ASSERT_TRUE(tables_.upsert_tunnel({TunnelId{3}, kElsewhere, 0, true}));
  SaSpec spec;
  spec.direction = SaDirection::kOutbound;
  spec.spi = Spi{400};
  spec.tunnel = TunnelId{3};
  spec.path = {ip("192.0.2.1"), ip("192.0.2.99"), false, 0, 0};
  spec.key = crypto::SecretKey(std::vector<std::uint8_t>(36, 1));
  const std::shared_ptr<Sa> sa = Sa::create(spec).value();
  ASSERT_TRUE(tables_.set_outbound(TunnelId{3}, sa));
  EXPECT_EQ(share(0), of_worker) << "nobody knows where its peer is";
  EXPECT_TRUE(names_home([&] { ASSERT_TRUE(tables_.set_adjacency(ip("192.0.2.99"), adjacency())); }));
  EXPECT_EQ(share(0), 128) << "the tunnel has its own";
  EXPECT_TRUE(names_home([&] { ASSERT_TRUE(tables_.set_outbound(TunnelId{3}, nullptr)); }));
  EXPECT_EQ(share(0), of_worker);
  EXPECT_TRUE(names_home([&] { tables_.remove_vpc(Vni{30}); }));
  EXPECT_EQ(share(0), 0);

  EXPECT_TRUE(names_home([&] { tables_.remove_circuit(CircuitId{3}); }));
  EXPECT_EQ(share(1), 256) << "all are the VPC's";
  EXPECT_FALSE(out(1)) << "which has no such endpoint";
  EXPECT_TRUE(names_home([&] { ASSERT_TRUE(tables_.upsert_circuit(circuit())); }));
  EXPECT_NE(number_of(circuit_3), 0);

  RouteEntry other = line();
  other.nexthops = {through(3, "192.0.2.129", 3), {AttachmentId::vpc(Vni{20}), 1}};
  EXPECT_TRUE(names_home([&] { ASSERT_TRUE(tables_.upsert_route(other)); }));
  other.nexthops.front().weight = 1;
  EXPECT_TRUE(names_home([&] { ASSERT_TRUE(tables_.upsert_route(other)); })) << "other weights";
}

TEST_F(ShortcutTest, WhatTheyForwardedIsInTheTotals) {
  tables_.add_traffic(AttachmentId::vpc(Vni{10}), {3, 300, 0, 0, 0, 0});
  tables_.add_traffic(kUplink, {0, 0, 3, 492, 0, 0});
  tables_.add_traffic(AttachmentId::vpc(Vni{99}), {1, 1, 1, 1, 0, 0});
  EXPECT_EQ(tables_.totals(AttachmentId::vpc(Vni{10}))->rx_bytes, 300U);
  EXPECT_EQ(tables_.totals(kUplink)->tx_packets, 3U);
}

}  // namespace
}  // namespace simplon::forward
