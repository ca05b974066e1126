// SPDX-License-Identifier: GPL-2.0-or-later
//
// Ports, adjacencies, security associations, grace periods, reading. The objects of the overlay: tables_objects.cpp.
#include "gateway/forward/tables.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "gateway/forward/mtu.h"
#include "gateway/forward/src/tables/tables_writer.h"
#include "gateway/forward/src/workers/crew.h"
#include "platform/wire/checksum.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"

namespace simplon::forward {

namespace {

template <class Slots>
TrafficTotals sum(const Slots* counters, unsigned workers) {
  TrafficTotals totals;
  for (unsigned i = 0; counters != nullptr && i <= shortcut_share(workers); ++i) {
    totals.rx_packets += counters[i].rx_packets.read();
    totals.rx_bytes += counters[i].rx_bytes.read();
    totals.tx_packets += counters[i].tx_packets.read();
    totals.tx_bytes += counters[i].tx_bytes.read();
    totals.punted += counters[i].punted.read();
    totals.dropped += counters[i].dropped.read();
  }
  return totals;
}

CompiledSaPath compile(const SaPath& path, std::uint32_t adjacency) {
  CompiledSaPath compiled;
  compiled.source = WireAddress::from(path.source);
  compiled.destination = WireAddress::from(path.destination);
  compiled.adjacency = adjacency;
  compiled.encap = path.encap;
  compiled.source_port = path.source_port;
  compiled.destination_port = path.destination_port;
  const std::uint8_t protocol = path.encap ? wire::kProtocolUdp : wire::kProtocolEsp;
  std::size_t length = 0;
  if (path.source.is_v4()) {
    wire::Ipv4Header header{};
    header.version_ihl = 0x45;
    header.ttl = kOuterTtl;
    header.protocol = protocol;
    std::copy_n(path.source.bytes().data(), 4, header.source.begin());
    std::copy_n(path.destination.bytes().data(), 4, header.destination.begin());
    std::memcpy(compiled.header.data(), &header, sizeof header);
    length = sizeof header;
    compiled.checksum = wire::sum_bytes({compiled.header.data(), length});
  } else {
    wire::Ipv6Header header{};
    header.version_class_flow = 6U << 28;
    header.next_header = protocol;
    header.hop_limit = kOuterTtl;
    std::copy_n(path.source.bytes().data(), 16, header.source.begin());
    std::copy_n(path.destination.bytes().data(), 16, header.destination.begin());
    std::memcpy(compiled.header.data(), &header, sizeof header);
    length = sizeof header;
  }
  compiled.ip_bytes = static_cast<std::uint8_t>(length);
  if (path.encap) {
    wire::UdpHeader udp{};
    udp.source_port = path.source_port;
    udp.destination_port = path.destination_port;
    std::memcpy(compiled.header.data() + length, &udp, sizeof udp);
    length += sizeof udp;
  }
  compiled.header_bytes = static_cast<std::uint8_t>(length);
  return compiled;
}

}  // namespace

TableState::TableState(unsigned worker_count, HashSeed hash_seed)
    : workers(worker_count),
      seed(hash_seed),
      quiescence(worker_count),
      attachments(kMaxAttachments),
      uses(kMaxAttachments),
      vnis(kVnis),
      adjacencies(kMaxAdjacencies),
      groups(kMaxGroups),
      ports(kMaxPorts),
      policies(kMaxAttachments),
      acls(kMaxAcls),
      fib_arena(quiescence),
      endpoints(quiescence),
      vteps(quiescence),
      circuits(quiescence),
      neighbors(quiescence),
      inbound(quiescence),
      strays(quiescence, 64, FlowKeyHash{hash_seed}),
      asked(std::make_unique<AskedNeighbors[]>(worker_count)) {
  attachments.want_huge_pages();
  for (unsigned i = 0; i < worker_count; ++i) {
    connections.push_back(std::make_unique<ConnectionTable>(ConnectionTable::kDefaultCapacity, NatShare{i, worker_count}, seed));
  }
  if (worker_count > 1) crew = std::make_unique<Crew>(worker_count);
}

TableState::~TableState() = default;

Tables::Tables(unsigned workers, HashSeed seed)
    : state_(std::make_unique<TableState>(workers, seed)), writer_(std::make_unique<Writer>(*state_)) {
  writer_->inputs.resize(workers);
  writer_->rebuild_inputs();
}

Tables::~Tables() {
  // What is still published; what was retired goes with the Quiescence.
  for (auto& [id, record] : writer_->attachments) {
    AttachmentSlot& slot = state_->attachments[record.slot];
    delete slot.object.load(std::memory_order_relaxed);
    delete slot.host_port.load(std::memory_order_relaxed);
    delete[] slot.counters.load(std::memory_order_relaxed);
  }
  for (const auto& [id, record] : writer_->adjacencies) {
    delete state_->adjacencies[record.slot].load(std::memory_order_relaxed);
  }
  writer_->destroy_policy();
  for (const auto& [key, record] : writer_->groups) {
    delete state_->groups[record.slot].load(std::memory_order_relaxed);
  }
  for (const auto& [id, record] : writer_->domains) delete record.object;
  for (const auto& [id, entry] : writer_->ports) {
    delete state_->ports[id.value()].object.load(std::memory_order_relaxed);
  }
  for (std::size_t i = 0; i < writer_->port_slots_used; ++i) {
    delete[] state_->ports[i].counters.load(std::memory_order_relaxed);
  }
  delete state_->inputs.load(std::memory_order_relaxed);
  // Retired slot numbers return to the writer's allocators, so nothing may be left to retire when the writer goes.
  state_->quiescence.advance();
  SIMPLON_CHECK(state_->quiescence.waiting() == 0);
}

Quiescence& Tables::quiescence() noexcept { return state_->quiescence; }
unsigned Tables::workers() const noexcept { return state_->workers; }

// Ports.

void Tables::Writer::rebuild_inputs() {
  auto list = std::make_unique<InputList>();
  for (const auto& of_worker : inputs) {
    std::vector<PacketIo*>& polled = list->of_worker.emplace_back();
    for (const auto& [io, ports_served] : of_worker) polled.push_back(io);
  }
  const InputList* old = state.inputs.exchange(list.release(), std::memory_order_acq_rel);
  state.quiescence.retire(const_cast<InputList*>(old));
}

bool Tables::Writer::count_inputs(const PortEntry& port, bool add) {
  bool changed = false;
  for (std::size_t worker = 0; worker < port.queues.size(); ++worker) {
    PacketIo* io = port.queues[worker].get();
    auto& list = inputs[worker];
    const auto found = std::find_if(list.begin(), list.end(), [io](const auto& item) { return item.first == io; });
    if (add && found == list.end()) {
      list.emplace_back(io, 1);
      changed = true;
    } else if (add) {
      ++found->second;
    } else if (--found->second == 0) {
      list.erase(found);
      changed = true;
    }
  }
  return changed;
}

Result<void> Tables::upsert_port(const PortEntry& port) {
  const std::string name = "port " + std::to_string(port.id.value());
  if (port.id.value() >= kMaxPorts) {
    return fail(ErrorCode::kInvalidConfig, name + " is not below " + std::to_string(kMaxPorts));
  }
  if (port.queues.size() != state_->workers ||
      std::any_of(port.queues.begin(), port.queues.end(), [](const auto& io) { return io == nullptr; })) {
    return fail(ErrorCode::kInvalidConfig,
                name + " needs one PacketIo for each of " + std::to_string(state_->workers) + " workers");
  }
  PortSlot& slot = state_->ports[port.id.value()];
  if (slot.counters.load(std::memory_order_relaxed) == nullptr) {
    slot.counters.store(new TrafficCounters[counter_shares(state_->workers)], std::memory_order_release);
    writer_->port_slots_used = std::max(writer_->port_slots_used, std::size_t{port.id.value()} + 1);
  }
  bool changed = writer_->count_inputs(port, true);
  const Port* old = slot.object.exchange(new Port{port}, std::memory_order_acq_rel);
  const auto before = writer_->ports.find(port.id);
  const bool was_uplink = before != writer_->ports.end() && before->second.kind == PortKind::kUplink;
  if (before != writer_->ports.end()) changed = writer_->count_inputs(before->second, false) || changed;
  const bool is_new = writer_->ports.insert_or_assign(port.id, port).second;
  if (is_new && port.kind == PortKind::kUplink) writer_->regroup_port(port.id);
  if (changed) writer_->rebuild_inputs();
  state_->quiescence.retire(const_cast<Port*>(old));
  // No shortcut leads through a port of another kind.
  if (port.kind == PortKind::kUplink || was_uplink) writer_->everything_changed();
  return {};
}

void Tables::remove_port(PortId id) {
  auto entry = writer_->ports.extract(id);
  if (entry.empty()) return;
  // Whatever can leave through another port does, before this one is closed.
  if (entry.mapped().kind == PortKind::kUplink) writer_->regroup_port(id);
  writer_->without_carrier.erase(id);
  const Port* old = state_->ports[id.value()].object.exchange(nullptr, std::memory_order_acq_rel);
  if (writer_->count_inputs(entry.mapped(), false)) writer_->rebuild_inputs();
  state_->quiescence.retire(const_cast<Port*>(old));
  // The next port with this number may be another tenant's.
  state_->quiescence.retire(state_->ports[id.value()].counters.exchange(nullptr, std::memory_order_acq_rel),
                            [](void* p) { delete[] static_cast<TrafficCounters*>(p); });
  if (entry.mapped().kind == PortKind::kUplink) writer_->everything_changed();
}

void Tables::set_carrier(PortId id, bool carrier) {
  if (!writer_->ports.contains(id) || carrier != writer_->without_carrier.contains(id)) return;
  if (carrier) {
    writer_->without_carrier.erase(id);
  } else {
    writer_->without_carrier.insert(id);
  }
  writer_->regroup_port(id);
  writer_->everything_changed();
}

// Adjacencies.

std::uint32_t Tables::Writer::refer_adjacency(const IpAddress& destination) {
  const auto [place, is_new] = adjacencies.try_emplace(destination);
  if (is_new) {
    place->second.slot = adjacency_slots.allocate();
    if (place->second.slot == 0) {
      adjacencies.erase(place);
      return 0;
    }
  }
  ++place->second.references;
  const std::uint32_t slot = place->second.slot;
  if (is_new) state.vteps.upsert(EndpointKey::of(0, WireAddress::from(destination)), slot);
  if (is_new && listener) listener(destination, true);
  return slot;
}

void Tables::Writer::drop_adjacency(const IpAddress& destination) {
  const auto place = adjacencies.find(destination);
  if (--place->second.references > 0) return;
  const std::uint32_t slot = place->second.slot;
  state.vteps.erase(EndpointKey::of(0, WireAddress::from(destination)));
  const Adjacency* old = state.adjacencies[slot].exchange(nullptr, std::memory_order_acq_rel);
  state.quiescence.retire(const_cast<Adjacency*>(old));
  adjacency_slots.release(slot, state.quiescence);
  const IpAddress gone = destination;
  adjacencies.erase(place);
  if (listener) listener(gone, false);
}

void Tables::Writer::note_path(const AttachmentRecord& tunnel, const Sa* before, const IpAddress* after) {
  if (before != nullptr) adjacencies.at(before->path().destination).tunnels.erase(tunnel.slot);
  if (after != nullptr) adjacencies.at(*after).tunnels.insert(tunnel.slot);
}

void Tables::on_adjacency(AdjacencyListener listener) {
  writer_->listener = std::move(listener);
  if (!writer_->listener) return;
  for (const IpAddress& destination : wanted_adjacencies()) writer_->listener(destination, true);
}

Result<void> Tables::set_adjacency(const IpAddress& destination, const AdjacencyEntry& adjacency) {
  if (adjacency.resolved && (adjacency.port.value() >= kMaxPorts || adjacency.path_mtu < kLeastMtu)) {
    return fail(ErrorCode::kInvalidConfig, "adjacency " + destination.to_string() + ": port " +
                                               std::to_string(adjacency.port.value()) + ", MTU " +
                                               std::to_string(adjacency.path_mtu));
  }
  const auto found = writer_->adjacencies.find(destination);
  if (found == writer_->adjacencies.end() || found->second.entry == adjacency) return {};
  found->second.entry = adjacency;
  std::unique_ptr<Adjacency> object;
  if (adjacency.resolved) {
    object = std::make_unique<Adjacency>();
    object->ethernet = {adjacency.destination, adjacency.source, wire::kEtherTypeIpv4};
    object->port = adjacency.port;
    object->path_mtu = adjacency.path_mtu;
  }
  const Adjacency* old = state_->adjacencies[found->second.slot].exchange(object.release(), std::memory_order_acq_rel);
  state_->quiescence.retire(const_cast<Adjacency*>(old));
  for (const std::uint32_t slot : found->second.tunnels) {
    writer_->regroup(writer_->attachments.at(writer_->attachment_of_slot.at(slot)));
  }
  // No shortcut leads to a neighbor that is not resolved.
  if (old != nullptr) writer_->everything_changed();
  return {};
}

std::vector<IpAddress> Tables::wanted_adjacencies() const {
  std::vector<IpAddress> wanted;
  wanted.reserve(writer_->adjacencies.size());
  for (const auto& [destination, record] : writer_->adjacencies) wanted.push_back(destination);
  return wanted;
}

std::optional<AdjacencyEntry> Tables::adjacency(const IpAddress& destination) const {
  const auto found = writer_->adjacencies.find(destination);
  if (found == writer_->adjacencies.end()) return std::nullopt;
  return found->second.entry;
}

// Security associations.

void Tables::Writer::publish_path(Sa& sa, std::uint32_t adjacency) {
  const CompiledSaPath* old =
      sa.compiled_.exchange(new CompiledSaPath(compile(sa.path_, adjacency)), std::memory_order_acq_rel);
  state.quiescence.retire(const_cast<CompiledSaPath*>(old));
}

Result<void> Tables::install_inbound(std::shared_ptr<Sa> sa) {
  const std::uint32_t spi = sa->spi().value();
  if (sa->direction() != SaDirection::kInbound) {
    return fail(ErrorCode::kInvalidConfig, "SA " + std::to_string(spi) + " is not an inbound SA");
  }
  const auto found = writer_->inbound.find(spi);
  if (found != writer_->inbound.end()) {
    if (found->second == sa) return {};
    return fail(ErrorCode::kConflict, "another inbound SA has SPI " + std::to_string(spi));
  }
  Writer::AttachmentRecord* record = writer_->attachment(AttachmentId::tunnel(sa->tunnel()));
  if (record == nullptr) return fail(ErrorCode::kExhausted, "no free attachment for SA " + std::to_string(spi));
  ++record->references;
  sa->tunnel_slot_ = record->slot;
  writer_->publish_path(*sa, 0);
  state_->inbound.upsert(spi, sa.get());
  writer_->inbound.emplace(spi, std::move(sa));
  return {};
}

void Tables::remove_inbound(Spi spi) {
  const auto found = writer_->inbound.find(spi.value());
  if (found == writer_->inbound.end()) return;
  state_->inbound.erase(spi.value());
  std::shared_ptr<Sa> sa = std::move(found->second);
  writer_->inbound.erase(found);
  const AttachmentId tunnel = AttachmentId::tunnel(sa->tunnel());
  writer_->drop_attachment(tunnel);
  writer_->retire_shared(std::move(sa));
}

void Tables::expect_inbound(Spi spi) {
  if (writer_->inbound.count(spi.value()) == 0) state_->inbound.upsert(spi.value(), nullptr);
}

void Tables::expect_no_longer(Spi spi) {
  if (writer_->inbound.count(spi.value()) == 0) state_->inbound.erase(spi.value());
}

std::shared_ptr<Sa> Tables::inbound(Spi spi) const {
  const auto found = writer_->inbound.find(spi.value());
  return found == writer_->inbound.end() ? nullptr : found->second;
}

Result<void> Tables::set_outbound(TunnelId tunnel, std::shared_ptr<Sa> sa) {
  if (sa != nullptr && (sa->direction() != SaDirection::kOutbound || sa->tunnel() != tunnel)) {
    return fail(ErrorCode::kInvalidConfig, "SA " + std::to_string(sa->spi().value()) +
                                               " is not an outbound SA of tunnel " + std::to_string(tunnel.value()));
  }
  const AttachmentId id = AttachmentId::tunnel(tunnel);
  if (sa == nullptr) writer_->publish_routes();
  if (sa == nullptr && writer_->find_attachment(id) == nullptr) return {};
  Writer::AttachmentRecord* record = writer_->attachment(id);
  if (record == nullptr) return fail(ErrorCode::kExhausted, "no free attachment for " + id.to_string());
  if (record->outbound == sa) return {};
  if (sa != nullptr) {
    const std::uint32_t adjacency = writer_->refer_adjacency(sa->path().destination);
    if (adjacency == 0) {
      writer_->settle_attachment(id);
      return fail(ErrorCode::kExhausted, "no free adjacency for " + sa->path().destination.to_string());
    }
    sa->tunnel_slot_ = record->slot;
    writer_->publish_path(*sa, adjacency);
  }
  Sa* const active = sa.get();
  std::shared_ptr<Sa> before = std::exchange(record->outbound, std::move(sa));
  writer_->note_path(*record, before.get(), active == nullptr ? nullptr : &active->path().destination);
  if (active == nullptr) {
    // Whatever can leave through another attachment does, before this one is closed.
    writer_->regroup(*record);
  }
  state_->attachments[record->slot].outbound.store(active, std::memory_order_release);
  if (active != nullptr) writer_->regroup(*record);
  if (before != nullptr) {
    writer_->drop_adjacency(before->path().destination);
    writer_->retire_shared(std::move(before));
  }
  writer_->settle_attachment(id);
  return {};
}

std::shared_ptr<Sa> Tables::outbound(TunnelId tunnel) const {
  const Writer::AttachmentRecord* record = writer_->find_attachment(AttachmentId::tunnel(tunnel));
  return record == nullptr ? nullptr : record->outbound;
}

Result<void> Tables::set_path(Sa& sa, const SaPath& path) {
  if (path == sa.path_) return {};
  if (path.source.family() != path.destination.family()) {
    return fail(ErrorCode::kInvalidConfig,
                path.source.to_string() + " and " + path.destination.to_string() + " are of different families");
  }
  const bool active_outbound = sa.direction() == SaDirection::kOutbound && outbound(sa.tunnel()).get() == &sa;
  std::uint32_t adjacency = 0;
  if (active_outbound) {
    adjacency = writer_->refer_adjacency(path.destination);
    if (adjacency == 0) return fail(ErrorCode::kExhausted, "no free adjacency for " + path.destination.to_string());
  }
  const Writer::AttachmentRecord* record = active_outbound ? writer_->find_attachment(AttachmentId::tunnel(sa.tunnel())) : nullptr;
  if (record != nullptr) writer_->note_path(*record, &sa, &path.destination);
  const SaPath before = std::exchange(sa.path_, path);
  if (active_outbound || sa.direction() == SaDirection::kInbound) writer_->publish_path(sa, adjacency);
  if (record != nullptr) writer_->regroup(*record);
  if (active_outbound) writer_->drop_adjacency(before.destination);
  return {};
}

namespace {

void add(TrafficCounters& counters, const TrafficTotals& more) {
  counters.rx_packets.add(more.rx_packets);
  counters.rx_bytes.add(more.rx_bytes);
  counters.tx_packets.add(more.tx_packets);
  counters.tx_bytes.add(more.tx_bytes);
}

}  // namespace

void Tables::add_traffic(AttachmentId attachment, const TrafficTotals& more) {
  const Writer::AttachmentRecord* record = writer_->find_attachment(attachment);
  if (record == nullptr) return;
  add(state_->attachments[record->slot].counters.load(std::memory_order_relaxed)[shortcut_share(state_->workers)], more);
}

void Tables::add_traffic(PortId port, const TrafficTotals& more) {
  if (!writer_->ports.contains(port)) return;
  add(state_->ports[port.value()].counters.load(std::memory_order_relaxed)[shortcut_share(state_->workers)], more);
}

void Tables::on_change(ChangeListener listener) { writer_->change_listener = std::move(listener); }

// Grace periods.

Quiescence::Token Tables::commit() {
  writer_->publish_routes();
  return state_->quiescence.advance();
}
bool Tables::applied(Quiescence::Token token) const noexcept { return state_->quiescence.passed(token); }

void Tables::reclaim() {
  constexpr std::size_t kBucketsPerCall = 4096;
  state_->endpoints.go_on_growing(kBucketsPerCall);
  state_->inbound.go_on_growing(kBucketsPerCall);
  state_->neighbors.go_on_growing(kBucketsPerCall);
  state_->vteps.go_on_growing(kBucketsPerCall);
  state_->circuits.go_on_growing(kBucketsPerCall);
  writer_->publish_routes();
  writer_->settle_strays();
  state_->quiescence.advance();
}

// Reading.

Tables::Counts Tables::counts() const noexcept {
  Counts counts;
  for (const auto& [id, record] : writer_->domains) counts.domains += record.exists ? 1U : 0U;
  for (const auto& [id, record] : writer_->attachments) {
    counts.vpcs += std::holds_alternative<VpcEntry>(record.entry) ? 1U : 0U;
    counts.tunnels += std::holds_alternative<TunnelEntry>(record.entry) ? 1U : 0U;
    counts.circuits += std::holds_alternative<CircuitEntry>(record.entry) ? 1U : 0U;
  }
  counts.neighbors = state_->neighbors.size();
  counts.endpoints = state_->endpoints.size();
  counts.routes = writer_->routes;
  counts.adjacencies = writer_->adjacencies.size();
  counts.inbound_sas = writer_->inbound.size();
  for (const auto& [key, record] : writer_->groups) {
    if (state_->groups[record.slot].load(std::memory_order_relaxed)->on_backup) counts.routes_on_backup += record.references;
  }
  counts.switches_to_backup = writer_->switches_to_backup;
  return counts;
}

std::optional<TrafficTotals> Tables::totals(AttachmentId attachment) const {
  const Writer::AttachmentRecord* record = writer_->find_attachment(attachment);
  if (record == nullptr) return std::nullopt;
  return sum(state_->attachments[record->slot].counters.load(std::memory_order_relaxed), state_->workers);
}

std::optional<TrafficTotals> Tables::totals(PortId port) const {
  if (!writer_->ports.contains(port)) return std::nullopt;
  return sum(state_->ports[port.value()].counters.load(std::memory_order_relaxed), state_->workers);
}

std::uint16_t Tables::inner_mtu(AttachmentId attachment) const {
  const Writer::AttachmentRecord* record = writer_->find_attachment(attachment);
  if (record == nullptr) return 0;
  if (const auto* vpc = std::get_if<VpcEntry>(&record->entry)) return vpc->mtu;
  if (const auto* circuit = std::get_if<CircuitEntry>(&record->entry)) return circuit->mtu;
  const auto* tunnel = std::get_if<TunnelEntry>(&record->entry);
  if (tunnel == nullptr || record->outbound == nullptr) return 0;
  const SaPath& path = record->outbound->path();
  const std::optional<AdjacencyEntry> found = adjacency(path.destination);
  if (!found || !found->resolved) return 0;
  const std::size_t computed =
      esp_inner_mtu(found->path_mtu, path.destination.is_v4() ? std::size_t{20} : std::size_t{40}, path.encap,
                    record->outbound->key().layout());
  return static_cast<std::uint16_t>(tunnel->mtu == 0 ? computed : std::min<std::size_t>(computed, tunnel->mtu));
}

}  // namespace simplon::forward
