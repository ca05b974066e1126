// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bgp/speaker.h"
#include "gateway/config/ids.h"
#include "gateway/config/model.h"
#include "gateway/control/domain_routes.h"
#include "gateway/control/table_set.h"
#include "gateway/ipc/table_model.h"

namespace simplon::control {

/// Host port names; at most 15 characters for any id.
[[nodiscard]] std::string tunnel_interface(TunnelId id);
[[nodiscard]] std::string vpc_interface(Vni vni);
[[nodiscard]] std::string circuit_interface(CircuitId id);

/// MTU of a tunnel's host port when none is configured: what fits through ESP-in-UDP over IPv6 on a 1500-byte path.
/// Only our own packets (BGP, ping) see it; forwarded ones are measured against the computed MTU of the SA.
inline constexpr std::uint16_t kTunnelHostPortMtu = 1400;

/// Keeps the wanted tables equal to configuration plus learned routes, and says what changed as operations.
///
/// Invariant: `tables()` after any sequence of calls equals a compiler's that was given the latest configuration and
/// all valid learned routes at once. A change of a learned route touches that route only; a change of the configuration
/// compiles all objects anew, and the routes of those domains whose layout changed, but returns only what differs.
/// Pure: no sockets, no time. Threads: none.
class TableCompiler {
 public:
  explicit TableCompiler(std::string netns_prefix) : netns_prefix_(std::move(netns_prefix)) {}

  /// `config` is valid and its names have ids. `held`: tunnels that the operator has taken down.
  std::vector<ipc::Operation> configure(const GatewayConfig& config, const config::IdRegistry& ids, const std::set<std::string>& held = {});
  /// Learned routes of a domain that is not configured (any more, or yet) are kept without effect.
  std::vector<ipc::Operation> learn(const std::string& domain, const bgp::RouteChanges& changes);
  /// Drops the learned routes of a domain: its speaker is gone.
  std::vector<ipc::Operation> forget(const std::string& domain);

  [[nodiscard]] const TableSet& tables() const noexcept { return tables_; }
  /// nullptr for a domain that was never configured.
  [[nodiscard]] const DomainRoutes* domain(std::string_view name) const;

 private:
  std::string netns_prefix_;
  std::map<std::string, DomainRoutes, std::less<>> domains_;
  TableSet tables_;
};

}  // namespace simplon::control
