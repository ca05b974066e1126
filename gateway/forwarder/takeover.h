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

/// The packet memory, with the frames that sockets own in use. Errors: those of FramePool::adopt.
[[nodiscard]] Result<forward::FramePool> take_packet_memory(TakenHandover& former);

/// Gives the descriptors behind the packet memory to uplinks and host ports, which use them when they are upserted.
void inherit_devices(TakenHandover& former, Uplinks& uplinks, HostPorts& host_ports);

/// Applies the tables; returns the connections behind them. Errors: kPeer if one of the messages cannot be applied.
[[nodiscard]] Result<std::vector<forward::ConnectionView>> replay_tables(const std::vector<std::uint8_t>& tables,
                                                                        TableApplier& applier);

/// The other side of it: writes the connections behind the tables, in messages of a bearable length. `now`: seconds.
void append_connections(const forward::Tables& tables, std::uint64_t now, std::vector<std::uint8_t>& stream);

}  // namespace simplon::forwarder
