// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the forwarder has counted.
#include <string>
#include <utility>
#include <vector>

#include "gateway/ipc/src/table_bodies.h"
#include "gateway/ipc/src/table_fields.h"

namespace simplon::ipc {
namespace {

std::vector<RuleCount> decode_counts(const flatbuffers::Vector<flatbuffers::Offset<fb::RuleCount>>* from) {
  std::vector<RuleCount> counts;
  if (from == nullptr) return counts;
  for (const auto* count : *from) counts.push_back({text_of(count->name()), count->packets()});
  return counts;
}

/// An attachment that is gone has kind kNone.
AttachmentRef decode_side(fb::AttachmentKind kind, std::uint32_t id, Fields& fields) {
  return kind == fb::AttachmentKind::None ? AttachmentRef{} : fields.attachment(kind, id);
}

ConnectionStats decode_connection(const fb::ConnectionStats& s, Fields& fields) {
  ConnectionStats c;
  c.domain = DomainId(s.domain());
  c.protocol = s.protocol();
  c.closing = s.closing();
  if (s.state() > 2) fields.refuse("connection state " + std::to_string(s.state()) + " is unknown");
  c.state = static_cast<ConnectionState>(s.state());
  c.source = fields.address(s.source(), "connection source");
  c.destination = fields.address(s.destination(), "connection destination");
  c.source_port = s.source_port();
  c.destination_port = s.destination_port();
  c.translated_source = fields.address(s.translated_source(), "translated source");
  c.translated_destination = fields.address(s.translated_destination(), "translated destination");
  c.translated_source_port = s.translated_source_port();
  c.translated_destination_port = s.translated_destination_port();
  c.from = decode_side(s.from_kind(), s.from_id(), fields);
  c.to = decode_side(s.to_kind(), s.to_id(), fields);
  c.packets_out = s.packets_out();
  c.packets_back = s.packets_back();
  c.bytes_out = s.bytes_out();
  c.bytes_back = s.bytes_back();
  c.age_seconds = s.age_seconds();
  c.idle_seconds = s.idle_seconds();
  c.expires_in_seconds = s.expires_in_seconds();
  return c;
}

void decode_policy_stats(const fb::Stats& from, Stats& stats, Fields& fields) {
  if (from.acls() != nullptr) {
    for (const auto* acl : *from.acls()) stats.acls.push_back({text_of(acl->name()), decode_counts(acl->rules())});
  }
  if (from.nats() != nullptr) {
    for (const auto* nat : *from.nats()) stats.nats.push_back({DomainId(nat->domain()), decode_counts(nat->rules())});
  }
  stats.routes_on_backup = from.routes_on_backup();
  stats.switches_to_backup = from.switches_to_backup();
  stats.connections_used = from.connections_used();
  stats.connections_most = from.connections_most();
  if (from.connections() != nullptr) {
    for (const auto* one : *from.connections()) stats.connections.push_back(decode_connection(*one, fields));
  }
}

std::vector<WorkerStats> decode_workers(const fb::Stats& from) {
  std::vector<WorkerStats> workers;
  if (from.workers() == nullptr) return workers;
  for (const auto* s : *from.workers()) {
    WorkerStats& worker = workers.emplace_back();
    if (s->cpu() >= 0) worker.cpu = static_cast<std::uint32_t>(s->cpu());
    worker.busy_percent = s->busy_percent();
    worker.received = s->received();
    worker.dropped = s->dropped();
    if (s->queues() == nullptr) continue;
    for (const auto* queue : *s->queues()) worker.queues.push_back({text_of(queue->interface()), queue->queue()});
  }
  return workers;
}

}  // namespace

Result<TableMessage> decode(const fb::Stats& from) {
  Fields fields;
  Stats stats;
  stats.token = from.token();
  stats.generation = Generation(from.generation());
  if (const auto* a = from.accounting()) {
    stats.accounting = {a->received(), a->originated(), a->sent(), a->punted(), a->dropped(), a->icmp_suppressed()};
  }
  if (from.drops() != nullptr) {
    for (const auto* drop : *from.drops()) {
      stats.drops.push_back({text_of(drop->name()), text_of(drop->reference()), text_of(drop->sentence()), drop->packets()});
    }
  }
  if (from.attachments() != nullptr) {
    for (const auto* s : *from.attachments()) {
      stats.attachments.push_back({fields.attachment(s->kind(), s->id()), s->rx_packets(), s->rx_bytes(), s->tx_packets(),
                                   s->tx_bytes(), s->punted(), s->dropped(), s->host_port_up(), s->mtu(),
                                   s->connections()});
    }
  }
  if (from.uplinks() != nullptr) {
    for (const auto* s : *from.uplinks()) {
      stats.uplinks.push_back({text_of(s->interface()), text_of(s->mode()), s->queues(), s->up(), text_of(s->error()),
                               s->rx_packets(), s->rx_bytes(), s->tx_packets(), s->tx_bytes(), text_of(s->xdp_forwarding()),
                               s->xdp_packets(), s->control_rings(), s->rx_ring_full(), s->control_ring_full(),
                               s->fill_ring_empty()});
    }
  }
  if (from.sas() != nullptr) {
    for (const auto* s : *from.sas()) {
      SaStats sa;
      sa.spi = Spi(s->spi());
      sa.tunnel = TunnelId(s->tunnel());
      sa.inbound = s->inbound();
      sa.active = s->active();
      sa.encap = s->encap();
      sa.esn = s->esn();
      sa.suite = text_of(s->suite());
      sa.source = fields.address(s->source(), "SA source");
      sa.destination = fields.address(s->destination(), "SA destination");
      sa.packets = s->packets();
      sa.bytes = s->bytes();
      sa.sequence = s->sequence();
      sa.replayed = s->replayed();
      sa.failed = s->failed();
      sa.age_seconds = s->age_seconds();
      stats.sas.push_back(std::move(sa));
    }
  }
  if (from.neighbors() != nullptr) {
    for (const auto* s : *from.neighbors()) {
      stats.neighbors.push_back({fields.address(s->destination(), "neighbor destination"), text_of(s->interface()),
                                 fields.mac(s->mac(), "neighbor mac"), s->resolved(), s->mtu(), CircuitId(s->circuit()),
                                 s->learned_mtu(), s->learned_for_seconds()});
    }
  }
  stats.routes = from.routes();
  stats.endpoints = from.endpoints();
  decode_policy_stats(from, stats, fields);
  stats.workers = decode_workers(from);
  stats.too_big = decode_counts(from.too_big());
  if (!fields.error().empty()) return fail(ErrorCode::kPeer, "malformed statistics: " + fields.error());
  return TableMessage(std::move(stats));
}

}  // namespace simplon::ipc
