// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bgp/speaker.h"
#include "gateway/config/ids.h"
#include "gateway/config/model.h"
#include "gateway/control/reconciler.h"
#include "gateway/ipc/table_stats.h"
#include "ipsec/tunnel_manager.h"

// JSON of the local API from plain values; pure. Shapes are documented in gateway/ipc/api.h.

namespace simplon::daemon {

/// What the forwarder says and whether it has everything; nothing if it is away.
struct Programmed {
  ipc::Stats stats;
  control::TableProgrammer::Status status;
};

[[nodiscard]] nlohmann::json accounting_json(const ipc::Accounting& accounting);
[[nodiscard]] nlohmann::json drops_json(const ipc::Stats& stats);
[[nodiscard]] nlohmann::json uplinks_json(const std::vector<ipc::UplinkStats>& uplinks);
[[nodiscard]] nlohmann::json workers_json(const std::vector<ipc::WorkerStats>& workers);

/// "up", "ike-only", "connecting", "down", "disabled".
[[nodiscard]] std::string tunnel_state(const TunnelConfig& tunnel, const ipsec::TunnelStatus* status);
[[nodiscard]] nlohmann::json tunnel_json(const TunnelConfig& tunnel, std::uint32_t id,
                                         const ipsec::TunnelStatus* status,
                                         const std::optional<Programmed>& programmed);
[[nodiscard]] nlohmann::json vpc_json(const VpcConfig& vpc, const std::optional<Programmed>& programmed);
/// `config`: the whole document, for its uplinks and neighbors. The namespace of a domain is `netns_prefix` and its name.
[[nodiscard]] nlohmann::json circuit_json(const CircuitConfig& circuit, CircuitId id, const GatewayConfig& config,
                                          const std::optional<Programmed>& programmed, const std::string& netns_prefix);
[[nodiscard]] nlohmann::json route_json(const control::RouteView& route, DomainId domain,
                                        const control::TableProgrammer::Status& status);
[[nodiscard]] nlohmann::json domain_bgp_json(const DomainConfig& domain, const bgp::SpeakerStatus& status);

/// What the parts observe about themselves, as problems.
void add_tunnel_problems(const GatewayConfig& config, const std::vector<ipsec::TunnelStatus>& statuses,
                         std::vector<control::Problem>& problems);
void add_bgp_problems(const DomainConfig& domain, const bgp::SpeakerStatus& status,
                      std::vector<control::Problem>& problems);
void add_forwarder_problems(const GatewayConfig& config, const ipc::Stats& stats,
                            std::vector<control::Problem>& problems);
void add_circuit_problems(const GatewayConfig& config, const config::IdRegistry& ids, const ipc::Stats& stats,
                          const std::string& netns_prefix, std::vector<control::Problem>& problems);

}  // namespace simplon::daemon
