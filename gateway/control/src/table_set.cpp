// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/table_set.h"

#include <iterator>

namespace simplon::control {

namespace {

template <class Map>
void add_upserts(const Map& from, const Map& to, std::vector<ipc::Operation>& operations) {
  for (const auto& [key, object] : to) {
    const auto old = from.find(key);
    if (old == from.end() || old->second != object) operations.push_back(ipc::Operation::upsert(object));
  }
}

template <class Map>
void add_removals(const Map& from, const Map& to, std::vector<ipc::Operation>& operations) {
  for (const auto& [key, object] : from) {
    if (!to.contains(key)) operations.push_back(ipc::Operation::remove(object));
  }
}

const std::unordered_map<IpPrefix, ipc::Route>& routes_of(const TableSet& tables, DomainId domain) {
  static const std::unordered_map<IpPrefix, ipc::Route> none;
  const auto found = tables.routes.find(domain);
  return found == tables.routes.end() ? none : found->second;
}

}  // namespace

std::optional<ipc::Operation> TableSet::set_route(DomainId domain, const IpPrefix& prefix,
                                                  std::optional<ipc::Route> route) {
  if (route) {
    auto [entry, inserted] = routes[domain].try_emplace(prefix, *route);
    if (!inserted) {
      if (entry->second == *route) return std::nullopt;
      entry->second = *route;
    }
    return ipc::Operation::upsert(*std::move(route));
  }
  const auto in_domain = routes.find(domain);
  if (in_domain == routes.end()) return std::nullopt;
  const auto found = in_domain->second.find(prefix);
  if (found == in_domain->second.end()) return std::nullopt;
  auto operation = ipc::Operation::remove(std::move(found->second));
  in_domain->second.erase(found);
  // An empty table and no table are equal sets.
  if (in_domain->second.empty()) routes.erase(in_domain);
  return operation;
}

std::size_t TableSet::route_count() const {
  std::size_t count = 0;
  for (const auto& [domain, in_domain] : routes) count += in_domain.size();
  return count;
}

std::size_t TableSet::size() const {
  return domains.size() + uplinks.size() + vpcs.size() + tunnels.size() + circuits.size() + host_ports.size() +
         endpoints.size() + route_count() + acls.size() + policies.size() + nats.size();
}

std::vector<ipc::Operation> difference(const TableSet& from, const TableSet& to) {
  std::vector<ipc::Operation> operations;
  add_upserts(from.domains, to.domains, operations);
  add_upserts(from.uplinks, to.uplinks, operations);
  // Before the attachments they restrict, so that there is no moment without them.
  add_upserts(from.acls, to.acls, operations);
  add_upserts(from.policies, to.policies, operations);
  add_upserts(from.nats, to.nats, operations);
  add_upserts(from.vpcs, to.vpcs, operations);
  add_upserts(from.tunnels, to.tunnels, operations);
  add_upserts(from.circuits, to.circuits, operations);
  add_upserts(from.host_ports, to.host_ports, operations);
  add_upserts(from.endpoints, to.endpoints, operations);
  for (const auto& [domain, routes] : to.routes) add_upserts(routes_of(from, domain), routes, operations);

  for (const auto& [domain, routes] : from.routes) add_removals(routes, routes_of(to, domain), operations);
  add_removals(from.endpoints, to.endpoints, operations);
  add_removals(from.host_ports, to.host_ports, operations);
  add_removals(from.circuits, to.circuits, operations);
  add_removals(from.tunnels, to.tunnels, operations);
  add_removals(from.vpcs, to.vpcs, operations);
  add_removals(from.policies, to.policies, operations);
  add_removals(from.acls, to.acls, operations);
  add_removals(from.nats, to.nats, operations);
  add_removals(from.uplinks, to.uplinks, operations);
  add_removals(from.domains, to.domains, operations);
  return operations;
}

std::vector<ipc::Operation> everything(const TableSet& tables) { return difference(TableSet{}, tables); }

}  // namespace simplon::control
