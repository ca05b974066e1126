// SPDX-License-Identifier: GPL-2.0-or-later
//
// Domains, VPCs, endpoints, tunnels and host ports. Routes: tables_routes.cpp.
//
// Order matters wherever two stores make one change: what is led to is published before what leads to it, and the other
// way round on removal. Everything unlinked goes through Quiescence.
#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "gateway/forward/mtu.h"
#include "gateway/forward/src/tables/tables_writer.h"
#include "platform/base/result.h"
#include "platform/wire/checksum.h"
#include "platform/wire/ip_protocol.h"

namespace simplon::forward {

namespace {

std::uint64_t word_mask(unsigned length, unsigned word) {
  std::uint8_t bytes[8] = {};
  for (unsigned i = 0; i < 64; ++i) {
    if (word * 64 + i < length) bytes[i / 8] = static_cast<std::uint8_t>(bytes[i / 8] | (0x80U >> (i % 8)));
  }
  return load64(bytes);
}

Prefix4 compile4(const IpPrefix& prefix) {
  return {load32(prefix.address().bytes().data()), static_cast<std::uint32_t>(word_mask(prefix.length(), 0))};
}

Prefix6 compile6(const IpPrefix& prefix) {
  const WireAddress network = WireAddress::v6(prefix.address().bytes().data());
  return {{network.low, network.high}, {word_mask(prefix.length(), 0), word_mask(prefix.length(), 1)}};
}

bool same(const VpcEntry& a, const VpcEntry& b) {
  return a.vni == b.vni && a.domain == b.domain && a.vtep == b.vtep && a.udp_port == b.udp_port &&
         a.gateway_mac == b.gateway_mac && a.prefixes == b.prefixes && a.accepted_vteps == b.accepted_vteps &&
         a.mtu == b.mtu;
}

bool same(const TunnelEntry& a, const TunnelEntry& b) {
  return a.id == b.id && a.domain == b.domain && a.mtu == b.mtu && a.clamp_mss == b.clamp_mss &&
         a.outer_df == b.outer_df && a.ignores_df == b.ignores_df;
}

}  // namespace

std::string AttachmentId::to_string() const {
  const char* name = kind == AttachmentKind::kVpc ? "vpc " : kind == AttachmentKind::kTunnel ? "tunnel " : "circuit ";
  return name + std::to_string(id);
}

AddressSet::AddressSet(const std::vector<IpAddress>& addresses) {
  unsigned used = 0;
  std::vector<WireAddress> rest;
  for (const IpAddress& address : addresses) {
    const WireAddress wire = WireAddress::from(address);
    if (used == kInline) {
      rest.push_back(wire);
      continue;
    }
    inline_[used] = wire.low;
    inline_high_[used] = wire.high;
    inline_family_[used] = wire.family;
    ++used;
  }
  if (rest.empty()) return;
  more_.resize(std::bit_ceil(rest.size() * 2));
  for (const WireAddress& wire : rest) {
    std::size_t at = mix(wire.low, wire.high) & (more_.size() - 1);
    while (more_[at].family != 0 && more_[at] != wire) at = (at + 1) & (more_.size() - 1);
    more_[at] = wire;
  }
}

bool AddressSet::contains_more(const WireAddress& address) const noexcept {
  for (std::size_t at = mix(address.low, address.high) & (more_.size() - 1); more_[at].family != 0;
       at = (at + 1) & (more_.size() - 1)) {
    if (more_[at] == address) return true;
  }
  return false;
}

bool Attachment::owns(const WireAddress& source) const noexcept {
  if (source.family == 4) {
    const auto wire = static_cast<std::uint32_t>(source.low);
    if (owns_plainly(wire)) return true;
    for (const Prefix4& prefix : more_prefixes4) {
      if (prefix.contains(wire)) return true;
    }
    return false;
  }
  for (const Prefix6& prefix : prefixes6) {
    if (prefix.contains(source)) return true;
  }
  return false;
}

// Records.

DomainId Tables::Writer::AttachmentRecord::domain() const noexcept {
  if (const auto* vpc = std::get_if<VpcEntry>(&entry)) return vpc->domain;
  if (const auto* tunnel = std::get_if<TunnelEntry>(&entry)) return tunnel->domain;
  if (const auto* circuit = std::get_if<CircuitEntry>(&entry)) return circuit->domain;
  return DomainId{};
}

Tables::Writer::AttachmentRecord* Tables::Writer::find_attachment(AttachmentId id) {
  const auto found = attachments.find(id);
  return found == attachments.end() ? nullptr : &found->second;
}

Tables::Writer::AttachmentRecord* Tables::Writer::attachment(AttachmentId id) {
  if (AttachmentRecord* record = find_attachment(id)) return record;
  return_vacated_slots();
  const std::uint32_t slot = attachment_slots.allocate();
  if (slot == 0) return nullptr;
  AttachmentRecord& record = attachments[id];
  record.slot = slot;
  state.uses[slot].fetch_add(1, std::memory_order_release);
  attachment_of_slot[slot] = id;
  state.attachments[slot].counters.store(new TrafficCounters[counter_shares(state.workers)], std::memory_order_release);
  return &record;
}

void Tables::Writer::settle_attachment(AttachmentId id) {
  AttachmentRecord* record = find_attachment(id);
  if (record == nullptr || record->configured() || record->references > 0 || record->host_port.has_value() ||
      record->outbound != nullptr) {
    return;
  }
  AttachmentSlot& slot = state.attachments[record->slot];
  state.quiescence.retire(slot.counters.exchange(nullptr, std::memory_order_acq_rel),
                          [](void* p) { delete[] static_cast<TrafficCounters*>(p); });
  if (id.kind == kViaKind) withdraw_attachment(*record);
  attachment_of_slot.erase(record->slot);
  // Again when it is given away: until then a worker may still meet the slot.
  state.uses[record->slot].fetch_add(1, std::memory_order_release);
  const std::uint32_t gone = state.gone.fetch_add(1, std::memory_order_release) + 1;
  struct Vacated {
    Writer* writer;
    std::uint32_t slot, gone;
  };
  state.quiescence.retire(new Vacated{this, record->slot, gone}, [](void* p) {
    const std::unique_ptr<Vacated> here(static_cast<Vacated*>(p));
    here->writer->vacated.emplace_back(here->slot, here->gone);
  });
  attachments.erase(id);
  if (id.kind == kViaKind) forget_via(id);
}

void Tables::Writer::return_vacated_slots() {
  const auto forgotten = [this](std::uint32_t gone) {
    return std::all_of(state.connections.begin(), state.connections.end(), [gone](const auto& table) {
      return table->size() == 0 || static_cast<std::int32_t>(table->forgotten() - gone) >= 0;
    });
  };
  for (; !vacated.empty() && forgotten(vacated.front().second); vacated.pop_front()) {
    attachment_slots.give_back(vacated.front().first);
  }
}

void Tables::Writer::publish_attachment(AttachmentRecord& record, std::unique_ptr<Attachment> object, DomainId in) {
  AttachmentSlot& slot = state.attachments[record.slot];
  object->slot = record.slot;
  object->counters = slot.counters.load(std::memory_order_relaxed);
  object->exit_counters = object->counters;
  object->domain = domain(in).object;
  if (object->kind == AttachmentKind::kVpc) state.vnis[object->id].store(object.get(), std::memory_order_release);
  state.quiescence.retire(const_cast<Attachment*>(slot.object.exchange(object.release(), std::memory_order_acq_rel)));
}

void Tables::Writer::withdraw_attachment(AttachmentRecord& record) {
  publish_routes();
  record.entry = std::monostate{};
  regroup(record);
  const Attachment* old = state.attachments[record.slot].object.exchange(nullptr, std::memory_order_acq_rel);
  state.quiescence.retire(const_cast<Attachment*>(old));
}

Tables::Writer::DomainRecord& Tables::Writer::domain(DomainId id) {
  DomainRecord& record = domains[id];
  if (record.object == nullptr) record.object = new Domain(id.value(), state.fib_arena);
  return record;
}

void Tables::Writer::settle_domain(DomainId id) {
  const auto found = domains.find(id);
  if (found == domains.end() || found->second.exists || found->second.references > 0) return;
  std::erase_if(unpublished, [&](const auto& entry) { return entry.first == id; });
  state.quiescence.retire(found->second.object);
  domains.erase(found);
}

void Tables::Writer::note_addresses(DomainId id) {
  const auto found = domains.find(id);
  if (found == domains.end()) return;
  Domain& object = *found->second.object;
  const auto fits = [&](std::uint32_t slot, bool v4) {
    const auto owner = attachment_of_slot.find(slot);
    if (slot == 0 || owner == attachment_of_slot.end()) return false;
    const AttachmentRecord& record = attachments.at(owner->second);
    const HostPort* port = state.attachments[slot].host_port.load(std::memory_order_relaxed);
    return record.configured() && record.domain() == id && port != nullptr && (v4 ? port->v4 : port->v6).family != 0;
  };
  for (const bool v4 : {true, false}) {
    std::atomic<std::uint32_t>& chosen = v4 ? object.addressed4 : object.addressed6;
    if (fits(chosen.load(std::memory_order_relaxed), v4)) continue;
    std::uint32_t other = 0;
    for (const std::uint32_t member : found->second.members) {
      if (fits(member, v4)) {
        other = member;
        break;
      }
    }
    chosen.store(other, std::memory_order_release);
  }
}

void Tables::Writer::join_domain(DomainId id, const AttachmentRecord& record) {
  domain(id).members.insert(record.slot);
  note_addresses(id);
}

void Tables::Writer::leave_domain(DomainId id, const AttachmentRecord& record) {
  domain(id).members.erase(record.slot);
  note_addresses(id);
  drop_domain(id);
}

void Tables::Writer::untie_port(const AttachmentRecord& record) {
  std::atomic<std::uint32_t>& tied = state.ports[record.host_port->port.value()].attachment;
  if (tied.load(std::memory_order_relaxed) == record.slot) tied.store(0, std::memory_order_release);
}

// Domains.

Result<void> Tables::upsert_domain(DomainId domain) {
  if (domain.value() == 0) return fail(ErrorCode::kInvalidConfig, "domain 0 is not a domain");
  if (auto room = room_for_domains(writer_->domains); !room && !writer_->domains.contains(domain)) return room;
  Writer::DomainRecord& record = writer_->domain(domain);
  if (record.exists) return {};
  record.exists = true;
  record.object->exists.store(true, std::memory_order_release);
  writer_->changed(domain);
  return {};
}

void Tables::remove_domain(DomainId domain) {
  const auto found = writer_->domains.find(domain);
  if (found == writer_->domains.end()) return;
  found->second.exists = false;
  found->second.object->exists.store(false, std::memory_order_release);
  writer_->settle_domain(domain);
  writer_->changed(domain);
}

// Attachments.

namespace {

Result<void> check(const VpcEntry& vpc) {
  const std::string name = "vpc " + std::to_string(vpc.vni.value());
  if (vpc.vni.value() == 0 || vpc.vni.value() >= kVnis) {
    return fail(ErrorCode::kInvalidConfig, name + ": a VNI is 1 to 16777215");
  }
  if (vpc.domain.value() == 0) return fail(ErrorCode::kInvalidConfig, name + ": domain 0 is not a domain");
  if (vpc.vtep.is_unspecified() || vpc.vtep.is_multicast()) {
    return fail(ErrorCode::kInvalidConfig, name + ": " + vpc.vtep.to_string() + " cannot be a VTEP");
  }
  if (vpc.udp_port == 0) return fail(ErrorCode::kInvalidConfig, name + ": UDP port 0");
  if (vpc.gateway_mac.is_multicast() || vpc.gateway_mac.is_zero()) {
    return fail(ErrorCode::kInvalidConfig, name + ": " + vpc.gateway_mac.to_string() + " cannot be a gateway's MAC");
  }
  if (vpc.mtu < kLeastMtu) {
    return fail(ErrorCode::kInvalidConfig, name + ": an MTU of " + std::to_string(vpc.mtu) + " is below 68");
  }
  return {};
}

/// What is the same in all packets into `vpc`.
template <class Ip>
void prepare_headers(VxlanHeaders<Ip>& headers, const Attachment& vpc) {
  headers.udp.destination_port = vpc.udp_port;
  headers.vxlan = wire::vxlan_header(vpc.id);
  headers.inner.source = vpc.gateway_mac;
  headers.inner.type = wire::kEtherTypeIpv4;
  std::memcpy(headers.ip.source.data(), &vpc.vtep.low, headers.ip.source.size());
}

PlainArrival plain_arrival(const VpcEntry& vpc) {
  PlainArrival plain;
  for (const IpAddress& vtep : vpc.accepted_vteps) {
    if (vtep.is_v6()) continue;
    plain.vteps[1] = load32(vtep.bytes().data());
    if (plain.vteps[0] == 0) plain.vteps[0] = plain.vteps[1];
  }
  if (vpc.vtep.is_v6() || plain.vteps[0] == 0) return plain;
  VxlanHeaders4 headers{};
  std::copy_n(vpc.vtep.bytes().data(), headers.ip.destination.size(), headers.ip.destination.data());
  headers.udp.destination_port = vpc.udp_port;
  headers.inner.destination = vpc.gateway_mac;
  plain.outer = plain_outer_words(headers);
  plain.inner = plain_inner_words(headers);
  return plain;
}

std::unique_ptr<Attachment> compile(const VpcEntry& vpc) {
  auto object = std::make_unique<Attachment>(AttachmentKind::kVpc, vpc.accepted_vteps);
  object->mtu = vpc.mtu;
  object->udp_port = vpc.udp_port;
  object->gateway_mac = vpc.gateway_mac;
  object->id = vpc.vni.value();
  object->vtep = WireAddress::from(vpc.vtep);
  object->plain = plain_arrival(vpc);
  object->over_ipv4 = vpc.vtep.is_v4();
  VxlanHeaders4 headers{};
  prepare_headers(headers, *object);
  put_vxlan_front4(headers.ip, 0, Be16{}, Be16{});
  object->checksum4 = wire::fold(wire::sum_plain_header(headers.ip));
  std::memcpy(object->tail4.data(), headers.ip.source.data(), object->tail4.size());
  prepare_headers(object->headers6, *object);
  object->headers6.ip.next_header = wire::kProtocolUdp;
  object->headers6.ip.hop_limit = kOuterTtl;
  std::size_t used = 0;
  for (const IpPrefix& prefix : vpc.prefixes) {
    if (prefix.address().is_v6()) {
      object->prefixes6.push_back(compile6(prefix));
    } else if (used < object->prefixes4.size()) {
      object->prefixes4[used++] = compile4(prefix);
    } else {
      object->more_prefixes4.push_back(compile4(prefix));
    }
  }
  return object;
}

std::unique_ptr<Attachment> compile(const TunnelEntry& tunnel) {
  auto object = std::make_unique<Attachment>(AttachmentKind::kTunnel);
  object->mtu = tunnel.mtu;
  object->clamp_mss = tunnel.clamp_mss;
  object->outer_df = tunnel.outer_df;
  object->ignores_df = tunnel.ignores_df;
  object->id = tunnel.id.value();
  return object;
}

}  // namespace

Result<void> Tables::upsert_vpc(const VpcEntry& vpc) {
  if (auto good = check(vpc); !good) return good;
  if (auto room = room_for_domains(writer_->domains); !room) return room;
  const AttachmentId id = AttachmentId::vpc(vpc.vni);
  Writer::AttachmentRecord* record = writer_->attachment(id);
  if (record == nullptr) return full("attachments", kMaxAttachments);
  const auto* present = std::get_if<VpcEntry>(&record->entry);
  if (present != nullptr && same(*present, vpc)) return {};
  const DomainId before = record->domain();
  if (before != vpc.domain) writer_->refer_domain(vpc.domain);
  writer_->publish_attachment(*record, compile(vpc), vpc.domain);
  record->entry = vpc;
  if (before == DomainId{}) writer_->regroup(*record);
  if (before.value() != 0) writer_->changed(before);
  if (before == vpc.domain) return {};
  writer_->changed(vpc.domain);
  if (before.value() != 0) writer_->leave_domain(before, *record);
  writer_->join_domain(vpc.domain, *record);
  return {};
}

void Tables::remove_vpc(Vni vni) {
  const AttachmentId id = AttachmentId::vpc(vni);
  Writer::AttachmentRecord* record = writer_->find_attachment(id);
  if (record == nullptr || !record->configured()) return;
  const DomainId domain = record->domain();
  state_->vnis[vni.value()].store(nullptr, std::memory_order_release);
  writer_->withdraw_attachment(*record);
  writer_->changed(domain);
  writer_->leave_domain(domain, *record);
  writer_->settle_attachment(id);
}

Result<void> Tables::upsert_tunnel(const TunnelEntry& tunnel) {
  const std::string name = "tunnel " + std::to_string(tunnel.id.value());
  if (tunnel.id.value() == 0) return fail(ErrorCode::kInvalidConfig, "tunnel 0 is not a tunnel");
  if (tunnel.domain.value() == 0) return fail(ErrorCode::kInvalidConfig, name + ": domain 0 is not a domain");
  if (tunnel.mtu != 0 && tunnel.mtu < kLeastMtu) {
    return fail(ErrorCode::kInvalidConfig, name + ": an MTU of " + std::to_string(tunnel.mtu) + " is below 68");
  }
  if (auto room = room_for_domains(writer_->domains); !room) return room;
  Writer::AttachmentRecord* record = writer_->attachment(AttachmentId::tunnel(tunnel.id));
  if (record == nullptr) return full("attachments", kMaxAttachments);
  const auto* present = std::get_if<TunnelEntry>(&record->entry);
  if (present != nullptr && same(*present, tunnel)) return {};
  const DomainId before = record->domain();
  if (before != tunnel.domain) writer_->refer_domain(tunnel.domain);
  writer_->publish_attachment(*record, compile(tunnel), tunnel.domain);
  record->entry = tunnel;
  if (before == DomainId{}) writer_->regroup(*record);
  if (before == tunnel.domain) return {};
  if (before.value() != 0) writer_->leave_domain(before, *record);
  writer_->join_domain(tunnel.domain, *record);
  return {};
}

void Tables::remove_tunnel(TunnelId id) {
  const AttachmentId attachment = AttachmentId::tunnel(id);
  Writer::AttachmentRecord* record = writer_->find_attachment(attachment);
  if (record == nullptr || !record->configured()) return;
  const DomainId domain = record->domain();
  writer_->withdraw_attachment(*record);
  writer_->leave_domain(domain, *record);
  writer_->settle_attachment(attachment);
}

// Endpoints.

Result<void> Tables::upsert_endpoint(const EndpointEntry& endpoint) {
  const auto name = [&] { return "endpoint " + endpoint.address.to_string(); };
  if (endpoint.vni.value() == 0 || endpoint.vni.value() >= kVnis) {
    return fail(ErrorCode::kInvalidConfig, name() + ": a VNI is 1 to 16777215");
  }
  if (endpoint.mac.is_multicast() || endpoint.mac.is_zero()) {
    return fail(ErrorCode::kInvalidConfig, name() + ": " + endpoint.mac.to_string() + " is no host's MAC");
  }
  if (endpoint.vtep.is_unspecified() || endpoint.vtep.is_multicast()) {
    return fail(ErrorCode::kInvalidConfig, name() + ": " + endpoint.vtep.to_string() + " cannot be a VTEP");
  }
  const EndpointKey key = EndpointKey::of(endpoint.vni.value(), WireAddress::from(endpoint.address));
  const WireAddress vtep = WireAddress::from(endpoint.vtep);
  const Endpoint* present = state_->endpoints.find(key);
  if (present != nullptr && present->mac == endpoint.mac && present->vtep_address() == vtep) return {};
  const std::uint32_t adjacency = writer_->refer_adjacency(endpoint.vtep);
  if (adjacency == 0) return full("adjacencies", kMaxAdjacencies);
  const std::optional<IpAddress> before =
      present == nullptr ? std::nullopt : std::optional<IpAddress>(present->vtep_address().to_ip());
  state_->endpoints.upsert(key, {{vtep.low, vtep.high}, adjacency, vtep.family, endpoint.mac});
  if (before) writer_->drop_adjacency(*before);
  writer_->endpoint_changed(endpoint.vni);
  return {};
}

std::optional<EndpointEntry> Tables::endpoint(Vni vni, const IpAddress& address) const {
  const Endpoint* found = state_->endpoints.find(EndpointKey::of(vni.value(), WireAddress::from(address)));
  if (found == nullptr) return std::nullopt;
  return EndpointEntry{vni, address, found->mac, found->vtep_address().to_ip()};
}

void Tables::remove_endpoint(Vni vni, const IpAddress& address) {
  const EndpointKey key = EndpointKey::of(vni.value(), WireAddress::from(address));
  const Endpoint* present = state_->endpoints.find(key);
  if (present == nullptr) return;
  const IpAddress vtep = present->vtep_address().to_ip();
  writer_->publish_routes();
  state_->endpoints.erase(key);
  writer_->drop_adjacency(vtep);
  writer_->endpoint_changed(vni);
}

// Host ports.

Result<void> Tables::upsert_host_port(const HostPortEntry& entry) {
  if (entry.port.value() >= kMaxPorts) {
    return fail(ErrorCode::kInvalidConfig, entry.attachment.to_string() + ": port " +
                                               std::to_string(entry.port.value()) + " is not below " +
                                               std::to_string(kMaxPorts));
  }
  Writer::AttachmentRecord* record = writer_->attachment(entry.attachment);
  if (record == nullptr) return full("attachments", kMaxAttachments);
  auto object = std::make_unique<HostPort>();
  object->port = entry.port;
  object->mac = entry.mac;
  for (const IpAddress& address : entry.addresses) {
    WireAddress& place = address.is_v4() ? object->v4 : object->v6;
    if (place.family == 0 && !(address.is_v6() && address.is_link_local())) place = WireAddress::from(address);
  }
  if (record->host_port && record->host_port->port != entry.port) writer_->untie_port(*record);
  const HostPort* old =
      state_->attachments[record->slot].host_port.exchange(object.release(), std::memory_order_acq_rel);
  state_->quiescence.retire(const_cast<HostPort*>(old));
  state_->ports[entry.port.value()].attachment.store(record->slot, std::memory_order_release);
  record->host_port = entry;
  writer_->note_addresses(record->domain());
  return {};
}

void Tables::remove_host_port(AttachmentId attachment) {
  Writer::AttachmentRecord* record = writer_->find_attachment(attachment);
  if (record == nullptr || !record->host_port) return;
  writer_->publish_routes();
  writer_->untie_port(*record);
  const HostPort* old = state_->attachments[record->slot].host_port.exchange(nullptr, std::memory_order_acq_rel);
  state_->quiescence.retire(const_cast<HostPort*>(old));
  record->host_port.reset();
  writer_->note_addresses(record->domain());
  writer_->settle_attachment(attachment);
}

}  // namespace simplon::forward
