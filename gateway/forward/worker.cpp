// SPDX-License-Identifier: GPL-2.0-or-later
//
// The life of a packet, in the order of the calls in `run_stages` (src/pipeline.h). A burst is a set of packets with a queue
// in front of each stage; a stage takes its queue and puts every packet of it into another queue or drops it by name. So each
// stage's code stays in the instruction cache for a whole burst, and the cache misses of its packets overlap.
//
//     uplink --> classify --> vxlan_decap --+                                  +--> vxlan_encap --+
//                    |                      +--> ip_forward --> resolve, pmtu -+                  +--> transmit --> uplink
//                    +------> esp_decrypt --+        |              ^   |      +--> esp_encrypt --+
//                    +----> circuit_decap --+        |              |   |      +-> circuit_encap --+
//     host port ---> classify -----------------------|--------------+   |
//                                                    +--> transmit --> host port (packets for us)
//                                                    |                  |
//                                                    +--> icmp_errors <-+   back out of where the packet came from
//
// Frames of circuits that are the kernel's business go between circuit_decap or classify and transmit directly.
// Domains with policy (access lists, NAT, rates) have one more stage, police, between ip_forward and resolve.
//
// Plain packets, which nearly all are, take the express way instead (src/express.h): from receiving to express_out, or to
// esp_decrypt, and from there to transmit, or to esp_encrypt.
//
// Packets of one flow stay in order: queues are first in, first out, and a flow takes one path. ICMP errors take a second
// turn through resolve and pmtu; they are never answered themselves, so there is no third.
//
// The tables may change at any moment, one object at a time. A packet then sees the old or the new object, never half of
// one; a pointer read in a burst is good until `quiescent` at the end of it.
#include "gateway/forward/worker.h"

#include <chrono>
#include <span>

#include "gateway/forward/src/burst.h"
#include "gateway/forward/src/pipeline.h"
#include "gateway/forward/src/table_state.h"

namespace simplon::forward {

Worker::Worker(Tables& tables, FramePool& pool, const Clock& clock, WorkerOptions options)
    : tables_(tables),
      clock_(clock),
      options_(options),
      burst_(std::make_unique<Burst>(tables.state(), pool, counters_, options.index,
                                     IcmpLimiter(options.icmp_errors_per_second, options.icmp_error_burst))) {
  burst_->reassembles = options.reassembles;
}

Worker::~Worker() { go_offline(); }

void Worker::go_online() noexcept { tables_.quiescence().online(options_.index); }
void Worker::go_offline() noexcept { tables_.quiescence().offline(options_.index); }

std::size_t Worker::poll_once() noexcept {
  static_assert(kBurst == Burst::kReceived);
  std::size_t total = 0;
  Burst& burst = *burst_;
  if (!burst.early.empty() || !burst.reassembly.empty()) {
    begin(burst);
    burst.reassembly.expire(burst);
    burst.early.let_go(burst);
    forward(burst);
    if (!burst.early.empty()) total = 1;
  }
  const std::span<Packet> received(burst.io.data(), kBurst);
  const InputList* inputs = tables_.state().inputs.load(std::memory_order_acquire);
  for (PacketIo* io : inputs->of_worker[options_.index]) {
    const std::size_t count = io->receive(received);
    if (count == 0) continue;
    total += count;
    begin(burst);
    for (const Packet& packet : received.first(count)) {
      __builtin_prefetch(packet.data);
      __builtin_prefetch(packet.data + 64);
    }
    if (burst.watch == nullptr) [[likely]] {
      express_in(burst, received.first(count));
    } else {
      for (const Packet& packet : received.first(count)) burst.take_in(packet);
    }
    counters_.received.add(count);
    forward(burst);
  }
  tables_.quiescence().quiescent(options_.index);
  return total;
}

void Worker::begin(Burst& burst) noexcept {
  burst.begin();
  burst.watch = watch_.load(std::memory_order_acquire);
  const auto now = clock_.now().time_since_epoch();
  burst.now_ns = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  burst.now_seconds = burst.now_ns / 1'000'000'000;
}

void Worker::forward(Burst& burst) noexcept {
  if (burst.watch != nullptr) [[unlikely]] return forward_watched(burst);
  run_stages(burst, Unwatched{});
  transmit(burst);
}

void Worker::forward_watched(Burst& burst) noexcept {
  const Watched watched{burst, *burst.watch};
  run_stages(burst, watched);
  watched.entering(Stage::kTransmit);
  transmit(burst);
  watched.passed(Stage::kTransmit);
  burst.watch->ended(burst);
}

}  // namespace simplon::forward
