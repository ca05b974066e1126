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

/// What a burst nearly always is: all of it leaves through one uplink. False: it is not so, and nothing was sent.
[[nodiscard]] bool send_to_one(Burst& burst, const Burst::Queue& queue) noexcept {
  const PortId id = burst.packets[queue[0]].port;
  const PortSlot& slot = burst.tables.ports[id.value()];
  const Port* port = slot.object.load(std::memory_order_acquire);
  TrafficCounters* counters = slot.counters.load(std::memory_order_acquire);
  if (port == nullptr || counters == nullptr || port->entry.kind != PortKind::kUplink) return false;
  std::size_t bytes = 0;
  for (unsigned i = 0; i < queue.size(); ++i) {
    const Transit& packet = burst.packets[queue[i]];
    if (packet.port != id) return false;
    burst.io[i] = {packet.data, packet.length, id};
    bytes += packet.length;
  }
  PacketIo& io = *port->entry.queues[burst.worker];
  const std::size_t taken = hand_to(io, burst, queue[0], queue.size());
  io.flush();
  for (unsigned i = static_cast<unsigned>(taken); i < queue.size(); ++i) {
    bytes -= burst.packets[queue[i]].length;
    burst.drop(queue[i], Drop::kTxRefused);
  }
  counters += burst.worker;
  counters->tx_packets.add(taken);
  counters->tx_bytes.add(bytes);
  burst.counters.sent.add(taken);
  return true;
}

}  // namespace

void transmit(Burst& burst) noexcept {
  if (!burst.to_uplink.empty() && !send_to_one(burst, burst.to_uplink)) {
    send_to_several(burst, burst.to_uplink, PortKind::kUplink);
  }
  if (!burst.to_host.empty()) send_to_several(burst, burst.to_host, PortKind::kHost);
}

}  // namespace simplon::forward
