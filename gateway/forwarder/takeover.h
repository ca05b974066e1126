// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <vector>

#include "gateway/forward/packet.h"
#include "gateway/forward/policy_objects.h"
#include "gateway/forward/tables.h"
#include "gateway/forwarder/handover.h"
#include "gateway/forwarder/host_ports.h"
#include "gateway/forwarder/table_applier.h"
#include "gateway/forwarder/uplinks.h"
#include "platform/base/result.h"

// The parts of a handover (handover.h) put to use, by the process that goes on with it. Threads: the control thread's, and no
// worker runs yet.

namespace simplon::forwarder {

/// Not settled yet. Errors: those of FramePool::adopt.
[[nodiscard]] Result<forward::FramePool> take_packet_memory(Taken<HandedTables>& former);
/// Gives the descriptors behind the packet memory to host ports, which use them when they are upserted.
void inherit_host_ports(Taken<HandedTables>& former, HostPorts& host_ports);
/// Errors: kPeer if one of the messages cannot be applied.
[[nodiscard]] Result<void> replay_tables(const std::vector<std::uint8_t>& tables, TableApplier& applier);

/// Gives the descriptors to uplinks, which use them when they are looked at.
void inherit_uplinks(Taken<HandedTraffic>& former, Uplinks& uplinks);
/// Errors: kPeer.
[[nodiscard]] Result<std::vector<forward::ConnectionView>> read_connections(const std::vector<std::uint8_t>& stream);
/// The other side of it, in messages of a bearable length. `now`: seconds.
[[nodiscard]] std::vector<std::uint8_t> write_connections(const forward::Tables& tables, std::uint64_t now);

}  // namespace simplon::forwarder
