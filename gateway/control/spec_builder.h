// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bgp/speaker.h"
#include "gateway/config/ids.h"
#include "gateway/config/model.h"
#include "ipsec/tunnel_manager.h"
#include "platform/base/result.h"

// From the operator's words to what charon and FRR are told. Secrets are read from their files here, at the moment they
// are needed, and live only in the specs.

namespace simplon::control {

/// Enabled tunnels. Those whose secret cannot be read are to be kept as they are and have an error in `problems`, by name.
struct TunnelSpecs {
  std::vector<ipsec::TunnelSpec> specs;
  std::map<std::string, Error> problems;

  TunnelSpecs() = default;
  TunnelSpecs(TunnelSpecs&&) = default;
  TunnelSpecs& operator=(TunnelSpecs&&) = default;
  TunnelSpecs(const TunnelSpecs&) = delete;
  TunnelSpecs& operator=(const TunnelSpecs&) = delete;
  /// Wipes the keys that were not handed on.
  ~TunnelSpecs();
};

/// Blocks on small files.
[[nodiscard]] TunnelSpecs build_tunnel_specs(const GatewayConfig& config, const config::IdRegistry& ids);

/// An FRR instance. Neighbors whose password cannot be read, or used, are to be kept as they are; `problem` tells of the first.
struct BuiltSpeaker {
  bgp::SpeakerSpec spec;
  std::optional<Error> problem;
};

/// The FRR instance of `domain`, which has `bgp`. Originates the prefixes of the domain's VPCs. Blocks on small files.
[[nodiscard]] BuiltSpeaker build_speaker_spec(const GatewayConfig& config, const DomainConfig& domain,
                                              const std::string& netns_prefix);

}  // namespace simplon::control
