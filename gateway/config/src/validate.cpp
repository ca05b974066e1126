// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/validate.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "gateway/config/secret.h"
#include "gateway/config/src/judgement.h"
#include "gateway/config/src/parsed_document.h"

// Each judge_* function walks one kind of object in document order. What must be unique or disjoint is collected on the
// way
// (`Names`, `claims_`) together with the path that claimed it first, so that a conflict names both sides.
//
// Overlap inside a domain: VPC prefixes and inside links must be disjoint, because each belongs to exactly one
// attachment. A static route may cover them (a default route does), the longest match keeps them apart; it may not
// equal or lie inside one, since it would take traffic away from a part of a network that the document says is
// somewhere else.

namespace simplon::config {
namespace {

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

std::string at(const std::string& list, std::size_t index) { return list + "[" + std::to_string(index) + "]"; }

/// The first or last address of an IPv4 network, which no host may have (RFC 1122 section 3.2.1.3; RFC 3021 for /31).
bool is_network_or_broadcast(const IpAddress& address, unsigned length) {
  if (!address.is_v4() || length >= 31) return false;
  const std::uint32_t host_mask = length == 0 ? 0xffffffffU : (1U << (32 - length)) - 1;
  const std::uint32_t host = address.v4_value() & host_mask;
  return host == 0 || host == host_mask;
}

bool is_host_address(const IpAddress& address) {
  return !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() &&
         !(address.is_v4() && address.v4_value() == 0xffffffffU);
}

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

class Judge {
 public:
  Judge(const GatewayConfig& config, const ReadOptions& options) : config_(config), options_(options) {}

  std::vector<Judgement> run() {
    judge_gateway();
    for (const auto& domain : config_.domains) domain_names_.insert(domain.name);
    for (const auto& tunnel : config_.tunnels) tunnels_.emplace(tunnel.name, &tunnel);
    judge_uplinks();
    judge_domains();
    judge_vpcs();
    judge_tunnels();
    judge_circuits();
    judge_overlaps();
    judge_policies(config_, judgements_);
    return std::move(judgements_);
  }

 private:
  /// First holder of each name of one kind.
  using Names = std::map<std::string, std::string, std::less<>>;

  /// A network that belongs to one attachment of a domain.
  struct Claim {
    IpPrefix prefix;
    std::string path;
    std::string owner;
    bool is_static;
  };

  Judgement& error(std::string path, std::string value, std::string what, std::string hint = {},
                   ErrorCode code = ErrorCode::kInvalidConfig) {
    judgements_.push_back(
        {{Severity::kError, code, std::move(path), std::move(value), std::move(what), std::move(hint), 0}, {}, {}});
    return judgements_.back();
  }
  Judgement& conflict(std::string path, std::string value, std::string what, std::string hint = {}) {
    return error(std::move(path), std::move(value), std::move(what), std::move(hint), ErrorCode::kConflict);
  }
  void warning(std::string path, std::string value, std::string what, std::string hint = {}) {
    judgements_.push_back({{Severity::kWarning, ErrorCode::kInvalidConfig, std::move(path), std::move(value),
                            std::move(what), std::move(hint), 0},
                           {},
                           {}});
  }

  void unique(Names& names, const std::string& name, const std::string& path, const char* kind) {
    if (name.empty()) return;
    const auto [first, is_new] = names.emplace(name, path);
    if (!is_new)
      conflict(path, name, std::string(kind) + " " + quoted(name) + " exists already, at " + first->second,
               "choose another name");
  }

  void reference_domain(const std::string& name, const std::string& path) {
    if (name.empty() || domain_names_.contains(name)) return;
    const std::string guess = closest_match(name, {domain_names_.begin(), domain_names_.end()});
    error(path, name, "there is no domain " + quoted(name),
          guess.empty() ? "add it to 'domains'" : "did you mean " + quoted(guess) + "?")
        .premise = Judgement::Premise::kDomainNames;
  }

  void secret(const std::optional<std::string>& file, const std::string& path) {
    if (!options_.check_files || !file || file->empty()) return;
    if (auto ok = check_secret_file(*file); !ok) error(path, *file, ok.error().what, ok.error().hint);
  }

  void asn(std::uint32_t asn, const std::string& path) {
    if (const char* why = why_not_asn(asn)) {
      error(path, std::to_string(asn), "AS " + std::to_string(asn) + " is " + why,
            "private numbers: 64512 to 65534, 4200000000 to 4294967294");
    } else if (is_documentation_asn(asn)) {
      warning(path, std::to_string(asn), "AS " + std::to_string(asn) + " is for documentation (RFC 5398)",
              "private numbers: 64512 to 65534");
    }
  }

  void judge_gateway() {
    if (config_.vtep && !is_host_address(*config_.vtep)) {
      error("gateway.vtep", config_.vtep->to_string(), config_.vtep->to_string() + " is not the address of a host");
    }
    if (!config_.vtep && !config_.vpcs.empty()) {
      error("gateway.vtep", {}, "is missing: VPCs need our VXLAN address on the underlay", "add 'vtep' to 'gateway'");
    }
    if (config_.uplinks.empty() && (!config_.vpcs.empty() || !config_.tunnels.empty())) {
      warning("uplinks", {}, "there is no uplink: no VXLAN and no ESP is received",
              "add '- interface: NAME' to 'uplinks'");
    }
  }

  void judge_uplinks() {
    Names names;
    for (std::size_t i = 0; i < config_.uplinks.size(); ++i) {
      unique(names, config_.uplinks[i].interface, at("uplinks", i) + ".interface", "uplink");
    }
  }

  void judge_domains() {
    Names names;
    for (std::size_t i = 0; i < config_.domains.size(); ++i) {
      const auto& domain = config_.domains[i];
      const std::string path = at("domains", i);
      unique(names, domain.name, path + ".name", "domain");
      if (domain.bgp) judge_bgp(domain, *domain.bgp, path + ".bgp");
      judge_static_routes(domain, path + ".static-routes");
    }
  }

  void judge_bgp(const DomainConfig& domain, const BgpConfig& bgp, const std::string& path) {
    asn(bgp.asn, path + ".asn");
    // RFC 6286 section 2.1: a 4-octet, non-zero number, by habit written as an IPv4 address.
    if (!bgp.router_id.is_v4() || bgp.router_id.is_unspecified()) {
      error(path + ".router-id", bgp.router_id.to_string(), bgp.router_id.to_string() + " is not a router ID",
            "write it like an IPv4 address, not 0.0.0.0");
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
      if (neighbor.keepalive >= neighbor.hold) {
        error(where + ".keepalive", format_duration(neighbor.keepalive),
              "is not shorter than hold (" + format_duration(neighbor.hold) + ")", "a third of hold is usual");
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

  struct Link {
    InterfaceAddress ours;
    const char* kind;
    const std::string* name;
  };

  /// Where a BGP neighbor may be.
  [[nodiscard]] std::vector<Link> links_of(const DomainConfig& domain) const {
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

  void judge_neighbor_address(const DomainConfig& domain, const IpAddress& address, const std::string& path) {
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

  void judge_static_routes(const DomainConfig& domain, const std::string& path) {
    std::set<std::pair<IpPrefix, std::string>> seen;
    for (std::size_t i = 0; i < domain.static_routes.size(); ++i) {
      const auto& route = domain.static_routes[i];
      const std::string where = at(path, i);
      if (!seen.emplace(route.prefix, route.via_tunnel).second) {
        conflict(where + ".prefix", route.prefix.to_string(),
                 "the route " + route.prefix.to_string() + " via " + quoted(route.via_tunnel) + " is given twice");
      }
      if (!is_routable(route.prefix)) {
        error(where + ".prefix", route.prefix.to_string(), route.prefix.to_string() + " cannot be routed");
      }
      claims_[domain.name].push_back({route.prefix, where + ".prefix", "static route", true});
      if (route.via_tunnel.empty()) continue;
      const auto found = tunnels_.find(route.via_tunnel);
      if (found == tunnels_.end()) {
        const std::string guess = closest_match(route.via_tunnel, tunnel_names());
        error(where + ".via", route.via_tunnel, "there is no tunnel " + quoted(route.via_tunnel),
              guess.empty() ? "add it to 'tunnels'" : "did you mean " + quoted(guess) + "?")
            .premise = Judgement::Premise::kTunnelNames;
      } else if (found->second->domain != domain.name && !found->second->domain.empty()) {
        conflict(where + ".via", route.via_tunnel,
                 "tunnel " + quoted(route.via_tunnel) + " belongs to domain " + quoted(found->second->domain),
                 "domains are isolated: use a tunnel of " + quoted(domain.name))
            .premise = Judgement::Premise::kDomainNames;
      }
    }
  }

  static bool is_routable(const IpPrefix& prefix) {
    return prefix.length() == 0 || (!prefix.address().is_multicast() && !prefix.address().is_loopback());
  }

  [[nodiscard]] std::vector<std::string> tunnel_names() const {
    std::vector<std::string> names;
    for (const auto& tunnel : config_.tunnels) names.push_back(tunnel.name);
    return names;
  }

  void judge_vpcs() {
    Names names;
    std::map<Vni, std::string> owners;
    for (std::size_t i = 0; i < config_.vpcs.size(); ++i) {
      const auto& vpc = config_.vpcs[i];
      const std::string path = at("vpcs", i);
      unique(names, vpc.name, path + ".name", "VPC");
      reference_domain(vpc.domain, path + ".domain");
      if (vpc.vni.value() != 0) {
        const auto [first, is_new] = owners.emplace(vpc.vni, vpc.name);
        if (!is_new) {
          conflict(path + ".vni", std::to_string(vpc.vni.value()),
                   "VNI " + std::to_string(vpc.vni.value()) + " belongs to VPC " + quoted(first->second),
                   "each VPC has a VNI of its own");
        }
      }
      judge_vpc_prefixes(vpc, path);
      judge_vpc_gateway(vpc, path);
      judge_endpoints(vpc, path);
    }
  }

  void judge_vpc_prefixes(const VpcConfig& vpc, const std::string& path) {
    if (vpc.prefixes.empty()) {
      error(path + ".prefixes", {}, "VPC " + quoted(vpc.name) + " has no prefix",
            "list at least one network, like 10.20.0.0/16");
    }
    for (std::size_t i = 0; i < vpc.prefixes.size(); ++i) {
      const auto& prefix = vpc.prefixes[i];
      const std::string where = at(path + ".prefixes", i);
      if (prefix.length() == 0 || !is_routable(prefix) || prefix.address().is_link_local()) {
        error(where, prefix.to_string(), prefix.to_string() + " cannot be the network of a VPC");
      }
      if (prefix.family() == IpFamily::kV6 && vpc.mtu_bytes < 1280) {
        error(path + ".mtu", std::to_string(vpc.mtu_bytes), "is too small for IPv6",
              "at least 1280 (RFC 8200 section 5)");
      }
      claims_[vpc.domain].push_back({prefix, where, "VPC " + quoted(vpc.name), false});
    }
  }

  static bool in_vpc(const VpcConfig& vpc, const IpAddress& address) {
    return std::any_of(vpc.prefixes.begin(), vpc.prefixes.end(),
                       [&](const IpPrefix& prefix) { return prefix.contains(address); });
  }

  static std::string list_of(const std::vector<IpPrefix>& prefixes) {
    std::string list;
    for (const auto& prefix : prefixes) list += (list.empty() ? "" : ", ") + prefix.to_string();
    return list;
  }

  void judge_vpc_gateway(const VpcConfig& vpc, const std::string& path) {
    if (vpc.gateway.empty()) {
      warning(path + ".gateway", {},
              "VPC " + quoted(vpc.name) + " has no gateway address, so its VMs have none to send to",
              "add 'gateway: [ADDRESS/LENGTH]'");
    }
    if (vpc.gateway_mac.is_multicast() || vpc.gateway_mac.is_zero()) {
      error(path + ".gateway-mac", vpc.gateway_mac.to_string(),
            vpc.gateway_mac.to_string() + " is not the address of a station");
    }
    one_of_each_family(vpc.gateway, path + ".gateway");
    for (std::size_t i = 0; i < vpc.gateway.size(); ++i) {
      const auto& gateway = vpc.gateway[i];
      const std::string where = at(path + ".gateway", i);
      const bool contained = std::any_of(vpc.prefixes.begin(), vpc.prefixes.end(),
                                         [&](const IpPrefix& prefix) { return prefix.contains(gateway.network()); });
      if (!contained) {
        auto& judgement = error(where, gateway.to_string(), gateway.to_string() + " is outside VPC " + quoted(vpc.name),
                                "its prefixes are " + list_of(vpc.prefixes));
        judgement.premise = Judgement::Premise::kPath;
        judgement.premise_path = path + ".prefixes";
      } else if (is_network_or_broadcast(gateway.address, gateway.length)) {
        error(where, gateway.to_string(), gateway.to_string() + " is not the address of a host");
      }
    }
  }

  void one_of_each_family(const std::vector<InterfaceAddress>& addresses, const std::string& path) {
    if (addresses.size() == 2 && addresses[0].address.family() == addresses[1].address.family()) {
      error(at(path, 1), addresses[1].to_string(), "is a second address of the same family",
            "one IPv4 and one IPv6 address at most");
    }
  }

  void judge_endpoints(const VpcConfig& vpc, const std::string& path) {
    std::map<IpAddress, std::size_t> addresses;
    std::map<MacAddress, std::pair<IpAddress, std::size_t>> stations;
    for (std::size_t i = 0; i < vpc.endpoints.size(); ++i) {
      const auto& endpoint = vpc.endpoints[i];
      const std::string where = at(path + ".endpoints", i);
      const std::string address = endpoint.address.to_string();
      const auto prefix = std::find_if(vpc.prefixes.begin(), vpc.prefixes.end(),
                                       [&](const IpPrefix& candidate) { return candidate.contains(endpoint.address); });
      if (prefix == vpc.prefixes.end()) {
        auto& judgement = error(where + ".address", address, address + " is outside VPC " + quoted(vpc.name),
                                "its prefixes are " + list_of(vpc.prefixes));
        judgement.premise = Judgement::Premise::kPath;
        judgement.premise_path = path + ".prefixes";
      } else if (is_network_or_broadcast(endpoint.address, prefix->length())) {
        error(where + ".address", address, address + " is not the address of a host in " + prefix->to_string());
      }
      const auto [first, is_new] = addresses.emplace(endpoint.address, i);
      if (!is_new) {
        conflict(where + ".address", address,
                 address + " is an endpoint already, at " + at(path + ".endpoints", first->second));
      }
      for (const auto& gateway : vpc.gateway) {
        if (gateway.address == endpoint.address)
          conflict(where + ".address", address, address + " is the gateway of VPC " + quoted(vpc.name));
      }
      if (endpoint.mac.is_multicast() || endpoint.mac.is_zero()) {
        error(where + ".mac", endpoint.mac.to_string(), endpoint.mac.to_string() + " is not the address of a station");
      } else if (endpoint.mac == vpc.gateway_mac) {
        conflict(where + ".mac", endpoint.mac.to_string(),
                 endpoint.mac.to_string() + " is the MAC address of the VPC's gateway");
      } else if (const auto [station, fresh] = stations.try_emplace(endpoint.mac, endpoint.vtep, i);
                 !fresh && station->second.first != endpoint.vtep) {
        conflict(where + ".mac", endpoint.mac.to_string(),
                 endpoint.mac.to_string() + " is at " + station->second.first.to_string() + " already (" +
                     at(path + ".endpoints", station->second.second) + ")",
                 "a station is behind one VTEP");
      }
      judge_endpoint_vtep(endpoint.vtep, where + ".vtep");
    }
  }

  void judge_endpoint_vtep(const IpAddress& vtep, const std::string& path) {
    const std::string text = vtep.to_string();
    if (!is_host_address(vtep)) {
      error(path, text, text + " is not the address of a host");
    } else if (config_.vtep && vtep == *config_.vtep) {
      conflict(path, text, text + " is our own VTEP", "name the compute host's address");
    } else if (config_.vtep && vtep.family() != config_.vtep->family()) {
      auto& judgement =
          error(path, text, text + " and our VTEP " + config_.vtep->to_string() + " are not of the same IP version");
      judgement.premise = Judgement::Premise::kPath;
      judgement.premise_path = "gateway.vtep";
    }
  }

  void judge_tunnels() {
    Names names;
    std::map<std::tuple<IpAddress, std::optional<IpAddress>, std::string, std::string>, std::string> ends;
    for (std::size_t i = 0; i < config_.tunnels.size(); ++i) {
      const auto& tunnel = config_.tunnels[i];
      const std::string path = at("tunnels", i);
      unique(names, tunnel.name, path + ".name", "tunnel");
      reference_domain(tunnel.domain, path + ".domain");
      judge_tunnel_ends(tunnel, path);
      const auto [first, is_new] =
          ends.emplace(std::tuple(tunnel.local, tunnel.remote, tunnel.local_id, tunnel.remote_id), tunnel.name);
      if (!is_new) {
        conflict(path + (tunnel.remote ? ".remote" : ".remote-id"),
                 tunnel.remote ? tunnel.remote->to_string() : tunnel.remote_id,
                 "tunnel " + quoted(first->second) + " has the same ends and identities",
                 "IKE cannot tell them apart: give them different ids");
      }
      secret(tunnel.psk_file, path + ".psk-file");
      judge_proposals(tunnel, path);
      judge_inside(tunnel, path);
    }
  }

  void judge_tunnel_ends(const TunnelConfig& tunnel, const std::string& path) {
    if (!is_host_address(tunnel.local)) {
      error(path + ".local", tunnel.local.to_string(), tunnel.local.to_string() + " is not the address of a host");
    }
    if (!tunnel.remote) {
      if (tunnel.remote_id.empty()) {
        error(path + ".remote-id", {}, "is missing: without 'remote' the peer is known by its identity only",
              "add 'remote-id' or 'remote'");
      }
      if (tunnel.initiate) {
        error(path + ".initiate", "true", "a tunnel without 'remote' can only wait for its peer",
              "add 'initiate: false' or 'remote'");
      }
      return;
    }
    const std::string remote = tunnel.remote->to_string();
    if (!is_host_address(*tunnel.remote)) {
      error(path + ".remote", remote, remote + " is not the address of a host");
    } else if (tunnel.remote->family() != tunnel.local.family()) {
      auto& judgement =
          error(path + ".remote", remote,
                "local " + tunnel.local.to_string() + " and remote " + remote + " are not of the same IP version",
                "use two IPv4 or two IPv6 addresses");
      judgement.premise = Judgement::Premise::kPath;
      judgement.premise_path = path + ".local";
    } else if (*tunnel.remote == tunnel.local) {
      error(path + ".remote", remote, "both ends of the tunnel have the address " + remote);
    }
  }

  void judge_proposals(const TunnelConfig& tunnel, const std::string& path) {
    const auto judge_list = [&](const std::vector<std::string>& list, const std::string& where, auto check) {
      for (std::size_t i = 0; i < list.size(); ++i) {
        if (auto ok = check(list[i], tunnel.allow_weak); !ok) {
          error(at(where, i), list[i], ok.error().what, ok.error().hint);
        } else if (std::find(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(i), list[i]) !=
                   list.begin() + static_cast<std::ptrdiff_t>(i)) {
          conflict(at(where, i), list[i], "the proposal " + quoted(list[i]) + " is given twice");
        } else if (auto strong = check(list[i], false); !strong) {
          warning(at(where, i), list[i], strong.error().what, "allow-weak permits it; " + strong.error().hint);
        }
      }
    };
    judge_list(tunnel.ike_proposals, path + ".ike-proposals", check_ike_proposal);
    judge_list(tunnel.esp_proposals, path + ".esp-proposals", check_esp_proposal);
  }

  void judge_inside(const TunnelConfig& tunnel, const std::string& path) {
    one_of_each_family(tunnel.inside, path + ".inside");
    for (std::size_t i = 0; i < tunnel.inside.size(); ++i) {
      const auto& inside = tunnel.inside[i];
      const std::string where = at(path + ".inside", i);
      if (!is_host_address(inside.address) || is_network_or_broadcast(inside.address, inside.length)) {
        error(where, inside.to_string(), inside.to_string() + " is not the address of a host");
      }
      if (inside.address.is_v6() && tunnel.mtu_bytes && *tunnel.mtu_bytes < 1280) {
        error(path + ".mtu", std::to_string(*tunnel.mtu_bytes), "is too small for IPv6",
              "at least 1280 (RFC 8200 section 5)");
      }
      claims_[tunnel.domain].push_back(
          {inside.network(), where, "the inside link of tunnel " + quoted(tunnel.name), false});
    }
  }

  void judge_circuits() {
    Names names;
    std::map<std::tuple<std::string, std::uint16_t, std::uint16_t>, std::string> places;
    for (std::size_t i = 0; i < config_.circuits.size(); ++i) {
      const auto& circuit = config_.circuits[i];
      const std::string path = at("circuits", i);
      unique(names, circuit.name, path + ".name", "circuit");
      reference_domain(circuit.domain, path + ".domain");
      judge_circuit_uplink(circuit, path);
      if (circuit.vlan != 0 && !circuit.uplink.empty()) {
        const auto [first, is_new] =
            places.emplace(std::tuple(circuit.uplink, circuit.outer_vlan.value_or(0), circuit.vlan), circuit.name);
        if (!is_new) {
          const std::string outer = circuit.outer_vlan ? " in VLAN " + std::to_string(*circuit.outer_vlan) : "";
          conflict(path + ".vlan", std::to_string(circuit.vlan),
                   "VLAN " + std::to_string(circuit.vlan) + outer + " on " + circuit.uplink + " belongs to circuit " +
                       quoted(first->second),
                   "each circuit has a VLAN of its own on its uplink");
        }
      }
      if (circuit.outer_type != OuterTag::k8021ad && !circuit.outer_vlan) {
        error(path + ".outer-type", "802.1q", "has no meaning without 'outer-vlan'", "add 'outer-vlan', or remove it");
      }
      judge_circuit_addresses(circuit, path);
    }
    judge_service_keys();
  }

  void judge_circuit_uplink(const CircuitConfig& circuit, const std::string& path) {
    if (circuit.uplink.empty()) return;
    std::vector<std::string> interfaces;
    for (const auto& uplink : config_.uplinks) interfaces.push_back(uplink.interface);
    if (std::find(interfaces.begin(), interfaces.end(), circuit.uplink) != interfaces.end()) return;
    const std::string guess = closest_match(circuit.uplink, interfaces);
    auto& judgement = error(path + ".uplink", circuit.uplink, "there is no uplink " + quoted(circuit.uplink),
                            guess.empty() ? "add it to 'uplinks'" : "did you mean " + quoted(guess) + "?");
    judgement.premise = Judgement::Premise::kPath;
    judgement.premise_path = "uplinks";
  }

  void judge_circuit_addresses(const CircuitConfig& circuit, const std::string& path) {
    if (circuit.addresses.empty()) {
      error(path + ".addresses", {}, "circuit " + quoted(circuit.name) + " has no address",
            "add ours of the link, like 192.168.15.1/30");
    }
    one_of_each_family(circuit.addresses, path + ".addresses");
    for (std::size_t i = 0; i < circuit.addresses.size(); ++i) {
      const auto& ours = circuit.addresses[i];
      const std::string where = at(path + ".addresses", i);
      if (!is_host_address(ours.address) || is_network_or_broadcast(ours.address, ours.length) ||
          (ours.address.is_v6() && ours.address.is_link_local())) {
        error(where, ours.to_string(), ours.to_string() + " is not the address of a host");
      } else if (ours.length == ours.address.bits()) {
        error(where, ours.to_string(), ours.to_string() + " leaves no address for the provider's router",
              "a link usually is a /30 or a /126");
      }
      if (ours.address.is_v6() && circuit.mtu_bytes < 1280) {
        error(path + ".mtu", std::to_string(circuit.mtu_bytes), "is too small for IPv6",
              "at least 1280 (RFC 8200 section 5)");
      }
      claims_[circuit.domain].push_back({ours.network(), where, "circuit " + quoted(circuit.name), false});
    }
  }

  /// The paths of one line: of one domain, and each path once.
  void judge_service_keys() {
    std::map<std::string, std::vector<std::size_t>> lines;
    for (std::size_t i = 0; i < config_.circuits.size(); ++i) {
      if (config_.circuits[i].service_key) lines[*config_.circuits[i].service_key].push_back(i);
    }
    for (const auto& [key, members] : lines) {
      const CircuitConfig& first = config_.circuits[members.front()];
      if (members.size() == 1) {
        warning(at("circuits", members.front()) + ".service-key", key,
                "circuit " + quoted(first.name) + " is the only path of its line: a fault of it stops all traffic",
                "add the other path with the same service key");
      }
      std::map<CircuitPath, std::string> paths{{first.path, first.name}};
      for (auto member = members.begin() + 1; member != members.end(); ++member) {
        const CircuitConfig& circuit = config_.circuits[*member];
        const std::string path = at("circuits", *member);
        if (circuit.domain != first.domain) {
          conflict(path + ".domain", circuit.domain,
                   "circuit " + quoted(first.name) + " with the same service key is in domain " + quoted(first.domain),
                   "both paths of a line belong to one domain")
              .premise = Judgement::Premise::kDomainNames;
        }
        const auto [other, is_new] = paths.emplace(circuit.path, circuit.name);
        if (!is_new) {
          conflict(path + ".path", circuit.path == CircuitPath::kPrimary ? "primary" : "secondary",
                   "circuit " + quoted(other->second) + " is this path of the line already",
                   "one is 'path: primary', the other 'path: secondary'");
        }
      }
    }
  }

  void judge_overlaps() {
    for (auto& [domain, claims] : claims_) {
      if (domain.empty()) continue;
      // A prefix sorts before what it contains, and everything it contains follows at once. Of equal ones statics come
      // last.
      std::stable_sort(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) {
        return std::tuple(a.prefix.address(), a.prefix.length(), a.is_static) <
               std::tuple(b.prefix.address(), b.prefix.length(), b.is_static);
      });
      std::vector<const Claim*> containers;
      for (const Claim& claim : claims) {
        while (!containers.empty() && !containers.back()->prefix.contains(claim.prefix)) containers.pop_back();
        if (!containers.empty()) {
          const Claim& outer = *containers.back();
          conflict(claim.path, claim.prefix.to_string(),
                   claim.prefix.to_string() + " overlaps " + outer.prefix.to_string() + " of " + outer.owner +
                       " in domain " + quoted(domain) + ", at " + outer.path,
                   "networks of one domain are disjoint; use another domain to keep them apart");
        }
        if (!claim.is_static) containers.push_back(&claim);
      }
    }
  }

  const GatewayConfig& config_;
  const ReadOptions& options_;
  std::vector<Judgement> judgements_;
  std::set<std::string, std::less<>> domain_names_;
  std::map<std::string, const TunnelConfig*, std::less<>> tunnels_;
  std::map<std::string, std::vector<Claim>> claims_;
};

/// True if `path` is `prefix` or below it.
bool is_at_or_below(std::string_view path, std::string_view prefix) {
  if (prefix.empty()) return true;
  return path.starts_with(prefix) &&
         (path.size() == prefix.size() || path[prefix.size()] == '.' || path[prefix.size()] == '[');
}

}  // namespace

std::vector<Judgement> judge(const GatewayConfig& config, const ReadOptions& options) {
  return Judge(config, options).run();
}

Credibility::Credibility(const Findings& findings)
    : broken_(&findings.broken),
      domain_names_(!is_list_broken("domains", {"name"})),
      tunnel_names_(!is_list_broken("tunnels", {"name", "domain"})),
      inside_links_(!is_list_broken("tunnels", {"inside", "domain"}) &&
                    !is_list_broken("circuits", {"addresses", "domain"})) {}

bool Credibility::is_broken(const std::string& path) const {
  if (broken_->contains("")) return true;
  for (std::size_t end = 0; end != std::string::npos;) {  // the path and everything above it
    end = path.find_first_of(".[", end + 1);
    if (broken_->contains(std::string_view(path).substr(0, end))) return true;
  }
  for (const char separator : {'.', '['}) {  // anything below it
    const std::string below = path + separator;
    const auto next = broken_->lower_bound(below);
    if (next != broken_->end() && next->starts_with(below)) return true;
  }
  return false;
}

/// True if a whole list, an element, or one of `fields` of an element could not be read.
bool Credibility::is_list_broken(std::string_view list, const std::vector<std::string_view>& fields) const {
  return std::any_of(broken_->begin(), broken_->end(), [&](std::string_view broken) {
    if (broken.empty() || broken == list) return true;
    if (!is_at_or_below(broken, list)) return false;
    const auto close = broken.find(']');
    if (close == std::string_view::npos || close + 1 == broken.size()) return true;
    const std::string_view rest = broken.substr(close + 2);
    return std::any_of(fields.begin(), fields.end(),
                       [&](std::string_view field) { return is_at_or_below(rest, field); });
  });
}

bool Credibility::holds(const Judgement& judgement) const {
  if (broken_->empty()) return true;
  if (is_broken(judgement.issue.path)) return false;
  switch (judgement.premise) {
    case Judgement::Premise::kNone:
      return true;
    case Judgement::Premise::kPath:
      return !is_broken(judgement.premise_path);
    case Judgement::Premise::kDomainNames:
      return domain_names_;
    case Judgement::Premise::kTunnelNames:
      return tunnel_names_;
    case Judgement::Premise::kInsideLinks:
      return inside_links_;
  }
  return true;
}

std::vector<Issue> validate(const GatewayConfig& config, const ReadOptions& options) {
  std::vector<Issue> issues;
  for (auto& judgement : judge(config, options)) issues.push_back(std::move(judgement.issue));
  return issues;
}

Document read_document(std::string_view yaml, const ReadOptions& options) {
  ParsedDocument parsed = parse_to_model(yaml);
  if (!parsed.findings.broken.contains("")) {
    const Credibility credibility(parsed.findings);
    for (auto& judgement : judge(parsed.config, options)) {
      if (!credibility.holds(judgement)) continue;
      judgement.issue.line = parsed.tree.nearest(judgement.issue.path).line;
      parsed.findings.add(std::move(judgement.issue));
    }
  }
  std::stable_sort(parsed.findings.issues.begin(), parsed.findings.issues.end(),
                   [](const Issue& a, const Issue& b) { return a.line < b.line; });
  return {std::move(parsed.config), std::move(parsed.findings.issues)};
}

bool is_valid_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > 31 || name.front() < 'a' || name.front() > 'z') return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

std::string closest_match(std::string_view word, const std::vector<std::string>& candidates) {
  // Optimal string alignment distance: a swapped pair is one mistake. A third of the letters may be wrong.
  if (word.size() > 40) return {};
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    if (candidate.size() > 40 || candidate == word) continue;
    const std::size_t columns = candidate.size() + 1;
    std::vector<std::size_t> before(columns), above(columns), row(columns);
    for (std::size_t j = 0; j < columns; ++j) above[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      row[0] = i;
      for (std::size_t j = 1; j < columns; ++j) {
        const std::size_t substitution = above[j - 1] + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        row[j] = std::min({above[j] + 1, row[j - 1] + 1, substitution});
        if (i > 1 && j > 1 && word[i - 1] == candidate[j - 2] && word[i - 2] == candidate[j - 1])
          row[j] = std::min(row[j], before[j - 2] + 1);
      }
      before.swap(above);
      above.swap(row);
    }
    if (above.back() < best_distance) {
      best_distance = above.back();
      best = candidate;
    }
  }
  // "psk" for "psk-file": the beginning of exactly one candidate.
  if (best.empty() && word.size() >= 3) {
    for (const auto& candidate : candidates) {
      if (!candidate.starts_with(word) && !word.starts_with(candidate)) continue;
      if (!best.empty()) return {};
      best = candidate;
    }
  }
  return best;
}

}  // namespace simplon::config
