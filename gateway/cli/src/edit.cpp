// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/edit.h"

#include <algorithm>
#include <utility>

#include "gateway/config/document.h"
#include "gateway/config/validate.h"

namespace simplon::cli {
namespace {

template <class List>
auto find_name(List& list, const std::string& name) {
  return std::find_if(list.begin(), list.end(), [&](const auto& item) { return item.name == name; });
}

template <class List>
std::vector<std::string> names_of(const List& list) {
  std::vector<std::string> names;
  for (const auto& item : list) names.push_back(item.name);
  return names;
}

Unexpected exists(const std::string& kind, const std::string& name) {
  return fail(ErrorCode::kConflict, "there is a " + kind + " '" + name + "' already",
              "remove it first, or edit the document: simplon config show");
}

/// What exists is a matter of the document, not of the command line.
Unexpected no_such(const std::string& kind, const std::string& name, const std::vector<std::string>& known) {
  Error error = config::no_such(kind, name, known).value();
  error.code = ErrorCode::kConflict;
  return Unexpected(std::move(error));
}

/// `parse(text)` into `ret`; an error names the option.
template <class T, class Parse>
Result<void> read(const char* option, const std::string& text, Parse parse, T& ret) {
  auto value = parse(text);
  if (!value)
    return fail(ErrorCode::kInvalidConfig, std::string(option) + ": " + value.error().what, value.error().hint);
  ret = *value;
  return {};
}

template <class T, class Parse>
Result<void> read_list(const char* option, const std::vector<std::string>& texts, Parse parse, std::vector<T>& ret) {
  for (const auto& text : texts) {
    T value;
    if (auto ok = read(option, text, parse, value); !ok) return ok;
    ret.push_back(value);
  }
  return {};
}

}  // namespace

Result<void> add_tunnel(GatewayConfig& config, const TunnelOptions& options) {
  if (find_name(config.tunnels, options.name) != config.tunnels.end()) return exists("tunnel", options.name);
  TunnelConfig tunnel;
  tunnel.name = options.name;
  tunnel.domain = options.domain;
  if (auto ok = read("--local", options.local, IpAddress::parse, tunnel.local); !ok) return ok;
  if (options.remote) {
    IpAddress remote;
    if (auto ok = read("--remote", *options.remote, IpAddress::parse, remote); !ok) return ok;
    tunnel.remote = remote;
  }
  tunnel.local_id = options.local_id.value_or(tunnel.local.to_string());
  tunnel.remote_id = options.remote_id.value_or(tunnel.remote ? tunnel.remote->to_string() : "");
  tunnel.psk_file = options.psk_file;
  tunnel.ike_proposals = options.ike_proposals;
  tunnel.esp_proposals = options.esp_proposals;
  tunnel.allow_weak = options.allow_weak;
  if (options.encapsulation) {
    if (*options.encapsulation != "auto" && *options.encapsulation != "udp") {
      return fail(ErrorCode::kInvalidConfig, "--encapsulation: '" + *options.encapsulation + "' is not known",
                  "auto or udp");
    }
    tunnel.encapsulation = *options.encapsulation == "udp" ? Encapsulation::kUdp : Encapsulation::kAuto;
  }
  tunnel.initiate = !options.wait_for_peer;
  if (auto ok = read_list("--inside", options.inside, InterfaceAddress::parse, tunnel.inside); !ok) return ok;
  tunnel.mtu_bytes = options.mtu;
  config.tunnels.push_back(std::move(tunnel));
  return {};
}

Result<void> remove_tunnel(GatewayConfig& config, const std::string& name) {
  const auto found = find_name(config.tunnels, name);
  if (found == config.tunnels.end()) return no_such("tunnel", name, names_of(config.tunnels));
  config.tunnels.erase(found);
  return {};
}

Result<void> add_circuit(GatewayConfig& config, const CircuitOptions& options) {
  if (find_name(config.circuits, options.name) != config.circuits.end()) return exists("circuit", options.name);
  const auto check_vlan = [](const char* option, std::uint32_t vlan) -> Result<void> {
    if (vlan >= 1 && vlan <= 4094) return {};
    return fail(ErrorCode::kInvalidConfig, std::string(option) + ": " + std::to_string(vlan) + " is not a VLAN", "1 to 4094");
  };
  CircuitConfig circuit;
  circuit.name = options.name;
  circuit.domain = options.domain;
  circuit.uplink = options.uplink;
  if (auto ok = check_vlan("--vlan", options.vlan); !ok) return ok;
  circuit.vlan = static_cast<std::uint16_t>(options.vlan);
  if (options.outer_vlan) {
    if (auto ok = check_vlan("--outer-vlan", *options.outer_vlan); !ok) return ok;
    circuit.outer_vlan = static_cast<std::uint16_t>(*options.outer_vlan);
  }
  if (options.outer_type) {
    if (*options.outer_type != "802.1ad" && *options.outer_type != "802.1q") {
      return fail(ErrorCode::kInvalidConfig, "--outer-type: '" + *options.outer_type + "' is not known", "802.1ad or 802.1q");
    }
    circuit.outer_type = *options.outer_type == "802.1q" ? OuterTag::k8021q : OuterTag::k8021ad;
  }
  if (auto ok = read_list("--address", options.addresses, InterfaceAddress::parse, circuit.addresses); !ok) return ok;
  if (options.mtu) circuit.mtu_bytes = *options.mtu;
  circuit.service_key = options.service_key;
  circuit.path = options.secondary ? CircuitPath::kSecondary : CircuitPath::kPrimary;
  config.circuits.push_back(std::move(circuit));
  return {};
}

Result<void> remove_circuit(GatewayConfig& config, const std::string& name) {
  const auto found = find_name(config.circuits, name);
  if (found == config.circuits.end()) return no_such("circuit", name, names_of(config.circuits));
  config.circuits.erase(found);
  return {};
}

Result<void> add_vpc(GatewayConfig& config, const VpcOptions& options) {
  if (find_name(config.vpcs, options.name) != config.vpcs.end()) return exists("VPC", options.name);
  VpcConfig vpc;
  vpc.name = options.name;
  vpc.domain = options.domain;
  vpc.vni = Vni(options.vni);
  if (auto ok = read_list("--prefix", options.prefixes, IpPrefix::parse, vpc.prefixes); !ok) return ok;
  if (auto ok = read_list("--gateway", options.gateway, InterfaceAddress::parse, vpc.gateway); !ok) return ok;
  vpc.gateway_mac = config::default_gateway_mac(vpc.vni);
  if (options.gateway_mac) {
    if (auto ok = read("--gateway-mac", *options.gateway_mac, MacAddress::parse, vpc.gateway_mac); !ok) return ok;
  }
  if (options.mtu) vpc.mtu_bytes = *options.mtu;
  if (options.new_domain && find_name(config.domains, options.domain) == config.domains.end()) {
    config.domains.push_back({options.domain, std::nullopt, {}});
  }
  config.vpcs.push_back(std::move(vpc));
  return {};
}

Result<void> remove_vpc(GatewayConfig& config, const std::string& name) {
  const auto found = find_name(config.vpcs, name);
  if (found == config.vpcs.end()) return no_such("VPC", name, names_of(config.vpcs));
  config.vpcs.erase(found);
  return {};
}

Result<void> add_endpoint(GatewayConfig& config, const EndpointOptions& options) {
  const auto vpc = find_name(config.vpcs, options.vpc);
  if (vpc == config.vpcs.end()) return no_such("VPC", options.vpc, names_of(config.vpcs));
  EndpointConfig endpoint;
  if (auto ok = read("ADDRESS", options.address, IpAddress::parse, endpoint.address); !ok) return ok;
  if (auto ok = read("--mac", options.mac, MacAddress::parse, endpoint.mac); !ok) return ok;
  if (auto ok = read("--vtep", options.vtep, IpAddress::parse, endpoint.vtep); !ok) return ok;
  // An address that exists already is left to the validation, which names its place.
  vpc->endpoints.push_back(endpoint);
  return {};
}

Result<void> remove_endpoint(GatewayConfig& config, const std::string& vpc_name, const std::string& text) {
  const auto vpc = find_name(config.vpcs, vpc_name);
  if (vpc == config.vpcs.end()) return no_such("VPC", vpc_name, names_of(config.vpcs));
  IpAddress address;
  if (auto ok = read("ADDRESS", text, IpAddress::parse, address); !ok) return ok;
  const auto found = std::find_if(vpc->endpoints.begin(), vpc->endpoints.end(),
                                  [&](const EndpointConfig& endpoint) { return endpoint.address == address; });
  if (found == vpc->endpoints.end()) {
    std::vector<std::string> known;
    for (const auto& endpoint : vpc->endpoints) known.push_back(endpoint.address.to_string());
    return no_such("endpoint", text, known);
  }
  vpc->endpoints.erase(found);
  return {};
}

}  // namespace simplon::cli
