// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gateway/forward/tables.h"
#include "gateway/forwarder/host_ports.h"
#include "gateway/forwarder/table_applier.h"
#include "gateway/forwarder/uplinks.h"
#include "gateway/forwarder/worker_threads.h"
#include "gateway/forwarder/xdp_tier.h"
#include "gateway/ipc/table_stats.h"

// The parts of ipc::Stats that no class here tells by itself. Threads: the control thread's.

namespace simplon::forwarder {

/// Of all reasons, also those that nothing was dropped for.
[[nodiscard]] std::vector<ipc::DropCount> drop_stats(const WorkerThreads& workers);

/// Of the VPCs, tunnels and circuits that exist.
[[nodiscard]] std::vector<ipc::AttachmentStats> attachment_stats(const TableApplier& applier, const forward::Tables& tables,
                                                                 const HostPorts& host_ports);

/// Adds to accounting and uplinks, which are filled in, what the XDP programs forwarded: it was received and sent like all else.
/// `tier` nullptr: `why_none` says why there is none.
void add_tier_stats(const XdpTier* tier, const std::string& why_none, const Uplinks& uplinks, ipc::Stats& stats);

/// Counts of the tables, and up to `listed` of their connections. `now`: seconds.
void add_table_stats(const forward::Tables& tables, std::uint32_t listed, std::uint64_t now, ipc::Stats& stats);

}  // namespace simplon::forwarder
