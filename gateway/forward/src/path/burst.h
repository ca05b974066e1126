// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "gateway/forward/counters.h"
#include "gateway/forward/packet.h"
#include "gateway/forward/src/path/early_esp.h"
#include "gateway/forward/src/path/esp_jobs.h"
#include "gateway/forward/src/path/express.h"
#include "gateway/forward/src/path/icmp_limiter.h"
#include "gateway/forward/src/path/inner_packet.h"
#include "gateway/forward/src/path/reassembly.h"
#include "gateway/forward/src/policy/flow.h"
#include "gateway/forward/src/policy/fragment_ways.h"
#include "gateway/forward/src/policy/nat.h"
#include "gateway/forward/src/tables/table_state.h"
#include "gateway/forward/src/watch/watch.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"

namespace simplon::forward {

/// Which ICMP error answers a dropped packet.
enum class Answer : std::uint8_t { kNone, kTimeExceeded, kNetUnreachable, kHostUnreachable, kReject, kTooBig };

/// One packet on its way through the stages: where its bytes are now, and what the stages found out. `data` moves
/// forward as headers are removed and back as headers are put in front. Two cache lines.
struct alignas(64) Transit {
  std::uint8_t* data = nullptr;
  /// Outer IP header, while there is one: from classify to decapsulation.
  const std::uint8_t* outer = nullptr;
  /// What it came in through (until ip_forward), or leaves through.
  const Attachment* attachment = nullptr;
  union {
    const Endpoint* endpoint = nullptr;
    const Neighbor* neighbor;  ///< On a circuit.
  };
  const Adjacency* adjacency = nullptr;
  PortId port = kNoPort;
  std::uint16_t length = 0;
  /// Inner IP bytes that fit on the way out.
  std::uint16_t mtu = 0;
  std::uint32_t flow_hash = 0;
  /// The SA it came in through (until ip_forward), or leaves through.
  const Sa* sa = nullptr;
  /// Slots; 0: none.
  std::uint32_t ingress = 0;
  std::uint32_t egress = 0;
  std::uint8_t outer_family = 0;
  Answer answer = Answer::kNone;
  bool encap = false;       ///< ESP in UDP.
  bool fixup = false;       ///< Its transport checksum may be partial.
  bool from_host = false;   ///< From a host port: the kernel routed it, its TTL is not touched.
  bool originated = false;  ///< By us: no hop is counted, no ICMP error is sent about it.
  bool translated = false;  ///< `Burst::originals` has its addresses and ports as they came.
  /// Valid from the stage that parsed it on.
  InnerPacket inner;

  /// What an earlier packet left behind and a new one must not see. All else is written before it is read.
  void reset() noexcept {
    sa = nullptr;
    ingress = 0;
    egress = 0;
    flow_hash = 0;
    outer_family = 0;
    answer = Answer::kNone;
    encap = fixup = from_host = originated = translated = false;
    inner.family = 0;
  }

  [[nodiscard]] std::span<std::uint8_t> bytes() const noexcept { return {data, length}; }
  /// While there is an outer header.
  [[nodiscard]] WireAddress outer_source() const noexcept {
    return outer_family == 4 ? WireAddress::v4(reinterpret_cast<const wire::Ipv4Header*>(outer)->source.data())
                             : WireAddress::v6(reinterpret_cast<const wire::Ipv6Header*>(outer)->source.data());
  }
  [[nodiscard]] WireAddress outer_destination() const noexcept {
    return outer_family == 4 ? WireAddress::v4(reinterpret_cast<const wire::Ipv4Header*>(outer)->destination.data())
                             : WireAddress::v6(reinterpret_cast<const wire::Ipv6Header*>(outer)->destination.data());
  }
};
static_assert(sizeof(Transit) == 128);

/// The packets of one turn of the loop, and which stage each is to see next, in order of arrival.
struct Burst {
  static constexpr std::size_t kReceived = 64;
  /// With room for fragments.
  static constexpr std::size_t kCapacity = 256;

  /// Numbers of packets waiting for a stage.
  class Queue {
   public:
    void push(unsigned packet) noexcept { items_[size_++] = static_cast<std::uint16_t>(packet); }
    void clear() noexcept { size_ = 0; }
    /// Keeps the first `size`.
    void shorten(unsigned size) noexcept { size_ = size; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] unsigned size() const noexcept { return size_; }
    [[nodiscard]] unsigned operator[](unsigned i) const noexcept { return items_[i]; }
    [[nodiscard]] const std::uint16_t* begin() const noexcept { return items_.data(); }
    [[nodiscard]] const std::uint16_t* end() const noexcept { return items_.data() + size_; }

   private:
    unsigned size_ = 0;
    std::array<std::uint16_t, kCapacity> items_;
  };

  Burst(const TableState& table_state, FramePool& frame_pool, WorkerCounters& worker_counters, unsigned worker_index,
        IcmpLimits icmp_limits)
      : tables(table_state),
        pool(frame_pool),
        counters(worker_counters),
        worker(worker_index),
        several(table_state.workers > 1),
        crew(worker_index < table_state.workers ? table_state.crew.get() : nullptr),
        icmp(icmp_limits),
        fragments(table_state.seed),
        connections(worker_index < table_state.workers ? table_state.connections[worker_index].get() : nullptr) {}

  const TableState& tables;
  FramePool& pool;
  WorkerCounters& counters;
  unsigned worker;
  /// There are several workers: what belongs to none of them is shared (sa_sharing.h).
  bool several;
  /// nullptr: there is no other worker, or the packet is only described.
  Crew* crew;
  IcmpLimiter icmp;
  std::uint64_t now_ns = 0;
  std::uint64_t now_seconds = 0;
  /// Who looks at the packets of this burst; nobody, nearly always.
  Watch* watch = nullptr;
  /// The packets are made up (trace.h): nothing outside the burst may come of them.
  bool described = false;
  /// Another worker handed its packets over; they stay here.
  bool taken_over = false;
  /// In a row, without a moment of rest.
  unsigned heavy_bursts = 0;
  /// How many datagrams this worker has given an identification.
  std::uint32_t identified = 0;

  unsigned used = 0;
  Queue received;    // to classify
  Queue vxlan_in;    // to vxlan_decap
  Queue esp_in;      // to esp_decrypt
  Queue circuit_in;  // to circuit_decap
  Queue inner;       // to ip_forward
  Queue policed;     // to police
  Queue resolving;   // to resolve
  Queue to_vpc;      // to pmtu, vxlan_encap
  Queue to_tunnel;   // to pmtu, esp_encrypt
  Queue to_circuit;  // to pmtu, circuit_encap
  Queue to_host;     // to transmit, as they are
  Queue to_uplink;   // to transmit, framed
  Queue unanswered;  // to icmp_errors
  /// Left to a further turn of the last stages: with all the fragments of one there are more packets than a burst has numbers.
  Queue later;       // to pmtu
  /// From one turn to the next.
  EarlyEsp early;
  Reassembly reassembly;
  /// How many of `to_vpc`, `to_tunnel` and `to_circuit` pmtu has seen.
  unsigned fitted_vpc = 0;
  unsigned fitted_tunnel = 0;
  unsigned fitted_circuit = 0;
  /// Numbers from here on are those of fragments.
  unsigned first_fragment = 0;
  std::array<Transit, kCapacity> packets;
  std::array<Ipv4Ends, kCapacity> originals;
  /// By number: where the answer to a question goes (gateway_address.h).
  std::array<Endpoint, kCapacity> askers;
  /// Of the packets in `policed`, by number.
  std::array<Flow, kCapacity> flows;
  /// From one turn to the next.
  FragmentWays fragments;
  /// The worker's; of a described packet its own.
  ConnectionTable* connections;
  /// Between two packets of an ESP stage; empty between stages.
  EspJobs esp_jobs;
  /// With several workers: sequence numbers that this one has taken for packets of `to_tunnel` from `position` on.
  struct Numbers {
    const Sa* sa = nullptr;
    std::uint64_t next = 0;
    unsigned left = 0;
    unsigned position = 0;
  };
  Numbers numbers;
  /// What a PacketIo hands out or takes.
  std::array<Packet, kCapacity> io;
  /// Plain packets, which the stages do not see.
  Express express;

  void begin() noexcept {
    used = 0;
    express.begin();
    taken_over = false;
    fitted_vpc = 0;
    fitted_tunnel = 0;
    fitted_circuit = 0;
    for (Queue* queue : {&received, &vxlan_in, &esp_in, &circuit_in, &inner, &policed, &resolving, &to_vpc, &to_tunnel, &to_circuit,
                         &to_host, &to_uplink, &unanswered, &later}) {
      queue->clear();
    }
  }
  /// A further turn: the packets that were left to it are in front of pmtu again, and all others have left the burst.
  void go_on() noexcept {
    used = first_fragment;
    fitted_vpc = fitted_tunnel = fitted_circuit = 0;
    for (Queue* queue : {&to_vpc, &to_tunnel, &to_circuit, &to_host, &to_uplink}) queue->clear();
    for (const unsigned number : later) {
      const AttachmentKind kind = packets[number].attachment->kind;
      (kind == AttachmentKind::kVpc ? to_vpc : kind == AttachmentKind::kTunnel ? to_tunnel : to_circuit).push(number);
    }
    later.clear();
  }
  /// The number of a new, blank packet; kCapacity if there is none.
  [[nodiscard]] unsigned add() noexcept {
    if (used == kCapacity) return kCapacity;
    packets[used].reset();
    return used++;
  }
  /// A packet as it was received, to classify.
  void take_in(const Packet& from) noexcept {
    const unsigned number = add();
    Transit& packet = packets[number];
    packet.data = from.data;
    packet.length = from.length;
    packet.port = from.port;
    received.push(number);
  }

  /// For a datagram whose sender had no need of one (RFC 6864 section 4.1). No other worker gives the same.
  [[nodiscard]] std::uint16_t next_identification() noexcept {
    const std::uint32_t share = 65536 / tables.workers;
    return static_cast<std::uint16_t>(worker * share + identified++ % share);
  }

  /// This worker's share of the counters of an attachment in use; nullptr if it is going away.
  [[nodiscard]] TrafficCounters* attachment_counters(std::uint32_t slot) const noexcept {
    TrafficCounters* all = tables.attachments[slot].counters.load(std::memory_order_acquire);
    return all == nullptr ? nullptr : all + worker;
  }
  void count_drop(const Transit& packet, Drop reason) const noexcept {
    counters.drops[static_cast<std::size_t>(reason)].add();
    if (packet.ingress == 0 || packet.originated) return;
    if (TrafficCounters* count = attachment_counters(packet.ingress)) count->dropped.add();
  }
  [[gnu::cold, gnu::noinline]] void drop(unsigned packet, Drop reason) noexcept {
    if (watch != nullptr) watch->dropped(*this, packet, reason);
    count_drop(packets[packet], reason);
    pool.release(packets[packet].data);
  }
  /// Drops it; its bytes live on until icmp_errors makes an answer of them.
  [[gnu::cold, gnu::noinline]] void drop_with(unsigned packet, Drop reason, Answer answer) noexcept {
    if (packets[packet].originated) return drop(packet, reason);
    if (watch != nullptr) watch->dropped(*this, packet, reason);
    count_drop(packets[packet], reason);
    packets[packet].answer = answer;
    unanswered.push(packet);
  }
  /// One of the packets that departed express, by its place in `io`.
  [[gnu::cold, gnu::noinline]] void drop_express(unsigned place, Drop reason) noexcept {
    counters.drops[static_cast<std::size_t>(reason)].add();
    if (TrafficCounters* count = attachment_counters(express.ingress[place])) count->dropped.add();
    pool.release(io[place].data);
  }
  /// Room in front of and behind the packet.
  [[nodiscard]] static bool has_room(const Transit& packet, std::size_t front, std::size_t back) noexcept {
    const Packet view{packet.data, packet.length, packet.port};
    return FramePool::headroom(view) >= front && FramePool::tailroom(view) >= back;
  }
  /// Moves a packet that has too little room on one side, and enough on both together; false if it has not. For stages whose
  /// pointers into it do not outlive the move.
  [[nodiscard, gnu::cold, gnu::noinline]] static bool make_room(Transit& packet, std::size_t front, std::size_t back) noexcept {
    const Packet view{packet.data, packet.length, packet.port};
    const std::size_t before = FramePool::headroom(view);
    if (before + FramePool::tailroom(view) < front + back) return false;
    std::uint8_t* const to = packet.data - before + front;
    std::memmove(to, packet.data, packet.length);
    packet.data = to;
    return true;
  }
  /// For a stage that reads or writes headers and is about to take `queue[position]`: fetches those of a packet it will come
  /// to soon. Frames are a page apart, so the headers of a burst push each other out of the first-level cache from one
  /// stage to the next.
  void fetch_ahead(const Queue& queue, unsigned position) const noexcept {
    constexpr unsigned kAhead = 4;
    if (position + kAhead >= queue.size()) return;
    const std::uint8_t* data = packets[queue[position + kAhead]].data;
    __builtin_prefetch(data);
    __builtin_prefetch(data + 64);
  }
};

}  // namespace simplon::forward
