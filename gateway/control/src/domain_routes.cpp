// SPDX-License-Identifier: GPL-2.0-or-later
//
// Resolution is deliberately flat. zebra has already followed recursive nexthops to an interface of the domain's
// namespace, and each interface there is the host port of exactly one attachment, so "which attachment" is one map
// look-up by interface name. The gateway matters on a circuit only, where many neighbors are behind one interface.
// Nothing here depends on another learned route; that is why one changed route costs one look-up.
//
// A prefix may have a route from each source. The first source (in the order of RouteSource) with a nexthop that
// resolves wins. A static route over a disabled tunnel does not resolve, so a learned route of the same prefix takes
// its place. What does not resolve is kept and shown: it becomes a route when its interface appears.

#include "gateway/control/domain_routes.h"

#include <algorithm>
#include <utility>

namespace simplon::control {

namespace {

/// Merges hops over the same attachment (their weights add up) and bounds the set. Only on a circuit there is more than
/// one gateway.
void add_hop(std::vector<ipc::NextHop>& hops, ipc::AttachmentRef attachment, std::uint16_t weight,
             std::optional<IpAddress> gateway = {}) {
  if (attachment.kind != ipc::AttachmentKind::kCircuit) gateway.reset();
  for (auto& hop : hops) {
    if (hop.attachment != attachment || hop.gateway != gateway) continue;
    hop.weight = static_cast<std::uint16_t>(std::min<unsigned>(65535U, unsigned{hop.weight} + weight));
    return;
  }
  if (hops.size() < kMaxNextHops) hops.push_back({attachment, weight, gateway});
}

/// The order must not depend on the order in which they were learned, or equal sets would look different.
void normalize(std::vector<ipc::NextHop>& hops) {
  std::sort(hops.begin(), hops.end());
  // A set whose weights are all equal is a set of weight 1.
  const bool equal =
      std::all_of(hops.begin(), hops.end(), [&](const auto& hop) { return hop.weight == hops[0].weight; });
  if (equal) {
    for (auto& hop : hops) hop.weight = 1;
  }
}

}  // namespace

std::string_view to_string(RouteSource source) noexcept {
  switch (source) {
    case RouteSource::kLocal:
      return "local";
    case RouteSource::kConnected:
      return "connected";
    case RouteSource::kStatic:
      return "static";
    case RouteSource::kBgp:
      return "bgp";
  }
  return "unknown";
}

void DomainRoutes::configure(DomainLayout layout) {
  layout_ = std::move(layout);
  configured_ = true;
  by_prefix_.clear();
  for (const auto& route : layout_.routes) by_prefix_[route.prefix].push_back(route);
  for (auto& [prefix, routes] : by_prefix_) {
    std::stable_sort(routes.begin(), routes.end(), [](const auto& a, const auto& b) { return a.source < b.source; });
  }
}

void DomainRoutes::unconfigure() {
  configured_ = false;
  layout_ = {};
  by_prefix_.clear();
}

std::vector<IpPrefix> DomainRoutes::learn(const bgp::RouteChanges& changes) {
  std::vector<IpPrefix> touched;
  touched.reserve(changes.upserts.size() + changes.withdrawals.size());
  for (const auto& prefix : changes.withdrawals) {
    if (learned_.erase(prefix) != 0) touched.push_back(prefix);
  }
  for (const auto& route : changes.upserts) {
    auto [entry, inserted] = learned_.try_emplace(route.prefix, route);
    if (!inserted) {
      if (entry->second == route) continue;
      entry->second = route;
    }
    touched.push_back(route.prefix);
  }
  return touched;
}

std::optional<ipc::Route> DomainRoutes::resolve(const IpPrefix& prefix) const {
  if (!configured_) return std::nullopt;
  if (const auto found = by_prefix_.find(prefix); found != by_prefix_.end()) {
    if (auto route = resolve_configured(found->second)) return route;
  }
  if (const auto found = learned_.find(prefix); found != learned_.end()) return resolve_learned(found->second);
  return std::nullopt;
}

std::vector<ipc::Route> DomainRoutes::resolve_all() const {
  std::vector<ipc::Route> routes;
  if (!configured_) return routes;
  routes.reserve(by_prefix_.size() + learned_.size());
  for (const auto& [prefix, configured] : by_prefix_) {
    if (auto route = resolve(prefix)) routes.push_back(*std::move(route));
  }
  for (const auto& [prefix, learned] : learned_) {
    if (by_prefix_.contains(prefix)) continue;
    if (auto route = resolve_learned(learned)) routes.push_back(*std::move(route));
  }
  return routes;
}

std::optional<ipc::Route> DomainRoutes::resolve_configured(const std::vector<ConfiguredRoute>& routes) const {
  std::optional<RouteSource> source;
  ipc::Route resolved;
  for (const auto& route : routes) {
    if (source && route.source != *source) break;
    if (!route.attachment) continue;
    if (!source) {
      source = route.source;
      resolved.domain = layout_.id;
      resolved.prefix = route.prefix;
      resolved.action = route.source == RouteSource::kLocal ? ipc::RouteAction::kLocal : ipc::RouteAction::kForward;
    }
    add_hop(resolved.nexthops, *route.attachment, 1, route.gateway);
    // An address or a link belongs to one attachment; several nexthops make sense for static routes only.
    if (*source != RouteSource::kStatic) break;
  }
  if (!source) return std::nullopt;
  normalize(resolved.nexthops);
  return resolved;
}

RouteView::Hop DomainRoutes::resolve_hop(const bgp::RouteNextHop& nexthop) const {
  RouteView::Hop hop;
  hop.gateway = nexthop.gateway;
  hop.interface = nexthop.interface;
  hop.weight = std::max<std::uint16_t>(nexthop.weight, 1);
  if (const auto port = layout_.ports.find(nexthop.interface); port != layout_.ports.end()) {
    hop.attachment = port->second.attachment;
    hop.attachment_name = port->second.name;
  } else if (nexthop.interface.empty()) {
    hop.problem = "the nexthop has no interface";
  } else {
    hop.problem = "no attachment has the interface " + nexthop.interface;
  }
  return hop;
}

std::optional<ipc::Route> DomainRoutes::resolve_learned(const bgp::LearnedRoute& route) const {
  ipc::Route resolved;
  for (const auto& nexthop : route.nexthops) {
    const auto port = layout_.ports.find(nexthop.interface);
    if (port != layout_.ports.end()) {
      add_hop(resolved.nexthops, port->second.attachment, std::max<std::uint16_t>(nexthop.weight, 1), nexthop.gateway);
    }
  }
  if (resolved.nexthops.empty()) return std::nullopt;
  normalize(resolved.nexthops);
  resolved.domain = layout_.id;
  resolved.prefix = route.prefix;
  resolved.action = ipc::RouteAction::kForward;
  return resolved;
}

std::vector<RouteView> DomainRoutes::view() const {
  std::vector<RouteView> views;
  views.reserve(by_prefix_.size() + learned_.size());
  for (const auto& [prefix, routes] : by_prefix_) {
    for (const auto& route : routes) {
      const bool same = !views.empty() && views.back().prefix == prefix && views.back().source == route.source &&
                        route.source == RouteSource::kStatic;
      if (!same) {
        RouteView view;
        view.prefix = prefix;
        view.source = route.source;
        views.push_back(std::move(view));
      }
      RouteView::Hop hop;
      hop.attachment = route.attachment;
      hop.attachment_name = route.attachment_name;
      hop.gateway = route.gateway;
      hop.problem = route.problem;
      views.back().hops.push_back(std::move(hop));
    }
  }
  for (const auto& [prefix, learned] : learned_) {
    RouteView view;
    view.prefix = prefix;
    view.source = RouteSource::kBgp;
    view.metric = learned.metric;
    for (const auto& nexthop : learned.nexthops) view.hops.push_back(resolve_hop(nexthop));
    views.push_back(std::move(view));
  }
  std::stable_sort(views.begin(), views.end(), [](const RouteView& a, const RouteView& b) {
    return a.prefix != b.prefix ? a.prefix < b.prefix : a.source < b.source;
  });

  std::optional<IpPrefix> selected_prefix;
  RouteSource selected_source = RouteSource::kLocal;
  for (auto& view : views) {
    view.resolved =
        std::any_of(view.hops.begin(), view.hops.end(), [](const auto& hop) { return hop.attachment.has_value(); });
    if (!view.resolved) {
      view.reason = view.hops.empty() ? "it has no nexthop" : view.hops.front().problem;
    } else if (selected_prefix == view.prefix) {
      view.reason = "the " + std::string(to_string(selected_source)) + " route of the same prefix is preferred";
    } else {
      view.selected = true;
      selected_prefix = view.prefix;
      selected_source = view.source;
    }
  }
  return views;
}

std::vector<IpPrefix> DomainRoutes::learned_prefixes() const {
  std::vector<IpPrefix> prefixes;
  prefixes.reserve(learned_.size());
  for (const auto& [prefix, route] : learned_) prefixes.push_back(prefix);
  return prefixes;
}

std::size_t DomainRoutes::unresolved() const {
  return static_cast<std::size_t>(std::count_if(
      learned_.begin(), learned_.end(), [&](const auto& entry) { return !resolve_learned(entry.second).has_value(); }));
}

}  // namespace simplon::control
