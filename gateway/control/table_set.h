// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gateway/ipc/table_model.h"
#include "platform/base/ids.h"
#include "platform/net/ip_prefix.h"

namespace simplon::control {

/// Everything the forwarder should hold, by key. A value: two sets are compared, not edited in place.
struct TableSet {
  std::map<DomainId, ipc::Domain> domains;
  std::map<std::string, ipc::Uplink> uplinks;
  std::map<Vni, ipc::Vpc> vpcs;
  std::map<TunnelId, ipc::Tunnel> tunnels;
  std::map<CircuitId, ipc::Circuit> circuits;
  std::map<ipc::AttachmentRef, ipc::HostPort> host_ports;
  std::map<std::pair<Vni, IpAddress>, ipc::Endpoint> endpoints;
  std::map<DomainId, std::unordered_map<IpPrefix, ipc::Route>> routes;
  std::map<std::string, ipc::Acl> acls;
  std::map<ipc::AttachmentRef, ipc::Policy> policies;
  std::map<DomainId, ipc::Nat> nats;

  /// Replaces or adds `route`; nothing removes it. Returns the operation, or nothing if that changes nothing.
  std::optional<ipc::Operation> set_route(DomainId domain, const IpPrefix& prefix, std::optional<ipc::Route> route);

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::size_t route_count() const;
  friend bool operator==(const TableSet&, const TableSet&) = default;
};

/// What turns `from` into `to`, in an order that never leaves a reference dangling on the way: domains before what is
/// in them, attachments before their host ports, endpoints and routes; removals last, in the opposite order.
[[nodiscard]] std::vector<ipc::Operation> difference(const TableSet& from, const TableSet& to);

/// Upserts of everything, in the same order.
[[nodiscard]] std::vector<ipc::Operation> everything(const TableSet& tables);

}  // namespace simplon::control
