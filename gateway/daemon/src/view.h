// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bgp/speaker.h"
#include "gateway/config/ids.h"
#include "gateway/config/model.h"
#include "gateway/control/reconciler.h"
#include "gateway/ipc/table_stats.h"
#include "ipsec/tunnel_manager.h"

// JSON of the local API from plain values; pure. Shapes are documented in gateway/ipc/api.h.

namespace simplon::daemon {

/// What the forwarder says and whether it has everything, found by key.
class Programmed {
 public:
  Programmed(ipc::Stats stats, control::TableProgrammer::Status status);

  [[nodiscard]] const ipc::Stats& stats() const noexcept { return stats_; }
  [[nodiscard]] const control::TableProgrammer::Status& status() const noexcept { return status_; }

  /// nullptr: the forwarder does not have it.
  [[nodiscard]] const ipc::AttachmentStats* attachment(ipc::AttachmentRef attachment) const;
  /// On the underlay, not on a circuit.
  [[nodiscard]] const ipc::NeighborStats* neighbor(const IpAddress& destination) const;
  [[nodiscard]] std::vector<const ipc::SaStats*> sas_of(TunnelId tunnel) const;

 private:
  ipc::Stats stats_;
  control::TableProgrammer::Status status_;
  // Places in the lists of `stats_`: a copy keeps them.
  std::map<ipc::AttachmentRef, std::size_t> attachments_;
  std::map<IpAddress, std::size_t> neighbors_;
  std::multimap<TunnelId, std::size_t> sas_;
};

/// What charon says of each tunnel, by name. Refers to the list it is made of.
class TunnelStatuses {
 public:
  explicit TunnelStatuses(const std::vector<ipsec::TunnelStatus>& statuses) {
    for (const auto& status : statuses) by_name_.emplace(status.name, &status);
  }
  /// nullptr: charon does not know the tunnel.
  [[nodiscard]] const ipsec::TunnelStatus* find(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

 private:
  std::map<std::string_view, const ipsec::TunnelStatus*> by_name_;
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
void add_tunnel_problems(const GatewayConfig& config, const TunnelStatuses& statuses,
                         std::vector<control::Problem>& problems);
void add_bgp_problems(const DomainConfig& domain, const bgp::SpeakerStatus& status,
                      std::vector<control::Problem>& problems);
void add_forwarder_problems(const GatewayConfig& config, const ipc::Stats& stats,
                            std::vector<control::Problem>& problems);
void add_circuit_problems(const GatewayConfig& config, const config::IdRegistry& ids, const ipc::Stats& stats,
                          const std::string& netns_prefix, std::vector<control::Problem>& problems);

}  // namespace simplon::daemon
