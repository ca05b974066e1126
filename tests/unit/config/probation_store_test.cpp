// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "gateway/config/ids.h"
#include "gateway/config/json.h"
#include "gateway/config/store.h"
#include "tests/unit/config/store_fixture.h"

namespace simplon::config {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using ::testing::HasSubstr;

class ProbationStoreTest : public StoreFixture {
 protected:
  static Store::CommitRequest request(const std::string& text, std::optional<seconds> window = {},
                                      std::vector<std::string> gates = {}) {
    Store::CommitRequest made;
    made.text = text;
    made.who = Author("alice", 1000);
    made.comment = "because";
    made.confirm_within = window;
    made.confirm_required = gates.empty();
    made.gates = std::move(gates);
    return made;
  }
};

TEST_F(ProbationStoreTest, WhoIsKeptWithTheUser) {
  ASSERT_TRUE(open().commit(request("one")));
  const auto version = open().load(1)->version;
  EXPECT_EQ(version.who, "alice");
  EXPECT_EQ(version.uid, 1000U);
  EXPECT_EQ(version.outcome, Outcome::kCommitted);
  const auto json = to_json(version);
  EXPECT_EQ(json["uid"], 1000);
  EXPECT_EQ(json["outcome"], "committed");
}

TEST_F(ProbationStoreTest, GatesAndModeAreOnDisk) {
  ASSERT_TRUE(open().commit(request("one")));
  ASSERT_TRUE(open().commit(request("two", seconds(90), {"bgp:red/site-a", "ping:10.0.0.1@red"})));
  const auto store = open();
  ASSERT_TRUE(store.pending());
  EXPECT_EQ(store.pending()->gates, (std::vector<std::string>{"bgp:red/site-a", "ping:10.0.0.1@red"}));
  EXPECT_FALSE(store.pending()->confirm_required);
  EXPECT_EQ(store.pending()->window, seconds(90));
  EXPECT_EQ(store.pending()->deadline, clock_.now() + seconds(90));
  EXPECT_EQ(store.load(2)->version.outcome, Outcome::kUnconfirmed);
}

TEST_F(ProbationStoreTest, TheOutcomeOfAProbationIsTold) {
  auto store = open();
  ASSERT_TRUE(store.commit(request("one")));
  ASSERT_TRUE(store.commit(request("two", seconds(60))));
  ASSERT_TRUE(store.confirm());
  ASSERT_TRUE(store.commit(request("three", seconds(60))));
  clock_.advance(seconds(60));
  const auto reverted = store.revert_if_expired("gate bgp:red/a: the session is Active");
  ASSERT_TRUE(reverted && *reverted);
  EXPECT_EQ((*reverted)->reverts, 3U);
  ASSERT_TRUE(store.commit(request("five", seconds(60))));
  ASSERT_TRUE(store.undo(Author("bob", 1001)));

  for (const auto& now : {open(), std::move(store)}) {
    const auto history = now.history();
    ASSERT_EQ(history.size(), 6U);
    const auto of = [&](std::uint64_t number) { return history[6 - number]; };
    EXPECT_EQ(of(2).outcome, Outcome::kCommitted);
    EXPECT_EQ(of(3).outcome, Outcome::kReverted);
    EXPECT_EQ(of(3).outcome_reason, "gate bgp:red/a: the session is Active");
    EXPECT_EQ(of(4).outcome, Outcome::kCommitted);
    EXPECT_EQ(of(5).outcome, Outcome::kReverted);
    EXPECT_EQ(of(5).outcome_reason, "undone by bob");
    EXPECT_EQ(now.load(3)->version.outcome, Outcome::kReverted);
    EXPECT_EQ(now.load(4)->text, "two");
  }
}

TEST_F(ProbationStoreTest, AClockThatWasSetBackDoesNotLengthenIt) {
  ASSERT_TRUE(open().commit(request("one")));
  ASSERT_TRUE(open().commit(request("two", seconds(60))));
  clock_.advance(-std::chrono::hours(24 * 365));
  auto store = open();
  EXPECT_FALSE(store.expired());
  clock_.advance(seconds(61));
  EXPECT_TRUE(store.expired());
}

TEST_F(ProbationStoreTest, AStagedVersionIsNotCurrentAndACrashDiscardsIt) {
  auto store = open();
  ASSERT_TRUE(store.commit(request("one")));
  const auto staged = store.stage(request("two"));
  ASSERT_TRUE(staged);
  EXPECT_EQ(store.current(), 1U);
  EXPECT_TRUE(fs::exists(directory_ / "0002.yaml"));
  EXPECT_EQ(open().current(), 1U);
  EXPECT_FALSE(fs::exists(directory_ / "0002.yaml"));
  const auto again = store.stage(request("three"));
  ASSERT_TRUE(again);
  store.discard(*again);
  EXPECT_FALSE(fs::exists(directory_ / "0002.yaml"));
  ASSERT_TRUE(store.commit(*store.stage(request("four"))));
  EXPECT_EQ(open().load_current()->text, "four");
}

TEST_F(ProbationStoreTest, AHistoryBeginsAnEmptyStoreOnly) {
  auto store = open();
  auto wanted = request("now", seconds(60));
  for (const char* text : {"old", "older than now"}) {
    StoredDocument older;
    older.text = text;
    older.version.who = "bob";
    older.version.comment = "of another gateway\nhash: forged";
    older.version.when = clock_.now() - std::chrono::hours(1);
    wanted.history.push_back(older);
  }
  ASSERT_TRUE(store.commit(wanted));
  EXPECT_EQ(store.current(), 3U);
  const auto again = open();
  EXPECT_EQ(again.load(1)->text, "old");
  EXPECT_EQ(again.load(2)->version.who, "bob");
  EXPECT_EQ(again.load(2)->version.comment, "of another gateway hash: forged");
  // Going back from an import is going back to what there was: nothing.
  EXPECT_EQ(again.pending()->reverts_to, 0U);
  ASSERT_TRUE(store.confirm());
  EXPECT_FALSE(store.commit(wanted));
}

/// A real full disk: a tmpfs of 16 pages in a mount namespace of our own.
TEST_F(ProbationStoreTest, AFullDiskLeavesTheOldState) {
  ASSERT_EQ(::unshare(CLONE_NEWNS), 0) << "run as root";
  ASSERT_EQ(::mount("", "/", "none", MS_REC | MS_PRIVATE, nullptr), 0);
  fs::create_directories(directory_);
  ASSERT_EQ(::mount("tmpfs", directory_.c_str(), "tmpfs", 0, "size=64k,mode=0700"), 0);
  {
    auto store = open();
    ASSERT_TRUE(store.commit(request("one")));
    std::ofstream(directory_ / "ballast") << std::string(64U << 10, 'x');
    for (const auto& window : {std::optional<seconds>(), std::optional(seconds(60))}) {
      const auto refused = store.commit(request("two", window));
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
      EXPECT_THAT(refused.error().what, HasSubstr("the disk is full"));
      EXPECT_THAT(refused.error().hint, HasSubstr("df"));
    }
    EXPECT_EQ(store.current(), 1U);
    EXPECT_FALSE(store.pending());
    const auto again = open();
    EXPECT_EQ(again.current(), 1U);
    EXPECT_EQ(again.load_current()->text, "one");
    fs::remove(directory_ / "ballast");
    EXPECT_TRUE(store.commit(request("two")));
    EXPECT_EQ(open().load_current()->text, "two");
  }
  EXPECT_EQ(::umount2(directory_.c_str(), MNT_DETACH), 0);
}

TEST_F(ProbationStoreTest, IdsOfAnotherBoxAreTakenOverWhereTheyAreFree) {
  GatewayConfig config;
  config.domains.resize(2);
  config.domains[0].name = "red";
  config.domains[1].name = "blue";
  config.tunnels.resize(2);
  config.tunnels[0].name = "paris";
  config.tunnels[1].name = "berlin";
  IdRegistry::Snapshot theirs;
  theirs.domains = {{"blue", 1}, {"red", 3}};
  theirs.tunnels = {{"berlin", 7}, {"paris", 5}, {"gone", 6}};
  theirs.next_domain = 4;
  theirs.next_tunnel = 12;

  auto fresh = IdRegistry::open(folder_.path() / "fresh").value();
  ASSERT_TRUE(fresh.adopt(theirs, config));
  EXPECT_EQ(fresh.domain("red")->value(), 3U);
  EXPECT_EQ(fresh.tunnel("berlin")->value(), 7U);
  EXPECT_FALSE(fresh.tunnel("gone"));
  EXPECT_EQ(fresh.snapshot().next_tunnel, 12U);
  EXPECT_EQ(IdRegistry::open(folder_.path() / "fresh")->snapshot(), fresh.snapshot());

  // Here paris lives already, and 1 to 6 were given to somebody.
  auto used = IdRegistry::open(folder_.path() / "used").value();
  GatewayConfig before;
  before.tunnels.resize(6);
  for (std::size_t i = 0; i < 6; ++i) before.tunnels[i].name = i == 0 ? "paris" : "t" + std::to_string(i);
  ASSERT_TRUE(used.assign(before));
  ASSERT_TRUE(used.adopt(theirs, config));
  EXPECT_EQ(used.tunnel("paris")->value(), 1U);
  EXPECT_EQ(used.tunnel("berlin")->value(), 7U);
}

}  // namespace
}  // namespace simplon::config
