// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a program may be reading never changes: flows come and go only with grace periods. Needs root (BPF maps).
#include "platform/xdp/flow_table.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "platform/xdp/uplink_program.h"

namespace simplon::xdp {
namespace {

/// Periods pass when the test says so.
class OurGrace final : public Grace {
 public:
  Ticket begin() override { return ++begun_; }
  bool passed(Ticket ticket) const noexcept override { return ticket <= passed_; }
  void pass() { passed_ = begun_; }

 private:
  Ticket begun_ = 0;
  Ticket passed_ = 0;
};

class FlowTableLab : public ::testing::Test {
 protected:
  void SetUp() override {
    auto table = FlowTable::create(grace_);
    ASSERT_TRUE(table) << table.error().message();
    table_ = *std::move(table);
  }
  static simplon_xdp_flow flow(std::uint32_t vni, std::uint32_t source, std::uint32_t lane = 0) {
    simplon_xdp_flow made{};
    made.key.uplink = 3;
    made.key.ingress = vni;
    made.key.source[0] = source;
    made.lane = lane;
    return made;
  }
  [[nodiscard]] bool seen(const simplon_xdp_flow& wanted) const { return table_->find(wanted.key) != nullptr; }
  /// A period begins and passes.
  void settle() {
    table_->advance();
    grace_.pass();
    table_->advance();
  }

  OurGrace grace_;
  std::unique_ptr<FlowTable> table_;
};

TEST_F(FlowTableLab, AFlowIsSeenAGracePeriodAfterItWasPut) {
  EXPECT_TRUE(table_->put(flow(1, 1)));
  table_->advance();
  EXPECT_FALSE(seen(flow(1, 1)));
  EXPECT_TRUE(table_->busy());
  grace_.pass();
  table_->advance();
  EXPECT_TRUE(seen(flow(1, 1)));
  EXPECT_FALSE(table_->busy());
  EXPECT_FALSE(table_->put(flow(1, 1))) << "it is there";
}

TEST_F(FlowTableLab, AnAttachmentLosesAllItsFlowsAtOnceAndOthersNone) {
  for (std::uint32_t i = 0; i < 100; ++i) ASSERT_TRUE(table_->put(flow(1 + i % 2, i)));
  settle();
  EXPECT_TRUE(table_->invalidate(1));
  EXPECT_FALSE(table_->invalidate(1)) << "there are none any more";
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_EQ(seen(flow(1 + i % 2, i)), i % 2 == 1);
  EXPECT_TRUE(table_->invalidate_all());
  EXPECT_FALSE(table_->invalidate_all());
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_FALSE(seen(flow(1 + i % 2, i)));
}

TEST_F(FlowTableLab, AVlanAndAVpcOfOneNumberAreTwoAttachments) {
  const auto tagged = [](std::uint32_t vlan) { return vlan | SIMPLON_XDP_TAGGED << SIMPLON_XDP_INGRESS_KIND; };
  const auto inner_v6 = [](std::uint32_t ingress) { return ingress | SIMPLON_XDP_INGRESS_IPV6; };
  for (const std::uint32_t ingress : {100U, tagged(100), inner_v6(tagged(100))})
    ASSERT_TRUE(table_->put(flow(ingress, 1)));
  settle();
  EXPECT_TRUE(table_->invalidate(tagged(100)));
  EXPECT_TRUE(seen(flow(100, 1)));
  EXPECT_FALSE(seen(flow(tagged(100), 1)));
  EXPECT_FALSE(seen(flow(inner_v6(tagged(100)), 1)));
}

TEST_F(FlowTableLab, ASpreadLeadsToTheFlowOfTheNexthop) {
  const auto member = [](std::uint32_t number) { return 5 | number << SIMPLON_XDP_INGRESS_MEMBER; };
  simplon_xdp_flow spread = flow(5, 1, 9);
  spread.action = SIMPLON_XDP_SPREAD;
  std::array<std::uint8_t, 256> members{};
  members[7] = 1;
  members[255] = SIMPLON_XDP_MEMBERS;
  table_->set_spread(9, members);
  ASSERT_TRUE(table_->put(spread));
  ASSERT_TRUE(table_->put(flow(member(1), 1, 100)));
  settle();
  EXPECT_EQ(table_->find(spread.key, 7)->lane, 100U);
  EXPECT_EQ(table_->find(spread.key, 8), nullptr) << "the worker's";
  EXPECT_EQ(table_->find(spread.key, 255), nullptr) << "not there yet";
  ASSERT_TRUE(table_->put(flow(member(SIMPLON_XDP_MEMBERS), 1, 131)));
  settle();
  EXPECT_EQ(table_->find(spread.key, 255)->lane, 131U);
  EXPECT_TRUE(table_->invalidate(5));
  EXPECT_EQ(table_->find(spread.key, 7), nullptr);
  EXPECT_FALSE(seen(flow(member(1), 1)));
}

TEST_F(FlowTableLab, AFlowThatWasPutBeforeAnInvalidationIsNeverSeen) {
  ASSERT_TRUE(table_->put(flow(1, 1, 7)));
  table_->invalidate(1);
  ASSERT_TRUE(table_->put(flow(1, 1, 8))) << "as the tables say it now";
  settle();
  ASSERT_TRUE(seen(flow(1, 1)));
  EXPECT_EQ(table_->find(flow(1, 1).key)->lane, 8U);
}

TEST_F(FlowTableLab, APlaceIsNotUsedAgainWhileAProgramMayReadIt) {
  ASSERT_TRUE(table_->put(flow(1, 1, 1)));
  settle();
  const simplon_xdp_flow* in_use = table_->find(flow(1, 1).key);
  const simplon_xdp_flow before = *in_use;
  // Whatever happens to the table without a grace period.
  for (std::uint32_t round = 0; round < 4; ++round) {
    table_->invalidate_all();
    for (std::uint32_t i = 0; i < 200'000; ++i) table_->put(flow(1, i, round + 2));
    table_->advance();
  }
  EXPECT_EQ(std::memcmp(in_use, &before, sizeof before), 0);
}

TEST_F(FlowTableLab, JumboAndOtherUplinksForwardFromIt) {
  auto steering = Steering::create();
  ASSERT_TRUE(steering) << steering.error().message();
  (*steering)->use_flows(table_.get());
  std::vector<std::unique_ptr<UplinkProgram>> programs;
  for (const bool multi_buffer : {false, true, false, true}) {
    auto program = UplinkProgram::load_only(**steering, 1, multi_buffer);
    ASSERT_TRUE(program) << program.error().message();
    EXPECT_EQ((*program)->without_flows(), "");
    programs.push_back(*std::move(program));
  }
}

TEST_F(FlowTableLab, WhateverIsFoundIsWhatWasPutLast) {
  std::mt19937 random(1);
  std::map<std::uint32_t, std::uint32_t> put;  // source -> lane
  for (std::uint32_t i = 1; i < 300'000; ++i) {
    const std::uint32_t source = static_cast<std::uint32_t>(random() % 100'000);
    if (table_->put(flow(5, source, i))) put[source] = i;
    if (i % 5'000 == 0) settle();
    if (i % 100'000 == 0) {
      table_->invalidate(5);
      put.clear();
    }
  }
  settle();
  std::size_t found = 0;
  for (std::uint32_t source = 0; source < 100'000; ++source) {
    const simplon_xdp_flow* there = table_->find(flow(5, source).key);
    if (there == nullptr) continue;
    ++found;
    ASSERT_TRUE(put.contains(source));
    ASSERT_EQ(there->lane, put[source]);
  }
  EXPECT_GT(found, 30'000U);
}

}  // namespace
}  // namespace simplon::xdp
