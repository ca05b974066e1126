// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every ESP suite, alone: nanoseconds per packet of CPU time, in batches as the ESP stages make them. 64 keys, 256 packets,
// in cache. The answer is checked inside the run: what one backend sealed the other one opens.
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "platform/crypto/esp_batch.h"

namespace simplon::bench {
namespace {

using namespace crypto;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kKeys = 64;
constexpr std::size_t kPackets = 256;

double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Load {
  std::vector<EspKey> keys, oracle;
  std::vector<Bytes> packets;
  std::size_t bytes;

  Load(EspSuite suite, std::size_t inner, CryptoBackend backend) {
    std::mt19937 random(1);
    const EspSuiteFacts& facts = facts_of(suite);
    const auto draw = [&random](std::size_t count) {
      Bytes made(count);
      for (auto& byte : made) byte = static_cast<std::uint8_t>(random());
      return made;
    };
    for (std::size_t i = 0; i < kKeys; ++i) {
      const Bytes cipher = draw(std::size_t{facts.cipher_key_bytes} + facts.salt_bytes);
      const Bytes integrity = draw(facts.integrity_key_bytes);
      keys.push_back(EspKey::create(suite, cipher, integrity, true, backend).value());
      oracle.push_back(EspKey::create(suite, cipher, integrity, true, CryptoBackend::kOpenSsl).value());
    }
    const std::size_t unit = facts.layout.alignment;
    bytes = (inner + 2 + unit - 1) / unit * unit;
    packets.assign(kPackets, draw(8U + facts.layout.iv_bytes + bytes + facts.layout.icv_bytes));
  }

  /// One pass over all packets.
  void run(EspBatch& batch, std::size_t burst, bool seal) {
    for (std::size_t at = 0; at < kPackets; at += burst) {
      for (std::size_t i = at; i < at + burst; ++i) batch.add(keys[i % kKeys], packets[i].data(), bytes, i);
      if (seal) {
        batch.seal();
      } else {
        batch.open();
      }
      batch.clear();
    }
  }

  [[nodiscard]] bool right() {
    std::vector<Bytes> copies = packets;
    EspBatch check(CryptoBackend::kOpenSsl);
    for (std::size_t i = 0; i < kPackets; ++i) check.add(oracle[i % kKeys], copies[i].data(), bytes, i);
    check.open();
    for (std::size_t i = 0; i < kPackets; ++i) {
      if (!check[i].authentic) return false;
    }
    return true;
  }
};

void suite(benchmark::State& state, EspSuite which, std::size_t inner, std::size_t burst, bool seal, CryptoBackend backend) {
  Load load(which, inner, backend);
  EspBatch batch(backend);
  load.run(batch, burst, true);
  if (!load.right()) return state.SkipWithError("OpenSSL does not open it");
  const std::vector<Bytes> sealed = load.packets;
  for ([[maybe_unused]] auto _ : state) {
    for (std::size_t i = 0; i < kPackets; ++i) std::copy(sealed[i].begin(), sealed[i].end(), load.packets[i].begin());
    const double start = thread_seconds();
    load.run(batch, burst, seal);
    state.SetIterationTime(std::max(1e-9, thread_seconds() - start));
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(kPackets));
}

void register_all() {
  for (const EspSuite which : kAllEspSuites) {
    for (const std::size_t inner : {std::size_t{64}, std::size_t{512}, std::size_t{1420}}) {
      for (const std::size_t burst : {std::size_t{1}, std::size_t{2}, std::size_t{4}, std::size_t{8}, std::size_t{32}, std::size_t{64}}) {
        for (const bool seal : {true, false}) {
          for (const CryptoBackend backend : {CryptoBackend::kIpsecMb, CryptoBackend::kOpenSsl}) {
            if (!available(backend)) continue;
            const std::string name = std::string(seal ? "Seal/" : "Open/") + std::string(to_string(which)) + "/" +
                                     std::to_string(inner) + "/burst:" + std::to_string(burst) +
                                     (backend == CryptoBackend::kIpsecMb ? "/ipsec-mb" : "/OpenSSL");
            benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
              suite(state, which, inner, burst, seal, backend);
            })->UseManualTime()->Unit(benchmark::kNanosecond);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace simplon::bench

int main(int argc, char** argv) {
  simplon::bench::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
