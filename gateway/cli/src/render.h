// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

// Replies of the local API (gateway/ipc/api.h) as pages for people: the verdict first, the remedy last, at most 100
// columns. Pure functions; members that are absent or null are shown as unknown, never as zero.

namespace simplon::cli {

struct Style {
  bool color = false;
};

struct Page {
  std::string text;
  /// What is shown works less well than it was configured to (exit code 4).
  bool degraded = false;
};

[[nodiscard]] Page render_status(const nlohmann::json& reply, Style style);
[[nodiscard]] Page render_tunnels(const nlohmann::json& reply, Style style);
/// One tunnel: config, observed and programmed side by side.
[[nodiscard]] Page render_tunnel(const nlohmann::json& tunnel, Style style);
[[nodiscard]] Page render_vpcs(const nlohmann::json& reply, Style style);
[[nodiscard]] Page render_vpc(const nlohmann::json& vpc, Style style);
[[nodiscard]] Page render_circuits(const nlohmann::json& reply, Style style);
[[nodiscard]] Page render_circuit(const nlohmann::json& circuit, Style style);
/// Endpoints of all VPCs, or of those in `reply`.
[[nodiscard]] Page render_endpoints(const nlohmann::json& reply, Style style);
[[nodiscard]] Page render_routes(const nlohmann::json& reply, Style style);
[[nodiscard]] Page render_bgp(const nlohmann::json& reply, Style style);
/// Without `all` only the reasons that dropped something.
[[nodiscard]] Page render_drops(const nlohmann::json& reply, bool all, Style style);

/// One reason and how often.
[[nodiscard]] Page render_drop(const nlohmann::json& drop, Style style);

/// Stage by stage, then the remedy; a drop is degraded.
[[nodiscard]] Page render_trace(const nlohmann::json& reply, Style style);
/// Access lists in one line each; one list with its rules.
[[nodiscard]] Page render_acls(const nlohmann::json& reply, Style style);
[[nodiscard]] Page render_acl(const nlohmann::json& acl, Style style);
[[nodiscard]] Page render_nat(const nlohmann::json& reply, Style style);
[[nodiscard]] Page render_connections(const nlohmann::json& reply, Style style);

/// Findings of `simplon doctor`, the worst last; `all`: also what is right.
[[nodiscard]] Page render_doctor(const nlohmann::json& reply, bool all, Style style);

/// The document, ready to be a file: what is known about it goes into comments.
[[nodiscard]] Page render_config(const nlohmann::json& reply, Style style);
[[nodiscard]] Page render_history(const nlohmann::json& reply, Style style);
/// Changes and impact of a diff, check, apply or undo reply, without a verdict of its own.
[[nodiscard]] std::string render_changes(const nlohmann::json& reply, Style style);
[[nodiscard]] std::string render_warnings(const nlohmann::json& reply, Style style);
/// "errors" of a refusal. `verdict`: its first words, like "refused".
[[nodiscard]] std::string render_errors(const nlohmann::json& reply, const std::string& verdict, Style style);
/// What to do about a change on probation; empty if there is none.
[[nodiscard]] std::string render_pending(const nlohmann::json& pending, Style style);

}  // namespace simplon::cli
