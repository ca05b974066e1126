// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/src/view.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/control/fakes.h"

namespace simplon::daemon {
namespace {

using control::ip;
using control::prefix;

class ViewTest : public ::testing::Test {
 protected:
  ViewTest() : config_(control::two_domains(directory_)) {
    stats_.generation = Generation(12);
    ipc::AttachmentStats tunnel;
    tunnel.attachment = ipc::AttachmentRef::tunnel(TunnelId(3));
    tunnel.mtu = 1438;
    tunnel.host_port_up = true;
    tunnel.rx_packets = 5;
    stats_.attachments = {tunnel};
    ipc::SaStats sa;
    sa.spi = Spi(0xc1a0f3e2);
    sa.tunnel = TunnelId(3);
    sa.inbound = true;
    sa.sequence = 17;
    ipc::SaStats foreign = sa;
    foreign.tunnel = TunnelId(4);
    stats_.sas = {sa, foreign};
    ipc::NeighborStats neighbor;
    neighbor.destination = ip("10.0.0.11");
    neighbor.interface = "fabric";
    neighbor.resolved = true;
    stats_.neighbors = {neighbor};
    status_.connected = status_.synchronized = status_.swept = true;
    status_.wanted = status_.confirmed = 12;
  }

  [[nodiscard]] std::optional<Programmed> programmed() const { return Programmed(stats_, status_); }

  control::TemporaryDirectory directory_;
  GatewayConfig config_;
  ipc::Stats stats_;
  control::TableProgrammer::Status status_;
};

TEST_F(ViewTest, ACircuitIsAsGoodAsItsUplinkAndItsNeighbors) {
  CircuitConfig circuit;
  circuit.name = "dallas";
  circuit.domain = config_.domains[0].name;
  circuit.uplink = "wan0";
  circuit.vlan = 7;
  circuit.addresses = {InterfaceAddress::parse("192.168.15.1/30").value()};
  ASSERT_TRUE(config_.domains[0].bgp.has_value());
  config_.domains[0].bgp->neighbors[0].address = ip("192.168.15.2");
  const auto state = [&] { return circuit_json(circuit, CircuitId(3), config_, programmed(), "gw-")["observed"]; };
  EXPECT_EQ(state()["state"], "down");
  EXPECT_EQ(state()["problem"], "its uplink wan0 is down");
  ipc::UplinkStats uplink;
  uplink.interface = "wan0";
  uplink.up = true;
  stats_.uplinks = {uplink};
  EXPECT_EQ(state()["state"], "no-neighbor");
  EXPECT_EQ(state()["problem"], "192.168.15.2 does not answer ARP");
  EXPECT_EQ(state()["hint"], "has the other end the same VLAN? ip netns exec gw-" + circuit.domain + " tcpdump -i cir3");
  ipc::NeighborStats neighbor;
  neighbor.destination = ip("192.168.15.2");
  neighbor.circuit = CircuitId(4);
  neighbor.resolved = true;
  stats_.neighbors.push_back(neighbor);
  EXPECT_EQ(state()["state"], "no-neighbor") << "that of another circuit";
  stats_.neighbors.back().circuit = CircuitId(3);
  EXPECT_EQ(state()["state"], "up");
  EXPECT_EQ(state()["neighbors"].size(), 1U);
  circuit.enabled = false;
  EXPECT_EQ(state()["state"], "disabled");
  EXPECT_EQ(circuit_json(circuit, CircuitId(3), config_, std::nullopt, "gw-")["interface"], "cir3");
}

TEST_F(ViewTest, ATunnelShowsWantedObservedAndProgrammed) {
  ipsec::TunnelStatus status;
  status.name = "site-a";
  status.state = ipsec::TunnelState::kUp;
  ipsec::TunnelStatus::Child child;
  child.spi_in = 0xc1a0f3e2;
  child.spi_out = 0x0000000a;
  status.children = {child};
  const auto json = tunnel_json(config_.tunnels[0], 3, &status, programmed());
  EXPECT_EQ(json["name"], "site-a");
  EXPECT_EQ(json["id"], 3);
  EXPECT_EQ(json["config"]["remote"], "198.51.100.1");
  EXPECT_EQ(json["observed"]["state"], "up");
  EXPECT_TRUE(json["observed"]["established_in_ms"].is_null()) << "unknown is not zero";
  EXPECT_EQ(json["observed"]["children"][0]["spi_in"], "c1a0f3e2");
  EXPECT_EQ(json["observed"]["children"][0]["spi_out"], "0000000a");
  EXPECT_EQ(json["programmed"]["mtu"], 1438);
  EXPECT_EQ(json["programmed"]["current"], true);
  ASSERT_EQ(json["programmed"]["sas"].size(), 1U);
  EXPECT_EQ(json["programmed"]["sas"][0]["sequence"], 17);
  EXPECT_EQ(json.dump().find("secret of"), std::string::npos);
}

TEST_F(ViewTest, ATunnelShowsThePathThatItsPacketsTake) {
  const auto path = [&] { return tunnel_json(config_.tunnels[0], 3, nullptr, programmed())["programmed"]["path"]; };
  EXPECT_TRUE(path().is_null()) << "nothing leaves";
  ipc::SaStats out;
  out.tunnel = TunnelId(3);
  out.active = true;
  out.destination = ip("198.51.100.1");
  stats_.sas.push_back(out);
  EXPECT_TRUE(path().is_null()) << "the underlay does not know the peer yet";
  ipc::NeighborStats neighbor;
  neighbor.destination = ip("198.51.100.1");
  neighbor.mtu = neighbor.learned_mtu = 1400;
  neighbor.learned_for_seconds = 599;
  stats_.neighbors.push_back(neighbor);
  EXPECT_EQ(path()["destination"], "198.51.100.1");
  EXPECT_EQ(path()["mtu"], 1400);
  EXPECT_EQ(path()["learned_mtu"], 1400);
  EXPECT_EQ(path()["learned_for_seconds"], 599);
  stats_.too_big = {{"learned", 1}, {"never_sent", 2}};
  EXPECT_EQ(drops_json(stats_)["packet_too_big"]["never_sent"], 2);
}

TEST_F(ViewTest, WhatIsNotKnownIsNull) {
  const auto json = tunnel_json(config_.tunnels[0], 3, nullptr, std::nullopt);
  EXPECT_EQ(json["observed"]["state"], "down");
  EXPECT_TRUE(json["programmed"].is_null());
  EXPECT_TRUE(tunnel_json(config_.tunnels[0], 99, nullptr, programmed())["programmed"].is_null());
  EXPECT_TRUE(vpc_json(config_.vpcs[0], std::nullopt)["programmed"].is_null());
  config_.tunnels[0].enabled = false;
  EXPECT_EQ(tunnel_json(config_.tunnels[0], 3, nullptr, programmed())["observed"]["state"], "disabled");
}

TEST_F(ViewTest, AVpcShowsWhichVtepsAreReachable) {
  const auto json = vpc_json(config_.vpcs[0], programmed());
  ASSERT_EQ(json["observed"]["vteps"].size(), 2U) << "each once";
  EXPECT_EQ(json["observed"]["vteps"][0]["address"], "10.0.0.11");
  EXPECT_EQ(json["observed"]["vteps"][0]["resolved"], true);
  EXPECT_EQ(json["observed"]["vteps"][1]["resolved"], false);
  EXPECT_NE(json["observed"]["problem"], "");
  EXPECT_EQ(json["config"]["endpoints"].size(), 3U);
}

TEST_F(ViewTest, ARouteSaysWhereItComesFromAndWhyItIsNotUsed) {
  control::RouteView route;
  route.prefix = prefix("10.1.0.0/16");
  route.source = control::RouteSource::kBgp;
  control::RouteView::Hop good;
  good.gateway = ip("169.254.10.2");
  good.interface = "tun3";
  good.attachment = ipc::AttachmentRef::tunnel(TunnelId(3));
  good.attachment_name = "site-a";
  control::RouteView::Hop bad;
  bad.interface = "eth0";
  bad.problem = "no attachment has the interface eth0";
  route.hops = {good, bad};
  route.resolved = route.selected = true;
  auto json = route_json(route, DomainId(1), status_);
  EXPECT_EQ(json["origin"], "bgp");
  EXPECT_EQ(json["action"], "forward");
  EXPECT_EQ(json["nexthops"][0]["kind"], "tunnel");
  EXPECT_EQ(json["nexthops"][0]["name"], "site-a");
  EXPECT_EQ(json["nexthops"][0]["gateway"], "169.254.10.2");
  EXPECT_EQ(json["nexthops"][1]["kind"], "unresolved");
  EXPECT_EQ(json["nexthops"][1]["problem"], "no attachment has the interface eth0");
  EXPECT_EQ(json["programmed"], true);

  status_.refused["route 10.1.0.0/16 in domain 1"] = "no room";
  EXPECT_EQ(route_json(route, DomainId(1), status_)["programmed"], false);

  route.source = control::RouteSource::kConnected;
  EXPECT_EQ(route_json(route, DomainId(1), status_)["origin"], "inside");
  route.hops[0].attachment = ipc::AttachmentRef::vpc(Vni(101));
  EXPECT_EQ(route_json(route, DomainId(1), status_)["origin"], "vpc");
}

TEST_F(ViewTest, BgpShowsEveryWantedNeighborEvenIfFrrSaysNothing) {
  bgp::SpeakerStatus status;
  status.running = true;
  auto json = domain_bgp_json(config_.domains[0], status);
  ASSERT_EQ(json["neighbors"].size(), 1U);
  EXPECT_EQ(json["neighbors"][0]["observed"]["state"], "Unknown");
  bgp::NeighborStatus neighbor;
  neighbor.name = "site-a";
  neighbor.state = "Established";
  neighbor.prefixes_accepted = 4;
  status.neighbors = {neighbor};
  json = domain_bgp_json(config_.domains[0], status);
  EXPECT_EQ(json["neighbors"][0]["observed"]["state"], "Established");
  EXPECT_EQ(json["neighbors"][0]["observed"]["prefixes_accepted"], 4);
}

TEST_F(ViewTest, ProblemsHaveAnObjectAndTheWordsOfWhoKnows) {
  std::vector<control::Problem> problems;
  ipsec::TunnelStatus down;
  down.name = "site-a";
  down.problem = "peer answered NO_PROPOSAL_CHOSEN";
  down.hint = "compare the proposals";
  ipsec::TunnelStatus up;
  up.name = "site-b";
  up.state = ipsec::TunnelState::kUp;
  config_.tunnels[2].enabled = false;
  const std::vector<ipsec::TunnelStatus> statuses{down, up};
  add_tunnel_problems(config_, TunnelStatuses(statuses), problems);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0],
            (control::Problem{"tunnel site-a", "down: peer answered NO_PROPOSAL_CHOSEN", "compare the proposals"}));

  problems.clear();
  ipc::UplinkStats uplink;
  uplink.interface = "wan";
  uplink.error = "there is no interface wan";
  stats_.uplinks = {uplink};
  stats_.neighbors[0].resolved = false;
  add_forwarder_problems(config_, stats_, problems);
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_EQ(problems[0].object, "uplink wan");
  EXPECT_EQ(problems[1].object, "vtep 10.0.0.11") << "once, although both VPCs use it";
}

}  // namespace
}  // namespace simplon::daemon
