// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <map>
#include <tuple>

#include "gateway/config/src/judge.h"

namespace simplon::config {

void Judge::judge_circuits() {
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

void Judge::judge_circuit_uplink(const CircuitConfig& circuit, const std::string& path) {
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

void Judge::judge_circuit_addresses(const CircuitConfig& circuit, const std::string& path) {
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
void Judge::judge_service_keys() {
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

}  // namespace simplon::config
