// SPDX-License-Identifier: GPL-2.0-or-later
//
// posted_bench [ROUNDS]: one SA, packets of 1,420 bytes of one worker in memory; alone, and with a second worker that has none
// and helps (gateway/forward/src/workers/esp_posts.h). Wall time, since that is what the helper is for; rounds of both in turn, their
// median and range, and the median of the ratios of neighbors. Each round first proves itself on a packet with a known answer.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/cloud.h"

namespace simplon::bench {
namespace {

constexpr std::size_t kPackets = 4096;
constexpr std::size_t kInnerBytes = 1420;

/// Nanoseconds a packet.
double once(Cloud& cloud, Cloud::Kind kind) {
  if (const char* wrong = cloud.known_answer(kind, kInnerBytes)) {
    std::fprintf(stderr, "posted_bench: %s\n", wrong);
    std::exit(1);
  }
  cloud.prepare(kind, kPackets, kInnerBytes);
  const auto start = std::chrono::steady_clock::now();
  const std::size_t sent = cloud.run();
  const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
  if (sent != kPackets) {
    std::fprintf(stderr, "posted_bench: %zu of %zu packets were sent\n", sent, kPackets);
    std::exit(1);
  }
  return spent.count() / static_cast<double>(kPackets);
}

/// The second worker, while this lives.
class Helper {
 public:
  explicit Helper(forward::Worker& worker)
      : thread_([this, &worker] { worker.run(stop_, 64, [] { std::this_thread::yield(); }); }) {}
  ~Helper() {
    stop_.store(true, std::memory_order_release);
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void measure(Cloud& cloud, forward::Worker& second, Cloud::Kind kind, const char* name, int rounds) {
  std::vector<double> alone;
  std::vector<double> helped;
  std::vector<double> ratios;
  for (int round = 0; round < rounds; ++round) {
    alone.push_back(once(cloud, kind));
    {
      const Helper helper(second);
      helped.push_back(once(cloud, kind));
    }
    ratios.push_back(alone.back() / helped.back());
  }
  const auto row = [&](const char* workers, const std::vector<double>& all) {
    const auto [least, most] = std::minmax_element(all.begin(), all.end());
    std::printf("%-14s %-10s %8.1f ns/packet  (%.1f-%.1f)\n", name, workers, median(all), *least, *most);
  };
  row("1 worker", alone);
  row("2 workers", helped);
  std::printf("%-14s %-10s %8.2f  (least of each: %.2f)\n", name, "ratio", median(ratios),
              *std::min_element(alone.begin(), alone.end()) / *std::min_element(helped.begin(), helped.end()));
}

}  // namespace
}  // namespace simplon::bench

int main(int argc, char** argv) {
  using namespace simplon::bench;
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 31;
  Cloud cloud(1, kPackets + 512, 2);
  simplon::forward::WorkerOptions options;
  options.index = 1;
  simplon::forward::Worker second(cloud.tables, cloud.pool, cloud.clock, options);
  measure(cloud, second, Cloud::Kind::kVxlanToEsp, "seal 1420 B", rounds);
  measure(cloud, second, Cloud::Kind::kEspToVxlan, "open 1420 B", rounds);
  return 0;
}
