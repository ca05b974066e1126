// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string_view>
#include <unordered_map>

#include "gateway/config/model.h"

namespace simplon::control {

/// The tunnels, circuits and VPCs of a configuration by name. Refers to the configuration. Of several with one name, which a
/// valid configuration does not have, the first.
class AttachmentIndex {
 public:
  /// A tunnel and a VPC may have one name.
  struct Named {
    const TunnelConfig* tunnel = nullptr;
    const CircuitConfig* circuit = nullptr;
    const VpcConfig* vpc = nullptr;
  };

  explicit AttachmentIndex(const GatewayConfig& config) {
    by_name_.reserve(config.tunnels.size() + config.circuits.size() + config.vpcs.size());
    const auto set_once = [](auto& place, const auto& attachment) {
      if (place == nullptr) place = &attachment;
    };
    for (const auto& tunnel : config.tunnels) set_once(by_name_[tunnel.name].tunnel, tunnel);
    for (const auto& circuit : config.circuits) set_once(by_name_[circuit.name].circuit, circuit);
    for (const auto& vpc : config.vpcs) set_once(by_name_[vpc.name].vpc, vpc);
  }

  [[nodiscard]] Named find(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? Named{} : found->second;
  }

 private:
  std::unordered_map<std::string_view, Named> by_name_;
};

}  // namespace simplon::control
