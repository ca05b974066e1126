// SPDX-License-Identifier: GPL-2.0-or-later
//
// Nanoseconds of CPU time per packet, in memory: the whole path, each stage, the cipher alone; the tables:
// table_cases.cpp; both at once: live_cases.cpp.
//
//     Path/VxlanToEsp/512/tenants:1000/cold   512-byte inner packets of 1000 random tenants in a 64 MiB packet set
//     Path/VxlanToEsp/512/tenants:1000/one-flow/cold   the same, all of one flow; /zipf/: 4000 flows by Zipf's law (exponent 1)
//     Harness/64                              what the benchmark's own port costs, which is part of every path
//     Stage/VxlanToEsp/512/esp_encrypt        the share of one stage (one tenant, warm)
//     Cipher/Seal/512                         ipsec-mb alone, 64 keys in turn
//
// "warm": 256 packets written just before. Preparing packets is not measured. Every path first proves itself on a
// packet with a known answer. Repetitions are interleaved, each with a fixed number of iterations; tables are built
// once and kept.
#include <benchmark/benchmark.h>
#include <openssl/crypto.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/stages.h"
#include "tests/bench/cloud.h"
#include "tests/bench/live_cases.h"
#include "tests/bench/measure.h"
#include "tests/bench/table_cases.h"

namespace simplon::bench {
namespace {

using Kind = Cloud::Kind;
using Traffic = Cloud::Traffic;
using namespace forward;

constexpr std::size_t kWarmSet = 256;
constexpr std::size_t kColdSet = (std::size_t{64} << 20) / kFrameBytes;

const char* name_of(Kind kind) {
  return kind == Kind::kVxlanToVxlan ? "VxlanToVxlan" : kind == Kind::kVxlanToEsp ? "VxlanToEsp" : "EspToVxlan";
}

/// Built once per size and kept, since repetitions are interleaved.
Cloud& cloud(unsigned tenants) {
  static std::map<unsigned, std::unique_ptr<Cloud>> built;
  std::unique_ptr<Cloud>& place = built[tenants];
  if (place == nullptr) place = std::make_unique<Cloud>(tenants, kColdSet + 512);
  return *place;
}

/// Random traffic is what is meant where none is named.
const char* name_of(Traffic traffic) {
  return traffic == Traffic::kRandom ? "" : traffic == Traffic::kOneFlow ? "/one-flow" : "/zipf";
}

void path(benchmark::State& state, Kind kind, std::size_t bytes, unsigned tenants, std::size_t set, Traffic traffic) {
  Cloud& target = cloud(tenants);
  if (const char* wrong = target.known_answer(kind, bytes)) return state.SkipWithError(wrong);
  // Tables as they lie in the caches under load: everything was looked at not long ago.
  for (std::size_t seen = 0; seen < 2 * tenants; seen += kWarmSet) {
    target.prepare(kind, kWarmSet, bytes, traffic);
    target.run();
  }
  std::size_t packets = 0;
  for ([[maybe_unused]] auto _ : state) {
    target.prepare(kind, set, bytes, traffic);
    const double start = thread_seconds();
    const std::size_t sent = target.run();
    state.SetIterationTime(std::max(1e-9, thread_seconds() - start - clock_cost()));
    if (sent != set) return state.SkipWithError("packets were dropped");
    packets += sent;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

/// Packets in and out of the benchmark's port, nothing between.
void harness(benchmark::State& state, std::size_t bytes) {
  Cloud& target = cloud(1);
  std::array<Packet, Burst::kReceived> burst;
  for ([[maybe_unused]] auto _ : state) {
    target.prepare(Kind::kVxlanToVxlan, kWarmSet, bytes);
    PacketIo& io = *target.io;
    const double start = thread_seconds();
    while (const std::size_t count = io.receive(burst)) static_cast<void>(io.transmit({burst.data(), count}));
    state.SetIterationTime(std::max(1e-9, thread_seconds() - start - clock_cost()));
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kWarmSet));
}

using StageFunction = void (*)(Burst&) noexcept;
struct StageName {
  const char* name;
  StageFunction run;
};
/// Those that plain packets see. The first is called with what was received.
constexpr StageName kStages[] = {{"express_in", nullptr},      {"classify", classify},
                                 {"esp_lookup", esp_lookup},   {"esp_decrypt", esp_decrypt},
                                 {"express_out", express_out}, {"esp_encrypt", esp_encrypt},
                                 {"transmit", transmit}};

/// The whole path, burst by burst, with the time stamp counter read around one stage.
void stage(benchmark::State& state, Kind kind, std::size_t bytes, std::size_t measured) {
  Cloud& target = cloud(1);
  if (const char* wrong = target.known_answer(kind, bytes)) return state.SkipWithError(wrong);
  target.worker->go_offline();
  target.tables.quiescence().online(0);
  WorkerCounters counters;
  const auto burst = std::make_unique<Burst>(target.tables.state(), target.pool, counters, 0U, IcmpLimits{{1, 1}, {1, 1}, {1, 1}});
  // TSC against CPU time over a whole iteration: the share of the stage in ticks, times the iteration's CPU time.
  std::size_t packets = 0;
  for ([[maybe_unused]] auto _ : state) {
    target.prepare(kind, kWarmSet, bytes);
    target.io->sent = 0;
    std::uint64_t ticks = 0;
    const double start = thread_seconds();
    const std::uint64_t first = __rdtsc();
    for (;;) {
      const std::span<Packet> received(burst->io.data(), Burst::kReceived);
      const std::size_t count = target.io->receive(received);
      if (count == 0) break;
      burst->begin();
      for (std::size_t s = 0; s < std::size(kStages); ++s) {
        const std::uint64_t before = __rdtsc();
        if (kStages[s].run == nullptr) {
          express_in(*burst, received.first(count));
        } else {
          kStages[s].run(*burst);
        }
        if (s == measured) ticks += __rdtsc() - before;
      }
    }
    const std::uint64_t all = __rdtsc() - first;
    const double seconds = thread_seconds() - start - clock_cost();
    state.SetIterationTime(std::max(1e-12, seconds * static_cast<double>(ticks) / static_cast<double>(all)));
    if (target.io->sent != kWarmSet) return state.SkipWithError("packets were dropped");
    packets += kWarmSet;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
  target.tables.quiescence().offline(0);
  target.worker->go_online();
}

void cipher(benchmark::State& state, std::size_t bytes, bool seal, crypto::CryptoBackend backend) {
  std::mt19937 random(1);
  std::vector<std::unique_ptr<crypto::AeadKey>> keys;
  std::vector<std::unique_ptr<crypto::AeadKey>> oracles;
  const auto other = backend == crypto::CryptoBackend::kOpenSsl ? crypto::CryptoBackend::kIpsecMb : crypto::CryptoBackend::kOpenSsl;
  for (int i = 0; i < 64; ++i) {
    Bytes key(32);
    for (auto& byte : key) byte = static_cast<std::uint8_t>(random());
    keys.push_back(crypto::AeadKey::create(crypto::AeadSuite::kAes256Gcm16, key, backend).value());
    if (crypto::available(other)) oracles.push_back(crypto::AeadKey::create(crypto::AeadSuite::kAes256Gcm16, key, other).value());
  }
  std::vector<Bytes> packets(kWarmSet, Bytes(bytes + 16));
  const Bytes nonce(12, 1);
  const Bytes associated(12, 2);
  // Known answer: what is sealed is what the other library makes of it, and opens.
  std::size_t n = 0;
  for (Bytes& packet : packets) {
    Bytes expected = packet;
    keys[n % 64]->seal(nonce.data(), associated, std::span(packet).first(bytes), packet.data() + bytes);
    if (!oracles.empty()) {
      oracles[n % 64]->seal(nonce.data(), associated, std::span(expected).first(bytes), expected.data() + bytes);
      if (packet != expected) return state.SkipWithError("the libraries do not agree");
    }
    Bytes copy = packet;
    if (!keys[n++ % 64]->open(nonce.data(), associated, std::span(copy).first(bytes), copy.data() + bytes)) {
      return state.SkipWithError("it does not authenticate");
    }
  }
  const std::vector<Bytes> sealed = packets;
  std::int64_t done = 0;
  for ([[maybe_unused]] auto _ : state) {
    packets = sealed;
    bool good = true;
    const double start = thread_seconds();
    for (std::size_t i = 0; i < packets.size(); ++i) {
      Bytes& packet = packets[i];
      const std::span<std::uint8_t> data = std::span(packet).first(bytes);
      if (seal) {
        keys[i % 64]->seal(nonce.data(), associated, data, packet.data() + bytes);
      } else {
        good = keys[i % 64]->open(nonce.data(), associated, data, packet.data() + bytes) && good;
      }
    }
    state.SetIterationTime(std::max(1e-9, thread_seconds() - start - clock_cost()));
    if (!good) return state.SkipWithError("it does not authenticate");
    done += static_cast<std::int64_t>(packets.size());
  }
  state.SetItemsProcessed(done);
}

void register_all() {
  constexpr std::size_t kSizes[] = {64, 512, 1420};
  constexpr Kind kKinds[] = {Kind::kVxlanToVxlan, Kind::kVxlanToEsp, Kind::kEspToVxlan};
  const auto add_traffic = [](Kind kind, std::size_t bytes, unsigned tenants, Traffic traffic) {
    for (const bool cold : {false, true}) {
      add(std::string("Path/") + name_of(kind) + "/" + std::to_string(bytes) + "/tenants:" + std::to_string(tenants) +
              name_of(traffic) + (cold ? "/cold" : "/warm"),
          cold ? kColdIterations : kWarmIterations,
          [=](benchmark::State& state) { path(state, kind, bytes, tenants, cold ? kColdSet : kWarmSet, traffic); });
    }
  };
  const auto add_path = [add_traffic](Kind kind, std::size_t bytes, unsigned tenants) {
    add_traffic(kind, bytes, tenants, Traffic::kRandom);
    // Those that have a target: P1 at 64 bytes, P2 at each size, P3 at 512.
    const bool wanted = kind == Kind::kVxlanToVxlan ? bytes == 64 && tenants != 1000 : bytes == 512 || tenants == 1;
    if (!wanted) return;
    for (const Traffic traffic : {Traffic::kOneFlow, Traffic::kZipf}) add_traffic(kind, bytes, tenants, traffic);
  };
  for (const Kind kind : kKinds) {
    for (const std::size_t bytes : kSizes) {
      add_path(kind, bytes, 1);
      add_path(kind, bytes, 1000);
    }
  }
  add("Harness/64", kWarmIterations, [](benchmark::State& state) { harness(state, 64); });
  add_path(Kind::kVxlanToVxlan, 64, 10000);
  add_path(Kind::kVxlanToEsp, 512, 30000);  // 60,000 SAs
  add_path(Kind::kEspToVxlan, 512, 30000);
  for (const Kind kind : kKinds) {
    for (std::size_t s = 0; s < std::size(kStages); ++s) {
      const std::string stage_name = kStages[s].name;
      const bool esp_in = kind == Kind::kEspToVxlan;
      const bool esp_out = kind == Kind::kVxlanToEsp;
      const bool only_esp_in = stage_name == "classify" || stage_name == "esp_lookup" || stage_name == "esp_decrypt";
      if ((only_esp_in && !esp_in) || (stage_name == "esp_encrypt" && !esp_out)) {
        continue;
      }
      add(std::string("Stage/") + name_of(kind) + "/512/" + stage_name, kWarmIterations,
          [=](benchmark::State& state) { stage(state, kind, 512, s); });
    }
  }
  for (const std::size_t bytes : kSizes) {
    for (const bool seal : {true, false}) {
      for (const crypto::CryptoBackend backend : {crypto::CryptoBackend::kIpsecMb, crypto::CryptoBackend::kOpenSsl}) {
        if (!crypto::available(backend)) continue;
        add(std::string("Cipher/") + (backend == crypto::CryptoBackend::kIpsecMb ? "ipsec-mb" : "OpenSSL") +
                (seal ? "/Seal/" : "/Open/") + std::to_string(bytes),
            kWarmIterations, [=](benchmark::State& state) { cipher(state, bytes, seal, backend); });
      }
    }
  }
  register_table_cases();
  register_live_cases();
}

}  // namespace
}  // namespace simplon::bench

int main(int argc, char** argv) {
  simplon::bench::register_all();
  benchmark::AddCustomContext("openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
