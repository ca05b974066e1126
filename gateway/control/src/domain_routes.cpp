// SPDX-License-Identifier: GPL-2.0-or-later
//
// Resolution is deliberately flat. zebra has already followed recursive nexthops to an interface of the domain's
// namespace, and each interface there is the host port of exactly one attachment, so "which attachment" is one map
// look-up by interface name. The gateway matters on a circuit only, where many neighbors are behind one interface; a learned
// nexthop without one leads nowhere there, or the forwarder would look for the destination itself on the circuit.
// Nothing here depends on another learned route; that is why one changed route costs one look-up.
//
// A prefix may have a route from each source, and static ones of several distances. The most preferred with a nexthop that
// resolves wins. A static route over a disabled tunnel does not resolve, so a learned route of the same prefix takes
// its place. What does not resolve is kept and shown: it becomes a route when its interface appears.
//
// The next one that leads anywhere else goes to the forwarder too, as backup: it sees links, SAs and neighbors fail long
// before any of them changes what is known here.

#include "gateway/control/domain_routes.h"

#include <algorithm>
#include <tuple>
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

/// A learned nexthop on a circuit whose router FRR did not tell (RFC 8950, fpm_message.cpp).
bool is_routerless(const DomainLayout::Port& port, const bgp::RouteNextHop& nexthop) {
  return port.attachment.kind == ipc::AttachmentKind::kCircuit && !nexthop.gateway;
}

/// Where else could packets for an address of ours or on a link of ours go?
bool may_have_backup(RouteSource source) { return source == RouteSource::kStatic || source == RouteSource::kBgp; }

bool same_exit(const RouteView::Hop& a, const RouteView::Hop& b) {
  const bool gateways = a.attachment && a.attachment->kind == ipc::AttachmentKind::kCircuit;
  return a.attachment == b.attachment && (!gateways || a.gateway == b.gateway);
}

/// What becomes of a route beside `selected`, the one before it that is forwarded on; nullptr: there is none yet.
void judge(RouteView& view, const RouteView* selected, bool& has_backup) {
  view.resolved =
      std::any_of(view.hops.begin(), view.hops.end(), [](const auto& hop) { return hop.attachment.has_value(); });
  if (!view.resolved) {
    view.reason = view.hops.empty() ? "it has no nexthop" : view.hops.front().problem;
    return;
  }
  if (selected == nullptr) {
    view.selected = true;
    return;
  }
  const std::string other = "the " + std::string(to_string(selected->source)) + " route of the same prefix";
  const bool elsewhere = std::any_of(view.hops.begin(), view.hops.end(), [&](const auto& hop) {
    return hop.attachment && std::none_of(selected->hops.begin(), selected->hops.end(),
                                          [&](const auto& theirs) { return same_exit(hop, theirs); });
  });
  view.backup = !has_backup && elsewhere;
  has_backup = has_backup || view.backup;
  view.reason = view.backup ? "backup of " + other : other + " is preferred";
}

/// Static routes of one prefix and distance are one route with several nexthops.
bool are_shown_as_one(RouteSource source, std::uint8_t distance, const ConfiguredRoute& next) {
  return source == RouteSource::kStatic && next.source == RouteSource::kStatic && next.distance == distance;
}

bool same_exit(const ipc::NextHop& a, const ipc::NextHop& b) {
  return a.attachment == b.attachment && a.gateway == b.gateway;
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

bool DomainRoutes::configure(DomainLayout layout) {
  if (configured_ && layout_ == layout) return false;
  layout_ = std::move(layout);
  configured_ = true;
  by_prefix_.clear();
  for (const auto& route : layout_.routes) by_prefix_[route.prefix].push_back(route);
  for (auto& [prefix, routes] : by_prefix_) {
    std::stable_sort(routes.begin(), routes.end(), [](const auto& a, const auto& b) {
      return a.source != b.source ? a.source < b.source : a.distance < b.distance;
    });
  }
  return true;
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
  const auto learned = learned_.find(prefix);
  const bgp::LearnedRoute* const route = learned == learned_.end() ? nullptr : &learned->second;
  if (const auto found = by_prefix_.find(prefix); found != by_prefix_.end()) {
    return resolve_tiers(prefix, tiers_of(found->second, route));
  }
  return route == nullptr ? std::nullopt : resolve_learned(*route);
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

std::vector<DomainRoutes::Tier> DomainRoutes::tiers_of(const std::vector<ConfiguredRoute>& routes,
                                                       const bgp::LearnedRoute* learned) const {
  std::vector<Tier> tiers;
  const auto add_learned = [&] {
    if (learned == nullptr) return;
    if (auto hops = hops_of(*learned); !hops.empty()) tiers.push_back({RouteSource::kBgp, kBgpDistance, std::move(hops)});
    learned = nullptr;
  };
  for (const auto& route : routes) {
    const bool is_static = route.source == RouteSource::kStatic;
    if (is_static && route.distance > kBgpDistance) add_learned();
    if (!route.attachment) continue;
    const bool together = !tiers.empty() && tiers.back().source == route.source && tiers.back().distance == route.distance;
    // An address or a link belongs to one attachment; several nexthops make sense for static routes only.
    if (together && !is_static) continue;
    if (!together) tiers.push_back({route.source, route.distance, {}});
    add_hop(tiers.back().hops, *route.attachment, 1, route.gateway);
  }
  add_learned();
  for (auto& tier : tiers) normalize(tier.hops);
  return tiers;
}

std::optional<ipc::Route> DomainRoutes::resolve_tiers(const IpPrefix& prefix, std::vector<Tier> tiers) const {
  if (tiers.empty()) return std::nullopt;
  ipc::Route resolved;
  resolved.domain = layout_.id;
  resolved.prefix = prefix;
  resolved.action = tiers.front().source == RouteSource::kLocal ? ipc::RouteAction::kLocal : ipc::RouteAction::kForward;
  resolved.nexthops = std::move(tiers.front().hops);
  if (!may_have_backup(tiers.front().source)) return resolved;
  const auto primaries = static_cast<std::ptrdiff_t>(resolved.nexthops.size());
  for (std::size_t i = 1; i < tiers.size() && resolved.nexthops.size() == static_cast<std::size_t>(primaries); ++i) {
    for (auto& hop : tiers[i].hops) {
      if (resolved.nexthops.size() == kMaxNextHops) break;
      const bool known = std::any_of(resolved.nexthops.begin(), resolved.nexthops.begin() + primaries,
                                     [&](const auto& primary) { return same_exit(primary, hop); });
      if (known) continue;
      hop.backup = true;
      resolved.nexthops.push_back(hop);
    }
  }
  return resolved;
}

RouteView::Hop DomainRoutes::resolve_hop(const bgp::RouteNextHop& nexthop) const {
  RouteView::Hop hop;
  hop.gateway = nexthop.gateway;
  hop.interface = nexthop.interface;
  hop.weight = std::max<std::uint16_t>(nexthop.weight, 1);
  const auto port = layout_.ports.find(nexthop.interface);
  if (port != layout_.ports.end() && is_routerless(port->second, nexthop)) {
    hop.attachment_name = port->second.name;
    hop.problem = "FRR does not tell which router on circuit " + port->second.name + " it leads to";
  } else if (port != layout_.ports.end()) {
    hop.attachment = port->second.attachment;
    hop.attachment_name = port->second.name;
  } else if (nexthop.interface.empty()) {
    hop.problem = "the nexthop has no interface";
  } else {
    hop.problem = "no attachment has the interface " + nexthop.interface;
  }
  return hop;
}

std::vector<ipc::NextHop> DomainRoutes::hops_of(const bgp::LearnedRoute& route) const {
  std::vector<ipc::NextHop> hops;
  for (const auto& nexthop : route.nexthops) {
    const auto port = layout_.ports.find(nexthop.interface);
    if (port != layout_.ports.end() && !is_routerless(port->second, nexthop)) {
      add_hop(hops, port->second.attachment, std::max<std::uint16_t>(nexthop.weight, 1), nexthop.gateway);
    }
  }
  return hops;
}

std::optional<ipc::Route> DomainRoutes::resolve_learned(const bgp::LearnedRoute& route) const {
  ipc::Route resolved;
  resolved.nexthops = hops_of(route);
  if (resolved.nexthops.empty()) return std::nullopt;
  normalize(resolved.nexthops);
  resolved.domain = layout_.id;
  resolved.prefix = route.prefix;
  resolved.action = ipc::RouteAction::kForward;
  return resolved;
}

std::vector<RouteView> DomainRoutes::views_of(const IpPrefix& prefix) const {
  std::vector<RouteView> views;
  if (const auto configured = by_prefix_.find(prefix); configured != by_prefix_.end()) {
    for (const auto& route : configured->second) {
      if (views.empty() || !are_shown_as_one(views.back().source, views.back().distance, route)) {
        RouteView view;
        view.prefix = prefix;
        view.source = route.source;
        view.distance = route.distance;
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
  if (const auto learned = learned_.find(prefix); learned != learned_.end()) {
    RouteView view;
    view.prefix = prefix;
    view.source = RouteSource::kBgp;
    view.distance = kBgpDistance;
    for (const auto& nexthop : learned->second.nexthops) view.hops.push_back(resolve_hop(nexthop));
    views.push_back(std::move(view));
  }
  std::stable_sort(views.begin(), views.end(), [](const RouteView& a, const RouteView& b) {
    return std::tie(a.distance, a.source) < std::tie(b.distance, b.source);
  });
  const RouteView* selected = nullptr;
  bool has_backup = false;
  for (auto& view : views) {
    judge(view, selected, has_backup);
    if (!view.selected) continue;
    selected = &view;
    has_backup = !may_have_backup(view.source);
  }
  return views;
}

RouteList DomainRoutes::view(const RouteQuery& query) const {
  const auto asked = [&](const IpPrefix& prefix) { return !query.overlapping || query.overlapping->overlaps(prefix); };
  RouteList list;
  // A heap, the last one on top: a prefix has a route at least, so more than `limit` of them are never needed.
  std::vector<IpPrefix> first;
  const auto keep = [&](const IpPrefix& prefix) {
    if (first.size() >= query.limit) {
      if (first.empty() || !(prefix < first.front())) return;
      std::pop_heap(first.begin(), first.end());
      first.pop_back();
    }
    first.push_back(prefix);
    std::push_heap(first.begin(), first.end());
  };
  for (const auto& [prefix, routes] : by_prefix_) {
    if (!asked(prefix)) continue;
    keep(prefix);
    const ConfiguredRoute* before = nullptr;
    for (const auto& route : routes) {
      if (before == nullptr || !are_shown_as_one(before->source, before->distance, route)) ++list.total;
      before = &route;
    }
  }
  for (const auto& [prefix, learned] : learned_) {
    if (!asked(prefix)) continue;
    ++list.total;
    if (!by_prefix_.contains(prefix)) keep(prefix);
  }
  std::sort_heap(first.begin(), first.end());
  for (const auto& prefix : first) {
    for (auto& view : views_of(prefix)) {
      if (list.routes.size() == query.limit) return list;
      list.routes.push_back(std::move(view));
    }
  }
  return list;
}

std::vector<IpPrefix> DomainRoutes::learned_prefixes() const {
  std::vector<IpPrefix> prefixes;
  prefixes.reserve(learned_.size());
  for (const auto& [prefix, route] : learned_) prefixes.push_back(prefix);
  return prefixes;
}

}  // namespace simplon::control
