// SPDX-License-Identifier: GPL-2.0-or-later
//
// differential_test: the forwarding engine against the oracle (README.md).
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/differential/generator/topology.h"
#include "tests/differential/generator/traffic.h"
#include "tests/differential/minimize.h"

namespace simplon::differential {
namespace {

/// One topology each. Long enough for replay windows to move and flows to meet again, short enough for many topologies.
constexpr std::uint64_t kRoundPackets = 10'000;
/// Programs are loaded for each round.
constexpr std::uint64_t kXdpRoundPackets = 50'000;

/// Of 100.
constexpr unsigned kPolicyRounds = 40;

constexpr std::uint64_t kReportEvery = 10'000'000;

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t packets = 1'000'000;
  /// Only this one.
  std::optional<std::uint64_t> round;
  /// Through the XDP program first.
  bool xdp = false;
  /// Of 100 rounds, those in which domains have policy.
  std::uint64_t policy = kPolicyRounds;
};

int usage(const char* complaint) {
  std::fprintf(stderr,
               "differential_test: %s\n"
               "usage: differential_test [--xdp] [--seed N] [--packets N] [--policy N] [--round N]\n"
               "  --xdp        each packet meets the XDP program first, then the worker; needs root\n"
               "  --seed N     which random packets (1)\n"
               "  --packets N  how many (1000000)\n"
               "  --policy N   of 100 rounds so many have lists, rates and NAT (40)\n"
               "  --round N    only this round of them, %" PRIu64 " packets\n",
               complaint, kRoundPackets);
  return 2;
}

bool read_number(const char* text, std::uint64_t& number) {
  char* end = nullptr;
  number = std::strtoull(text, &end, 10);
  return *text != '\0' && *text != '-' && *end == '\0';
}

/// Each round is a random sequence of its own, so that it can be repeated alone.
class Round {
 public:
  Round(std::uint64_t seed, std::uint64_t number, bool xdp, std::uint64_t policy)
      : random_(seed * 0x9e3779b97f4a7c15 + number * 0xd1b54a32d192ed03),
        scenario_{limits(xdp), {}},
        duel_(scenario_.limits),
        policy_(random_.percent(static_cast<unsigned>(policy))),
        hurries_(random_.percent(50)) {}

  [[nodiscard]] std::optional<Disagreement> play(std::uint64_t packets) {
    Topology topology(random_, policy_);
    Traffic traffic(random_);
    for (oracle::Change& change : topology.initial()) {
      if (auto wrong = next(std::move(change))) return wrong;
    }
    while (duel_.tally().packets < packets) {
      if (random_.percent(scenario_.limits.xdp ? 4 : 12)) {
        for (oracle::Change& change : topology.change(duel_.world())) {
          if (auto wrong = next(std::move(change))) return wrong;
        }
      }
      Burst burst = traffic.burst(duel_.world());
      if (scenario_.limits.icmp_errors) burst.nanoseconds = random_.below(2'000'000'000);
      if (policy_) burst.nanoseconds = silence();
      if (!policy_ && !scenario_.limits.icmp_errors) burst.nanoseconds = random_.below(40'000'000);
      // The first time the program leaves a flow to the worker; then it knows it.
      for (int again = scenario_.limits.xdp ? 2 : 0; again > 0; --again) {
        if (auto wrong = next(burst)) return wrong;
        burst.nanoseconds = 0;
      }
      if (auto wrong = next(std::move(burst))) return wrong;
    }
    if (auto wrong = duel_.compare_connections()) return wrong;
    return duel_.compare_counters();
  }

  [[nodiscard]] const Scenario& scenario() const { return scenario_; }
  [[nodiscard]] const Tally& tally() const { return duel_.tally(); }

 private:
  Limits limits(bool xdp) {
    Limits limits;
    limits.xdp = xdp;
    if (random_.percent(4)) limits.icmp_errors = static_cast<std::uint32_t>(random_.between(1, 20));
    return limits;
  }
  /// Some rounds are over in seconds, for rates; in others connections come to their end. So many of them are forgotten
  /// at once, the rest with the next burst.
  std::uint64_t silence() {
    if (!hurries_) return random_.below(40'000'000);
    if (!random_.percent(8) || duel_.world().policy.connections.size() > 500) return 0;
    const std::uint64_t seconds = random_.one_of<std::uint64_t>(
        {1, 1, 10, 30, 59, 60, 61, 119, 120, 121, 239, 240, 241, 299, 300, 301, 600, 601, 7440, 7441});
    return seconds * 1'000'000'000;
  }
  std::optional<Disagreement> next(Event event) {
    scenario_.events.push_back(std::move(event));
    return duel_.play(scenario_.events.back());
  }

  Random random_;
  Scenario scenario_;
  Duel duel_;
  /// Domains have policy; the clock moves in seconds.
  bool policy_;
  bool hurries_;
};

void print(const Tally& tally, double seconds) {
  std::printf("%" PRIu64 " packets in %" PRIu64 " bursts, %" PRIu64 " changes of the tables, %.1f s\n", tally.packets,
              tally.bursts, tally.changes, seconds);
  std::uint64_t dropped = 0;
  for (const std::uint64_t count : tally.drops) dropped += count;
  std::printf("received %" PRIu64 " + originated %" PRIu64 " = sent %" PRIu64 " + punted %" PRIu64 " + dropped %" PRIu64
              " + waiting %" PRIu64 ": %s\n",
              tally.packets, tally.originated, tally.sent, tally.punted, dropped, tally.waiting,
              tally.packets + tally.originated == tally.sent + tally.punted + dropped + tally.waiting ? "exactly" : "NOT EQUAL");
  std::printf("ESP: %" PRIu64 " in, %" PRIu64 " out; %" PRIu64 " tenant tags seen leaving, none in the wrong place\n",
              tally.esp_in, tally.esp_out, tally.tags);
  std::printf("circuits: %" PRIu64 " in, %" PRIu64 " out\n", tally.circuit_in, tally.circuit_out);
  std::printf("policy: %" PRIu64 " packets, %" PRIu64 " connections begun (%" PRIu64 " with source NAT, %" PRIu64
              " with destination NAT, %" PRIu64 " with both), %" PRIu64 " packets and %" PRIu64
              " answers of them, %" PRIu64 " errors about them, %" PRIu64 " packets with netmap, %" PRIu64
              " fragments that followed, %" PRIu64 " whose first was forgotten\n",
              tally.policed, tally.begun, tally.begun_source_nat, tally.begun_destination_nat, tally.begun_hairpin,
              tally.followed, tally.answered, tally.errors_about, tally.netmapped, tally.later_fragments,
              tally.forgotten_fragments);
  for (std::size_t i = 0; i < forward::kDropCount; ++i) {
    std::printf("  %-24s %10" PRIu64 "\n", std::string(forward::kDropInfo[i].counter).c_str(), tally.drops[i]);
  }
}

int run(const Options& options) {
  const auto began = std::chrono::steady_clock::now();
  std::printf("differential_test --seed %" PRIu64 " --packets %" PRIu64 "%s\n", options.seed, options.packets,
              options.xdp ? " --xdp" : "");
  Tally tally;
  std::uint64_t reported = 0;
  for (std::uint64_t number = options.round.value_or(0); tally.packets < options.packets; ++number) {
    Round round(options.seed, number, options.xdp, options.policy);
    if (const auto wrong = round.play(options.xdp ? kXdpRoundPackets : kRoundPackets)) {
      std::printf("\nDISAGREEMENT in round %" PRIu64 ": %s\nrepeat with: differential_test --seed %" PRIu64
                  " --policy %" PRIu64 " --round %" PRIu64 "%s\n\n",
                  number, wrong->what.c_str(), options.seed, options.policy, number, options.xdp ? " --xdp" : "");
      std::printf("%s", report(minimize(round.scenario())).c_str());
      return 1;
    }
    tally += round.tally();
    if (options.round) break;
    if (tally.packets / kReportEvery > reported) {
      reported = tally.packets / kReportEvery;
      std::printf("%" PRIu64 " packets, all agree\n", tally.packets);
    }
  }
  print(tally, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  if (!options.xdp) return 0;
  std::printf("forwarded by the XDP program: %" PRIu64 ", of these by one of several nexthops: %" PRIu64 "\n", tally.in_xdp,
              tally.spread_in_xdp);
  return tally.spread_in_xdp > 0 ? 0 : 1;
}

}  // namespace
}  // namespace simplon::differential

int main(int argc, char** argv) {
  simplon::differential::Options options;
  for (int i = 1; i < argc; i += 2) {
    if (std::strcmp(argv[i], "--xdp") == 0) {
      options.xdp = true;
      --i;
      continue;
    }
    std::uint64_t value = 0;
    if (i + 1 == argc || !simplon::differential::read_number(argv[i + 1], value)) {
      return simplon::differential::usage("a number is missing");
    }
    if (std::strcmp(argv[i], "--seed") == 0) {
      options.seed = value;
    } else if (std::strcmp(argv[i], "--packets") == 0) {
      options.packets = value;
    } else if (std::strcmp(argv[i], "--policy") == 0) {
      options.policy = value;
    } else if (std::strcmp(argv[i], "--round") == 0) {
      options.round = value;
    } else {
      return simplon::differential::usage("unknown option");
    }
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // whatever ends the run, its seed is known
  return simplon::differential::run(options);
}
