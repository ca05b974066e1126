// SPDX-License-Identifier: GPL-2.0-or-later
//
//     Live/Endpoints   64-byte packets of 1,000 random tenants, while another thread changes endpoints of the same VPCs as fast as it can
//
// In turn without and with that thread. Counters: CPU nanoseconds a packet of both, and updates a second of the writer's wall time.
// Says something only on two processors that have nothing else to do.
#include "tests/bench/live_cases.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "tests/bench/cloud.h"
#include "tests/bench/measure.h"

namespace simplon::bench {
namespace {

using namespace forward;

constexpr unsigned kTenants = 1000;
constexpr std::size_t kPackets = 4096;
constexpr unsigned kTurns = 16;

/// Moves endpoints of the tenants' VPCs from VTEP to VTEP, while this lives. None that a packet of `Cloud` is for.
class Writer {
 public:
  explicit Writer(Tables& tables) : thread_([this, &tables] { write(tables); }) {
    while (updates_.load() == 0) std::this_thread::yield();
  }
  ~Writer() { stop(); }
  /// Updates a second; 0: one was refused.
  double stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return refused_ ? 0 : static_cast<double>(updates_.load()) / seconds_;
  }

 private:
  void write(Tables& tables) {
    const auto start = std::chrono::steady_clock::now();
    for (std::uint32_t n = 0; !stop_ && !refused_;) {
      for (int i = 0; i < 1024 && !refused_; ++i, ++n) {
        const std::uint32_t host = 16 + n / kTenants % 64;
        refused_ = !tables.upsert_endpoint({Vni{1000 + n % kTenants}, IpAddress::v4(0x0a000000 + host), MacAddress{{2, 0xbb, 0, 0, 0, 1}},
                                            IpAddress::v4(0x0afe0100 + n / (64 * kTenants) % 64)});
      }
      tables.commit();
      updates_ += 1024;
    }
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  std::atomic<bool> stop_{false};
  std::atomic<bool> refused_{false};
  std::atomic<std::uint64_t> updates_{0};
  double seconds_ = 0;
  std::thread thread_;
};

/// Nanoseconds a packet; 0: some were not sent.
double forward_all(Cloud& cloud) {
  double seconds = 0;
  for (unsigned turn = 0; turn < kTurns; ++turn) {
    cloud.prepare(Cloud::Kind::kVxlanToVxlan, kPackets, 64);
    const double start = thread_seconds();
    const std::size_t sent = cloud.run();
    seconds += std::max(1e-9, thread_seconds() - start - clock_cost());
    if (sent != kPackets) return 0;
  }
  return 1e9 * seconds / (kPackets * kTurns);
}

void endpoints(benchmark::State& state) {
  static Cloud cloud(kTenants, kPackets + 512);
  if (const char* wrong = cloud.known_answer(Cloud::Kind::kVxlanToVxlan, 64)) return state.SkipWithError(wrong);
  for ([[maybe_unused]] auto _ : state) {
    const double alone = forward_all(cloud);
    Writer writer(cloud.tables);
    const double meanwhile = forward_all(cloud);
    const double updates = writer.stop();
    if (alone == 0 || meanwhile == 0) return state.SkipWithError("packets were dropped");
    if (updates == 0) return state.SkipWithError("an update was refused");
    if (const char* wrong = cloud.known_answer(Cloud::Kind::kVxlanToVxlan, 64)) return state.SkipWithError(wrong);
    state.SetIterationTime(1e-9 * meanwhile * kPackets * kTurns);
    state.counters["alone_ns"] = alone;
    state.counters["meanwhile_ns"] = meanwhile;
    state.counters["updates_per_second"] = updates;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kPackets * kTurns));
}

}  // namespace

void register_live_cases() { add("Live/Endpoints", 1, endpoints); }

}  // namespace simplon::bench
