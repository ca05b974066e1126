// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "gateway/forward/src/burst.h"
#include "gateway/forward/src/stages.h"

namespace simplon::forward {
namespace {

struct Departure {
  unsigned number;
  PacketIo* io;
  TrafficCounters* counters;
};

/// A burst comes from one PacketIo, so that all of it is the kernel's or nothing is.
[[nodiscard]] std::size_t hand_to(PacketIo& io, const Burst& burst, unsigned first, std::size_t count) noexcept {
  const std::span<const Packet> packets(burst.io.data(), count);
  return burst.packets[first].from_host ? io.transmit_urgent(packets) : io.transmit(packets);
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
  const std::size_t taken = hand_to(*io, burst, sent[0]->number, count);
  io->flush();
  for (std::size_t i = 0; i < taken; ++i) {
    sent[i]->counters->tx_packets.add();
    sent[i]->counters->tx_bytes.add(packets[i].length);
    if (kind == PortKind::kHost) {
      const Transit& packet = burst.packets[sent[i]->number];
      if (TrafficCounters* counters = burst.attachment_counters(packet.egress)) counters->punted.add();
    }
  }
  (kind == PortKind::kHost ? burst.counters.punted : burst.counters.sent).add(taken);
  for (std::size_t i = taken; i < count; ++i) burst.drop(sent[i]->number, Drop::kTxRefused);
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
  const std::size_t taken =
      express.departed != 0 ? io.transmit({burst.io.data(), count}) : hand_to(io, burst, queue[0], count);
  io.flush();
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < taken; ++i) bytes += burst.io[i].length;
  for (auto i = static_cast<unsigned>(taken); i < count; ++i) {
    if (i < express.departed) {
      burst.drop_express(i, Drop::kTxRefused);
    } else {
      burst.drop(queue[i - express.departed], Drop::kTxRefused);
    }
  }
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
    if (packet.port != id) {
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
