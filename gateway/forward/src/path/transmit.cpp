// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/stages.h"

namespace simplon::forward {
namespace {

struct Departure {
  unsigned number;
  PacketIo* io;
  TrafficCounters* counters;
};

/// Hands over what the PacketIo takes, and returns how many that were; `refused` hears the places of the others. Packets of
/// several tenants leave together: one that cannot be sent costs no other.
template <class Refused>
[[nodiscard]] std::size_t hand_to(PacketIo& io, std::span<const Packet> packets, bool urgent, const Refused& refused) noexcept {
  std::size_t taken = 0;
  std::size_t at = 0;
  while (at < packets.size()) {
    const std::span<const Packet> rest = packets.subspan(at);
    const std::size_t took = urgent ? io.transmit_urgent(rest) : io.transmit(rest);
    taken += took;
    at += took;
    if (took == rest.size()) break;
    refused(at++);
    if (!io.stopped_at_one()) break;
  }
  for (; at < packets.size(); ++at) refused(at);
  io.flush();
  return taken;
}

/// Sends packets [first, ...) of the same PacketIo together, in order; the rest keep theirs for a later turn. Host ports
/// share a PacketIo and may belong to different tenants: one that refuses a packet must not cost the others theirs.
void send_together(Burst& burst, std::span<Departure> departures, PortKind kind) noexcept {
  std::array<Packet, Burst::kCapacity>& packets = burst.io;
  std::array<const Departure*, Burst::kCapacity> sent;
  PacketIo* io = departures.front().io;
  const PortId port = burst.packets[departures.front().number].port;
  std::size_t count = 0;
  for (Departure& departure : departures) {
    const Transit& packet = burst.packets[departure.number];
    if (departure.io != io || (kind == PortKind::kHost && packet.port != port)) continue;
    packets[count] = {packet.data, packet.length, packet.port};
    sent[count++] = &departure;
    departure.io = nullptr;
  }
  // A burst comes from one PacketIo, so that all of it is the kernel's or nothing is.
  const bool urgent = burst.packets[departures.front().number].from_host;
  const std::size_t taken = hand_to(*io, {packets.data(), count}, urgent, [&](std::size_t i) {
    burst.drop(sent[i]->number, Drop::kTxRefused);
    sent[i] = nullptr;
  });
  for (std::size_t i = 0; i < count; ++i) {
    if (sent[i] == nullptr) continue;
    sent[i]->counters->tx_packets.add();
    sent[i]->counters->tx_bytes.add(packets[i].length);
    if (kind == PortKind::kHost) {
      const Transit& packet = burst.packets[sent[i]->number];
      if (TrafficCounters* counters = burst.attachment_counters(packet.egress)) counters->punted.add();
    }
  }
  (kind == PortKind::kHost ? burst.counters.punted : burst.counters.sent).add(taken);
}

void send_to_several(Burst& burst, const Burst::Queue& queue, PortKind kind) noexcept {
  std::array<Departure, Burst::kCapacity> departures;
  std::size_t count = 0;
  for (const unsigned number : queue) {
    const PortSlot& slot = burst.tables.ports[burst.packets[number].port.value()];
    const Port* port = slot.object.load(std::memory_order_acquire);
    TrafficCounters* counters = slot.counters.load(std::memory_order_acquire);
    if (port == nullptr || counters == nullptr || port->entry.kind != kind) {
      burst.drop(number, Drop::kPortMissing);
      continue;
    }
    departures[count++] = {number, port->entry.queues[burst.worker].get(), counters + burst.worker};
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (departures[i].io != nullptr) send_together(burst, {departures.data() + i, count - i}, kind);
  }
}

/// Gives the packets, which are the first of `burst.io`, to the uplink. The first `express.departed` of them are not in a queue, the
/// others are those of `queue`.
void send(Burst& burst, const Port& port, TrafficCounters& counters, unsigned count, const Burst::Queue& queue) noexcept {
  Express& express = burst.express;
  PacketIo& io = *port.entry.queues[burst.worker];
  const bool urgent = express.departed == 0 && burst.packets[queue[0]].from_host;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) bytes += burst.io[i].length;
  const std::size_t taken = hand_to(io, {burst.io.data(), count}, urgent, [&](std::size_t place) {
    const auto i = static_cast<unsigned>(place);
    bytes -= burst.io[i].length;
    if (i < express.departed) {
      burst.drop_express(i, Drop::kTxRefused);
    } else {
      burst.drop(queue[i - express.departed], Drop::kTxRefused);
    }
  });
  express.departed = 0;
  counters.tx_packets.add(taken);
  counters.tx_bytes.add(bytes);
  burst.counters.sent.add(taken);
}

/// What a burst nearly always is: all of it leaves through one uplink. False: it is not so, and `queue` is still to be sent.
[[nodiscard]] bool send_to_one(Burst& burst, const Burst::Queue& queue) noexcept {
  Express& express = burst.express;
  const PortId id = express.departed != 0 ? burst.io[0].port : burst.packets[queue[0]].port;
  const PortSlot& slot = burst.tables.ports[id.value()];
  const Port* port = slot.object.load(std::memory_order_acquire);
  TrafficCounters* counters = slot.counters.load(std::memory_order_acquire);
  if (port == nullptr || counters == nullptr || port->entry.kind != PortKind::kUplink) {
    for (unsigned i = 0; i < express.departed; ++i) burst.drop_express(i, Drop::kPortMissing);
    express.departed = 0;
    return queue.empty();
  }
  unsigned count = express.departed;
  bool all = true;
  for (const unsigned number : queue) {
    const Transit& packet = burst.packets[number];
    if (packet.port != id || count == burst.io.size()) {
      all = false;
      break;
    }
    burst.io[count++] = {packet.data, packet.length, id};
  }
  if (!all) count = express.departed;
  if (count != 0) send(burst, *port, counters[burst.worker], count, queue);
  return all;
}

}  // namespace

void transmit(Burst& burst) noexcept {
  if ((burst.express.departed != 0 || !burst.to_uplink.empty()) && !send_to_one(burst, burst.to_uplink)) {
    send_to_several(burst, burst.to_uplink, PortKind::kUplink);
  }
  if (!burst.to_host.empty()) send_to_several(burst, burst.to_host, PortKind::kHost);
}

}  // namespace simplon::forward
