// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/table_compiler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>

#include "gateway/control/spec_builder.h"
#include "tests/unit/control/fakes.h"

namespace simplon::control {
namespace {

class TableCompilerTest : public ::testing::Test {
 protected:
  TableCompilerTest() : ids_(config::IdRegistry::open(directory_.path()).value()), config_(two_domains(directory_)) {
    EXPECT_TRUE(ids_.assign(config_));
  }

  const ipc::Route* route(const TableCompiler& compiler, const char* domain, const char* to) const {
    const auto in_domain = compiler.tables().routes.find(*ids_.domain(domain));
    if (in_domain == compiler.tables().routes.end()) return nullptr;
    const auto found = in_domain->second.find(prefix(to));
    return found == in_domain->second.end() ? nullptr : &found->second;
  }

  TemporaryDirectory directory_;
  config::IdRegistry ids_;
  GatewayConfig config_;
};

/// Applies operations as the forwarder does.
void carry_out(TableSet& tables, const std::vector<ipc::Operation>& operations) {
  const auto put = [](auto& map, const auto& key, const auto& object, bool delete_it) {
    if (delete_it) {
      map.erase(key);
    } else {
      map.insert_or_assign(key, object);
    }
  };
  for (const auto& operation : operations) {
    const bool gone = operation.delete_it;
    if (const auto* domain = std::get_if<ipc::Domain>(&operation.object))
      put(tables.domains, domain->id, *domain, gone);
    if (const auto* uplink = std::get_if<ipc::Uplink>(&operation.object))
      put(tables.uplinks, uplink->interface, *uplink, gone);
    if (const auto* vpc = std::get_if<ipc::Vpc>(&operation.object)) put(tables.vpcs, vpc->vni, *vpc, gone);
    if (const auto* tunnel = std::get_if<ipc::Tunnel>(&operation.object))
      put(tables.tunnels, tunnel->id, *tunnel, gone);
    if (const auto* circuit = std::get_if<ipc::Circuit>(&operation.object))
      put(tables.circuits, circuit->id, *circuit, gone);
    if (const auto* port = std::get_if<ipc::HostPort>(&operation.object))
      put(tables.host_ports, port->attachment, *port, gone);
    if (const auto* endpoint = std::get_if<ipc::Endpoint>(&operation.object)) {
      put(tables.endpoints, std::pair(endpoint->vni, endpoint->address), *endpoint, gone);
    }
    if (const auto* route = std::get_if<ipc::Route>(&operation.object)) {
      tables.set_route(route->domain, route->prefix, gone ? std::nullopt : std::optional(*route));
    }
  }
}

TEST_F(TableCompilerTest, ACircuitIsAnAttachmentWithATapAndARouteToItsLink) {
  CircuitConfig circuit;
  circuit.name = "dallas";
  circuit.domain = config_.domains[0].name;
  circuit.uplink = "wan0";
  circuit.vlan = 7;
  circuit.outer_vlan = 300;
  circuit.outer_type = OuterTag::k8021q;
  circuit.addresses = {InterfaceAddress::parse("192.168.15.1/30").value()};
  circuit.mtu_bytes = 1492;
  config_.circuits.push_back(circuit);
  ASSERT_TRUE(ids_.assign(config_));
  const CircuitId id = ids_.circuit("dallas").value();
  const DomainId domain = ids_.domain(circuit.domain).value();
  TableCompiler compiler("gw-");
  compiler.configure(config_, ids_);
  const auto attachment = ipc::AttachmentRef::circuit(id);
  EXPECT_EQ(compiler.tables().circuits.at(id), (ipc::Circuit{id, "dallas", domain, "wan0", 7, 300, 0x8100, 1492, true}));
  EXPECT_EQ(compiler.tables().host_ports.at(attachment),
            (ipc::HostPort{attachment, "cir" + std::to_string(id.value()), "gw-" + circuit.domain, circuit.addresses, 1492}));
  const ipc::Route* local = route(compiler, circuit.domain.c_str(), "192.168.15.1/32");
  ASSERT_NE(local, nullptr);
  EXPECT_EQ(local->action, ipc::RouteAction::kLocal);
  const ipc::Route* connected = route(compiler, circuit.domain.c_str(), "192.168.15.0/30");
  ASSERT_NE(connected, nullptr);
  EXPECT_EQ(connected->nexthops, (std::vector<ipc::NextHop>{{attachment, 1}}));

  config_.circuits[0].enabled = false;
  const auto operations = compiler.configure(config_, ids_);
  EXPECT_TRUE(compiler.tables().circuits.empty());
  EXPECT_EQ(operations.size(), 4U) << "two routes, the host port, the circuit";
}

TEST_F(TableCompilerTest, CompilesEveryKindOfObject) {
  TableCompiler compiler("gw-");
  compiler.configure(config_, ids_);
  const auto& tables = compiler.tables();
  EXPECT_EQ(tables.domains.size(), 2U);
  EXPECT_EQ(tables.uplinks.size(), 2U);
  EXPECT_EQ(tables.endpoints.size(), 6U);

  const auto& vpc = tables.vpcs.at(Vni(101));
  EXPECT_EQ(vpc.vtep, ip("10.0.0.1"));
  EXPECT_EQ(vpc.udp_port, 4789);
  EXPECT_EQ(vpc.domain, *ids_.domain("red"));
  EXPECT_EQ(vpc.accepted_vteps, (std::vector<IpAddress>{ip("10.0.0.11"), ip("10.0.0.12")})) << "each host once";

  const auto tunnel = *ids_.tunnel("site-a");
  EXPECT_EQ(tables.tunnels.at(tunnel).local, ip("192.0.2.1"));
  const auto& port = tables.host_ports.at(ipc::AttachmentRef::tunnel(tunnel));
  EXPECT_EQ(port.interface, "tun" + std::to_string(tunnel.value()));
  EXPECT_EQ(port.netns, "gw-red");
  EXPECT_EQ(port.addresses, std::vector<InterfaceAddress>{inside("169.254.10.1/30")});
  EXPECT_EQ(port.mtu, kTunnelHostPortMtu);
  const auto& vpc_port = tables.host_ports.at(ipc::AttachmentRef::vpc(Vni(101)));
  EXPECT_EQ(vpc_port.interface, "vpc101");
  EXPECT_EQ(vpc_port.addresses, std::vector<InterfaceAddress>{inside("172.16.1.1/24")});
}

/// As ipsec::can_change: what SAs are negotiated with, nothing else.
TEST_F(TableCompilerTest, ATunnelIsMarkedWithWhatItNegotiates) {
  const auto compiled = [&](const std::function<void(TunnelConfig&)>& change, const std::set<std::string>& held) {
    TableCompiler compiler("gw-");
    auto config = config_;
    change(config.tunnels[0]);
    compiler.configure(config, ids_, held);
    return compiler.tables().tunnels.at(*ids_.tunnel(config.tunnels[0].name));
  };
  const auto mark = [&](const std::function<void(TunnelConfig&)>& change) { return compiled(change, {}).negotiation; };
  const auto nothing = [](TunnelConfig&) {};
  const auto now = mark(nothing);
  EXPECT_NE(now, 0U);
  EXPECT_EQ(mark([](auto& t) { t.mtu_bytes = 1300; t.child_rekey = std::chrono::seconds(77); t.psk_file = "another"; }), now);
  EXPECT_FALSE(compiled(nothing, {"another"}).closed);
  EXPECT_TRUE(compiled(nothing, {config_.tunnels[0].name}).closed);
  EXPECT_EQ(compiled(nothing, {config_.tunnels[0].name}).negotiation, now);
  std::set<std::uint64_t> marks = {now};
  const std::vector<std::function<void(TunnelConfig&)>> changes = {
      [](auto& t) { t.remote = ip("203.0.113.99"); },          [](auto& t) { t.remote.reset(); },
      [](auto& t) { t.local = ip("192.0.2.77"); },             [](auto& t) { t.local_id = "x"; },
      [](auto& t) { t.remote_id = "x"; },                      [](auto& t) { t.ike_proposals = {"aes256-sha256-x25519"}; },
      [](auto& t) { t.esp_proposals = {"aes128gcm16"}; },      [](auto& t) { t.replay_window = 64; },
      [](auto& t) { t.encapsulation = Encapsulation::kUdp; }};
  for (const auto& change : changes) marks.insert(mark(change));
  EXPECT_EQ(marks.size(), changes.size() + 1);
}

TEST_F(TableCompilerTest, RoutesOfTheConfiguration) {
  TableCompiler compiler("gw-");
  compiler.configure(config_, ids_);
  const auto tunnel = ipc::AttachmentRef::tunnel(*ids_.tunnel("site-a"));
  const auto vpc = ipc::AttachmentRef::vpc(Vni(101));
  ASSERT_NE(route(compiler, "red", "169.254.10.1/32"), nullptr);
  EXPECT_EQ(route(compiler, "red", "169.254.10.1/32")->action, ipc::RouteAction::kLocal);
  EXPECT_EQ(route(compiler, "red", "169.254.10.1/32")->nexthops[0].attachment, tunnel);
  EXPECT_EQ(route(compiler, "red", "169.254.10.0/30")->action, ipc::RouteAction::kForward);
  EXPECT_EQ(route(compiler, "red", "169.254.10.0/30")->nexthops[0].attachment, tunnel);
  EXPECT_EQ(route(compiler, "red", "172.16.1.1/32")->action, ipc::RouteAction::kLocal);
  EXPECT_EQ(route(compiler, "red", "172.16.1.1/32")->nexthops[0].attachment, vpc);
  EXPECT_EQ(route(compiler, "red", "172.16.1.0/24")->nexthops[0].attachment, vpc);
  EXPECT_EQ(route(compiler, "red", "10.9.0.0/16"), nullptr) << "the other domain's";
  ASSERT_NE(route(compiler, "blue", "10.9.0.0/16"), nullptr);
  EXPECT_EQ(route(compiler, "blue", "10.9.0.0/16")->nexthops.size(), 2U);
}

TEST_F(TableCompilerTest, ADisabledTunnelIsNotInTheTables) {
  config_.tunnels[2].enabled = false;
  TableCompiler compiler("gw-");
  compiler.configure(config_, ids_);
  EXPECT_EQ(compiler.tables().tunnels.size(), 2U);
  EXPECT_EQ(compiler.tables().host_ports.size(), 4U);
  EXPECT_EQ(route(compiler, "blue", "10.9.0.0/16")->nexthops.size(), 1U);
  EXPECT_EQ(route(compiler, "blue", "169.254.20.4/30"), nullptr);
}

TEST_F(TableCompilerTest, ReferencesExistBeforeUseAndRemovalsComeLast) {
  TableCompiler compiler("gw-");
  const auto kinds = [](const std::vector<ipc::Operation>& operations) {
    std::vector<std::pair<bool, std::size_t>> order;
    for (const auto& operation : operations) order.emplace_back(operation.delete_it, operation.object.index());
    return order;
  };
  // Domain, Uplink, Vpc, Tunnel, HostPort, Endpoint, Route by index of the variant.
  const std::vector<std::size_t> rank{0, 1, 2, 5, 3, 4, 6};
  const auto first = kinds(compiler.configure(config_, ids_));
  EXPECT_TRUE(std::is_sorted(first.begin(), first.end(),
                             [&](const auto& a, const auto& b) { return rank[a.second] < rank[b.second]; }));

  auto changed = config_;
  changed.domains.pop_back();
  changed.tunnels.resize(1);
  changed.vpcs.pop_back();
  changed.vpcs[0].mtu_bytes = 1400;
  const auto second = kinds(compiler.configure(changed, ids_));
  EXPECT_TRUE(std::is_sorted(second.begin(), second.end(), [&](const auto& a, const auto& b) {
    if (a.first != b.first) return a.first < b.first;
    return a.first ? rank[a.second] > rank[b.second] : rank[a.second] < rank[b.second];
  }));
  EXPECT_FALSE(second.front().first);
  EXPECT_TRUE(second.back().first);
}

TEST_F(TableCompilerTest, TheSameConfigurationAgainIsNoOperation) {
  TableCompiler compiler("gw-");
  EXPECT_FALSE(compiler.configure(config_, ids_).empty());
  EXPECT_TRUE(compiler.configure(config_, ids_).empty());
}

TEST_F(TableCompilerTest, ALearnedRouteIsOneOperation) {
  TableCompiler compiler("gw-");
  compiler.configure(config_, ids_);
  const auto port = tunnel_interface(*ids_.tunnel("site-a"));
  bgp::RouteChanges many;
  for (std::uint32_t i = 0; i < 10000; ++i) {
    auto route = learned("10.1.0.0/16", {port});
    route.prefix = IpPrefix(IpAddress::v4(0x0a000000U + (i << 8U)), 24);
    many.upserts.push_back(route);
  }
  EXPECT_EQ(compiler.learn("red", many).size(), 10000U);
  EXPECT_EQ(compiler.learn("red", {{learned("10.200.0.0/16", {port})}, {}}).size(), 1U);
  const auto withdrawn = compiler.learn("red", {{}, {prefix("10.200.0.0/16")}});
  ASSERT_EQ(withdrawn.size(), 1U);
  EXPECT_TRUE(withdrawn[0].delete_it);
  EXPECT_TRUE(compiler.learn("red", {{learned("10.201.0.0/16", {"eth0"})}, {}}).empty()) << "does not resolve";
  EXPECT_EQ(compiler.forget("red").size(), 10000U);
}

TEST_F(TableCompilerTest, RoutesOfADomainThatDoesNotChangeAreKept) {
  TableCompiler compiler("gw-");
  compiler.configure(config_, ids_);
  compiler.learn("red", {{learned("10.1.0.0/16", {tunnel_interface(*ids_.tunnel("site-a"))}), learned("10.2.0.0/16", {"tun99"})}, {}});
  compiler.learn("blue", {{learned("10.1.0.0/16", {tunnel_interface(*ids_.tunnel("site-b"))})}, {}});
  const ipc::Route* const red = route(compiler, "red", "10.1.0.0/16");
  const ipc::Route* const blue = route(compiler, "blue", "10.1.0.0/16");
  TableSet forwarder = compiler.tables();

  // What only blue has, and what is no route: the routes of red are not even made again.
  auto changed = config_;
  changed.domains[1].static_routes.pop_back();
  changed.vpcs[0].mtu_bytes = 1300;
  carry_out(forwarder, compiler.configure(changed, ids_));
  EXPECT_EQ(route(compiler, "red", "10.1.0.0/16"), red);
  EXPECT_NE(route(compiler, "blue", "10.1.0.0/16"), blue);
  EXPECT_EQ(forwarder, compiler.tables());
  TableCompiler full("gw-");
  full.learn("red", {{learned("10.1.0.0/16", {tunnel_interface(*ids_.tunnel("site-a"))})}, {}});
  full.learn("blue", {{learned("10.1.0.0/16", {tunnel_interface(*ids_.tunnel("site-b"))})}, {}});
  full.configure(changed, ids_);
  EXPECT_EQ(compiler.tables(), full.tables());

  // They still change when they are learned again.
  EXPECT_EQ(compiler.learn("red", {{}, {prefix("10.1.0.0/16")}}).size(), 1U);
  EXPECT_EQ(route(compiler, "red", "10.1.0.0/16"), nullptr);
}

TEST_F(TableCompilerTest, AStaticRouteFindsItsAttachmentByName) {
  auto& routes = config_.domains[1].static_routes;
  routes = {{prefix("10.9.0.0/16"), "site-b2"}, {prefix("10.10.0.0/16"), "site-a"}, {prefix("10.11.0.0/16"), "nobody"},
            {prefix("10.12.0.0/16"), "blue-vpc"}};
  config_.tunnels[1].enabled = false;
  routes.push_back({prefix("10.13.0.0/16"), "site-b"});
  ASSERT_TRUE(ids_.assign(config_));
  TableCompiler compiler("gw-");
  compiler.configure(config_, ids_);
  ASSERT_NE(route(compiler, "blue", "10.9.0.0/16"), nullptr);
  EXPECT_EQ(route(compiler, "blue", "10.9.0.0/16")->nexthops[0].attachment, ipc::AttachmentRef::tunnel(*ids_.tunnel("site-b2")));
  std::map<IpPrefix, std::string> reasons;
  for (const auto& view : compiler.domain("blue")->view({}).routes) reasons[view.prefix] = view.reason;
  EXPECT_EQ(reasons[prefix("10.10.0.0/16")], "tunnel site-a belongs to domain red");
  EXPECT_EQ(reasons[prefix("10.11.0.0/16")], "there is no tunnel or circuit nobody");
  EXPECT_EQ(reasons[prefix("10.12.0.0/16")], "there is no tunnel or circuit blue-vpc");
  EXPECT_EQ(reasons[prefix("10.13.0.0/16")], "tunnel site-b is disabled");
}

TEST_F(TableCompilerTest, GoingBackToTheConfigurationBeforeRestoresEverything) {
  TableCompiler compiler("gw-");
  compiler.configure(config_, ids_);
  compiler.learn("red", {{learned("10.1.0.0/16", {tunnel_interface(*ids_.tunnel("site-a"))})}, {}});
  const TableSet before = compiler.tables();
  GatewayConfig without_red = config_;
  without_red.domains.erase(without_red.domains.begin());
  without_red.vpcs.erase(without_red.vpcs.begin());
  without_red.tunnels.erase(without_red.tunnels.begin());
  TableSet forwarder = before;
  carry_out(forwarder, compiler.configure(without_red, ids_));
  EXPECT_EQ(forwarder, compiler.tables());
  EXPECT_EQ(route(compiler, "red", "10.1.0.0/16"), nullptr);
  carry_out(forwarder, compiler.configure(config_, ids_));
  EXPECT_EQ(forwarder, before) << "learned routes too";
}

// The oracle: after random changes, what the forwarder holds from operations equals a compiler that was told everything
// at once.
TEST_F(TableCompilerTest, IncrementalEqualsFullRebuildAfterRandomChanges) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto pick = [&](std::size_t below) { return std::uniform_int_distribution<std::size_t>(0, below - 1)(random); };

  TableCompiler compiler("gw-");
  TableSet forwarder;
  std::map<std::string, std::map<IpPrefix, bgp::LearnedRoute>> valid;
  GatewayConfig current = config_;
  carry_out(forwarder, compiler.configure(current, ids_));
  std::vector<std::string> interfaces{"eth0", "vpc101", "vpc102"};
  for (const auto& tunnel : config_.tunnels) interfaces.push_back(tunnel_interface(*ids_.tunnel(tunnel.name)));

  for (int step = 0; step < 400; ++step) {
    if (pick(5) == 0) {
      current = config_;
      for (auto& tunnel : current.tunnels) tunnel.enabled = pick(3) != 0;
      if (pick(3) == 0) current.domains[1].static_routes.clear();
      if (pick(3) == 0) current.vpcs[pick(2)].endpoints.clear();
      if (pick(3) == 0) current.vpcs.pop_back();
      if (pick(3) == 0) current.tunnels.erase(current.tunnels.begin() + static_cast<std::ptrdiff_t>(pick(3)));
      if (pick(4) == 0) {
        const auto gone = current.domains[pick(2)].name;
        std::erase_if(current.domains, [&](const auto& domain) { return domain.name == gone; });
        std::erase_if(current.vpcs, [&](const auto& vpc) { return vpc.domain == gone; });
        std::erase_if(current.tunnels, [&](const auto& tunnel) { return tunnel.domain == gone; });
      }
      carry_out(forwarder, compiler.configure(current, ids_));
    } else {
      const std::string domain = pick(2) == 0 ? "red" : "blue";
      bgp::RouteChanges changes;
      std::set<IpPrefix> used;
      for (std::size_t i = 0, count = 1 + pick(8); i < count; ++i) {
        const IpPrefix to(IpAddress::v4(0x0a090000U + static_cast<std::uint32_t>(pick(6) << 8U)),
                          static_cast<unsigned>(16 + 8 * pick(2)));
        if (!used.insert(to).second) continue;
        if (pick(3) == 0) {
          changes.withdrawals.push_back(to);
          valid[domain].erase(to);
          continue;
        }
        auto route = learned("10.0.0.0/8", {});
        route.prefix = to;
        for (std::size_t hop = 0, hops = pick(4); hop < hops; ++hop) {
          route.nexthops.push_back(
              {ip("169.254.10.2"), interfaces[pick(interfaces.size())], static_cast<std::uint16_t>(1 + pick(2))});
        }
        valid[domain][to] = route;
        changes.upserts.push_back(std::move(route));
      }
      carry_out(forwarder, compiler.learn(domain, changes));
    }

    TableCompiler full("gw-");
    full.configure(current, ids_);
    for (const auto& [domain, routes] : valid) {
      bgp::RouteChanges all;
      for (const auto& [to, route] : routes) all.upserts.push_back(route);
      full.learn(domain, all);
    }
    ASSERT_EQ(compiler.tables(), full.tables()) << "step " << step;
    ASSERT_EQ(forwarder, full.tables()) << "step " << step;
  }
}

TEST_F(TableCompilerTest, TunnelSpecsHaveTheirKeysAndIds) {
  config_.tunnels[1].encapsulation = Encapsulation::kUdp;
  config_.tunnels[2].enabled = false;
  const auto built = build_tunnel_specs(config_, ids_);
  EXPECT_TRUE(built.problems.empty());
  ASSERT_EQ(built.specs.size(), 2U);
  EXPECT_EQ(built.specs[0].name, "site-a");
  EXPECT_EQ(built.specs[0].id, *ids_.tunnel("site-a"));
  EXPECT_EQ(built.specs[0].psk, "secret of site-a long enough");
  EXPECT_FALSE(built.specs[0].force_udp);
  EXPECT_TRUE(built.specs[1].force_udp);
}

TEST_F(TableCompilerTest, ASecretThatCannotBeReadConcernsItsTunnelOnly) {
  std::filesystem::remove(config_.tunnels[0].psk_file);
  const auto built = build_tunnel_specs(config_, ids_);
  ASSERT_EQ(built.specs.size(), 3U);
  EXPECT_TRUE(built.specs[0].keep_as_is) << "what charon has of it stays";
  EXPECT_FALSE(built.specs[1].keep_as_is);
  ASSERT_TRUE(built.problems.contains("site-a"));
  EXPECT_NE(built.problems.at("site-a").what.find("site-a"), std::string::npos);
}

TEST_F(TableCompilerTest, ASpeakerOriginatesThePrefixesOfItsDomain) {
  config_.domains[0].bgp->neighbors[0].password_file = directory_.secret("md5", "bgp-password");
  const auto [spec, problem] = build_speaker_spec(config_, config_.domains[0], "gw-");
  EXPECT_FALSE(problem);
  EXPECT_EQ(spec.netns, "gw-red");
  EXPECT_EQ(spec.asn, 65010U);
  EXPECT_EQ(spec.originate, std::vector<IpPrefix>{prefix("172.16.1.0/24")});
  ASSERT_EQ(spec.neighbors.size(), 1U);
  EXPECT_EQ(spec.neighbors[0].password, "bgp-password");
  EXPECT_EQ(spec.neighbors[0].import, (std::vector<bgp::PrefixRule>{{prefix("10.0.0.0/8"), 24}}));
  EXPECT_EQ(spec.neighbors[0].export_, (std::vector<bgp::PrefixRule>{{prefix("172.16.0.0/12"), 24}}));
}

TEST_F(TableCompilerTest, APasswordThatCannotBeUsedConcernsItsNeighborOnly) {
  auto& neighbors = config_.domains[0].bgp->neighbors;
  neighbors.push_back(neighbors[0]);
  neighbors[0].name = "dublin";
  neighbors[0].password_file = directory_.secret("md5", "two words");
  const auto [spec, problem] = build_speaker_spec(config_, config_.domains[0], "gw-");
  ASSERT_EQ(spec.neighbors.size(), 2U);
  EXPECT_TRUE(spec.neighbors[0].keep_as_is);
  EXPECT_TRUE(spec.neighbors[0].password.empty());
  EXPECT_FALSE(spec.neighbors[1].keep_as_is);
  ASSERT_TRUE(problem);
  EXPECT_NE(problem->what.find("red/dublin: "), std::string::npos) << problem->what;
  EXPECT_EQ(problem->what.find("two words"), std::string::npos);
}

}  // namespace
}  // namespace simplon::control
