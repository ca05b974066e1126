// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/src/judge.h"

#include <algorithm>
#include <tuple>

#include "gateway/config/secret.h"

namespace simplon::config {

std::vector<Judgement> Judge::run() {
  judge_gateway();
  for (const auto& domain : config_.domains) domain_names_.insert(domain.name);
  for (const auto& tunnel : config_.tunnels) tunnels_.emplace(tunnel.name, &tunnel);
  judge_uplinks();
  judge_domains();
  judge_vpcs();
  judge_tunnels();
  judge_circuits();
  judge_overlaps();
  auto judgements = take();
  for (auto& judgement : judge_policies(config_)) judgements.push_back(std::move(judgement));
  return judgements;
}

bool is_network_or_broadcast(const IpAddress& address, unsigned length) noexcept {
  if (!address.is_v4() || length >= 31) return false;
  const std::uint32_t host_mask = length == 0 ? 0xffffffffU : (1U << (32 - length)) - 1;
  const std::uint32_t host = address.v4_value() & host_mask;
  return host == 0 || host == host_mask;
}

bool is_host_address(const IpAddress& address) noexcept {
  return !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() &&
         !(address.is_v4() && address.v4_value() == 0xffffffffU);
}

bool is_routable(const IpPrefix& prefix) noexcept {
  return prefix.length() == 0 || (!prefix.address().is_multicast() && !prefix.address().is_loopback());
}

void Judge::judge_gateway() {
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

void Judge::judge_uplinks() {
  Names names;
  for (std::size_t i = 0; i < config_.uplinks.size(); ++i) {
    unique(names, config_.uplinks[i].interface, at("uplinks", i) + ".interface", "uplink");
  }
}

// Overlap inside a domain: VPC prefixes and inside links must be disjoint, because each belongs to exactly one
// attachment. A static route may cover them (a default route does), the longest match keeps them apart; it may not
// equal or lie inside one, since it would take traffic away from a part of a network that the document says is
// somewhere else.
void Judge::judge_overlaps() {
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

void Judge::reference_domain(const std::string& name, const std::string& path) {
  if (name.empty() || domain_names_.contains(name)) return;
  const std::string guess = closest_match(name, {domain_names_.begin(), domain_names_.end()});
  error(path, name, "there is no domain " + quoted(name),
        guess.empty() ? "add it to 'domains'" : "did you mean " + quoted(guess) + "?")
      .premise = Judgement::Premise::kDomainNames;
}

void Judge::secret(const std::optional<std::string>& file, const std::string& path) {
  if (!options_.check_files || !file || file->empty()) return;
  if (auto ok = check_secret_file(*file); !ok) error(path, *file, ok.error().what, ok.error().hint);
}

void Judge::one_of_each_family(const std::vector<InterfaceAddress>& addresses, const std::string& path) {
  if (addresses.size() == 2 && addresses[0].address.family() == addresses[1].address.family()) {
    error(at(path, 1), addresses[1].to_string(), "is a second address of the same family",
          "one IPv4 and one IPv6 address at most");
  }
}

}  // namespace simplon::config
