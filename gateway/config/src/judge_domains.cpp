// SPDX-License-Identifier: GPL-2.0-or-later
//
// Domains: BGP and static routes.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "gateway/config/src/judge.h"
#include "gateway/config/src/object_reader.h"
#include "gateway/config/src/parsed_document.h"

namespace simplon::config {
namespace {

const char* why_not_asn(std::uint32_t asn) {
  switch (asn) {
    case 0:
      return "reserved (RFC 7607)";
    case 23456:
      return "AS_TRANS, which stands for 4-byte numbers (RFC 6793)";
    case 65535:
      return "reserved (RFC 7300)";
    case 4294967295U:
      return "reserved (RFC 7300)";
    default:
      return nullptr;
  }
}

bool is_documentation_asn(std::uint32_t asn) {  // RFC 5398
  return (asn >= 64496 && asn <= 64511) || (asn >= 65536 && asn <= 65551);
}

}  // namespace

void Judge::asn(std::uint32_t asn, const std::string& path) {
  if (const char* why = why_not_asn(asn)) {
    error(path, std::to_string(asn), "AS " + std::to_string(asn) + " is " + why,
          "private numbers: 64512 to 65534, 4200000000 to 4294967294");
  } else if (is_documentation_asn(asn)) {
    warning(path, std::to_string(asn), "AS " + std::to_string(asn) + " is for documentation (RFC 5398)",
            "private numbers: 64512 to 65534");
  }
}

void Judge::judge_domains() {
  Names names;
  for (std::size_t i = 0; i < config_.domains.size(); ++i) {
    const auto& domain = config_.domains[i];
    const std::string path = at("domains", i);
    unique(names, domain.name, path + ".name", "domain");
    if (domain.bgp) judge_bgp(domain, *domain.bgp, path + ".bgp");
    judge_static_routes(domain, path + ".static-routes");
  }
}

void Judge::judge_bgp(const DomainConfig& domain, const BgpConfig& bgp, const std::string& path) {
  asn(bgp.asn, path + ".asn");
  // RFC 6286 section 2.1: a 4-octet, non-zero number, by habit written as an IPv4 address.
  if (!bgp.router_id.is_v4() || bgp.router_id.is_unspecified() || bgp.router_id.is_multicast()) {
    error(path + ".router-id", bgp.router_id.to_string(), bgp.router_id.to_string() + " is not a router ID",
          "write it like an IPv4 address, but not 0.0.0.0 or a multicast one");
  }
  Names names;
  std::map<IpAddress, std::string> addresses;
  for (std::size_t i = 0; i < bgp.neighbors.size(); ++i) {
    const auto& neighbor = bgp.neighbors[i];
    const std::string where = at(path + ".neighbors", i);
    unique(names, neighbor.name, where + ".name", "neighbor");
    const auto [first, is_new] = addresses.emplace(neighbor.address, neighbor.name);
    if (!is_new) {
      conflict(where + ".address", neighbor.address.to_string(),
               neighbor.address.to_string() + " is already the address of neighbor " + quoted(first->second));
    }
    asn(neighbor.remote_asn, where + ".asn");
    judge_neighbor_address(domain, neighbor.address, where + ".address");
    judge_neighbor_families(domain, neighbor, where);
    if (neighbor.keepalive >= neighbor.hold) {
      error(where + ".keepalive", format_duration(neighbor.keepalive),
            "is not shorter than hold (" + format_duration(neighbor.hold) + ")", "a third of hold is usual");
    } else if (const auto third = neighbor.hold / 3; neighbor.keepalive > third) {
      warning(where + ".keepalive", format_duration(neighbor.keepalive),
              "is more than a third of hold (" + format_duration(neighbor.hold) + "): keepalives are sent every " + format_duration(third),
              "RFC 4271 section 4.4 wants three in a hold time: set 'keepalive: " + format_duration(third) + "'");
    }
    secret(neighbor.password_file, where + ".password-file");
    if (neighbor.import.empty()) {
      warning(where + ".import", {}, "nothing is accepted from neighbor " + quoted(neighbor.name),
              "what no rule permits is denied: list prefixes in 'import'");
    }
    if (neighbor.export_.empty()) {
      warning(where + ".export", {}, "nothing is announced to neighbor " + quoted(neighbor.name),
              "what no rule permits is denied: list prefixes in 'export'");
    }
  }
}

std::vector<Judge::Link> Judge::links_of(const DomainConfig& domain) const {
  std::vector<Link> links;
  for (const auto& tunnel : config_.tunnels) {
    if (tunnel.domain != domain.name) continue;
    for (const auto& inside : tunnel.inside) links.push_back({inside, "tunnel ", &tunnel.name});
  }
  for (const auto& circuit : config_.circuits) {
    if (circuit.domain != domain.name) continue;
    for (const auto& address : circuit.addresses) links.push_back({address, "circuit ", &circuit.name});
  }
  return links;
}

void Judge::judge_neighbor_address(const DomainConfig& domain, const IpAddress& address, const std::string& path) {
  std::string links;
  for (const auto& link : links_of(domain)) {
    if (!link.ours.network().contains(address)) {
      if (links.size() < 200)
        links += (links.empty() ? "" : ", ") + link.ours.network().to_string() + " (" + *link.name + ")";
      continue;
    }
    if (link.ours.address == address) {
      conflict(path, address.to_string(),
               address.to_string() + " is our own address in " + link.kind + quoted(*link.name),
               "name the peer's address");
    } else if (is_network_or_broadcast(address, link.ours.length)) {
      error(path, address.to_string(),
            address.to_string() + " is not the address of a host in " + link.ours.network().to_string());
    }
    return;
  }
  error(path, address.to_string(), address.to_string() + " is in no inside link of domain " + quoted(domain.name),
        links.empty() ? "give a tunnel of this domain an 'inside' address, or add a circuit" : "the links are " + links)
      .premise = Judgement::Premise::kInsideLinks;
}

/// zebra 8.4 hides the router of an IPv4 route that came from an IPv6 neighbor (RFC 8950): it says "169.254.0.1, on link". In a
/// tunnel there is one peer; on a circuit nobody could tell which router it is. Only a warning: the rest of the configuration works.
void Judge::judge_neighbor_families(const DomainConfig& domain, const BgpNeighborConfig& neighbor, const std::string& path) {
  if (!neighbor.address.is_v6()) return;
  const auto on_circuit = [&](const CircuitConfig& circuit) {
    return circuit.domain == domain.name &&
           std::any_of(circuit.addresses.begin(), circuit.addresses.end(),
                       [&](const InterfaceAddress& ours) { return ours.network().contains(neighbor.address); });
  };
  const auto circuit = std::find_if(config_.circuits.begin(), config_.circuits.end(), on_circuit);
  if (circuit == config_.circuits.end()) return;
  for (std::size_t i = 0; i < neighbor.import.size(); ++i) {
    if (!neighbor.import[i].prefix.address().is_v4()) continue;
    const std::string rule = format_prefix_rule(neighbor.import[i]);
    warning(at(path + ".import", i), rule,
            "IPv4 routes of " + neighbor.address.to_string() + ", an IPv6 neighbor on circuit " + quoted(circuit->name) +
                ", lead nowhere: FRR does not tell which router they lead to",
            "give the IPv4 rules to a neighbor with an IPv4 address");
  }
}

void Judge::judge_static_routes(const DomainConfig& domain, const std::string& path) {
  std::set<std::tuple<IpPrefix, std::string, std::optional<IpAddress>>> seen;
  for (std::size_t i = 0; i < domain.static_routes.size(); ++i) {
    const auto& route = domain.static_routes[i];
    const std::string where = at(path, i);
    if (!seen.emplace(route.prefix, route.via, route.gateway).second) {
      conflict(where + ".prefix", route.prefix.to_string(),
               "the route " + route.prefix.to_string() + " via " + quoted(route.via) + " is given twice");
    }
    if (!is_routable(route.prefix)) {
      error(where + ".prefix", route.prefix.to_string(), route.prefix.to_string() + " cannot be routed");
    }
    claims_[domain.name].push_back({route.prefix, where + ".prefix", "static route", true});
    if (!route.via.empty()) judge_route_via(domain, route, where);
  }
}

void Judge::judge_route_via(const DomainConfig& domain, const StaticRouteConfig& route, const std::string& path) {
  const auto tunnel = tunnels_.find(route.via);
  const auto circuit = std::find_if(config_.circuits.begin(), config_.circuits.end(),
                                    [&](const CircuitConfig& candidate) { return candidate.name == route.via; });
  const bool is_tunnel = tunnel != tunnels_.end();
  const bool is_circuit = circuit != config_.circuits.end();
  if (is_tunnel && is_circuit) {
    conflict(path + ".via", route.via, quoted(route.via) + " is the name of a tunnel and of a circuit",
             "give each a name of its own");
    return;
  }
  if (!is_tunnel && !is_circuit) {
    std::vector<std::string> names;
    for (const auto& candidate : config_.tunnels) names.push_back(candidate.name);
    for (const auto& candidate : config_.circuits) names.push_back(candidate.name);
    const std::string guess = closest_match(route.via, names);
    error(path + ".via", route.via, "there is no tunnel or circuit " + quoted(route.via),
          guess.empty() ? "add it to 'tunnels' or 'circuits'" : "did you mean " + quoted(guess) + "?")
        .premise = Judgement::Premise::kAttachments;
    return;
  }
  const std::string& home = is_tunnel ? tunnel->second->domain : circuit->domain;
  if (home != domain.name && !home.empty()) {
    conflict(path + ".via", route.via,
             (is_tunnel ? "tunnel " : "circuit ") + quoted(route.via) + " belongs to domain " + quoted(home),
             "domains are isolated: use one of " + quoted(domain.name))
        .premise = Judgement::Premise::kDomainNames;
  } else if (is_circuit) {
    judge_route_gateway(*circuit, route, path + ".gateway");
  } else if (route.gateway) {
    error(path + ".gateway", route.gateway->to_string(), "is not for tunnel " + quoted(route.via),
          "a tunnel has one peer; 'gateway' names the router on a circuit");
  }
}

void Judge::judge_route_gateway(const CircuitConfig& circuit, const StaticRouteConfig& route, const std::string& path) {
  if (!route.gateway) {
    error(path, {}, "is missing: circuit " + quoted(circuit.name) + " may have several routers",
          "add the address of the provider's router");
    return;
  }
  const IpAddress& gateway = *route.gateway;
  const std::string text = gateway.to_string();
  if (gateway.family() != route.prefix.family()) {
    error(path, text, text + " and " + route.prefix.to_string() + " are not of the same IP version");
    return;
  }
  std::string links;
  for (const auto& ours : circuit.addresses) {
    if (ours.address == gateway) {
      conflict(path, text, text + " is our own address in circuit " + quoted(circuit.name),
               "name the router's address");
      return;
    }
    if (!ours.network().contains(gateway)) {
      links += (links.empty() ? "" : ", ") + ours.network().to_string();
      continue;
    }
    if (is_network_or_broadcast(gateway, ours.length)) error(path, text, text + " is not the address of a host");
    return;
  }
  error(path, text, text + " is not in circuit " + quoted(circuit.name), "its links are " + links).premise =
      Judgement::Premise::kInsideLinks;
}

}  // namespace simplon::config
