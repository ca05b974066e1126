// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/table_programmer.h"

#include <gtest/gtest.h>

#include "tests/unit/control/fakes.h"

namespace simplon::control {
namespace {

ipc::Route route(const char* to, std::uint32_t tunnel = 1) {
  ipc::Route made;
  made.domain = DomainId(1);
  made.prefix = prefix(to);
  made.nexthops = {{ipc::AttachmentRef::tunnel(TunnelId(tunnel)), 1}};
  return made;
}

std::string key(const char* to) { return ipc::key_of(route(to)); }

class TableProgrammerTest : public ::testing::Test {
 protected:
  TableProgrammerTest()
      : forwarder_(io_),
        programmer_(
            io_, forwarder_, 100, [this]() -> const TableSet& { return wanted_; }, [this] { return may_sweep_; }) {}

  std::vector<ipc::Operation> want(const char* to, std::uint32_t tunnel = 1) {
    auto operation = wanted_.set_route(DomainId(1), prefix(to), route(to, tunnel));
    return operation ? std::vector{*operation} : std::vector<ipc::Operation>{};
  }
  std::vector<ipc::Operation> drop(const char* to) {
    auto operation = wanted_.set_route(DomainId(1), prefix(to), std::nullopt);
    return operation ? std::vector{*operation} : std::vector<ipc::Operation>{};
  }
  bool until(const std::function<bool()>& done) { return run_until(io_, done); }
  bool settled() {
    return until([&] { return programmer_.status().current(); });
  }

  boost::asio::io_context io_;
  FakeForwarder forwarder_;
  TableSet wanted_;
  bool may_sweep_ = true;
  TableProgrammer programmer_;
};

TEST_F(TableProgrammerTest, AConnectionStartsWithEverythingAndEndsWithASweep) {
  want("10.1.0.0/16");
  want("10.2.0.0/16");
  forwarder_.objects.emplace(key("10.9.0.0/16"), route("10.9.0.0/16"));
  programmer_.start();
  ASSERT_TRUE(settled());
  EXPECT_EQ(forwarder_.log, (std::vector<std::string>{"begin 101", "update 2", "end 101"}));
  EXPECT_TRUE(forwarder_.holds(key("10.1.0.0/16")));
  EXPECT_FALSE(forwarder_.holds(key("10.9.0.0/16"))) << "nobody wants it any more";
}

TEST_F(TableProgrammerTest, NothingIsRemovedBeforeTheSweepIsAllowed) {
  may_sweep_ = false;
  forwarder_.objects.emplace(key("10.9.0.0/16"), route("10.9.0.0/16"));
  programmer_.start();
  ASSERT_TRUE(until([&] { return programmer_.status().synchronized; }));
  // Updates work meanwhile, and what is learned late is no longer swept.
  programmer_.enqueue(want("10.9.0.0/16"));
  ASSERT_TRUE(until([&] { return programmer_.status().wanted == programmer_.status().confirmed; }));
  EXPECT_EQ(forwarder_.ends(), 0U);
  EXPECT_FALSE(programmer_.status().current());
  may_sweep_ = true;
  programmer_.poke();
  ASSERT_TRUE(settled());
  EXPECT_EQ(forwarder_.ends(), 1U);
  EXPECT_TRUE(forwarder_.holds(key("10.9.0.0/16")));
  EXPECT_TRUE(forwarder_.removed.empty());
}

TEST_F(TableProgrammerTest, ChangesOfOneTurnAreOneUpdateAndTheLatestOfARouteCounts) {
  programmer_.start();
  ASSERT_TRUE(settled());
  forwarder_.updates.clear();
  programmer_.enqueue(want("10.1.0.0/16", 1));
  programmer_.enqueue(want("10.2.0.0/16", 1));
  programmer_.enqueue(want("10.1.0.0/16", 2));
  programmer_.enqueue(drop("10.2.0.0/16"));
  EXPECT_GT(programmer_.status().wanted, programmer_.status().confirmed) << "the lag is visible";
  ASSERT_TRUE(settled());
  ASSERT_EQ(forwarder_.updates.size(), 1U);
  EXPECT_EQ(forwarder_.updates[0], (std::vector<ipc::Operation>{ipc::Operation::upsert(route("10.1.0.0/16", 2)),
                                                                ipc::Operation::remove(route("10.2.0.0/16", 1))}));
}

TEST_F(TableProgrammerTest, AReconnectBringsEverythingAgain) {
  programmer_.start();
  ASSERT_TRUE(settled());
  programmer_.enqueue(want("10.1.0.0/16"));
  ASSERT_TRUE(settled());
  forwarder_.disconnect();
  ASSERT_TRUE(until([&] { return !programmer_.status().problem.empty(); }));
  programmer_.enqueue(want("10.2.0.0/16"));
  forwarder_.restart();
  forwarder_.log.clear();
  forwarder_.connect();
  ASSERT_TRUE(settled());
  EXPECT_EQ(forwarder_.log, (std::vector<std::string>{"begin 102", "update 2", "end 102"}));
  EXPECT_TRUE(forwarder_.holds(key("10.1.0.0/16")));
  EXPECT_TRUE(forwarder_.holds(key("10.2.0.0/16")));
  EXPECT_TRUE(programmer_.status().problem.empty());
}

TEST_F(TableProgrammerTest, ATransactionLearnsWhatWasRefused) {
  forwarder_.refuse[key("10.2.0.0/16")] = "no room";
  programmer_.start();
  ASSERT_TRUE(settled());
  auto operations = want("10.1.0.0/16");
  const auto second = want("10.2.0.0/16");
  operations.insert(operations.end(), second.begin(), second.end());
  const auto refused = finish(io_, programmer_.program(operations));
  ASSERT_TRUE(refused);
  ASSERT_EQ(refused->size(), 1U);
  EXPECT_EQ((*refused)[0].what, "no room");
  EXPECT_EQ(programmer_.status().refused.size(), 1U);

  forwarder_.refuse.clear();
  programmer_.retry_refused();
  ASSERT_TRUE(settled());
  EXPECT_TRUE(forwarder_.holds(key("10.2.0.0/16")));
  EXPECT_TRUE(programmer_.status().refused.empty());
}

TEST_F(TableProgrammerTest, ATransactionWithoutAForwarderFailsAtOnce) {
  forwarder_.connect_at_start = false;
  programmer_.start();
  auto operations = want("10.1.0.0/16");
  const auto refused = finish(io_, programmer_.program(std::move(operations)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  // And is made good by the first connection.
  forwarder_.connect();
  ASSERT_TRUE(settled());
  EXPECT_TRUE(forwarder_.holds(key("10.1.0.0/16")));
}

TEST_F(TableProgrammerTest, ATransactionDuringTheSynchronizationIsPartOfIt) {
  may_sweep_ = false;
  forwarder_.objects.emplace(key("10.2.0.0/16"), route("10.2.0.0/16"));
  forwarder_.refuse[key("10.1.0.0/16")] = "no";
  forwarder_.connect_at_start = false;
  programmer_.start();
  forwarder_.connect();
  auto operations = want("10.1.0.0/16");
  operations.push_back(ipc::Operation::remove(route("10.2.0.0/16")));
  const auto refused = finish(io_, programmer_.program(std::move(operations)));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->size(), 1U);
  EXPECT_FALSE(forwarder_.holds(key("10.2.0.0/16"))) << "deleted without waiting for a sweep";
}

TEST_F(TableProgrammerTest, TheConnectionBreaksInTheMiddleOfATransaction) {
  programmer_.start();
  ASSERT_TRUE(settled());
  auto operations = want("10.1.0.0/16");
  boost::asio::post(io_, [&] { forwarder_.disconnect(); });
  const auto refused = finish(io_, programmer_.program(std::move(operations)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  forwarder_.connect();
  ASSERT_TRUE(settled());
  EXPECT_TRUE(forwarder_.holds(key("10.1.0.0/16")));
}

}  // namespace
}  // namespace simplon::control
