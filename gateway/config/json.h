// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "gateway/config/diff.h"
#include "gateway/config/document.h"
#include "gateway/config/model.h"
#include "gateway/config/store.h"

// The configuration side of the local API's JSON (gateway/ipc/api.h). Keys are those of the YAML document.

namespace simplon::config {

[[nodiscard]] nlohmann::json to_json(const Issue& issue);
/// Only those of one severity.
[[nodiscard]] nlohmann::json to_json(const std::vector<Issue>& issues, Severity severity);
[[nodiscard]] nlohmann::json to_json(const Change& change);
[[nodiscard]] nlohmann::json to_json(const Impact& impact);
/// {"changes": [...], "impact": [...], "summary": "..."}
[[nodiscard]] nlohmann::json to_json(const Diff& diff);
[[nodiscard]] nlohmann::json to_json(const Version& version);
/// null if there is none. `now` gives "seconds_left".
[[nodiscard]] nlohmann::json to_json(const std::optional<Pending>& pending, std::chrono::system_clock::time_point now);

/// All fields, defaults included; files of secrets by path, never their contents.
[[nodiscard]] nlohmann::json to_json(const TunnelConfig& tunnel);
[[nodiscard]] nlohmann::json to_json(const VpcConfig& vpc);
[[nodiscard]] nlohmann::json to_json(const CircuitConfig& circuit);
[[nodiscard]] nlohmann::json to_json(const EndpointConfig& endpoint);
[[nodiscard]] nlohmann::json to_json(const BgpNeighborConfig& neighbor);
/// Without its neighbors.
[[nodiscard]] nlohmann::json to_json(const BgpConfig& bgp);

}  // namespace simplon::config
