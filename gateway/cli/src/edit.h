// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gateway/config/model.h"
#include "platform/base/result.h"

// What the verbs do to a configuration. Only what is needed to build the object is checked here; whether the result is
// valid is decided by simplond, with the whole document in view. Errors: kInvalidConfig for an option that cannot be
// understood, kConflict for an object that exists already or does not exist.

namespace simplon::cli {

/// Options of `tunnel add`, as typed.
struct TunnelOptions {
  std::string name, domain, local, psk_file;
  std::optional<std::string> remote, local_id, remote_id, encapsulation;
  std::vector<std::string> inside, ike_proposals, esp_proposals;
  std::optional<std::uint16_t> mtu;
  bool wait_for_peer = false;
  bool allow_weak = false;
};
[[nodiscard]] Result<void> add_tunnel(GatewayConfig& config, const TunnelOptions& options);
[[nodiscard]] Result<void> remove_tunnel(GatewayConfig& config, const std::string& name);

struct VpcOptions {
  std::string name, domain;
  std::uint32_t vni = 0;
  std::vector<std::string> prefixes, gateway;
  std::optional<std::string> gateway_mac;
  std::optional<std::uint16_t> mtu;
  /// Add the domain if there is none of this name.
  bool new_domain = false;
};
[[nodiscard]] Result<void> add_vpc(GatewayConfig& config, const VpcOptions& options);
[[nodiscard]] Result<void> remove_vpc(GatewayConfig& config, const std::string& name);

/// Options of `circuit add`, as typed.
struct CircuitOptions {
  std::string name, domain, uplink;
  std::uint32_t vlan = 0;
  std::optional<std::uint32_t> outer_vlan;
  std::optional<std::string> outer_type, service_key;
  std::vector<std::string> addresses;
  std::optional<std::uint16_t> mtu;
  bool secondary = false;
};
[[nodiscard]] Result<void> add_circuit(GatewayConfig& config, const CircuitOptions& options);
[[nodiscard]] Result<void> remove_circuit(GatewayConfig& config, const std::string& name);

struct EndpointOptions {
  std::string vpc, address, mac, vtep;
};
[[nodiscard]] Result<void> add_endpoint(GatewayConfig& config, const EndpointOptions& options);
[[nodiscard]] Result<void> remove_endpoint(GatewayConfig& config, const std::string& vpc, const std::string& address);

}  // namespace simplon::cli
