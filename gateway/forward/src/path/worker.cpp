// SPDX-License-Identifier: GPL-2.0-or-later
//
// The life of a packet, in the order of the calls in `run_stages` (src/path/pipeline.h). A burst is a set of packets with a queue
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
// Plain packets, which nearly all are, take the express way instead (src/path/express.h): from receiving to express_out, or to
// esp_decrypt, and from there to transmit, or to esp_encrypt.
//
// Packets of one flow stay in order: queues are first in, first out, and a flow takes one path. ICMP errors take a second
// turn through resolve and pmtu; they are never answered themselves, so there is no third. Large packets whose fragments are more than
// a burst has numbers for wait in `later`, with all that is behind them, and take the stages from pmtu on once more.
//
// The tables may change at any moment, one object at a time. A packet then sees the old or the new object, never half of
// one; a pointer read in a burst is good until `quiescent` at the end of it.
#include "gateway/forward/worker.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/pipeline.h"
#include "gateway/forward/src/tables/table_state.h"
#include "gateway/forward/src/workers/crew.h"
#include "gateway/forward/src/workers/hand_over.h"
#include "gateway/forward/src/workers/overload.h"

namespace simplon::forward {

namespace {

/// Chosen by us: some hundred microseconds, longer than a burst of the worker that is helped.
constexpr unsigned kPatience = 4096;
constexpr std::uint64_t kSecond = 1'000'000'000;

}  // namespace

Worker::Worker(Tables& tables, FramePool& pool, const Clock& clock, WorkerOptions options)
    : tables_(tables),
      clock_(clock),
      options_(std::move(options)),
      crew_(tables.state().crew.get()),
      burst_(std::make_unique<Burst>(tables.state(), pool, counters_, options_.index,
                                     IcmpLimits{{options_.icmp_errors_per_second, options_.icmp_error_burst},
                                                {options_.domain_icmp_errors_per_second, options_.domain_icmp_error_burst},
                                                {options_.attachment_icmp_errors_per_second, options_.attachment_icmp_error_burst},
                                                {options_.attachment_answers_per_second, options_.attachment_answer_burst}})),
      shares_(std::make_unique<FairShare>()) {
  if (crew_ != nullptr) crew_->join(options_.index, &options_.wake);
}

Worker::~Worker() {
  tables_.quiescence().offline(options_.index);
  if (crew_ != nullptr) crew_->leave(options_.index);
}

void Worker::go_online() noexcept {
  tables_.quiescence().online(options_.index);
  if (crew_ != nullptr) crew_->wakes(options_.index);
}

void Worker::go_offline() noexcept {
  tables_.quiescence().offline(options_.index);
  if (crew_ != nullptr) crew_->sleeps(options_.index);
}

std::size_t Worker::poll_once() noexcept {
  static_assert(kBurst == Burst::kReceived);
  Burst& burst = *burst_;
  std::size_t total = forget_connections() ? 1 : 0;
  if (!burst.early.empty() || !burst.reassembly.empty()) total += let_go() ? 1 : 0;
  unsigned fullest = 0;
  if (crew_ != nullptr) total += take_over(burst, fullest);
  const std::span<Packet> received(burst.io.data(), kBurst);
  const InputList* inputs = tables_.state().inputs.load(std::memory_order_acquire);
  for (PacketIo* io : inputs->of_worker[options_.index]) {
    const std::size_t count = io->receive(received);
    fullest = std::max(fullest, io->fill());
    if (io->lost_any()) [[unlikely]] count_unreceived(*io);
    if (count == 0) continue;
    total += count;
    counters_.received.add(count);
    begin(burst);
    for (const Packet& packet : received.first(count)) {
      __builtin_prefetch(packet.data);
      __builtin_prefetch(packet.data + 64);
    }
    std::size_t kept = count;
    if (shares_->look(std::max(fullest, fullest_before_), burst.now_ns)) [[unlikely]] {
      kept = keep_shares(burst, *shares_, received.first(count), io->urgent());
    }
    if (burst.watch == nullptr) [[likely]] {
      express_in(burst, received.first(kept));
    } else {
      for (const Packet& packet : received.first(kept)) burst.take_in(packet);
    }
    forward(burst);
  }
  fullest_before_ = fullest;
  if (total == 0) shares_->ran_dry();
  if (total == 0) burst.connections->expire(static_cast<std::uint32_t>(now() / kSecond));
  if (crew_ != nullptr) total = with_others(total);
  tables_.quiescence().quiescent(options_.index);
  return total;
}

bool Worker::forget_connections() noexcept {
  const TableState& state = tables_.state();
  const std::uint32_t gone = state.gone.load(std::memory_order_acquire);
  return burst_->connections->forget(
      gone, [&state](std::uint32_t slot) { return state.uses[slot].load(std::memory_order_relaxed) % 2 == 0; });
}

/// All of an SA's before what is received after them: a replay window that has moved on refuses what is behind it.
bool Worker::let_go() noexcept {
  Burst& burst = *burst_;
  begin(burst);
  burst.reassembly.expire(burst);
  while (burst.early.let_go(burst)) {
    forward(burst);
    begin(burst);
  }
  forward(burst);
  return !burst.early.empty();
}

void Worker::count_unreceived(PacketIo& io) noexcept {
  const auto [without_slot, too_long, without_frame] = io.take_unreceived();
  counters_.received.add(without_slot + too_long + without_frame);
  counters_.drops[static_cast<std::size_t>(Drop::kNoSlot)].add(without_slot);
  counters_.drops[static_cast<std::size_t>(Drop::kFrameTooLong)].add(too_long);
  counters_.drops[static_cast<std::size_t>(Drop::kNoFrame)].add(without_frame);
}

std::size_t Worker::take_over(Burst& burst, unsigned& fullest) noexcept {
  std::size_t total = 0;
  for (unsigned from = 0; from < crew_->workers(); ++from) {
    if (from == options_.index) continue;
    const std::size_t waiting = crew_->ring(from, options_.index).size();
    if (waiting == 0) continue;
    if (waiting > kBurst) {
      fullest = std::max(fullest, static_cast<unsigned>((waiting - kBurst) * PacketIo::kFull / (HandOverRing::kCapacity - kBurst)));
    }
    begin(burst);
    FairShare* const shares = shares_->look(std::max(fullest, fullest_before_), burst.now_ns) ? shares_.get() : nullptr;
    total += forward::take_over(burst, from, kBurst, shares);
    forward(burst);
  }
  return total;
}

/// After a turn with so many packets of its own.
std::size_t Worker::with_others(std::size_t packets) noexcept {
  crew_->found(options_.index, packets > 0);
  if (packets > 0) return packets;
  burst_->heavy_bursts = 0;
  if (crew_->esp.help(options_.index, burst_->esp_jobs.batch)) {
    patience_ = kPatience;
    return 1;
  }
  if (patience_ == 0) return 0;
  --patience_;
  return 1;
}

void Worker::finish() noexcept {
  if (crew_ == nullptr) return;
  go_online();
  unsigned fullest = 0;
  while (take_over(*burst_, fullest) > 0) {
  }
  go_offline();
}

void Worker::begin(Burst& burst) noexcept {
  burst.begin();
  burst.watch = watch_.load(std::memory_order_acquire);
  burst.now_ns = now();
  burst.now_seconds = burst.now_ns / kSecond;
}

/// Nanoseconds.
std::uint64_t Worker::now() const noexcept {
  const auto now = clock_.now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

void Worker::forward(Burst& burst) noexcept {
  if (burst.watch != nullptr) [[unlikely]] return forward_watched(burst);
  run_stages(burst, Unwatched{});
  transmit(burst);
  if (!burst.later.empty()) [[unlikely]] forward_later(burst);
}

/// What was left to further turns, in order.
void Worker::forward_later(Burst& burst) noexcept {
  while (!burst.later.empty()) {
    burst.go_on();
    run_last_stages(burst, Unwatched{});
    transmit(burst);
  }
}

void Worker::forward_watched(Burst& burst) noexcept {
  const Watched watched{burst, *burst.watch};
  const auto leave = [&] {
    watched.entering(Stage::kTransmit);
    transmit(burst);
    watched.passed(Stage::kTransmit);
  };
  run_stages(burst, watched);
  leave();
  while (!burst.later.empty()) {
    burst.go_on();
    run_last_stages(burst, watched);
    leave();
  }
  burst.watch->ended(burst);
}

}  // namespace simplon::forward
