// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/oracle/world.h"

#include <algorithm>

namespace simplon::oracle {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace

InboundSa::InboundSa(const InstallInbound& install)
    : spec(install.spec),
      cipher(install.spec.suite, install.spec.key.bytes(), install.spec.integrity_key.bytes()),
      seen(install.spec.replay_window) {
  if (install.used > 0) seen.see(install.used);
  settled = seen.highest();
}

OutboundSa::OutboundSa(const SetOutbound& set)
    : spec(set.spec),
      cipher(set.spec.suite, set.spec.key.bytes(), set.spec.integrity_key.bytes()),
      sequence(set.used) {}

bool covers(const IpPrefix& prefix, const IpAddress& address) {
  if (prefix.family() != address.family()) return false;
  const View network = prefix.address().bytes();
  const View bytes = address.bytes();
  for (unsigned bit = 0; bit < prefix.length(); bit += 8) {
    const unsigned bits = std::min(8U, prefix.length() - bit);
    const auto mask = static_cast<std::uint8_t>(0xff00U >> bits);
    if (((network[bit / 8] ^ bytes[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

void World::apply(const Change& change) {
  const auto set_path = [](auto& sas, auto key, const forward::SaPath& path) {
    const auto found = sas.find(key);
    if (found != sas.end()) found->second.spec.path = path;
  };
  const auto untie = [this](AttachmentId attachment) {
    const auto entry = host_ports.find(attachment);
    if (entry == host_ports.end()) return;
    const auto owner = tied.find(entry->second.port);
    if (owner != tied.end() && owner->second == attachment) tied.erase(owner);
  };
  std::visit(Overloaded{
                 [&](const PutDomain& put) { domains.insert(put.domain); },
                 [&](const RemoveDomain& remove) { domains.erase(remove.domain); },
                 [&](const VpcEntry& vpc) { vpcs.insert_or_assign(vpc.vni, vpc); },
                 [&](const RemoveVpc& remove) { vpcs.erase(remove.vni); },
                 [&](const EndpointEntry& endpoint) {
                   endpoints.insert_or_assign({endpoint.vni, endpoint.address}, endpoint);
                 },
                 [&](const RemoveEndpoint& remove) {
                   endpoints.erase({remove.vni, remove.address});
                 },
                 [&](const TunnelEntry& tunnel) { tunnels.insert_or_assign(tunnel.id, tunnel); },
                 [&](const RemoveTunnel& remove) { tunnels.erase(remove.id); },
                 [&](const HostPortEntry& entry) {
                   untie(entry.attachment);
                   host_ports.insert_or_assign(entry.attachment, entry);
                   tied.insert_or_assign(entry.port, entry.attachment);
                 },
                 [&](const RemoveHostPort& remove) {
                   untie(remove.attachment);
                   host_ports.erase(remove.attachment);
                 },
                 [&](const RouteEntry& route) {
                   std::vector<RouteEntry>& table = routes[route.domain];
                   std::erase_if(table, [&route](const RouteEntry& other) { return other.prefix == route.prefix; });
                   table.push_back(route);
                   std::sort(table.back().nexthops.begin(), table.back().nexthops.end());
                 },
                 [&](const RemoveRoute& remove) {
                   std::erase_if(routes[remove.domain],
                                 [&remove](const RouteEntry& other) { return other.prefix == remove.prefix; });
                 },
                 [&](const Port& port) {
                   ports.insert_or_assign(port.id, port);
                   port_traffic.try_emplace(port.id);
                 },
                 [&](const RemovePort& remove) {
                   ports.erase(remove.id);
                   port_traffic.erase(remove.id);
                 },
                 [&](const SetAdjacency& set) { adjacencies.insert_or_assign(set.destination, set.entry); },
                 [&](const InstallInbound& install) { inbound.try_emplace(install.spec.spi, install); },
                 [&](const RemoveInbound& remove) { inbound.erase(remove.spi); },
                 [&](const SetOutbound& set) {
                   outbound.erase(set.spec.tunnel);
                   outbound.try_emplace(set.spec.tunnel, set);
                 },
                 [&](const ClearOutbound& clear) { outbound.erase(clear.tunnel); },
                 [&](const MoveInbound& move) { set_path(inbound, move.spi, move.path); },
                 [&](const MoveOutbound& move) { set_path(outbound, move.tunnel, move.path); },
                 [&](const CircuitEntry& circuit) { circuits.insert_or_assign(circuit.id, circuit); },
                 [&](const RemoveCircuit& remove) { circuits.erase(remove.id); },
                 [&](const NeighborEntry& neighbor) {
                   neighbors.insert_or_assign({neighbor.circuit, neighbor.address}, neighbor.mac);
                 },
                 [&](const RemoveNeighbor& remove) {
                   neighbors.erase({remove.circuit, remove.address});
                 },
                 [&](const AclEntry& acl) { acls[acl.name].replace(acl); },
                 [&](const RemoveAcl& remove) { acls.erase(remove.name); },
                 [&](const PolicyEntry& entry) {
                   PolicyEntry& present = policies[entry.attachment];
                   if (present.from != entry.from || present.to != entry.to) policy.meters.erase(entry.attachment);
                   present = entry;
                 },
                 [&](const RemovePolicy& remove) {
                   policies.erase(remove.attachment);
                   policy.meters.erase(remove.attachment);
                 },
                 [&](const NatEntry& entry) {
                   nats.insert_or_assign(entry.domain, entry);
                   policy.keep_counts(entry);
                 },
                 [&](const RemoveNat& remove) {
                   nats.erase(remove.domain);
                   policy.keep_counts({remove.domain, {}});
                 },
             },
             change);
  std::erase_if(traffic, [this](const auto& item) { return !mentioned(item.first); });
  std::erase_if(adjacencies, [this](const auto& item) { return !wanted(item.first); });
  // Whose name comes back later is another one.
  policy.forget([this](AttachmentId attachment) { return attachment.id != 0 && !mentioned(attachment); },
                [this](const Hop& hop) { return !mentioned(hop); });
  std::erase_if(policy.ways, [this](const auto& item) {
    return !mentioned(std::get<AttachmentId>(item.first)) || !mentioned(Hop{item.second.egress, item.second.gateway});
  });
}

bool World::mentioned(const Hop& hop) const {
  if (!hop.gateway) return mentioned(hop.attachment);
  return std::any_of(routes.begin(), routes.end(), [&hop](const auto& table) {
    return std::any_of(table.second.begin(), table.second.end(), [&hop](const RouteEntry& route) {
      const std::vector<Hop> hops = hops_of(route.nexthops);
      return route.action == forward::RouteAction::kForward && std::find(hops.begin(), hops.end(), hop) != hops.end();
    });
  });
}

bool World::mentioned(AttachmentId attachment) const {
  if (domain_of(attachment) || host_ports.contains(attachment)) return true;
  if (attachment.kind == forward::AttachmentKind::kTunnel) {
    if (outbound.contains(TunnelId{attachment.id})) return true;
    for (const auto& [spi, sa] : inbound) {
      if (sa.spec.tunnel.value() == attachment.id) return true;
    }
  }
  if (policies.contains(attachment)) return true;
  for (const auto& [domain, nat] : nats) {
    for (const forward::NatRuleEntry& rule : nat.rules) {
      if (rule.kind != forward::NatKind::kDestination && rule.attachment == attachment) return true;
    }
  }
  for (const auto& [domain, table] : routes) {
    for (const RouteEntry& route : table) {
      if (route.action == forward::RouteAction::kUnreachable) continue;
      for (const auto& hop : route.nexthops) {
        if (hop.attachment == attachment) return true;
      }
    }
  }
  return false;
}

bool World::is_uplink(PortId id) const {
  const auto port = ports.find(id);
  return port != ports.end() && port->second.kind == forward::PortKind::kUplink;
}

bool World::is_usable(const Hop& hop) const {
  const AttachmentId to = hop.attachment;
  if (!domain_of(to)) return false;
  if (to.kind == forward::AttachmentKind::kTunnel) {
    const auto sa = outbound.find(TunnelId{to.id});
    if (sa == outbound.end()) return false;
    const auto way = adjacencies.find(sa->second.spec.path.destination);
    return way != adjacencies.end() && way->second.resolved && is_uplink(way->second.port);
  }
  if (to.kind == forward::AttachmentKind::kVpc) return true;
  const CircuitId circuit{to.id};
  return is_uplink(circuits.at(circuit).port) && (!hop.gateway || neighbors.contains({circuit, *hop.gateway}));
}

std::vector<Hop> World::usable_of(const std::vector<Hop>& hops) const {
  std::vector<Hop> usable;
  for (const Hop& hop : hops) {
    if (is_usable(hop)) usable.push_back(hop);
  }
  return usable;
}

std::vector<Hop> World::taking_part(const RouteEntry& route) const {
  const std::vector<Hop> hops = hops_of(route.nexthops);
  const std::vector<Hop> usable = usable_of(hops);
  return usable.empty() ? hops : usable;
}

bool World::leads_to(DomainId domain, AttachmentId attachment) const {
  const auto table = routes.find(domain);
  const auto names = [attachment](const auto& hop) { return hop.attachment == attachment; };
  if (table != routes.end() && std::any_of(table->second.begin(), table->second.end(), [&names](const RouteEntry& route) {
        return std::any_of(route.nexthops.begin(), route.nexthops.end(), names);
      })) {
    return true;
  }
  return std::any_of(policy.ways.begin(), policy.ways.end(), [&](const auto& item) {
    return std::get<DomainId>(item.first) == domain && item.second.egress == attachment;
  });
}

std::vector<Hop> World::hops_of(const std::vector<forward::NextHopEntry>& nexthops) {
  std::vector<Hop> hops;
  for (const auto& hop : nexthops) {
    const Hop to{hop.attachment, hop.gateway};
    if (std::find(hops.begin(), hops.end(), to) == hops.end()) hops.push_back(to);
  }
  return hops;
}

bool World::policed(DomainId domain) const {
  if (nats.contains(domain)) return true;
  return std::any_of(policies.begin(), policies.end(),
                     [domain](const auto& item) { return item.second.domain == domain; });
}

const CircuitEntry* World::circuit_with(PortId port, std::uint16_t outer_vlan, std::uint16_t vlan) const {
  for (const auto& [id, circuit] : circuits) {
    if (circuit.port == port && circuit.outer_vlan == outer_vlan && circuit.vlan == vlan) return &circuit;
  }
  return nullptr;
}

bool World::wanted(const IpAddress& outer_destination) const {
  for (const auto& [key, endpoint] : endpoints) {
    if (endpoint.vtep == outer_destination) return true;
  }
  for (const auto& [tunnel, sa] : outbound) {
    if (sa.spec.path.destination == outer_destination) return true;
  }
  return false;
}

std::optional<DomainId> World::domain_of(AttachmentId attachment) const {
  if (attachment.kind == forward::AttachmentKind::kVpc) {
    const auto found = vpcs.find(Vni{attachment.id});
    if (found != vpcs.end()) return found->second.domain;
  } else if (attachment.kind == forward::AttachmentKind::kTunnel) {
    const auto found = tunnels.find(TunnelId{attachment.id});
    if (found != tunnels.end()) return found->second.domain;
  } else {
    const auto found = circuits.find(CircuitId{attachment.id});
    if (found != circuits.end()) return found->second.domain;
  }
  return std::nullopt;
}

const RouteEntry* World::route_to(DomainId domain, const IpAddress& destination) const {
  const auto table = routes.find(domain);
  if (table == routes.end()) return nullptr;
  const RouteEntry* best = nullptr;
  for (const RouteEntry& route : table->second) {
    if (!covers(route.prefix, destination)) continue;
    if (best == nullptr || route.prefix.length() > best->prefix.length()) best = &route;
  }
  return best;
}

const AdjacencyEntry* World::neighbor(const IpAddress& outer_destination) const {
  const auto found = adjacencies.find(outer_destination);
  return found == adjacencies.end() || !found->second.resolved ? nullptr : &found->second;
}

}  // namespace simplon::oracle
