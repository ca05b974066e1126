// SPDX-License-Identifier: GPL-2.0-or-later
//
// VPCs and their endpoints.
#include <algorithm>
#include <map>

#include "gateway/config/src/judge.h"

namespace simplon::config {
namespace {

std::string list_of(const std::vector<IpPrefix>& prefixes) {
  std::string list;
  for (const auto& prefix : prefixes) list += (list.empty() ? "" : ", ") + prefix.to_string();
  return list;
}

}  // namespace

void Judge::judge_vpcs() {
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

void Judge::judge_vpc_prefixes(const VpcConfig& vpc, const std::string& path) {
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

void Judge::judge_vpc_gateway(const VpcConfig& vpc, const std::string& path) {
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

void Judge::judge_endpoints(const VpcConfig& vpc, const std::string& path) {
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

void Judge::judge_endpoint_vtep(const IpAddress& vtep, const std::string& path) {
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

}  // namespace simplon::config
