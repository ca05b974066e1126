// SPDX-License-Identifier: GPL-2.0-or-later
//
// Circuits, and what comes in on them: tags that are right, forged, doubled or cut short; packets for hosts, for the
// gateway and for the kernel.
#include <algorithm>

#include "tests/differential/generator/topology.h"
#include "tests/differential/generator/traffic.h"

namespace simplon::differential {

using oracle::AttachmentId;
using oracle::Bytes;
using oracle::World;

/// Few VLANs, so that they meet on other uplinks and behind other outer tags.
oracle::CircuitEntry Topology::circuit(CircuitId id, DomainId domain) {
  oracle::CircuitEntry circuit;
  circuit.id = id;
  circuit.domain = domain;
  circuit.port = random_.percent(95) ? forward::PortId{static_cast<std::uint32_t>(random_.below(3))} : forward::kNoPort;
  circuit.vlan = random_.one_of<std::uint16_t>({1, 2, 7, 100, 101, 300, 4094});
  if (random_.percent(35)) circuit.outer_vlan = random_.one_of<std::uint16_t>({1, 7, 100, 300, 4094});
  circuit.outer_type = random_.percent(70) ? std::uint16_t{0x88a8} : std::uint16_t{0x8100};
  circuit.mac = {{2, 0xc1, random_.byte(), random_.byte(), 0, random_.byte()}};
  circuit.mtu = mtu();
  circuit.clamp_mss = random_.percent(60);
  return circuit;
}

oracle::NeighborEntry Topology::neighbor(CircuitId id) {
  IpAddress address = address_in(random_, tenant_prefix());
  const auto net = networks_.find(id);
  if (net != networks_.end() && random_.percent(90)) address = address_in(random_, net->second);
  return {id, address, {{2, 0xdd, random_.byte(), 0, 0, random_.byte()}}};
}

void Topology::add_circuit(Changes& changes, DomainId domain) {
  const CircuitId id{next_circuit_++};
  const AttachmentId attachment = AttachmentId::circuit(id);
  attachments_.emplace_back(attachment, domain);
  if (random_.percent(97)) changes.emplace_back(circuit(id, domain));
  const IpPrefix network = tenant_prefix();
  networks_.emplace(id, network);
  changes.emplace_back(oracle::RouteEntry{domain, network, forward::RouteAction::kForward, {{attachment, 1, {}}}});
  for (std::size_t i = random_.between(1, 6); i > 0; --i) {
    const oracle::NeighborEntry entry = neighbor(id);
    gateways_[id].push_back(entry.address);
    changes.emplace_back(entry);
  }
  if (random_.percent(85)) add_host_port(changes, attachment, domain);
}

/// Mostly one of those that are known.
std::optional<IpAddress> Topology::gateway(CircuitId id) {
  if (!random_.percent(65)) return std::nullopt;
  auto& known = gateways_[id];
  return known.empty() || random_.percent(8) ? address_in(random_, tenant_prefix()) : random_.pick(known);
}

void Topology::change_circuit(Changes& changes, const World& world, CircuitId id, DomainId domain) {
  switch (random_.below(6)) {
    case 0:
      changes.emplace_back(oracle::RemoveCircuit{id});
      break;
    case 1: {
      const auto present = world.circuits.find(id);
      if (present == world.circuits.end()) break;
      oracle::CircuitEntry closed = present->second;
      closed.port = closed.port == forward::kNoPort ? forward::PortId{1} : forward::kNoPort;
      changes.emplace_back(closed);
      break;
    }
    case 2:
    case 3:
      changes.emplace_back(circuit(id, domain));
      break;
    case 4:
      if (!world.neighbors.empty()) {
        const auto& [circuit_id, address] = random_.pick(world.neighbors).first;
        changes.emplace_back(oracle::RemoveNeighbor{circuit_id, address});
      }
      break;
    default: {
      const oracle::NeighborEntry entry = neighbor(id);
      gateways_[id].push_back(entry.address);
      changes.emplace_back(entry);
      break;
    }
  }
}

std::optional<Input> Traffic::from_circuit(const World& world) {
  if (world.circuits.empty()) return std::nullopt;
  const oracle::CircuitEntry* circuit = &random_.pick(world.circuits).second;
  if (wanted_) circuit = &world.circuits.at(CircuitId{wanted_->from.id});
  const AttachmentId self = AttachmentId::circuit(circuit->id);

  // Who is behind it: a neighbor, or a network that is routed there.
  IpAddress source = anywhere(random_.percent(75));
  for (int attempt = 0; attempt < 6; ++attempt) {
    if (random_.percent(40) && !world.neighbors.empty()) {
      const auto& [id, address] = random_.pick(world.neighbors).first;
      if (id != circuit->id) continue;
      source = address;
      break;
    }
    const auto table = world.routes.find(circuit->domain);
    if (table == world.routes.end() || table->second.empty()) break;
    const auto& route = random_.pick(table->second);
    if (std::none_of(route.nexthops.begin(), route.nexthops.end(),
                     [self](const auto& hop) { return hop.attachment == self; })) {
      continue;
    }
    source = address_in(random_, route.prefix);
    break;
  }
  if (wanted_) source = wanted_->ends.source;

  std::uint16_t port = static_cast<std::uint16_t>(circuit->port == forward::kNoPort ? 0U : circuit->port.value());
  std::uint16_t outer = circuit->outer_vlan;
  std::uint16_t vlan = circuit->vlan;
  std::uint16_t outer_type = random_.percent(80) ? circuit->outer_type : std::uint16_t{0x8100};
  std::uint16_t inner_type = random_.percent(98) ? std::uint16_t{0x8100} : std::uint16_t{0x88a8};
  std::size_t tags = outer != 0 ? 2 : 1;
  MacAddress to = circuit->mac;
  std::optional<DomainId> tag = circuit->domain;

  if (circuit->port == forward::kNoPort) tag.reset();  // then they may be another's on that uplink

  // Whoever can send with other tags is on that circuit: nobody could tell. Then there is no tenant's tag in it.
  switch (wanted_ ? 39 : random_.below(40)) {
    case 0:  // another's tags
    case 1: {
      const auto& other = random_.pick(world.circuits).second;
      outer = other.outer_vlan;
      vlan = other.vlan;
      tags = outer != 0 ? 2 : 1;
      tag.reset();
      break;
    }
    case 2:
      vlan = static_cast<std::uint16_t>(vlan ^ (1U << random_.below(12)));
      tag.reset();
      break;
    case 3:  // hopping: a tag in front, one that is missing, both exchanged, none for a VLAN
      tags = 2;
      outer = random_.one_of<std::uint16_t>({0, 0, 1, vlan, 4095, 100});
      tag.reset();
      break;
    case 4:
      tags = 1;
      vlan = random_.percent(50) ? outer : vlan;
      tag.reset();
      break;
    case 5:
      std::swap(outer, vlan);
      tag.reset();
      break;
    case 6:
      port = static_cast<std::uint16_t>(random_.below(3));
      tag.reset();
      break;
    case 7:
      vlan = 0;
      tag.reset();
      break;
    case 8:
      tags = 3;
      break;
    case 9:
      to = random_.percent(50) ? any_mac() : MacAddress{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
      break;
    case 10:
      to = MacAddress{{1, 0, 0x5e, 0, 0, 5}};
      break;
    default:
      break;
  }

  std::uint16_t type = source.is_v4() ? 0x0800 : 0x86dd;
  Bytes payload;
  const std::size_t kind = wanted_ ? 99 : random_.below(100);
  if (kind < 4) {  // for the kernel
    type = random_.one_of<std::uint16_t>({0x0806, 0x88cc, 0x8809, 0x8847, 0x0806});
    if (random_.percent(50)) to = MacAddress{{1, 0x80, 0xc2, 0, 0, random_.byte()}};
    payload.resize(random_.below(80), random_.byte());
  } else if (kind < 8) {
    type = 0x86dd;
    const IpAddress local = IpAddress::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, random_.byte()});
    payload = inner(world, tag, circuit->domain, local);
    if (random_.percent(20)) payload.resize(random_.below(payload.size() + 1));
  } else {
    payload = inner(world, tag, circuit->domain, source);
    if (random_.percent(2)) type = random_.one_of<std::uint16_t>({0x0800, 0x86dd, 0x8100, 0x0806, 0x88cc});
  }

  const auto priority = [this] { return random_.percent(70) ? 0U : static_cast<unsigned>(random_.below(16)) << 12; };
  Bytes frame;
  oracle::add(frame, to.bytes);
  oracle::add(frame, any_mac().bytes);
  if (tags == 3) {
    oracle::add16(frame, 0x88a8);
    oracle::add16(frame, 5);
  }
  if (tags >= 2) {
    oracle::add16(frame, outer_type);
    oracle::add16(frame, priority() | outer);
  }
  oracle::add16(frame, inner_type);
  oracle::add16(frame, priority() | vlan);
  oracle::add16(frame, type);
  oracle::add(frame, payload);
  if (random_.percent(5)) frame.resize(frame.size() + random_.below(40), 0xee);
  if (!wanted_ && random_.percent(2)) frame.resize(random_.below(frame.size()));
  return Input{forward::PortId{port}, std::move(frame)};
}

/// What the kernel writes into the TAP of a circuit.
Input Traffic::from_tap(const World& world, const oracle::HostPortEntry& entry) {
  const auto owner = world.tied.find(entry.port);
  std::optional<DomainId> tag;
  if (owner != world.tied.end()) tag = world.domain_of(owner->second);
  const IpAddress source = entry.addresses.empty() ? anywhere(true) : random_.pick(entry.addresses);
  Bytes payload =
      random_.percent(80) ? inner(world, tag, tag.value_or(DomainId{1}), source) : Bytes(random_.below(100), 7);
  const std::uint16_t type = random_.one_of<std::uint16_t>({0x0800, 0x86dd, 0x0806, 0x88cc});
  Bytes frame = ethernet(any_mac(), entry.mac, type, payload);
  if (random_.percent(4)) frame.resize(random_.below(20));
  return {entry.port, std::move(frame)};
}

}  // namespace simplon::differential
