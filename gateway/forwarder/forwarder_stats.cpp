// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/forwarder_stats.h"

#include <cstddef>

#include "gateway/forward/drop.h"
#include "gateway/forwarder/attachment_ref.h"
#include "gateway/forwarder/connection_stats.h"

namespace simplon::forwarder {

std::vector<ipc::DropCount> drop_stats(const WorkerThreads& workers) {
  std::vector<ipc::DropCount> all;
  for (std::size_t i = 0; i < forward::kDropCount; ++i) {
    const auto& drop = forward::kDropInfo[i];
    all.push_back({std::string(drop.counter), std::string(drop.reference), std::string(drop.sentence),
                   workers.dropped(static_cast<forward::Drop>(i))});
  }
  return all;
}

std::vector<ipc::AttachmentStats> attachment_stats(const TableApplier& applier, const forward::Tables& tables,
                                                   const HostPorts& host_ports) {
  std::vector<ipc::AttachmentStats> all;
  for (const auto& attachment : applier.attachments()) {
    ipc::AttachmentStats entry;
    entry.attachment = attachment;
    const auto id = attachment_of(attachment);
    if (const auto totals = tables.totals(id)) {
      entry.rx_packets = totals->rx_packets;
      entry.rx_bytes = totals->rx_bytes;
      entry.tx_packets = totals->tx_packets;
      entry.tx_bytes = totals->tx_bytes;
      entry.punted = totals->punted;
      entry.dropped = totals->dropped;
    }
    entry.host_port_up = host_ports.up(attachment);
    entry.mtu = tables.inner_mtu(id);
    entry.connections = tables.connections_of(id);
    all.push_back(entry);
  }
  return all;
}

void add_tier_stats(const XdpTier* tier, const std::string& why_none, const Uplinks& uplinks, ipc::Stats& stats) {
  if (tier == nullptr) {
    for (auto& uplink : stats.uplinks) uplink.xdp_forwarding = why_none;
    return;
  }
  stats.accounting.received += tier->forwarded();
  stats.accounting.sent += tier->forwarded();
  for (auto& entry : stats.uplinks) entry.xdp_packets = tier->forwarded(uplinks.port_of(entry.interface));
}

void add_table_stats(const forward::Tables& tables, std::uint32_t listed, std::uint64_t now, ipc::Stats& stats) {
  const auto counts = tables.counts();
  stats.routes = counts.routes;
  stats.endpoints = counts.endpoints;
  stats.routes_on_backup = counts.routes_on_backup;
  stats.switches_to_backup = counts.switches_to_backup;
  stats.connections_used = tables.connections();
  stats.connections_most = tables.max_connections();
  for (const auto& view : tables.list_connections(listed, now)) stats.connections.push_back(connection_stats(view));
}

}  // namespace simplon::forwarder
