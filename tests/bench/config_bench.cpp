// SPDX-License-Identifier: GPL-2.0-or-later
//
// C5: a change of one object in a configuration of 10,000 takes at most a second, and disturbs nothing else.
//
//     config_bench [OBJECTS]
//
// The reconciler, the store on a real disk and the compiler are the product's. Forwarder, charon and FRR remember what
// they are told and take no time; so what is measured is ours, and what they are told is counted: that is what would
// disturb them. Prints one line per part, worst of the runs, and fails when the whole takes more than a second.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "tests/unit/control/reconciler_fixture.h"

namespace simplon::control {
namespace {

constexpr int kRuns = 10;
constexpr double kLimitMs = 1000;

struct Sizes {
  std::size_t domains = 20;
  std::size_t vpcs = 100;
  std::size_t tunnels = 1000;
  std::size_t neighbors = 1000;
  std::size_t endpoints = 0;
};

IpAddress address(std::uint32_t base, std::size_t offset) {
  return IpAddress::v4(base + static_cast<std::uint32_t>(offset));
}

GatewayConfig gateway_of(const Sizes& sizes, const TemporaryDirectory& directory) {
  GatewayConfig config;
  config.name = "edge";
  config.vtep = ip("10.255.0.1");
  config.uplinks = {{"wan0"}, {"fab0"}};
  const std::string psk = directory.secret("psk", "a key that is long enough");
  for (std::size_t d = 0; d < sizes.domains; ++d) {
    DomainConfig domain;
    domain.name = "domain-" + std::to_string(d);
    domain.bgp = BgpConfig{static_cast<std::uint32_t>(64512 + d), address(0x0aff0100, d), {}};
    config.domains.push_back(domain);
  }
  for (std::size_t i = 0; i < sizes.tunnels; ++i) {
    TunnelConfig tunnel;
    tunnel.name = "site-" + std::to_string(i);
    tunnel.domain = config.domains[i % sizes.domains].name;
    tunnel.local = ip("192.0.2.1");
    tunnel.remote = address(0xc6336400 - 4096, i);
    tunnel.local_id = "edge";
    tunnel.remote_id = tunnel.name;
    tunnel.psk_file = psk;
    tunnel.ike_proposals = {"aes256gcm16-prfsha384-ecp384"};
    tunnel.esp_proposals = {"aes256gcm16"};
    tunnel.inside = {InterfaceAddress::parse(address(0x64400001, 4 * i).to_string() + "/30").value()};
    config.tunnels.push_back(tunnel);
    if (i >= sizes.neighbors) continue;
    BgpNeighborConfig neighbor;
    neighbor.name = tunnel.name;
    neighbor.address = address(0x64400002, 4 * i);
    neighbor.remote_asn = static_cast<std::uint32_t>(4200000000 + i);
    neighbor.import = {{prefix("10.0.0.0/8"), 24}};
    neighbor.export_ = {{prefix("172.16.0.0/12"), 24}};
    config.domains[i % sizes.domains].bgp->neighbors.push_back(neighbor);
  }
  const std::size_t each = sizes.endpoints / sizes.vpcs;
  for (std::size_t v = 0; v < sizes.vpcs; ++v) {
    VpcConfig vpc;
    vpc.name = "vpc-" + std::to_string(v);
    vpc.domain = config.domains[v % sizes.domains].name;
    vpc.vni = Vni(static_cast<std::uint32_t>(1000 + v));
    const std::uint32_t base = 0xac100000 + static_cast<std::uint32_t>(v << 12);
    vpc.prefixes = {IpPrefix::parse(address(base, 0).to_string() + "/20").value()};
    vpc.gateway = {InterfaceAddress::parse(address(base, 1).to_string() + "/20").value()};
    vpc.gateway_mac = config::default_gateway_mac(vpc.vni);
    for (std::size_t e = 0; e < each; ++e) {
      EndpointConfig endpoint;
      endpoint.address = address(base, 10 + e);
      endpoint.mac = {{0x02, 0, 0, static_cast<std::uint8_t>(v), static_cast<std::uint8_t>(e >> 8), static_cast<std::uint8_t>(e)}};
      endpoint.vtep = address(0x0aff0a00, e % 200);
      vpc.endpoints.push_back(endpoint);
    }
    config.vpcs.push_back(vpc);
  }
  return config;
}

int run(std::size_t objects) {
  Daemon::World world;
  Sizes sizes;
  const std::size_t others = sizes.domains + sizes.vpcs + sizes.tunnels + sizes.neighbors;
  if (objects < 2 * others) {
    std::fprintf(stderr, "config_bench: at least %zu objects\n", 2 * others);
    return 2;
  }
  sizes.endpoints = objects - others;
  auto config = gateway_of(sizes, world.directory);
  Daemon daemon(world, 1000);
  daemon->start();
  const auto apply = [&](const GatewayConfig& wanted) {
    ApplyCommand command;
    command.document = config::emit_document(wanted);
    command.who = "bench";
    return finish(world.io, daemon->apply(std::move(command)));
  };
  const auto settled = [&] {
    return run_until(world.io, [&] { return daemon->settled() && daemon->programmed().current(); });
  };
  if (const auto first = apply(config); !first) {
    std::fprintf(stderr, "config_bench: %s\n", first.error().front().message().c_str());
    return 1;
  }
  if (!settled()) return 1;

  std::map<std::string, double> worst;
  std::size_t most = 0;
  const auto note = [&](const char* part, double ms) { worst[part] = std::max(worst[part], ms); };
  for (int i = 0; i < kRuns; ++i) {
    auto& endpoint = config.vpcs[static_cast<std::size_t>(i) * 7 % sizes.vpcs].endpoints[3];
    endpoint.mac.bytes[1] = static_cast<std::uint8_t>(i + 1);
    world.forwarder->updates.clear();
    const auto begun = std::chrono::steady_clock::now();
    const auto outcome = apply(config);
    const std::chrono::duration<double, std::milli> whole = std::chrono::steady_clock::now() - begun;
    if (!outcome || !outcome->applied) return 1;
    if (!settled()) return 1;
    note("1 read (parse, validate)", outcome->timing.read);
    note("2 compare (diff)", outcome->timing.compare);
    note("3 stage (disk)", outcome->timing.stage);
    note("4 compile", outcome->timing.compile);
    note("5 program", outcome->timing.program);
    note("6 commit (disk)", outcome->timing.commit);
    note("7 all, with the document written by the client", whole.count());
    std::size_t operations = 0;
    for (const auto& update : world.forwarder->updates) operations += update.size();
    most = std::max(most, operations);
  }
  std::printf("one endpoint changed in %zu objects (%zu domains, %zu VPCs, %zu tunnels, %zu neighbors, %zu endpoints)\n",
              objects, sizes.domains, sizes.vpcs, sizes.tunnels, sizes.neighbors, sizes.endpoints);
  for (const auto& [part, ms] : worst) std::printf("  %-50s %8.1f ms\n", part.c_str() + 2, ms);
  std::printf("  %-50s %8zu\n", "operations told to the forwarder", most);
  const double all = worst["7 all, with the document written by the client"];
  if (all > kLimitMs || most != 1) {
    std::printf("FAILED: at most %.0f ms and one operation\n", kLimitMs);
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace simplon::control

int main(int argc, char** argv) {
  return simplon::control::run(argc > 1 ? static_cast<std::size_t>(std::strtoul(argv[1], nullptr, 10)) : 10000);
}
