// SPDX-License-Identifier: GPL-2.0-or-later
//
// Connections between two addresses, from one port after the other, share out like balls thrown at random: whatever the
// addresses are, and however many nexthops there are.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gateway/forward/src/path/routing.h"
#include "gateway/forward/src/tables/table_state.h"

namespace simplon::forward {
namespace {

constexpr int kPairs = 1500;

/// Which ports a host takes for its next connections.
struct Ports {
  const char* description;
  std::uint32_t step;
  bool of_destination;
};
constexpr Ports kPorts[] = {
    {"one after the other", 1, false}, {"every other one", 2, false}, {"of the destination", 1, true}};

AddressWords address(std::mt19937_64& random, int family, bool neighbors) {
  AddressWords words;
  if (family == 4) {
    words.low = neighbors ? (random() & 0xffff0000) | 0x000a : random() & 0xffffffff;  // 10.0/16
  } else {
    words = {random(), neighbors ? 0xb80d0120 : random()};
  }
  return words;
}

/// Sum of squared deviations in relation to what was to be expected: chi-square, one less degree of freedom than members.
double uneven(const std::vector<unsigned>& hashes, unsigned members, bool interleaved) {
  std::vector<double> expected(members);
  std::vector<double> had(members);
  const auto member_of = [&](unsigned bucket) { return interleaved ? bucket % members : bucket * members / 256; };
  for (unsigned bucket = 0; bucket < EcmpGroup::kBuckets; ++bucket) {
    expected[member_of(bucket)] += static_cast<double>(hashes.size()) / EcmpGroup::kBuckets;
  }
  for (const unsigned hash : hashes) ++had[member_of(EcmpGroup::bucket(hash))];
  double sum = 0;
  for (unsigned i = 0; i < members; ++i) sum += (had[i] - expected[i]) * (had[i] - expected[i]) / expected[i];
  return sum;
}

/// What chance exceeds less than once in 10^10 tries (Laurent and Massart 2000, lemma 1, with x = 25).
double most(unsigned members) {
  const double freedom = members - 1;
  return freedom + 2 * std::sqrt(freedom * 25) + 2 * 25;
}

struct Case {
  int family;
  unsigned connections;
};

class EcmpBucketTest : public ::testing::TestWithParam<Case> {};

TEST_P(EcmpBucketTest, ConsecutivePortsShareOutWhateverTheAddresses) {
  const auto [family, connections] = GetParam();
  std::mt19937_64 random(20250101);
  for (const Ports& ports : kPorts) {
    std::vector<std::vector<unsigned>> pairs;
    for (int pair = 0; pair < kPairs; ++pair) {
      InnerPacket inner;
      inner.family = static_cast<std::uint8_t>(family);
      inner.protocol = 6;
      inner.source = address(random, family, pair % 2 == 0);
      inner.destination = address(random, family, pair % 2 == 0);
      const std::uint32_t first = 1024 + static_cast<std::uint32_t>(random() % 60'000);
      const std::uint32_t other = 1 + static_cast<std::uint32_t>(random() % 65'535);
      std::vector<unsigned> hashes;
      for (std::uint32_t i = 0; i < connections; ++i) {
        const std::uint32_t moving = (first + i * ports.step) & 0xffff;
        inner.ports = byteswap(ports.of_destination ? (other << 16) | moving : (moving << 16) | other);
        hashes.push_back(flow_hash(inner));
      }
      pairs.push_back(std::move(hashes));
    }
    for (const unsigned members : {2U, 3U, 4U, 8U, 256U}) {
      for (const bool interleaved : {false, true}) {
        if (interleaved && members == EcmpGroup::kBuckets) continue;
        int bad = 0;
        double worst = 0;
        double sum = 0;
        for (const auto& hashes : pairs) {
          const double is = uneven(hashes, members, interleaved);
          if (is > most(members)) ++bad;
          worst = std::max(worst, is);
          sum += is;
        }
        const std::string what = std::to_string(members) + " members, " + (interleaved ? "interleaved" : "in rows") + ", ports " +
                                 ports.description;
        EXPECT_EQ(bad, 0) << what << ": so many pairs of addresses out of " << kPairs << "; the worst " << worst << ", at most "
                          << most(members) << " to be expected";
        // Neither more even than chance, which a fixed step is for most addresses, nor less. The mean's own deviation, six times.
        const double freedom = members - 1;
        EXPECT_NEAR(sum / kPairs, freedom, 6 * std::sqrt(2 * freedom / kPairs)) << what;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, EcmpBucketTest,
                         ::testing::Values(Case{4, 256}, Case{4, 1024}, Case{6, 256}, Case{6, 1024}),
                         [](const auto& made) {
                           return "v" + std::to_string(made.param.family) + "_" + std::to_string(made.param.connections);
                         });

}  // namespace
}  // namespace simplon::forward
