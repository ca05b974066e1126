// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "gateway/config/ids.h"
#include "gateway/config/model.h"
#include "gateway/ipc/table_stats.h"

// Access lists, NAT and connections as JSON of the local API; pure. Without `stats` the forwarder is away.

namespace simplon::daemon {

[[nodiscard]] nlohmann::json acls_json(const GatewayConfig& config, const std::optional<ipc::Stats>& stats);
[[nodiscard]] nlohmann::json nat_json(const GatewayConfig& config, const config::IdRegistry& ids,
                                      const std::optional<ipc::Stats>& stats);
[[nodiscard]] nlohmann::json connections_json(const GatewayConfig& config, const config::IdRegistry& ids,
                                              const ipc::Stats& stats);

}  // namespace simplon::daemon
