// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gateway/config/model.h"
#include "gateway/config/src/judgement.h"
#include "gateway/config/validate.h"

namespace simplon::config {

/// How the objects of a document fit together. Each judge_* function walks one kind of object in document order, in the
/// file that is named after it. What must be unique or disjoint is collected on the way (`Names`, `claims_`) together
/// with the path that claimed it first, so that a conflict names both sides.
class Judge : private Judgements {
 public:
  Judge(const GatewayConfig& config, const ReadOptions& options) : config_(config), options_(options) {}

  [[nodiscard]] std::vector<Judgement> run();

 private:
  /// A network that belongs to one attachment of a domain.
  struct Claim {
    IpPrefix prefix;
    std::string path;
    std::string owner;
    bool is_static;
  };
  /// Where a BGP neighbor may be.
  struct Link {
    InterfaceAddress ours;
    const char* kind;
    const std::string* name;
  };

  void judge_gateway();
  void judge_uplinks();
  void judge_overlaps();

  void judge_domains();
  void judge_bgp(const DomainConfig& domain, const BgpConfig& bgp, const std::string& path);
  void asn(std::uint32_t asn, const std::string& path);
  void judge_neighbor_address(const DomainConfig& domain, const IpAddress& address, const std::string& path);
  void judge_neighbor_families(const DomainConfig& domain, const BgpNeighborConfig& neighbor, const std::string& path);
  void judge_static_routes(const DomainConfig& domain, const std::string& path);
  void judge_route_via(const DomainConfig& domain, const StaticRouteConfig& route, const std::string& path);
  void judge_route_gateway(const CircuitConfig& circuit, const StaticRouteConfig& route, const std::string& path);
  [[nodiscard]] std::vector<Link> links_of(const DomainConfig& domain) const;

  void judge_vpcs();
  void judge_vpc_prefixes(const VpcConfig& vpc, const std::string& path);
  void judge_vpc_gateway(const VpcConfig& vpc, const std::string& path);
  void judge_endpoints(const VpcConfig& vpc, const std::string& path);
  void judge_endpoint_vtep(const IpAddress& vtep, const std::string& path);

  void judge_tunnels();
  void judge_keys();
  void judge_tunnel_ends(const TunnelConfig& tunnel, const std::string& path);
  void judge_proposals(const TunnelConfig& tunnel, const std::string& path);
  void judge_inside(const TunnelConfig& tunnel, const std::string& path);

  void judge_circuits();
  void judge_circuit_uplink(const CircuitConfig& circuit, const std::string& path);
  void judge_circuit_addresses(const CircuitConfig& circuit, const std::string& path);
  void judge_service_keys();

  // For several kinds.
  void reference_domain(const std::string& name, const std::string& path);
  void secret(const std::optional<std::string>& file, const std::string& path);
  void one_of_each_family(const std::vector<InterfaceAddress>& addresses, const std::string& path);

  const GatewayConfig& config_;
  const ReadOptions& options_;
  std::set<std::string, std::less<>> domain_names_;
  std::map<std::string, const TunnelConfig*, std::less<>> tunnels_;
  std::map<std::string, std::vector<Claim>> claims_;
};

/// The first or last address of an IPv4 network, which no host may have (RFC 1122 section 3.2.1.3; RFC 3021 for /31).
[[nodiscard]] bool is_network_or_broadcast(const IpAddress& address, unsigned length) noexcept;
[[nodiscard]] bool is_host_address(const IpAddress& address) noexcept;
[[nodiscard]] bool is_routable(const IpPrefix& prefix) noexcept;

}  // namespace simplon::config
