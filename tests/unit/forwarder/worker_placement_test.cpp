// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/worker_placement.h"

#include <gmock/gmock.h>

namespace simplon::forwarder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refused(std::string_view workers, std::string_view cpus) {
  const auto placed = place_workers(workers, cpus, 4);
  return placed ? std::string() : placed.error().message();
}

TEST(WorkerPlacement, TakesWhatIsAskedFor) {
  EXPECT_EQ(place_workers("3", "", 1)->workers, 3U);
  EXPECT_EQ(place_workers("auto", "", 5)->workers, 5U);
  EXPECT_EQ(place_workers("auto", "", 500)->workers, kMaxWorkers);
  EXPECT_EQ(place_workers("auto", "2-4", 16)->workers, 3U);
  EXPECT_THAT(place_workers("2", "2-4", 16)->cpus, ElementsAre(2U, 3U));
}

TEST(WorkerPlacement, RefusesWhatCannotBe) {
  EXPECT_THAT(refused("0", ""), HasSubstr("workers 0"));
  EXPECT_THAT(refused("65", ""), HasSubstr("workers 65"));
  EXPECT_THAT(refused("many", ""), HasSubstr("workers many"));
  EXPECT_THAT(refused("3", "0-1"), HasSubstr("3 workers need as many CPUs, and 0-1 names 2"));
  EXPECT_THAT(refused("auto", "0-"), HasSubstr("0-"));
}

}  // namespace
}  // namespace simplon::forwarder
