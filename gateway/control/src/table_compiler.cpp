// SPDX-License-Identifier: GPL-2.0-or-later
//
// From names to ids. Two kinds of change reach the tables: the operator's (rare, may touch everything) and the
// neighbors' (frequent, one route at a time). The first compiles a whole TableSet, except the routes of domains that look as
// before, and compares it with the one that was sent; the second looks up one prefix. Both end as the same operations, and a
// test keeps the two ways equal.
//
// A disabled tunnel or circuit is not in the tables at all: no host port, so its BGP session ends by itself; its id is
// kept.

#include "gateway/control/table_compiler.h"

#include <algorithm>
#include <set>
#include <utility>

#include "gateway/config/document.h"
#include "gateway/control/src/attachment_index.h"
#include "gateway/control/src/policy_compiler.h"
#include "platform/crypto/sha256.h"

namespace simplon::control {

namespace {

void add_own_address(DomainLayout& layout, const InterfaceAddress& own, ipc::AttachmentRef attachment,
                     const std::string& name) {
  layout.routes.push_back({IpPrefix::host(own.address), RouteSource::kLocal, attachment, name, {}});
}

void add_tunnel(DomainLayout& layout, const TunnelConfig& tunnel, TunnelId id) {
  if (!tunnel.enabled) return;
  const auto attachment = ipc::AttachmentRef::tunnel(id);
  layout.ports[tunnel_interface(id)] = {attachment, tunnel.name};
  for (const auto& inside : tunnel.inside) {
    add_own_address(layout, inside, attachment, tunnel.name);
    if (inside.length < inside.address.bits()) {
      layout.routes.push_back({inside.network(), RouteSource::kConnected, attachment, tunnel.name, {}});
    }
  }
}

void add_vpc(DomainLayout& layout, const VpcConfig& vpc) {
  const auto attachment = ipc::AttachmentRef::vpc(vpc.vni);
  layout.ports[vpc_interface(vpc.vni)] = {attachment, vpc.name};
  for (const auto& gateway : vpc.gateway) add_own_address(layout, gateway, attachment, vpc.name);
  for (const auto& prefix : vpc.prefixes) {
    layout.routes.push_back({prefix, RouteSource::kConnected, attachment, vpc.name, {}});
  }
}

void add_circuit(DomainLayout& layout, const CircuitConfig& circuit, CircuitId id) {
  if (!circuit.enabled) return;
  const auto attachment = ipc::AttachmentRef::circuit(id);
  layout.ports[circuit_interface(id)] = {attachment, circuit.name};
  for (const auto& own : circuit.addresses) {
    add_own_address(layout, own, attachment, circuit.name);
    if (own.length < own.address.bits()) {
      layout.routes.push_back({own.network(), RouteSource::kConnected, attachment, circuit.name, {}});
    }
  }
}

/// Why an attachment cannot carry a static route of a domain; empty: it can.
template <class Attachment>
std::string why_not(const Attachment& attachment, const std::string& kind, const std::string& domain) {
  if (attachment.domain != domain) return kind + " " + attachment.name + " belongs to domain " + attachment.domain;
  return attachment.enabled ? "" : kind + " " + attachment.name + " is disabled";
}

void add_static_route(DomainLayout& layout, const StaticRouteConfig& route, const AttachmentIndex& attachments,
                      const config::IdRegistry& ids) {
  ConfiguredRoute configured{route.prefix, RouteSource::kStatic, {}, route.via, {}, route.gateway, route.distance};
  const auto named = attachments.find(route.via);
  if (const auto tunnel = ids.tunnel(route.via); named.tunnel != nullptr && tunnel) {
    configured.problem = why_not(*named.tunnel, "tunnel", layout.name);
    if (configured.problem.empty()) configured.attachment = ipc::AttachmentRef::tunnel(*tunnel);
  } else if (const auto circuit = ids.circuit(route.via); named.circuit != nullptr && circuit) {
    configured.problem = why_not(*named.circuit, "circuit", layout.name);
    if (configured.problem.empty()) configured.attachment = ipc::AttachmentRef::circuit(*circuit);
  } else {
    configured.problem = "there is no tunnel or circuit " + route.via;
  }
  layout.routes.push_back(std::move(configured));
}

ipc::Vpc compile_vpc(const VpcConfig& vpc, DomainId domain, const GatewayConfig& config) {
  ipc::Vpc compiled;
  compiled.vni = vpc.vni;
  compiled.name = vpc.name;
  compiled.domain = domain;
  compiled.vtep = config.vtep.value_or(IpAddress{});
  compiled.udp_port = config.vxlan_port;
  compiled.gateway_mac = vpc.gateway_mac.is_zero() ? config::default_gateway_mac(vpc.vni) : vpc.gateway_mac;
  compiled.prefixes = vpc.prefixes;
  compiled.mtu = vpc.mtu_bytes;
  // Only compute hosts that have an endpoint of this VPC may send into it.
  std::set<IpAddress> vteps;
  for (const auto& endpoint : vpc.endpoints) vteps.insert(endpoint.vtep);
  compiled.accepted_vteps.assign(vteps.begin(), vteps.end());
  return compiled;
}

ipc::HostPort compile_host_port(ipc::AttachmentRef attachment, std::string interface, std::string netns,
                                const std::vector<InterfaceAddress>& addresses, std::uint16_t mtu) {
  ipc::HostPort port;
  port.attachment = attachment;
  port.interface = std::move(interface);
  port.netns = std::move(netns);
  port.addresses = addresses;
  port.mtu = mtu;
  return port;
}

}  // namespace

std::string tunnel_interface(TunnelId id) { return "tun" + std::to_string(id.value()); }
std::string vpc_interface(Vni vni) { return "vpc" + std::to_string(vni.value()); }
std::string circuit_interface(CircuitId id) { return "cir" + std::to_string(id.value()); }

namespace {

/// Attachments, own addresses and static routes of each domain, by domain name. Names must have ids in `ids`.
std::map<std::string, DomainLayout> domain_layouts(const GatewayConfig& config, const config::IdRegistry& ids,
                                                   const AttachmentIndex& attachments) {
  std::map<std::string, DomainLayout> layouts;
  for (const auto& domain : config.domains) {
    const auto id = ids.domain(domain.name);
    if (!id) continue;
    auto& layout = layouts[domain.name];
    layout.id = *id;
    layout.name = domain.name;
    for (const auto& route : domain.static_routes) add_static_route(layout, route, attachments, ids);
  }
  for (const auto& tunnel : config.tunnels) {
    const auto layout = layouts.find(tunnel.domain);
    const auto id = ids.tunnel(tunnel.name);
    if (layout != layouts.end() && id) add_tunnel(layout->second, tunnel, *id);
  }
  for (const auto& circuit : config.circuits) {
    const auto layout = layouts.find(circuit.domain);
    const auto id = ids.circuit(circuit.name);
    if (layout != layouts.end() && id) add_circuit(layout->second, circuit, *id);
  }
  for (const auto& vpc : config.vpcs) {
    const auto layout = layouts.find(vpc.domain);
    if (layout != layouts.end()) add_vpc(layout->second, vpc);
  }
  return layouts;
}

/// The forwarder's tables for `config`, except the routes.
/// Changes with what ipsec::can_change calls another negotiation. Never 0.
std::uint64_t negotiation_of(const TunnelConfig& tunnel) {
  std::string words = tunnel.local.to_string() + '\n' + (tunnel.remote ? tunnel.remote->to_string() : std::string()) + '\n' + tunnel.local_id +
                      '\n' + tunnel.remote_id + '\n' + std::to_string(static_cast<unsigned>(tunnel.encapsulation)) + '\n' +
                      std::to_string(tunnel.replay_window) + '\n';
  for (const auto* proposals : {&tunnel.ike_proposals, &tunnel.esp_proposals}) {
    for (const auto& proposal : *proposals) words += '\n' + proposal;
    words += '\n';
  }
  const std::uint64_t mark = std::stoull(crypto::sha256_hex(words).substr(0, 16), nullptr, 16);
  return mark == 0 ? 1 : mark;
}

TableSet compile_objects(const GatewayConfig& config, const config::IdRegistry& ids, const AttachmentIndex& attachments,
                         const std::string& netns_prefix,
                         const std::set<std::string>& held) {
  TableSet tables;
  for (const auto& domain : config.domains) {
    if (const auto id = ids.domain(domain.name)) tables.domains[*id] = {*id, domain.name};
  }
  for (const auto& uplink : config.uplinks) tables.uplinks[uplink.interface] = {uplink.interface};

  for (const auto& vpc : config.vpcs) {
    const auto domain = ids.domain(vpc.domain);
    if (!domain) continue;
    tables.vpcs[vpc.vni] = compile_vpc(vpc, *domain, config);
    const auto attachment = ipc::AttachmentRef::vpc(vpc.vni);
    tables.host_ports[attachment] =
        compile_host_port(attachment, vpc_interface(vpc.vni), netns_prefix + vpc.domain, vpc.gateway, vpc.mtu_bytes);
    for (const auto& endpoint : vpc.endpoints) {
      tables.endpoints[{vpc.vni, endpoint.address}] = {vpc.vni, endpoint.address, endpoint.mac, endpoint.vtep};
    }
  }

  for (const auto& tunnel : config.tunnels) {
    const auto domain = ids.domain(tunnel.domain);
    const auto id = ids.tunnel(tunnel.name);
    if (!tunnel.enabled || !domain || !id) continue;
    ipc::Tunnel compiled;
    compiled.id = *id;
    compiled.name = tunnel.name;
    compiled.domain = *domain;
    compiled.local = tunnel.local;
    compiled.mtu = tunnel.mtu_bytes.value_or(0);
    compiled.clamp_mss = tunnel.clamp_mss;
    compiled.outer_df = static_cast<ipc::OuterDf>(tunnel.outer_df);
    compiled.ignores_df = tunnel.inner_df == InnerDf::kIgnore;
    compiled.negotiation = negotiation_of(tunnel);
    compiled.closed = held.contains(tunnel.name);
    tables.tunnels[*id] = std::move(compiled);
    const auto attachment = ipc::AttachmentRef::tunnel(*id);
    tables.host_ports[attachment] =
        compile_host_port(attachment, tunnel_interface(*id), netns_prefix + tunnel.domain, tunnel.inside,
                          std::min(tunnel.mtu_bytes.value_or(kTunnelHostPortMtu), kTunnelHostPortMtu));
  }
  compile_policies(config, ids, attachments, tables);

  for (const auto& circuit : config.circuits) {
    const auto domain = ids.domain(circuit.domain);
    const auto id = ids.circuit(circuit.name);
    if (!circuit.enabled || !domain || !id) continue;
    ipc::Circuit compiled;
    compiled.id = *id;
    compiled.name = circuit.name;
    compiled.domain = *domain;
    compiled.interface = circuit.uplink;
    compiled.vlan = circuit.vlan;
    compiled.outer_vlan = circuit.outer_vlan.value_or(0);
    compiled.outer_type = circuit.outer_type == OuterTag::k8021q ? 0x8100 : 0x88a8;
    compiled.mtu = circuit.mtu_bytes;
    compiled.clamp_mss = circuit.clamp_mss;
    tables.circuits[*id] = std::move(compiled);
    const auto attachment = ipc::AttachmentRef::circuit(*id);
    tables.host_ports[attachment] = compile_host_port(attachment, circuit_interface(*id), netns_prefix + circuit.domain,
                                                      circuit.addresses, circuit.mtu_bytes);
  }
  return tables;
}

}  // namespace

std::vector<ipc::Operation> TableCompiler::configure(const GatewayConfig& config, const config::IdRegistry& ids,
                                                     const std::set<std::string>& held) {
  const AttachmentIndex attachments(config);
  TableSet wanted = compile_objects(config, ids, attachments, netns_prefix_, held);
  auto layouts = domain_layouts(config, ids, attachments);
  for (auto& [name, routes] : domains_) {
    if (!layouts.contains(name)) routes.unconfigure();
  }
  // Of a domain whose layout stays the routes are the same: they are neither resolved nor compared.
  decltype(tables_.routes) unchanged;
  for (auto& [name, layout] : layouts) {
    auto& routes = domains_[name];
    const auto id = layout.id;
    if (!routes.configure(std::move(layout))) {
      unchanged.insert(tables_.routes.extract(id));
      continue;
    }
    for (auto& route : routes.resolve_all()) wanted.set_route(id, IpPrefix(route.prefix), std::move(route));
  }
  auto operations = difference(tables_, wanted);
  wanted.routes.merge(unchanged);
  tables_ = std::move(wanted);
  return operations;
}

std::vector<ipc::Operation> TableCompiler::learn(const std::string& domain, const bgp::RouteChanges& changes) {
  auto& routes = domains_[domain];
  std::vector<ipc::Operation> upserts;
  std::vector<ipc::Operation> removals;
  for (const auto& prefix : routes.learn(changes)) {
    auto operation = tables_.set_route(routes.layout().id, prefix, routes.resolve(prefix));
    if (operation) (operation->delete_it ? removals : upserts).push_back(*std::move(operation));
  }
  upserts.insert(upserts.end(), std::make_move_iterator(removals.begin()), std::make_move_iterator(removals.end()));
  return upserts;
}

std::vector<ipc::Operation> TableCompiler::forget(const std::string& domain) {
  const auto found = domains_.find(domain);
  if (found == domains_.end()) return {};
  return learn(domain, {{}, found->second.learned_prefixes()});
}

const DomainRoutes* TableCompiler::domain(std::string_view name) const {
  const auto found = domains_.find(name);
  return found == domains_.end() ? nullptr : &found->second;
}

}  // namespace simplon::control
