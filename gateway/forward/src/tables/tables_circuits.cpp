// SPDX-License-Identifier: GPL-2.0-or-later
//
// Circuits, the gateways on them, and neighbors.
//
// A route leads to a slot. To one circuit lead many gateways, so each pair of them that a route names has a slot of its own
// ("via"), whose object is the circuit's with the gateway filled in; workers see no other difference. A via lives while a
// route refers to it, and refers to its circuit.
#include <cstring>
#include <string>

#include "gateway/forward/mtu.h"
#include "gateway/forward/src/tables/tables_writer.h"
#include "platform/wire/vlan.h"

namespace simplon::forward {
namespace {

constexpr std::uint32_t kMaxCircuits = std::uint32_t{1} << 24;  // what fits a key of neighbors

bool same(const CircuitEntry& a, const CircuitEntry& b) {
  return a.id == b.id && a.domain == b.domain && a.port == b.port && a.vlan == b.vlan && a.outer_vlan == b.outer_vlan &&
         a.outer_type == b.outer_type && a.mac == b.mac && a.mtu == b.mtu && a.clamp_mss == b.clamp_mss;
}

Result<void> check(const CircuitEntry& circuit) {
  const auto refuse = [&](const std::string& what) {
    return Result<void>(fail(ErrorCode::kInvalidConfig, AttachmentId::circuit(circuit.id).to_string() + ": " + what));
  };
  if (circuit.id.value() == 0 || circuit.id.value() >= kMaxCircuits) return refuse("an id is 1 to 16777215");
  if (circuit.domain.value() == 0) return refuse("domain 0 is not a domain");
  if (circuit.vlan == 0 || circuit.vlan > wire::kMaxVlan) return refuse("VLAN " + std::to_string(circuit.vlan));
  if (circuit.outer_vlan > wire::kMaxVlan) return refuse("outer VLAN " + std::to_string(circuit.outer_vlan));
  if (circuit.outer_vlan != 0 && !wire::is_vlan_type(circuit.outer_type)) {
    return refuse("outer tag of type " + std::to_string(circuit.outer_type));
  }
  if (circuit.port != kNoPort && circuit.port.value() >= kMaxPorts) {
    return refuse("port " + std::to_string(circuit.port.value()));
  }
  if (circuit.mac.is_multicast()) return refuse(circuit.mac.to_string() + " is no host's MAC");
  if (circuit.mtu < kLeastMtu) return refuse("an MTU of " + std::to_string(circuit.mtu) + " is below 68");
  return {};
}

CircuitKey key_of(const CircuitEntry& circuit) { return CircuitKey::of(circuit.port, circuit.outer_vlan, circuit.vlan); }

std::unique_ptr<Attachment> compile(const CircuitEntry& circuit) {
  auto object = std::make_unique<Attachment>(AttachmentKind::kCircuit);
  object->mtu = circuit.mtu;
  object->clamp_mss = circuit.clamp_mss;
  object->gateway_mac = circuit.mac;
  object->id = circuit.id.value();
  CircuitLink& link = object->link;
  link.port = circuit.port;
  std::uint8_t* at = link.header.data();
  std::memcpy(at + sizeof(MacAddress), circuit.mac.bytes.data(), sizeof(MacAddress));
  at += wire::kAddressesBytes;
  const auto put_tag = [&at](std::uint16_t type, std::uint16_t vlan) {
    const wire::VlanTag tag{Be16(type), Be16(vlan)};
    std::memcpy(at, &tag, sizeof tag);
    at += sizeof tag;
  };
  if (circuit.outer_vlan != 0) put_tag(circuit.outer_type, circuit.outer_vlan);
  put_tag(wire::kEtherTypeCustomerTag, circuit.vlan);
  link.header_bytes = static_cast<std::uint8_t>(at + sizeof(Be16) - link.header.data());
  return object;
}

EndpointKey neighbor_key(CircuitId circuit, const IpAddress& address) {
  return EndpointKey::of(circuit.value(), WireAddress::from(address));
}

}  // namespace

// Vias.

AttachmentId Tables::Writer::target_of(const NextHopEntry& hop) {
  if (!hop.gateway) return hop.attachment;
  const Via via{CircuitId(hop.attachment.id), *hop.gateway};
  if (const auto found = vias.find(via); found != vias.end()) return found->second;
  AttachmentRecord* circuit = attachment(hop.attachment);
  if (circuit == nullptr) return hop.attachment;
  ++circuit->references;
  while (next_via == 0 || via_of.contains(next_via)) ++next_via;
  const AttachmentId id{kViaKind, next_via++};
  vias.emplace(via, id);
  via_of.emplace(id.id, via);
  if (neighbor_listener) neighbor_listener(via.first, via.second, true);
  return id;
}

NextHopEntry Tables::Writer::hop_to(AttachmentId target, std::uint16_t weight) const {
  if (target.kind != kViaKind) return {target, weight};
  const Via& via = via_of.at(target.id);
  return {AttachmentId::circuit(via.first), weight, via.second};
}

void Tables::Writer::publish_via(const Via& via) {
  const AttachmentRecord& circuit = attachments.at(AttachmentId::circuit(via.first));
  AttachmentRecord& record = attachments.at(vias.at(via));
  const auto* entry = std::get_if<CircuitEntry>(&circuit.entry);
  if (entry == nullptr) return withdraw_attachment(record);
  auto object = compile(*entry);
  object->link.gateway = WireAddress::from(via.second);
  object->slot = circuit.slot;
  object->counters = state.attachments[circuit.slot].counters.load(std::memory_order_relaxed);
  object->exit_counters = object->counters;
  object->domain = domain(entry->domain).object;
  const Attachment* old = state.attachments[record.slot].object.exchange(object.release(), std::memory_order_acq_rel);
  state.quiescence.retire(const_cast<Attachment*>(old));
  if (old == nullptr) regroup(record);
}

void Tables::Writer::regroup_circuit(const AttachmentRecord& circuit) {
  regroup(circuit);
  const CircuitId id(attachment_of_slot.at(circuit.slot).id);
  for (auto via = vias.lower_bound({id, IpAddress{}}); via != vias.end() && via->first.first == id; ++via) {
    regroup(attachments.at(via->second));
  }
}

void Tables::Writer::regroup_gateway(CircuitId circuit, const IpAddress& gateway) {
  const auto found = vias.find({circuit, gateway});
  if (found != vias.end()) regroup(attachments.at(found->second));
}

void Tables::Writer::publish_vias(CircuitId circuit) {
  for (auto via = vias.lower_bound({circuit, IpAddress{}}); via != vias.end() && via->first.first == circuit; ++via) {
    publish_via(via->first);
  }
}

void Tables::Writer::forget_via(AttachmentId id) {
  const auto found = via_of.find(id.id);
  const Via via = found->second;
  vias.erase(via);
  via_of.erase(found);
  const AttachmentId circuit = AttachmentId::circuit(via.first);
  --attachments.at(circuit).references;
  settle_attachment(circuit);
  if (neighbor_listener) neighbor_listener(via.first, via.second, false);
}

// Circuits.

Result<void> Tables::Writer::claim_vlan(const CircuitEntry& circuit, const AttachmentRecord& record) const {
  if (circuit.port == kNoPort) return {};
  const std::uint32_t* holder = state.circuits.find(key_of(circuit));
  if (holder == nullptr || *holder == record.slot) return {};
  return fail(ErrorCode::kConflict, attachment_of_slot.at(*holder).to_string() + " has VLAN " + std::to_string(circuit.vlan) +
                                        (circuit.outer_vlan == 0 ? "" : " in " + std::to_string(circuit.outer_vlan)) +
                                        " of port " + std::to_string(circuit.port.value()));
}

Result<void> Tables::upsert_circuit(const CircuitEntry& circuit) {
  if (auto good = check(circuit); !good) return good;
  if (auto room = room_for_domains(writer_->domains); !room) return room;
  const AttachmentId id = AttachmentId::circuit(circuit.id);
  Writer::AttachmentRecord* record = writer_->attachment(id);
  if (record == nullptr) return full("attachments", kMaxAttachments);
  const auto* present = std::get_if<CircuitEntry>(&record->entry);
  if (present != nullptr && same(*present, circuit)) return {};
  if (auto free = writer_->claim_vlan(circuit, *record); !free) {
    writer_->settle_attachment(id);
    return free;
  }
  const DomainId before = record->domain();
  if (before != circuit.domain) writer_->refer_domain(circuit.domain);
  const std::optional<CircuitKey> old_key =
      present != nullptr && present->port != kNoPort ? std::optional(key_of(*present)) : std::nullopt;
  record->entry = circuit;
  // Whatever can leave through another attachment does, before this one has no port.
  if (circuit.port == kNoPort) writer_->regroup_circuit(*record);
  writer_->publish_attachment(*record, compile(circuit), circuit.domain);
  writer_->publish_vias(circuit.id);
  if (circuit.port != kNoPort) state_->circuits.upsert(key_of(circuit), record->slot);
  if (old_key && (circuit.port == kNoPort || *old_key != key_of(circuit))) state_->circuits.erase(*old_key);
  writer_->regroup_circuit(*record);
  if (before.value() != 0) writer_->changed(before);
  if (before == circuit.domain) return {};
  writer_->changed(circuit.domain);
  if (before.value() != 0) writer_->leave_domain(before, *record);
  writer_->join_domain(circuit.domain, *record);
  return {};
}

void Tables::remove_circuit(CircuitId circuit) {
  const AttachmentId id = AttachmentId::circuit(circuit);
  Writer::AttachmentRecord* record = writer_->find_attachment(id);
  if (record == nullptr || !record->configured()) return;
  const CircuitEntry entry = std::get<CircuitEntry>(record->entry);
  if (entry.port != kNoPort) state_->circuits.erase(key_of(entry));
  writer_->withdraw_attachment(*record);
  writer_->publish_vias(circuit);
  writer_->changed(entry.domain);
  writer_->leave_domain(entry.domain, *record);
  writer_->settle_attachment(id);
}

// Neighbors.

void Tables::on_neighbor(NeighborListener listener) {
  writer_->neighbor_listener = std::move(listener);
  if (!writer_->neighbor_listener) return;
  for (const auto& [via, id] : writer_->vias) writer_->neighbor_listener(via.first, via.second, true);
}

Result<void> Tables::upsert_neighbor(const NeighborEntry& neighbor) {
  if (neighbor.mac.is_multicast() || neighbor.mac.is_zero()) {
    return fail(ErrorCode::kInvalidConfig,
                "neighbor " + neighbor.address.to_string() + ": " + neighbor.mac.to_string() + " is no host's MAC");
  }
  if (neighbor.circuit.value() == 0 || neighbor.circuit.value() >= kMaxCircuits) {
    return fail(ErrorCode::kInvalidConfig, "neighbor " + neighbor.address.to_string() + ": a circuit's id is 1 to 16777215");
  }
  const EndpointKey key = neighbor_key(neighbor.circuit, neighbor.address);
  const Neighbor* present = state_->neighbors.find(key);
  if (present != nullptr && present->mac == neighbor.mac) return {};
  const bool is_new = present == nullptr;
  state_->neighbors.upsert(key, {neighbor.mac});
  // Nothing was forwarded to one that was not known.
  if (is_new) {
    writer_->regroup_gateway(neighbor.circuit, neighbor.address);
  } else {
    writer_->neighbor_changed(neighbor.circuit);
  }
  return {};
}

void Tables::remove_neighbor(CircuitId circuit, const IpAddress& address) {
  if (!state_->neighbors.erase(neighbor_key(circuit, address))) return;
  writer_->regroup_gateway(circuit, address);
  writer_->neighbor_changed(circuit);
}

std::vector<AskedNeighbor> Tables::take_asked() {
  std::vector<AskedNeighbor> all;
  for (unsigned worker = 0; worker < state_->workers; ++worker) {
    state_->asked[worker].take([&all](const AskedNeighbor& asked) { all.push_back(asked); });
  }
  return all;
}

}  // namespace simplon::forward
