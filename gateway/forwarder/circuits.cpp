// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel owns the neighbors of a circuit: it speaks ARP and ND on the TAP, and we copy its neighbor table. It sends few
// packets of its own there, so (as in the underlay) we ask for what we need: gateways of routes until they answer, and
// whomever a packet was for; and what goes stale is confirmed. A neighbor that fails is gone here too.
#include "gateway/forwarder/circuits.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "gateway/forwarder/vlan_offload.h"

namespace simplon::forwarder {
namespace {

// Chosen by us: a scan of a large subnet must not make the kernel's neighbor table overflow (1,024 by default, and who does not
// answer stays in it for some seconds), and not keep others from being asked for: the second half of what is asked for in a
// second is for circuits that have not had many.
constexpr std::size_t kMostAskedPerSecond = 200;
constexpr std::size_t kMany = 10;
constexpr std::uint32_t kOuterTagBytes = 4;

}  // namespace

struct Circuits::Watch {
  std::string interface;
  std::uint32_t index = 0;
  MacAddress mac;
  std::unique_ptr<netlink::Netlink> netlink;
  std::unique_ptr<netlink::Monitor> monitor;
  std::map<IpAddress, MacAddress> known;
  /// What is known was the kernel's when it was last read whole.
  bool loaded = false;
};

Circuits::Circuits(boost::asio::io_context& io, forward::Tables& tables, const Uplinks& uplinks, netlink::Netlink& underlay,
                   xdp::Steering& steering, MacChanged mac_changed, MtuChanged mtu_changed)
    : io_(io),
      tables_(tables),
      uplinks_(uplinks),
      underlay_(underlay),
      steering_(steering),
      mac_changed_(std::move(mac_changed)),
      mtu_changed_(std::move(mtu_changed)) {
  tables_.on_neighbor([this](CircuitId circuit, const IpAddress& neighbor, bool wanted) {
    if (wanted) {
      gateways_.emplace(circuit, neighbor);
      new_.emplace_back(circuit, neighbor);
    } else {
      gateways_.erase({circuit, neighbor});
    }
  });
}

Circuits::~Circuits() { tables_.on_neighbor(nullptr); }

void Circuits::upsert(const ipc::Circuit& circuit) { circuits_[circuit.id].wanted = circuit; }

void Circuits::remove(CircuitId id) {
  if (circuits_.erase(id) != 0) tables_.remove_circuit(id);
}

forward::CircuitEntry Circuits::entry_of(const ipc::Circuit& circuit) const {
  forward::CircuitEntry entry;
  entry.id = circuit.id;
  entry.domain = circuit.domain;
  entry.vlan = circuit.vlan;
  entry.outer_vlan = circuit.outer_vlan;
  entry.outer_type = circuit.outer_type;
  entry.mtu = circuit.mtu;
  entry.clamp_mss = circuit.clamp_mss;
  if (const auto uplink = uplinks_.find(circuit.interface)) {
    entry.port = uplink->port;
    entry.mac = uplink->mac;
    // A device has room for one tag beside its MTU.
    const std::uint32_t room = uplink->mtu_bytes - (circuit.outer_vlan != 0 ? kOuterTagBytes : 0);
    entry.mtu = static_cast<std::uint16_t>(std::min<std::uint32_t>(entry.mtu, room));
  }
  return entry;
}

void Circuits::publish(Circuit& circuit, const forward::CircuitEntry& entry) {
  const auto published = tables_.upsert_circuit(entry);
  const std::string error = published ? std::string{} : published.error().message();
  if (!error.empty() && error != circuit.error) spdlog::warn("circuit {}: {}", circuit.wanted.name, error);
  circuit.error = error;
  circuit.is_published = published.has_value();
  if (circuit.published.mtu != entry.mtu) mtu_changed_(circuit.wanted.id, entry.mtu);
  circuit.published = entry;
}

void Circuits::refresh() {
  std::vector<std::pair<Circuit*, forward::CircuitEntry>> changed;
  for (auto& [id, circuit] : circuits_) {
    const forward::CircuitEntry entry = entry_of(circuit.wanted);
    const forward::CircuitEntry& old = circuit.published;
    const bool same_place = old.port == entry.port && old.vlan == entry.vlan && old.outer_vlan == entry.outer_vlan;
    // Out of the way first: two circuits may change places.
    if (circuit.is_published && !same_place) {
      forward::CircuitEntry away = old;
      away.port = forward::kNoPort;
      publish(circuit, away);
      forget_neighbors(id);
    }
    changed.emplace_back(&circuit, entry);
  }
  for (auto& [circuit, entry] : changed) publish(*circuit, entry);
  steer();
  for (auto& [id, watch] : watches_) give_mac(id, *watch);
  tables_.commit();
}

void Circuits::steer() {
  std::set<xdp::CircuitKey> keys;
  std::set<std::uint32_t> carrying;
  for (const auto& [id, circuit] : circuits_) {
    const auto uplink = uplinks_.find(circuit.wanted.interface);
    if (!uplink || !circuit.is_published) continue;
    keys.insert({uplink->index, circuit.wanted.outer_vlan, circuit.wanted.vlan});
    carrying.insert(uplink->index);
    if (prepared_.contains(uplink->index)) continue;
    if (auto ok = leave_vlan_tags(uplink->name); !ok) spdlog::error("circuit {}: {}", circuit.wanted.name, ok.error().message());
    // Who looks for our IPv6 addresses asks by multicast, and the groups are joined on the TAP only.
    if (auto ok = underlay_.take_all_multicast(uplink->index); !ok) spdlog::warn("uplink {}: {}", uplink->name, ok.error().message());
  }
  prepared_ = std::move(carrying);
  if (auto ok = steering_.set_circuits(keys); !ok) spdlog::error("circuits: {}", ok.error().message());
}

void Circuits::watch(CircuitId id, const std::string& netns, const std::string& interface) {
  const auto failed = unwatched_.find(id);
  const std::string before = failed == unwatched_.end() ? std::string{} : failed->second.error;
  unwatch(id);
  auto watch = std::make_unique<Watch>();
  watch->interface = interface;
  const auto follow = [&]() -> Result<void> {
    auto netlink = netlink::Netlink::open(netns);
    if (!netlink) return Unexpected(netlink.error());
    auto link = (*netlink)->interface(interface);
    if (!link) return Unexpected(link.error());
    watch->netlink = *std::move(netlink);
    watch->index = link->index;
    watch->mac = link->mac;
    netlink::Monitor::Events events;
    events.on_neighbor = [this, id](const netlink::Neighbor& neighbor) { on_neighbor(id, neighbor); };
    events.on_resync = [this, id] {
      if (const auto found = watches_.find(id); found != watches_.end()) load(id, *found->second);
    };
    // Before the neighbors are read, so that no change is missed.
    auto monitor = netlink::Monitor::open(io_, std::move(events), netns);
    if (!monitor) return Unexpected(monitor.error());
    watch->monitor = *std::move(monitor);
    return {};
  };
  if (auto ok = follow(); !ok) {
    const std::string error = ok.error().message();
    if (error != before) spdlog::warn("host port {}: {}", interface, error);
    unwatched_[id] = {netns, interface, error};
    return;
  }
  Watch& kept = *watches_.emplace(id, std::move(watch)).first->second;
  mac_changed_(id, kept.mac);
  give_mac(id, kept);
  load(id, kept);
  for (const auto& [circuit, address] : gateways_) {
    if (circuit == id) new_.emplace_back(circuit, address);
  }
}

void Circuits::unwatch(CircuitId id) {
  unwatched_.erase(id);
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  for (const auto& [address, mac] : found->second->known) tables_.remove_neighbor(id, address);
  watches_.erase(found);
}

/// Others are behind the circuit now, perhaps with the same addresses.
void Circuits::forget_neighbors(CircuitId id) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  Watch& watch = *found->second;
  for (const auto& [address, mac] : std::exchange(watch.known, {})) {
    tables_.remove_neighbor(id, address);
    if (auto ok = watch.netlink->forget_neighbor(watch.index, address); !ok) spdlog::warn("host port {}: {}", watch.interface, ok.error().message());
  }
  for (const auto& gateway : gateways_) {
    if (gateway.first == id) new_.push_back(gateway);
  }
}

/// The address of the uplink: so the card needs to listen to no other.
void Circuits::give_mac(CircuitId id, Watch& watch) {
  const auto circuit = circuits_.find(id);
  if (circuit == circuits_.end()) return;
  const MacAddress& wanted = circuit->second.published.mac;
  if (wanted.is_zero() || wanted == watch.mac) return;
  if (auto ok = watch.netlink->set_mac(watch.index, wanted); !ok) {
    spdlog::warn("host port {}: {}", watch.interface, ok.error().message());
    return;
  }
  watch.mac = wanted;
  mac_changed_(id, wanted);
}

void Circuits::load(CircuitId id, Watch& watch) {
  auto neighbors = watch.netlink->neighbors(watch.index);
  watch.loaded = neighbors.has_value();
  if (!neighbors) {
    spdlog::warn("host port {}: {}", watch.interface, neighbors.error().message());
    return;
  }
  for (const auto& [address, mac] : std::exchange(watch.known, {})) {
    const bool valid = std::any_of(neighbors->begin(), neighbors->end(), [&address = address](const auto& neighbor) {
      return neighbor.address == address && neighbor.state == netlink::NeighborState::kValid;
    });
    if (!valid) tables_.remove_neighbor(id, address);
  }
  for (const auto& neighbor : *neighbors) on_neighbor(id, neighbor);
  tables_.commit();
}

void Circuits::on_neighbor(CircuitId id, const netlink::Neighbor& neighbor) {
  const auto found = watches_.find(id);
  if (found == watches_.end() || neighbor.interface != found->second->index || neighbor.address.is_multicast()) return;
  Watch& watch = *found->second;
  if (neighbor.state == netlink::NeighborState::kValid) {
    if (auto ok = tables_.upsert_neighbor({id, neighbor.address, neighbor.mac}); !ok) {
      spdlog::warn("host port {}: {}", watch.interface, ok.error().message());
      tables_.remove_neighbor(id, neighbor.address);
      watch.known.erase(neighbor.address);
      tables_.commit();
      return;
    }
    watch.known[neighbor.address] = neighbor.mac;
    if (neighbor.stale) ask(id, neighbor.address);
  } else if (neighbor.state == netlink::NeighborState::kFailed && watch.known.erase(neighbor.address) != 0) {
    tables_.remove_neighbor(id, neighbor.address);
  }
  tables_.commit();
}

void Circuits::ask(CircuitId id, const IpAddress& address) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  if (auto asked = found->second->netlink->resolve(found->second->index, address); !asked) {
    spdlog::debug("host port {}: {}", found->second->interface, asked.error().message());
  }
}

void Circuits::catch_up() {
  for (const auto& [id, address] : std::exchange(new_, {})) {
    const auto found = watches_.find(id);
    if (found != watches_.end() && !found->second->known.contains(address)) ask(id, address);
  }
  for (const auto& missing : tables_.take_asked()) {
    std::size_t& of_circuit = asked_of_[missing.circuit];
    if (asked_.size() >= (of_circuit < kMany ? kMostAskedPerSecond : kMostAskedPerSecond / 2)) continue;
    if (!asked_.emplace(missing.circuit, missing.address).second) continue;
    ++of_circuit;
    ask(missing.circuit, missing.address);
  }
}

void Circuits::retry() {
  asked_.clear();
  asked_of_.clear();
  for (const auto& [id, port] : std::map(unwatched_)) watch(id, port.netns, port.interface);
  for (const auto& [id, watch] : watches_) {
    if (!watch->loaded) load(id, *watch);
  }
  for (const auto& [id, address] : gateways_) {
    const auto found = watches_.find(id);
    if (found != watches_.end() && !found->second->known.contains(address)) ask(id, address);
  }
  // Those that could not be published may be by now.
  const bool waiting = std::any_of(circuits_.begin(), circuits_.end(), [](const auto& c) { return !c.second.is_published; });
  if (waiting) refresh();
}

std::vector<ipc::NeighborStats> Circuits::stats() const {
  std::vector<ipc::NeighborStats> all;
  const auto add = [&](CircuitId id, const IpAddress& address, const MacAddress& mac) {
    const auto circuit = circuits_.find(id);
    if (circuit == circuits_.end()) return;
    ipc::NeighborStats stats;
    stats.destination = address;
    stats.interface = circuit->second.wanted.interface;
    stats.mac = mac;
    stats.resolved = !mac.is_zero();
    stats.mtu = circuit->second.published.mtu;
    stats.circuit = id;
    all.push_back(std::move(stats));
  };
  for (const auto& [id, watch] : watches_) {
    for (const auto& [address, mac] : watch->known) {
      if (!address.is_link_local()) add(id, address, mac);
    }
  }
  for (const auto& [id, address] : gateways_) {
    const auto found = watches_.find(id);
    if (found == watches_.end() || !found->second->known.contains(address)) add(id, address, {});
  }
  return all;
}

}  // namespace simplon::forwarder
