// SPDX-License-Identifier: GPL-2.0-or-later
// From bytes of FPM to the RIB, and from the RIB to its reader. Target: 3 million routes a second into the RIB.
#include <benchmark/benchmark.h>

#include "bgp/src/fpm_message.h"
#include "tests/unit/bgp/fpm_builder.h"

namespace simplon::bgp {
namespace {

class IntoRib final : public FpmRouteSink {
 public:
  void on_route(const FpmRoute& route) override {
    if (route.withdrawal) {
      rib.withdraw(route.prefix);
    } else {
      rib.upsert(route.prefix, route.nexthops);
    }
  }
  Rib rib;
};

std::optional<std::string> name_of(const void*, std::uint32_t ifindex) { return "tun" + std::to_string(ifindex); }

/// `count` /24s over four tunnels, each fourth with a second nexthop.
Bytes dump_of(std::size_t count) {
  Bytes stream;
  stream.reserve(count * 90);
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<FpmNextHop> nexthops = {
        {.ifindex = static_cast<std::uint32_t>(2 + i % 4), .gateway = IpAddress::v4(0xa9fe0a02), .weight = 1}};
    if (i % 4 == 0) nexthops.push_back({.ifindex = 7, .gateway = IpAddress::v4(0xa9fe1402), .weight = 1});
    const IpPrefix prefix(IpAddress::v4(static_cast<std::uint32_t>(0x01000000 + i * 256)), 24);
    stream = std::move(stream) + FpmBuilder::frame(FpmBuilder::add(prefix, nexthops));
  }
  return stream;
}

void decode(const Bytes& stream, IntoRib& sink) {
  constexpr std::size_t kRead = 256 * 1024;
  FpmStatistics statistics;
  for (std::size_t at = 0; at < stream.size();) {
    const auto piece = std::span(stream).subspan(at, std::min(kRead, stream.size() - at));
    at += decode_fpm(piece, sink, statistics).value();
  }
}

void Rib_FirstDump(benchmark::State& state) {
  const auto stream = dump_of(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    IntoRib sink;
    decode(stream, sink);
    benchmark::DoNotOptimize(sink.rib.size());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Rib_FirstDump)->Arg(10'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

void Rib_DumpAfterReconnect(benchmark::State& state) {
  const auto stream = dump_of(static_cast<std::size_t>(state.range(0)));
  IntoRib sink;
  decode(stream, sink);
  while (sink.rib.dirty()) benchmark::DoNotOptimize(sink.rib.take_changes(4096, &name_of, nullptr));
  for (auto _ : state) {
    sink.rib.begin_dump();
    decode(stream, sink);
    if (sink.rib.sweep() != 0 || sink.rib.dirty()) state.SkipWithError("the same dump made a difference");
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Rib_DumpAfterReconnect)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

void Rib_TakeChanges(benchmark::State& state) {
  const auto stream = dump_of(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    state.PauseTiming();
    IntoRib sink;
    decode(stream, sink);
    state.ResumeTiming();
    while (sink.rib.dirty()) benchmark::DoNotOptimize(sink.rib.take_changes(4096, &name_of, nullptr));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Rib_TakeChanges)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace simplon::bgp

BENCHMARK_MAIN();
