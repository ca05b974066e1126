// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel owns the underlay: its routes say through which uplink and gateway an outer destination is reached, its
// neighbor table has the MAC addresses. We copy the answer into the tables and follow its changes.
//
// The kernel sends none of our packets, so for it the neighbors we use look idle. Two things keep them alive: an
// unresolved one is asked for (NTF_USE), once a second until it answers, and one that goes stale while in use is confirmed
// the same way. A neighbor that fails is unresolved here too: packets to it are dropped with a name instead of being
// sent to a MAC address that nobody has.
#include "gateway/forwarder/underlay.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace simplon::forwarder {
namespace {

/// Chosen by us: two questions to the kernel for each, some milliseconds in all, after which others have their turn.
constexpr std::size_t kAtOnce = 256;

}  // namespace

Underlay::Underlay(forward::Tables& tables, netlink::Netlink& netlink, const Uplinks& uplinks, const Clock& clock)
    : tables_(tables), netlink_(netlink), uplinks_(uplinks), clock_(clock) {
  tables_.on_adjacency([this](const IpAddress& address, bool wanted) {
    if (wanted) {
      destinations_.try_emplace(address);
      new_.push_back(address);
    } else {
      destinations_.erase(address);
    }
  });
}

void Underlay::catch_up() {
  if (new_.empty()) return;
  for (const IpAddress& address : std::exchange(new_, {})) {
    const auto found = destinations_.find(address);
    if (found != destinations_.end()) look_up(address, found->second);
  }
  tables_.commit();
}

void Underlay::look_up(const IpAddress& address, Destination& destination) {
  auto route = netlink_.route_to(address);
  if (!route) {
    spdlog::warn("underlay: {}", route.error().message());
    return;
  }
  const auto uplink = route->kind == netlink::RouteKind::kUnicast ? uplinks_.find(route->interface) : std::nullopt;
  destination.routed = uplink.has_value();
  if (!uplink) {
    destination.interface = 0;
    publish(address, destination, std::nullopt);
    return;
  }
  destination.interface = route->interface;
  destination.neighbor = route->gateway.value_or(address);
  destination.entry.port = uplink->port;
  destination.entry.source = uplink->mac;
  const std::uint32_t mtu = route->mtu_bytes == 0 ? uplink->mtu_bytes : std::min(route->mtu_bytes, uplink->mtu_bytes);
  destination.mtu.set_route(static_cast<std::uint16_t>(std::min<std::uint32_t>(mtu, 65535)));
  destination.entry.path_mtu = destination.mtu.bytes();
  auto neighbor = netlink_.neighbor(destination.interface, destination.neighbor);
  if (!neighbor) {
    spdlog::warn("underlay: {}", neighbor.error().message());
    return;
  }
  publish(address, destination, *neighbor);
}

void Underlay::publish(const IpAddress& address, Destination& destination,
                       const std::optional<netlink::Neighbor>& neighbor) {
  const bool valid = destination.routed && neighbor && neighbor->state == netlink::NeighborState::kValid;
  destination.entry.resolved = valid;
  destination.entry.destination = valid ? neighbor->mac : MacAddress{};
  if (auto ok = tables_.set_adjacency(address, destination.entry); !ok) {
    spdlog::warn("underlay: {}: {}", address.to_string(), ok.error().message());
  }
  const bool asking = neighbor && neighbor->state == netlink::NeighborState::kResolving;
  if (destination.routed && !asking && (!valid || neighbor->stale)) {
    if (auto asked = netlink_.resolve(destination.interface, destination.neighbor); !asked) {
      spdlog::debug("underlay: {}", asked.error().message());
    }
  }
}

void Underlay::on_neighbor(const netlink::Neighbor& neighbor) {
  // Failed ones are asked for by `retry`: asking at once would make the kernel's events and ours chase each other.
  for (auto& [address, destination] : destinations_) {
    if (!destination.routed || destination.interface != neighbor.interface || destination.neighbor != neighbor.address) {
      continue;
    }
    if (neighbor.state == netlink::NeighborState::kValid) {
      publish(address, destination, neighbor);
    } else if (neighbor.state == netlink::NeighborState::kFailed) {
      destination.entry.resolved = false;
      if (auto ok = tables_.set_adjacency(address, destination.entry); !ok) {
        spdlog::warn("underlay: {}: {}", address.to_string(), ok.error().message());
      }
    }
  }
  tables_.commit();
}

void Underlay::refresh() {
  for (auto& [address, destination] : destinations_) look_up(address, destination);
  tables_.commit();
}

void Underlay::begin_refresh() {
  // Those at the end shall have their turn, also if events come faster than all can be asked for.
  again_ = next_.has_value();
  if (!again_ && !destinations_.empty()) next_ = destinations_.begin()->first;
}

bool Underlay::refresh_some() {
  if (!next_) return false;
  auto place = destinations_.lower_bound(*next_);
  for (std::size_t i = 0; i < kAtOnce && place != destinations_.end(); ++i, ++place) look_up(place->first, place->second);
  tables_.commit();
  next_.reset();
  if (place != destinations_.end()) {
    next_ = place->first;
  } else if (std::exchange(again_, false)) {
    begin_refresh();
  }
  return next_.has_value();
}

void Underlay::retry() {
  bool changed = false;
  const MonoTime now = clock_.now();
  for (auto& [address, destination] : destinations_) {
    if (!destination.mtu.forget_old(now) && destination.entry.resolved) continue;
    look_up(address, destination);
    changed = true;
  }
  if (changed) tables_.commit();
}

PathMtu::Change Underlay::lower_path_mtu(const IpAddress& address, std::uint16_t bytes) {
  const auto found = destinations_.find(address);
  if (found == destinations_.end() || !found->second.routed) return PathMtu::Change::kNone;
  Destination& destination = found->second;
  if (destination.mtu.lower(bytes, clock_.now()) == PathMtu::Change::kNone) return PathMtu::Change::kNone;
  destination.entry.path_mtu = destination.mtu.bytes();
  if (auto ok = tables_.set_adjacency(address, destination.entry); !ok) {
    spdlog::warn("underlay: {}: {}", address.to_string(), ok.error().message());
  }
  tables_.commit();
  return PathMtu::Change::kLowered;
}

std::vector<ipc::NeighborStats> Underlay::stats() const {
  const MonoTime now = clock_.now();
  std::vector<ipc::NeighborStats> all;
  for (const auto& [address, destination] : destinations_) {
    ipc::NeighborStats stats;
    stats.destination = address;
    if (const auto uplink = uplinks_.find(destination.interface)) stats.interface = uplink->name;
    stats.mac = destination.entry.destination;
    stats.resolved = destination.entry.resolved;
    stats.mtu = destination.routed ? destination.entry.path_mtu : std::uint16_t{0};
    stats.learned_mtu = destination.mtu.learned();
    stats.learned_for_seconds = static_cast<std::uint32_t>(destination.mtu.left(now).count());
    all.push_back(std::move(stats));
  }
  return all;
}

}  // namespace simplon::forwarder
