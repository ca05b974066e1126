// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "gateway/config/secret.h"
#include "tests/unit/config/sample.h"

namespace simplon::config {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

GatewayConfig full() { return parse_document(kFullDocument).config; }

std::string told(const std::vector<Issue>& issues) {
  std::string all;
  for (const auto& issue : issues) all += issue.message() + "\n";
  return all;
}

TEST(Validate, TheFullDocumentIsValid) {
  const auto issues = validate(full(), {.check_files = false});
  EXPECT_FALSE(has_errors(issues)) << told(issues);
}

struct Mistake {
  const char* name;
  std::function<void(GatewayConfig&)> make;
  const char* path;
  const char* word;
  Severity severity = Severity::kError;
  ErrorCode code = ErrorCode::kInvalidConfig;
};

class ValidateMistake : public ::testing::TestWithParam<Mistake> {};

TEST_P(ValidateMistake, IsFoundWhereItIs) {
  GatewayConfig config = full();
  GetParam().make(config);
  const auto issues = validate(config, {.check_files = false});
  const auto found = std::find_if(issues.begin(), issues.end(), [](const Issue& issue) {
    return issue.path == GetParam().path && issue.severity == GetParam().severity;
  });
  ASSERT_NE(found, issues.end()) << told(issues);
  EXPECT_THAT(found->message(), HasSubstr(GetParam().word));
  EXPECT_EQ(found->code, GetParam().code);
}

IpAddress ip(const char* text) { return *IpAddress::parse(text); }
IpPrefix net(const char* text) { return *IpPrefix::parse(text); }
InterfaceAddress addr(const char* text) { return *InterfaceAddress::parse(text); }

constexpr auto kConflict = ErrorCode::kConflict;
constexpr auto kError = Severity::kError;
constexpr auto kWarning = Severity::kWarning;

BgpNeighborConfig& neighbor(GatewayConfig& c) { return c.domains[0].bgp->neighbors[0]; }

INSTANTIATE_TEST_SUITE_P(
    All, ValidateMistake,
    ::testing::Values(
        Mistake{"VtepMulticast", [](auto& c) { c.vtep = ip("239.1.1.1"); }, "gateway.vtep", "239.1.1.1"},
        Mistake{"VtepMissing", [](auto& c) { c.vtep.reset(); }, "gateway.vtep", "missing"},
        Mistake{"NoUplink", [](auto& c) { c.uplinks.clear(); }, "uplinks", "no uplink", kWarning},
        Mistake{"UplinkTwice", [](auto& c) { c.uplinks[1] = c.uplinks[0]; }, "uplinks[1].interface", "'wan0' exists already, at uplinks[0]", kError, kConflict},
        Mistake{"DomainTwice", [](auto& c) { c.domains[1].name = "prod"; }, "domains[1].name", "'prod' exists", kError, kConflict},
        Mistake{"VpcTwice", [](auto& c) { c.vpcs[1].name = "red"; }, "vpcs[1].name", "'red' exists", kError, kConflict},
        Mistake{"TunnelTwice", [](auto& c) { c.tunnels[1].name = "paris"; }, "tunnels[1].name", "'paris' exists", kError, kConflict},
        Mistake{"NeighborTwice", [](auto& c) { c.domains[0].bgp->neighbors.push_back(neighbor(c)); }, "domains[0].bgp.neighbors[1].name", "exists", kError, kConflict},
        Mistake{"NeighborAddressTwice", [](auto& c) { c.domains[0].bgp->neighbors.push_back(neighbor(c)); c.domains[0].bgp->neighbors[1].name = "other"; }, "domains[0].bgp.neighbors[1].address", "'paris-router'", kError, kConflict},
        Mistake{"AsnZero", [](auto& c) { c.domains[0].bgp->asn = 0; }, "domains[0].bgp.asn", "RFC 7607"},
        Mistake{"AsnTrans", [](auto& c) { c.domains[0].bgp->asn = 23456; }, "domains[0].bgp.asn", "RFC 6793"},
        Mistake{"AsnLast16", [](auto& c) { neighbor(c).remote_asn = 65535; }, "domains[0].bgp.neighbors[0].asn", "RFC 7300"},
        Mistake{"AsnLast32", [](auto& c) { neighbor(c).remote_asn = 4294967295U; }, "domains[0].bgp.neighbors[0].asn", "RFC 7300"},
        Mistake{"AsnDocumentation", [](auto& c) { neighbor(c).remote_asn = 64500; }, "domains[0].bgp.neighbors[0].asn", "RFC 5398", kWarning},
        Mistake{"RouterIdZero", [](auto& c) { c.domains[0].bgp->router_id = ip("0.0.0.0"); }, "domains[0].bgp.router-id", "0.0.0.0"},
        Mistake{"RouterIdV6", [](auto& c) { c.domains[0].bgp->router_id = ip("2001:db8::1"); }, "domains[0].bgp.router-id", "2001:db8::1"},
        Mistake{"NeighborOutsideLinks", [](auto& c) { neighbor(c).address = ip("169.254.11.2"); }, "domains[0].bgp.neighbors[0].address", "169.254.10.0/30 (paris)"},
        Mistake{"NeighborInLinkOfOtherDomain", [](auto& c) { c.tunnels[0].domain = "test"; c.domains[0].static_routes.clear(); }, "domains[0].bgp.neighbors[0].address", "no inside link of domain 'prod'"},
        Mistake{"NeighborIsOurself", [](auto& c) { neighbor(c).address = ip("169.254.10.1"); }, "domains[0].bgp.neighbors[0].address", "our own address", kError, kConflict},
        Mistake{"NeighborIsBroadcast", [](auto& c) { neighbor(c).address = ip("169.254.10.3"); }, "domains[0].bgp.neighbors[0].address", "not the address of a host"},
        Mistake{"KeepaliveNotShorter", [](auto& c) { neighbor(c).keepalive = neighbor(c).hold; }, "domains[0].bgp.neighbors[0].keepalive", "hold"},
        Mistake{"KeepaliveOverAThirdOfHold", [](auto& c) { neighbor(c).keepalive = std::chrono::seconds(20); neighbor(c).hold = std::chrono::seconds(30); }, "domains[0].bgp.neighbors[0].keepalive", "keepalives are sent every 10s", kWarning},
        Mistake{"ImportNothing", [](auto& c) { neighbor(c).import.clear(); }, "domains[0].bgp.neighbors[0].import", "nothing is accepted", kWarning},
        Mistake{"ExportNothing", [](auto& c) { neighbor(c).export_.clear(); }, "domains[0].bgp.neighbors[0].export", "nothing is announced", kWarning},
        Mistake{"RouteViaNothing", [](auto& c) { c.domains[0].static_routes[0].via = "pariss"; }, "domains[0].static-routes[0].via", "did you mean 'paris'?"},
        Mistake{"RouteViaOtherDomain", [](auto& c) { c.domains[1].static_routes.push_back({net("10.9.0.0/16"), "paris"}); }, "domains[1].static-routes[0].via", "belongs to domain 'prod'", kError, kConflict},
        Mistake{"RouteTwice", [](auto& c) { c.domains[0].static_routes[1] = c.domains[0].static_routes[0]; }, "domains[0].static-routes[1].prefix", "twice", kError, kConflict},
        Mistake{"RouteMulticast", [](auto& c) { c.domains[0].static_routes[0].prefix = net("224.0.0.0/4"); }, "domains[0].static-routes[0].prefix", "cannot be routed"},
        Mistake{"RouteInsideVpc", [](auto& c) { c.domains[0].static_routes[0].prefix = net("10.20.0.0/25"); }, "domains[0].static-routes[0].prefix", "overlaps 10.20.0.0/24 of VPC 'red'", kError, kConflict},
        Mistake{"RouteEqualsVpc", [](auto& c) { c.domains[0].static_routes[0].prefix = net("10.20.0.0/24"); }, "domains[0].static-routes[0].prefix", "overlaps", kError, kConflict},
        Mistake{"VpcDomainUnknown", [](auto& c) { c.vpcs[0].domain = "prodd"; }, "vpcs[0].domain", "did you mean 'prod'?"},
        Mistake{"VniTwice", [](auto& c) { c.vpcs[1].vni = Vni(100); }, "vpcs[1].vni", "VNI 100 belongs to VPC 'red'", kError, kConflict},
        Mistake{"VpcWithoutPrefix", [](auto& c) { c.vpcs[1].prefixes.clear(); }, "vpcs[1].prefixes", "no prefix"},
        Mistake{"VpcMulticast", [](auto& c) { c.vpcs[0].prefixes[0] = net("224.0.0.0/8"); }, "vpcs[0].prefixes[0]", "cannot be"},
        Mistake{"VpcEverything", [](auto& c) { c.vpcs[1].prefixes[0] = net("0.0.0.0/0"); }, "vpcs[1].prefixes[0]", "cannot be"},
        Mistake{"VpcMtuTooSmallForV6", [](auto& c) { c.vpcs[0].mtu_bytes = 1279; }, "vpcs[0].mtu", "1280"},
        Mistake{"VpcWithoutGateway", [](auto& c) { c.vpcs[0].gateway.clear(); }, "vpcs[0].gateway", "no gateway address", kWarning},
        Mistake{"GatewayOutside", [](auto& c) { c.vpcs[0].gateway[0] = addr("10.21.0.1/24"); }, "vpcs[0].gateway[0]", "outside VPC 'red'"},
        Mistake{"GatewayNetworkTooWide", [](auto& c) { c.vpcs[0].gateway[0] = addr("10.20.0.1/16"); }, "vpcs[0].gateway[0]", "outside"},
        Mistake{"GatewayIsNetworkAddress", [](auto& c) { c.vpcs[0].gateway[0] = addr("10.20.0.0/24"); }, "vpcs[0].gateway[0]", "not the address of a host"},
        Mistake{"GatewayTwoOfAFamily", [](auto& c) { c.vpcs[0].gateway[1] = addr("10.20.0.2/24"); }, "vpcs[0].gateway[1]", "same family"},
        Mistake{"GatewayMacMulticast", [](auto& c) { c.vpcs[0].gateway_mac = *MacAddress::parse("01:00:5e:00:00:01"); }, "vpcs[0].gateway-mac", "station"},
        Mistake{"EndpointOutside", [](auto& c) { c.vpcs[0].endpoints[0].address = ip("10.99.0.5"); }, "vpcs[0].endpoints[0].address", "10.99.0.5 is outside VPC 'red'"},
        Mistake{"EndpointTwice", [](auto& c) { c.vpcs[0].endpoints[1].address = c.vpcs[0].endpoints[0].address; }, "vpcs[0].endpoints[1].address", "already, at vpcs[0].endpoints[0]", kError, kConflict},
        Mistake{"EndpointIsGateway", [](auto& c) { c.vpcs[0].endpoints[0].address = ip("10.20.0.1"); }, "vpcs[0].endpoints[0].address", "gateway of VPC", kError, kConflict},
        Mistake{"EndpointIsBroadcast", [](auto& c) { c.vpcs[0].endpoints[0].address = ip("10.20.0.255"); }, "vpcs[0].endpoints[0].address", "not the address of a host"},
        Mistake{"EndpointMacMulticast", [](auto& c) { c.vpcs[0].endpoints[0].mac = *MacAddress::parse("ff:ff:ff:ff:ff:ff"); }, "vpcs[0].endpoints[0].mac", "station"},
        Mistake{"EndpointMacIsGateways", [](auto& c) { c.vpcs[0].endpoints[0].mac = c.vpcs[0].gateway_mac; }, "vpcs[0].endpoints[0].mac", "gateway", kError, kConflict},
        Mistake{"EndpointMacAtTwoVteps", [](auto& c) { c.vpcs[0].endpoints[1].vtep = ip("10.255.0.12"); }, "vpcs[0].endpoints[1].mac", "10.255.0.11 already", kError, kConflict},
        Mistake{"EndpointVtepIsOurs", [](auto& c) { c.vpcs[0].endpoints[0].vtep = ip("10.255.0.1"); }, "vpcs[0].endpoints[0].vtep", "our own", kError, kConflict},
        Mistake{"EndpointVtepFamily", [](auto& c) { c.vpcs[0].endpoints[0].vtep = ip("2001:db8::1"); }, "vpcs[0].endpoints[0].vtep", "IP version"},
        Mistake{"EndpointVtepUnspecified", [](auto& c) { c.vpcs[0].endpoints[0].vtep = ip("0.0.0.0"); }, "vpcs[0].endpoints[0].vtep", "not the address of a host"},
        Mistake{"TunnelDomainUnknown", [](auto& c) { c.tunnels[0].domain = "nope"; }, "tunnels[0].domain", "no domain 'nope'"},
        Mistake{"LocalMulticast", [](auto& c) { c.tunnels[0].local = ip("224.0.0.1"); }, "tunnels[0].local", "not the address of a host"},
        Mistake{"RemoteLoopback", [](auto& c) { c.tunnels[0].remote = ip("127.0.0.1"); }, "tunnels[0].remote", "not the address of a host"},
        Mistake{"FamiliesDiffer", [](auto& c) { c.tunnels[0].remote = ip("2001:db8::7"); }, "tunnels[0].remote", "IP version"},
        Mistake{"BothEndsEqual", [](auto& c) { c.tunnels[0].remote = c.tunnels[0].local; }, "tunnels[0].remote", "both ends"},
        Mistake{"NoRemoteNoId", [](auto& c) { c.tunnels[1].remote_id.clear(); }, "tunnels[1].remote-id", "missing"},
        Mistake{"NoRemoteButInitiate", [](auto& c) { c.tunnels[1].initiate = true; }, "tunnels[1].initiate", "wait"},
        Mistake{"SameEnds", [](auto& c) { c.tunnels[1].remote = c.tunnels[0].remote; c.tunnels[1].local_id = "gw"; c.tunnels[1].remote_id = c.tunnels[0].remote_id; }, "tunnels[1].remote", "'paris' has the same ends", kError, kConflict},
        Mistake{"SameIdsOtherKey", [](auto& c) { c.tunnels[0].enabled = true; c.tunnels[1].local_id = c.tunnels[0].local_id; c.tunnels[1].remote_id = c.tunnels[0].remote_id; }, "tunnels[1].psk-file", "'paris' has the same identities 'gw' and 'CN=paris, O=x' and another key file, /secrets/paris", kWarning},
        Mistake{"SamePeerOtherKey", [](auto& c) { c.tunnels[0].enabled = true; c.tunnels[1].remote_id = c.tunnels[0].remote_id; }, "tunnels[1].psk-file", "'paris' has the same remote-id 'CN=paris, O=x' and another key file, /secrets/paris", kWarning},
        Mistake{"SameIdsTheOtherWayRound", [](auto& c) { c.tunnels[0].enabled = true; c.tunnels[1].local_id = c.tunnels[0].remote_id; c.tunnels[1].remote_id = c.tunnels[0].local_id; }, "tunnels[1].psk-file", "has the local-id 'gw', which is the remote-id of this one, and another key file", kWarning},
        Mistake{"WeakIke", [](auto& c) { c.tunnels[0].ike_proposals = {"des-sha1-modp2048"}; }, "tunnels[0].ike-proposals[0]", "DES"},
        Mistake{"WeakEsp", [](auto& c) { c.tunnels[0].esp_proposals = {"aes128gcm16-modp768"}; }, "tunnels[0].esp-proposals[0]", "DH group 1"},
        Mistake{"ProposalTwice", [](auto& c) { c.tunnels[0].esp_proposals = {"aes128gcm16", "aes128gcm16"}; }, "tunnels[0].esp-proposals[1]", "twice", kError, kConflict},
        Mistake{"InsideIsNetworkAddress", [](auto& c) { c.tunnels[0].inside[0] = addr("169.254.10.0/30"); }, "tunnels[0].inside[0]", "not the address of a host"},
        Mistake{"InsideTwoOfAFamily", [](auto& c) { c.tunnels[0].inside[1] = addr("169.254.12.1/30"); }, "tunnels[0].inside[1]", "same family"},
        Mistake{"InsideOverlapsVpc", [](auto& c) { c.tunnels[1].inside = {addr("10.20.0.130/30")}; }, "tunnels[1].inside[0]", "overlaps 10.20.0.0/24 of VPC 'red'", kError, kConflict},
        Mistake{"InsideOverlapsInside", [](auto& c) { c.tunnels[1].inside = {addr("169.254.10.2/30")}; }, "tunnels[1].inside[0]", "inside link of tunnel 'paris'", kError, kConflict},
        Mistake{"MtuTooSmallForV6", [](auto& c) { c.tunnels[0].mtu_bytes = 1279; }, "tunnels[0].mtu", "1280"},
        Mistake{"VpcsOverlap", [](auto& c) { c.vpcs[1].domain = "prod"; }, "vpcs[1].prefixes[0]", "overlaps 10.20.0.0/24 of VPC 'red' in domain 'prod'", kError, kConflict}),
    [](const auto& parameter) { return parameter.param.name; });

CircuitConfig& circuit(GatewayConfig& c) { return c.circuits[0]; }
StaticRouteConfig& over_circuit(GatewayConfig& c) { return c.domains[0].static_routes[2]; }

/// Beside the one of the document, in order.
CircuitConfig& another(GatewayConfig& c) {
  CircuitConfig more = c.circuits[0];
  more.name = "dallas-1";
  more.vlan = 8;
  more.addresses = {addr("192.168.15.5/30")};
  more.path = CircuitPath::kPrimary;
  return c.circuits.emplace_back(more);
}

INSTANTIATE_TEST_SUITE_P(
    Circuits, ValidateMistake,
    ::testing::Values(
        Mistake{"RouteWithoutGateway", [](auto& c) { over_circuit(c).gateway.reset(); }, "domains[0].static-routes[2].gateway", "the provider's router"},
        Mistake{"RouteGatewayElsewhere", [](auto& c) { over_circuit(c).gateway = ip("192.168.16.2"); }, "domains[0].static-routes[2].gateway", "its links are 192.168.15.0/30"},
        Mistake{"RouteGatewayIsOurself", [](auto& c) { over_circuit(c).gateway = ip("192.168.15.1"); }, "domains[0].static-routes[2].gateway", "our own address", kError, kConflict},
        Mistake{"RouteGatewayIsBroadcast", [](auto& c) { over_circuit(c).gateway = ip("192.168.15.3"); }, "domains[0].static-routes[2].gateway", "not the address of a host"},
        Mistake{"RouteGatewayOfOtherFamily", [](auto& c) { over_circuit(c).gateway = ip("fd00:15::2"); }, "domains[0].static-routes[2].gateway", "same IP version"},
        Mistake{"RouteGatewayOnATunnel", [](auto& c) { c.domains[0].static_routes[0].gateway = ip("169.254.10.2"); }, "domains[0].static-routes[0].gateway", "is not for tunnel 'paris'"},
        Mistake{"RouteViaTunnelAndCircuit", [](auto& c) { circuit(c).name = "paris"; c.domains[0].static_routes.pop_back(); }, "domains[0].static-routes[0].via", "a tunnel and of a circuit", kError, kConflict},
        Mistake{"RouteOverCircuitOfOtherDomain", [](auto& c) { circuit(c).domain = "test"; }, "domains[0].static-routes[2].via", "circuit 'dallas' belongs to domain 'test'", kError, kConflict},
        Mistake{"CircuitTwice", [](auto& c) { another(c).name = "dallas"; }, "circuits[1].name", "circuit 'dallas' exists already", kError, kConflict},
        Mistake{"CircuitDomainUnknown", [](auto& c) { circuit(c).domain = "prodd"; }, "circuits[0].domain", "did you mean 'prod'?"},
        Mistake{"CircuitUplinkUnknown", [](auto& c) { circuit(c).uplink = "wan9"; }, "circuits[0].uplink", "there is no uplink 'wan9'"},
        Mistake{"CircuitVlanTwice", [](auto& c) { another(c).vlan = 7; }, "circuits[1].vlan", "VLAN 7 in VLAN 300 on wan0 belongs to circuit 'dallas'", kError, kConflict},
        Mistake{"CircuitOuterTypeAlone", [](auto& c) { circuit(c).outer_vlan.reset(); }, "circuits[0].outer-type", "'outer-vlan'"},
        Mistake{"CircuitWithoutAddress", [](auto& c) { circuit(c).addresses.clear(); }, "circuits[0].addresses", "has no address"},
        Mistake{"CircuitTwoOfAFamily", [](auto& c) { circuit(c).addresses[1] = addr("192.168.16.1/30"); }, "circuits[0].addresses[1]", "same family"},
        Mistake{"CircuitBroadcast", [](auto& c) { circuit(c).addresses[0] = addr("192.168.15.3/30"); }, "circuits[0].addresses[0]", "not the address of a host"},
        Mistake{"CircuitLinkLocal", [](auto& c) { circuit(c).addresses[1] = addr("fe80::1/64"); }, "circuits[0].addresses[1]", "not the address of a host"},
        Mistake{"CircuitWithoutRoomForANeighbor", [](auto& c) { circuit(c).addresses[0] = addr("192.168.15.1/32"); }, "circuits[0].addresses[0]", "leaves no address"},
        Mistake{"CircuitMtuTooSmallForV6", [](auto& c) { circuit(c).mtu_bytes = 1279; }, "circuits[0].mtu", "1280"},
        Mistake{"CircuitOverlapsVpc", [](auto& c) { circuit(c).addresses[0] = addr("10.20.0.129/30"); }, "circuits[0].addresses[0]", "overlaps 10.20.0.0/24 of VPC 'red'", kError, kConflict},
        Mistake{"CircuitOverlapsInside", [](auto& c) { circuit(c).addresses[0] = addr("169.254.10.2/30"); }, "circuits[0].addresses[0]", "inside link of tunnel 'paris'", kError, kConflict},
        Mistake{"CircuitsOverlap", [](auto& c) { another(c).addresses = {addr("192.168.15.2/30")}; }, "circuits[1].addresses[0]", "circuit 'dallas'", kError, kConflict},
        Mistake{"Ipv4RuleOfAnIpv6NeighborOnACircuit", [](auto& c) { neighbor(c).address = ip("fd00:15::2"); }, "domains[0].bgp.neighbors[0].import[0]", "IPv4 routes of fd00:15::2, an IPv6 neighbor on circuit 'dallas', lead nowhere", kWarning},
        Mistake{"NeighborIsOurselfOnACircuit", [](auto& c) { neighbor(c).address = ip("192.168.15.1"); }, "domains[0].bgp.neighbors[0].address", "our own address in circuit 'dallas'", kError, kConflict},
        Mistake{"OnlyPathOfALine", [](auto&) {}, "circuits[0].service-key", "the only path of its line", kWarning},
        Mistake{"SamePathTwice", [](auto& c) { another(c).path = CircuitPath::kSecondary; }, "circuits[1].path", "'dallas' is this path of the line already", kError, kConflict},
        Mistake{"LineInTwoDomains", [](auto& c) { another(c).domain = "test"; }, "circuits[1].domain", "in domain 'prod'", kError, kConflict}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(Validate, AnIpv6NeighborMayHaveIpv4RulesInATunnelOnly) {
  GatewayConfig config = full();
  const auto warned = [&config] {
    const auto issues = validate(config, {.check_files = false});
    EXPECT_FALSE(has_errors(issues)) << told(issues);
    return std::any_of(issues.begin(), issues.end(), [](const Issue& issue) { return issue.path == "domains[0].bgp.neighbors[0].import[0]"; });
  };
  neighbor(config).address = ip("fd00:10::2");
  EXPECT_FALSE(warned());
  neighbor(config).address = ip("fd00:15::2");
  EXPECT_TRUE(warned());
  neighbor(config).import = {{net("2001:db8:1::/48"), 64}};
  EXPECT_FALSE(warned());
}

TEST(Validate, BothPathsOfALineAreFine) {
  GatewayConfig config = full();
  another(config);
  neighbor(config).address = ip("192.168.15.6");
  const auto issues = validate(config, {.check_files = false});
  EXPECT_FALSE(has_errors(issues)) << told(issues);
  EXPECT_THAT(told(issues), ::testing::Not(HasSubstr("service-key")));
}

TEST(Validate, TheSameVlanElsewhereIsAnother) {
  GatewayConfig config = full();
  another(config).uplink = "fab0";
  config.circuits[1].vlan = 7;
  another(config).outer_vlan = 301;
  config.circuits[2].vlan = 7;
  config.circuits[2].name = "austin";
  config.circuits[2].addresses = {addr("192.168.15.9/30")};
  config.circuits[2].service_key.reset();
  const auto issues = validate(config, {.check_files = false});
  EXPECT_FALSE(has_errors(issues)) << told(issues);
}

TEST(Validate, SamePrefixInTwoDomainsIsFine) {
  GatewayConfig config = full();
  EXPECT_EQ(config.vpcs[0].prefixes[0], config.vpcs[1].prefixes[0]);
  EXPECT_FALSE(has_errors(validate(config, {.check_files = false})));
}

TEST(Validate, OverlapsAgreeWithTheSlowComparison) {
  std::uint32_t state = 7;  // fixed seed
  const auto random = [&](std::uint32_t below) {
    state = state * 1664525U + 1013904223U;
    return (state >> 8) % below;
  };
  for (int round = 0; round < 300; ++round) {
    GatewayConfig config;
    config.name = "gw";
    config.vtep = ip("10.255.0.1");
    config.domains.push_back({"prod", std::nullopt, {}});
    std::vector<IpPrefix> prefixes;
    for (std::uint32_t i = 0; i < 8; ++i) {
      VpcConfig vpc;
      vpc.name = "v" + std::to_string(i);
      vpc.domain = "prod";
      vpc.vni = Vni(i + 1);
      vpc.gateway_mac = default_gateway_mac(vpc.vni);
      const unsigned length = 8 + random(17);
      vpc.prefixes.push_back(IpPrefix(IpAddress::v4(0x0a000000U | (random(16) << 20) | (random(16) << 12)), length));
      prefixes.push_back(vpc.prefixes[0]);
      config.vpcs.push_back(vpc);
    }
    bool overlap = false;
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
      for (std::size_t j = i + 1; j < prefixes.size(); ++j) overlap = overlap || prefixes[i].overlaps(prefixes[j]);
    }
    EXPECT_EQ(has_errors(validate(config)), overlap) << round;
  }
}

TEST(Proposals, OfIke) {
  for (const char* good :
       {"aes256gcm16-prfsha384-ecp384", "aes128-sha256-modp2048", "aes256-sha1-modp2048",
        "chacha20poly1305-prfsha256-x25519", "aes128-aes256-sha256-sha512-modp3072-ecp256", "aes192-sha512-modp4096"}) {
    EXPECT_TRUE(check_ike_proposal(good)) << good;
  }
  const std::vector<std::pair<const char*, const char*>> kBad = {
      {"", "unknown algorithm ''"},
      {"-", "unknown"},
      {"des-sha1-modp2048", "DES is broken"},
      {"aes128-md5-modp2048", "MD5"},
      {"aes128-sha256-modp768", "group 1"},
      {"aes128-sha256-modp1024", "group 2"},
      {"aes128-sha256-modp1536", "group 5"},
      {"aes256", "integrity"},
      {"aes256-sha256", "Diffie-Hellman"},
      {"sha256-modp2048", "no cipher"},
      {"aes256gcm16-ecp384", "pseudo-random"},
      {"aes256gcm16-sha256-ecp384", "no integrity"},
      {"aes256gcm16-aes128-sha256-ecp384", "two proposals"},
      {"aes256gcm-prfsha384-ecp384", "did you mean 'aes256gcm16'"},
      {"AES256-SHA256-MODP2048", "unknown"}};
  for (const auto& [bad, word] : kBad) {
    const auto checked = check_ike_proposal(bad);
    ASSERT_FALSE(checked) << bad;
    EXPECT_EQ(checked.error().code, ErrorCode::kInvalidConfig);
    EXPECT_THAT(checked.error().message(), HasSubstr(word)) << bad;
  }
}

TEST(Proposals, OfEsp) {
  for (const char* good : {"aes128gcm16", "aes192gcm16", "aes256gcm16-ecp384", "aes256gcm16-aes128gcm16-modp2048-esn-noesn",
                           "chacha20poly1305-x25519", "aes256-sha256", "aes128-aes192-sha384-sha512-modp2048-esn"})
    EXPECT_TRUE(check_esp_proposal(good)) << good;
  const std::vector<std::pair<const char*, const char*>> kBad = {
      {"aes256-sha1", "forwarder does not implement 'sha1'"},
      {"aes256-modp2048", "needs an integrity algorithm"},
      {"aes256gcm16-aes128-sha256", "two proposals"},
      {"aes256gcm16-sha256", "remove sha256"},
      {"ecp384", "no cipher"},
      {"3des-md5", "3DES"},
      {"null-sha256", "does not encrypt"},
      {"null-sha256", "allow-weak"},
      {"aes256-sha256-modp1024", "allow-weak"},
      {"aes256gcm8", "did you mean"}};
  for (const auto& [bad, word] : kBad) {
    const auto checked = check_esp_proposal(bad);
    ASSERT_FALSE(checked) << bad;
    EXPECT_THAT(checked.error().message(), HasSubstr(word)) << bad;
  }
}

TEST(Proposals, WeakOnesArePermittedOnRequestAndBrokenOnesNever) {
  for (const char* weak : {"null-sha256", "null-sha512-modp1024", "aes256-sha256-modp1536-esn", "aes256gcm16-modp1024"}) {
    EXPECT_FALSE(check_esp_proposal(weak)) << weak;
    EXPECT_TRUE(check_esp_proposal(weak, true)) << weak;
  }
  for (const char* weak : {"3des-sha1-modp1024", "aes128-sha256-modp1536", "aes256gcm16-prfsha384-modp1024"}) {
    EXPECT_FALSE(check_ike_proposal(weak)) << weak;
    EXPECT_TRUE(check_ike_proposal(weak, true)) << weak;
  }
  for (const char* broken : {"null", "null-aes256gcm16-sha256", "3des-sha256", "des-sha256", "aes256-md5", "aes256-sha256-modp768"}) {
    EXPECT_FALSE(check_esp_proposal(broken, true)) << broken;
  }
  for (const char* broken : {"des-sha1-modp2048", "aes128-md5-modp2048", "aes128-sha256-modp768", "null-sha256-modp2048"}) {
    EXPECT_FALSE(check_ike_proposal(broken, true)) << broken;
  }
}

TEST(Validate, AllowWeakIsAWarningWhereItIsUsed) {
  GatewayConfig config = full();
  const auto about = [&config] {
    std::vector<Issue> issues = validate(config, {.check_files = false});
    std::erase_if(issues, [](const Issue& issue) { return issue.path != "tunnels[0].esp-proposals[1]"; });
    return issues;
  };
  config.tunnels[0].esp_proposals = {"aes256gcm16", "null-sha256"};
  config.tunnels[0].allow_weak = true;
  ASSERT_EQ(about().size(), 1U);
  EXPECT_EQ(about()[0].severity, Severity::kWarning);
  EXPECT_THAT(about()[0].message(), HasSubstr("does not encrypt"));
  config.tunnels[0].allow_weak = false;
  ASSERT_EQ(about().size(), 1U);
  EXPECT_EQ(about()[0].severity, Severity::kError);
}

TEST(Validate, TunnelsOfOnePairOfIdentitiesShareTheirKey) {
  GatewayConfig config = full();
  config.tunnels[0].enabled = true;
  config.tunnels[1].local_id = config.tunnels[0].local_id;
  config.tunnels[1].remote_id = config.tunnels[0].remote_id;
  const auto warned = [&config] {
    const auto issues = validate(config, {.check_files = false});
    return std::any_of(issues.begin(), issues.end(), [](const Issue& issue) { return issue.path == "tunnels[1].psk-file"; });
  };
  EXPECT_TRUE(warned());
  config.tunnels[1].psk_file = config.tunnels[0].psk_file;
  EXPECT_FALSE(warned());
  // charon has no key of a tunnel that is not enabled.
  config.tunnels[1].psk_file = "/secrets/berlin";
  config.tunnels[0].enabled = false;
  EXPECT_FALSE(warned());
}

TEST(ClosestMatch, FindsTypingMistakesAndNothingElse) {
  const std::vector<std::string> keys = {"name", "domain", "psk-file", "local", "local-id"};
  EXPECT_EQ(closest_match("domian", keys), "domain");
  EXPECT_EQ(closest_match("nmae", keys), "name");
  EXPECT_EQ(closest_match("psk", keys), "psk-file");
  EXPECT_EQ(closest_match("psk_file", keys), "psk-file");
  EXPECT_EQ(closest_match("zebra", keys), "");
  EXPECT_EQ(closest_match("", keys), "");
  EXPECT_EQ(closest_match(std::string(1000, 'a'), keys), "");
}

TEST(NoSuch, NamesWhatWasMeantOrWhatThereIs) {
  const Error guessed = no_such("tunnel", "pariss", {"rome", "paris"}).value();
  EXPECT_EQ(guessed.code, ErrorCode::kInvalidConfig);
  EXPECT_EQ(guessed.what, "there is no tunnel 'pariss'");
  EXPECT_EQ(guessed.hint, "did you mean 'paris'?");
  EXPECT_EQ(no_such("tunnel", "zzz", {"rome", "paris"}).value().hint, "there is rome, paris");
  EXPECT_EQ(no_such("tunnel", "zzz", {}).value().hint, "there is none at all");
  std::vector<std::string> many;
  for (int i = 1; i <= 9; ++i) many.push_back("tunnel-" + std::to_string(i));
  EXPECT_EQ(no_such("tunnel", "zzz", many).value().hint,
            "there is tunnel-1, tunnel-2, tunnel-3, tunnel-4, tunnel-5, tunnel-6, tunnel-7, tunnel-8, ...");
}

class SecretFile : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& content, mode_t mode) {
    const std::string path = (folder_.path() / name).string();
    std::ofstream(path) << content;
    ::chmod(path.c_str(), mode);
    return path;
  }
  TemporaryFolder folder_;
};

TEST_F(SecretFile, PrivateRegularNonEmptyIsFine) {
  EXPECT_TRUE(check_secret_file(write("good", "key\n", 0600)));
  EXPECT_TRUE(check_secret_file(write("readonly", "key\n", 0400)));
}

TEST_F(SecretFile, EverythingElseIsRefusedWithTheRemedy) {
  const auto why = [](const std::string& path) {
    const auto checked = check_secret_file(path);
    return checked ? std::string("accepted") : checked.error().message();
  };
  EXPECT_THAT(why((folder_.path() / "nowhere").string()), HasSubstr("does not exist"));
  EXPECT_THAT(why("relative"), HasSubstr("absolute"));
  EXPECT_THAT(why(write("world", "key", 0604)), HasSubstr("chmod 0600"));
  EXPECT_THAT(why(write("world2", "key", 0644)), HasSubstr("everybody"));
  EXPECT_THAT(why(write("group", "key", 0640)), HasSubstr("group"));
  EXPECT_THAT(why(write("empty", "", 0600)), HasSubstr("empty"));
  EXPECT_THAT(why(write("long", std::string(5000, 'x'), 0600)), HasSubstr("5000 bytes"));
  EXPECT_THAT(why(folder_.path().string()), HasSubstr("not a regular file"));
  const std::string link = (folder_.path() / "link").string();
  std::filesystem::create_symlink(write("target", "key", 0600), link);
  EXPECT_THAT(why(link), HasSubstr("symbolic link"));
  const std::string fifo = (folder_.path() / "fifo").string();
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(why(fifo), HasSubstr("not a regular file"));
}

TEST_F(SecretFile, WhatWeMayNotReadIsRefusedWithTheRemedy) {
  const std::string path = write("closed", "key", 0000);
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // root reads everything.
    const bool other = ::geteuid() != 0 || ::setresuid(65534, 65534, 65534) == 0;
    const auto checked = check_secret_file(path);
    const std::string told = !other ? "still root" : checked ? "accepted" : checked.error().message();
    ::_exit(::write(ends[1], told.data(), told.size()) < 0 ? 1 : 0);
  }
  ::close(ends[1]);
  std::string told(4096, '\0');
  const auto got = ::read(ends[0], told.data(), told.size());
  told.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  EXPECT_THAT(told, AllOf(HasSubstr("cannot be read by simplond"), HasSubstr("chown "), HasSubstr(path)));
}

TEST_F(SecretFile, IsLookedAtByValidateAndNeverQuoted) {
  GatewayConfig config = full();
  config.tunnels[0].psk_file = write("open", "the secret itself", 0644);
  config.tunnels[1].psk_file = write("good", "another secret", 0600);
  config.domains[0].bgp->neighbors[0].password_file = (folder_.path() / "nowhere").string();
  const auto issues = validate(config);
  const std::string all = told(issues);
  EXPECT_THAT(all, HasSubstr("tunnels[0].psk-file"));
  EXPECT_THAT(all, HasSubstr("domains[0].bgp.neighbors[0].password-file"));
  EXPECT_THAT(all, ::testing::Not(HasSubstr("tunnels[1].psk-file")));
  EXPECT_THAT(all, ::testing::Not(HasSubstr("secret itself")));
}

}  // namespace
}  // namespace simplon::config
