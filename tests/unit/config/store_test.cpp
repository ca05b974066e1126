// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "gateway/config/ids.h"
#include "tests/unit/config/store_fixture.h"

namespace simplon::config {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using ::testing::HasSubstr;

class StoreTest : public StoreFixture {
 protected:
  static std::uint64_t commit(Store& store, const std::string& text, std::optional<seconds> confirm = {}) {
    const auto version = store.commit({text, "root", "because", {}, confirm, true, {}, {}});
    EXPECT_TRUE(version) << version.error().message();
    return version->number;
  }
  static std::string current_text(const Store& store) { return store.load_current()->text; }
  static std::string slurp(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  static void spit(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::trunc) << text; }
};

TEST_F(StoreTest, BeginsEmpty) {
  const Store store = open();
  EXPECT_EQ(store.current(), 0U);
  EXPECT_EQ(current_text(store), "");
  EXPECT_TRUE(store.history().empty());
  EXPECT_FALSE(store.undo_target());
}

TEST_F(StoreTest, VersionsSurviveAReopen) {
  {
    Store store = open();
    EXPECT_EQ(commit(store, "one"), 1U);
    clock_.advance(seconds(60));
    EXPECT_EQ(commit(store, "two"), 2U);
  }
  const Store store = open();
  EXPECT_EQ(store.current(), 2U);
  EXPECT_EQ(current_text(store), "two");
  EXPECT_EQ(store.load(1)->text, "one");
  const auto history = store.history();
  ASSERT_EQ(history.size(), 2U);
  EXPECT_EQ(history[0].number, 2U);
  EXPECT_EQ(history[0].parent, 1U);
  EXPECT_EQ(history[0].who, "root");
  EXPECT_EQ(history[0].comment, "because");
  EXPECT_EQ(history[0].when - history[1].when, seconds(60));
  EXPECT_EQ(history[1].hash, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");  // SHA-256 of "one"
}

TEST_F(StoreTest, FilesArePrivate) {
  Store store = open();
  commit(store, "one");
  for (const char* name : {"0001.yaml", "0001.meta", "current"}) {
    struct stat info {};
    ASSERT_EQ(::stat((directory_ / name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 0777, 0600U) << name;
  }
}

TEST_F(StoreTest, ALineBreakInACommentIsNoForgery) {
  Store store = open();
  ASSERT_TRUE(store.commit({"one", "root\nparent: 9", "x\nhash: 00\nversion: 7", {}, {}, true, {}, {}}));
  const Store again = open();
  EXPECT_EQ(again.history()[0].parent, 0U);
  EXPECT_EQ(current_text(again), "one");
}

TEST_F(StoreTest, ALostUpdateIsRefused) {
  Store store = open();
  commit(store, "one");
  const auto refused = store.commit({"two", "root", "", 0, {}, true, {}, {}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(store.commit({"two", "root", "", 1, {}, true, {}, {}}));
}

TEST_F(StoreTest, UndoGoesFurtherBackEachTimeAndEndsEmpty) {
  Store store = open();
  commit(store, "one");
  commit(store, "two");
  commit(store, "three");
  EXPECT_EQ(store.undo("root")->number, 4U);
  EXPECT_EQ(current_text(store), "two");
  ASSERT_TRUE(store.undo("root"));
  EXPECT_EQ(current_text(store), "one");
  ASSERT_TRUE(store.undo("root"));
  EXPECT_EQ(current_text(store), "");
  const auto nothing = store.undo("root");
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, ErrorCode::kConflict);
  // Back to a chosen one, and the way back from there.
  ASSERT_TRUE(store.undo("root", 3));
  EXPECT_EQ(current_text(store), "three");
  ASSERT_TRUE(store.undo("root"));
  EXPECT_EQ(current_text(store), "");
}

TEST_F(StoreTest, UndoOfAnUnknownVersionChangesNothing) {
  Store store = open();
  commit(store, "one");
  EXPECT_FALSE(store.undo("root", 77));
  EXPECT_FALSE(store.undo("root", 1));
  EXPECT_EQ(store.current(), 1U);
}

TEST_F(StoreTest, AConfirmedChangeStays) {
  Store store = open();
  commit(store, "one");
  commit(store, "two", seconds(60));
  ASSERT_TRUE(store.pending());
  EXPECT_EQ(store.pending()->reverts_to, 1U);
  clock_.advance(seconds(59));
  EXPECT_FALSE(*store.revert_if_expired());
  ASSERT_TRUE(store.confirm());
  clock_.advance(seconds(3600));
  EXPECT_FALSE(*store.revert_if_expired());
  EXPECT_EQ(current_text(store), "two");
  EXPECT_FALSE(store.confirm());
}

TEST_F(StoreTest, AnUnconfirmedChangeIsUndoneAtItsDeadline) {
  Store store = open();
  commit(store, "one");
  commit(store, "two", seconds(60));
  clock_.advance(seconds(60));
  const auto late = store.confirm();
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().what, HasSubstr("too late"));
  const auto reverted = store.revert_if_expired();
  ASSERT_TRUE(reverted && *reverted);
  EXPECT_EQ((*reverted)->number, 3U);
  EXPECT_EQ(current_text(store), "one");
  EXPECT_FALSE(store.pending());
}

TEST_F(StoreTest, WhoeverSetsTheCalendarChangesNoProbation) {
  Store store = open();
  commit(store, "one");
  commit(store, "two", seconds(3600));
  clock_.advance(seconds(1800));
  clock_.set(seconds(-1800));
  EXPECT_FALSE(store.expired());
  EXPECT_EQ(store.pending()->deadline - clock_.now(), seconds(1800)) << "what is shown";
  clock_.set(seconds(86400));
  EXPECT_FALSE(store.expired());
  clock_.advance(seconds(1799));
  EXPECT_FALSE(store.expired());
  clock_.advance(seconds(1));
  EXPECT_TRUE(store.expired());
}

TEST_F(StoreTest, UndoAfterAProbationThatWasOverGoesNoFurtherBack) {
  Store store = open();
  commit(store, "one");
  commit(store, "two");
  commit(store, "three", seconds(60));
  clock_.advance(seconds(60));
  ASSERT_TRUE(*store.revert_if_expired("not confirmed within 60 s"));
  const auto undone = store.undo("root");
  ASSERT_FALSE(undone) << "who types it means version 3";
  EXPECT_THAT(undone.error().what, HasSubstr("version 3 is gone back from already, as version 4: not confirmed within 60 s"));
  EXPECT_EQ(current_text(store), "two");
  ASSERT_TRUE(store.undo("root", 1));
  EXPECT_EQ(current_text(store), "one");
}

TEST_F(StoreTest, WhatNobodyConfirmedIsNothingToGoBackTo) {
  Store store = open();
  commit(store, "one");
  commit(store, "two");
  commit(store, "three", seconds(60));
  ASSERT_TRUE(store.undo("root", 1));
  EXPECT_EQ(current_text(store), "one");
  ASSERT_TRUE(store.undo("root"));
  EXPECT_EQ(current_text(store), "two");
}

TEST_F(StoreTest, AConfirmationMayNameItsVersion) {
  Store store = open();
  commit(store, "one");
  commit(store, "two", seconds(60));
  const auto other = store.confirm(1);
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message(), HasSubstr("version 1 does not wait for a confirmation (version 2 does"));
  EXPECT_TRUE(store.pending());
  EXPECT_TRUE(store.confirm(2));
  EXPECT_FALSE(store.confirm(2));
}

TEST_F(StoreTest, NothingIsTriedOutWithoutAWayBack) {
  Store store = open();
  commit(store, "one");
  std::ofstream(directory_ / "0001.yaml") << "damaged";
  Store::CommitRequest request;
  request.text = "two";
  request.who = "root";
  request.confirm_within = seconds(60);
  const auto refused = store.commit(request);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("there would be no way back: "));
  request.confirm_within.reset();
  EXPECT_TRUE(store.commit(request));
}

TEST_F(StoreTest, TheProbationSurvivesACrash) {
  {
    Store store = open();
    commit(store, "one");
    commit(store, "two", seconds(60));
  }
  clock_.advance(seconds(30));
  {
    Store store = open();
    ASSERT_TRUE(store.pending());
    EXPECT_FALSE(*store.revert_if_expired());
    EXPECT_EQ(current_text(store), "two");
  }
  clock_.advance(seconds(3600));
  Store store = open();
  ASSERT_TRUE(*store.revert_if_expired());
  EXPECT_EQ(current_text(store), "one");
  EXPECT_FALSE(open().pending());
}

TEST_F(StoreTest, TheFirstChangeCanBeOnProbationToo) {
  Store store = open();
  commit(store, "one", seconds(10));
  clock_.advance(seconds(10));
  ASSERT_TRUE(*store.revert_if_expired());
  EXPECT_EQ(current_text(store), "");
}

TEST_F(StoreTest, AChangeOnTopOfAProbationIsRefusedAndUndoEndsIt) {
  Store store = open();
  commit(store, "one");
  commit(store, "two", seconds(60));
  const auto refused = store.commit({"three", "root", "", {}, {}, true, {}, {}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  ASSERT_TRUE(store.undo("root"));
  EXPECT_FALSE(store.pending());
  EXPECT_EQ(current_text(store), "one");
}

/// A crash can stop a commit after any of its three renames, and in the middle of each temporary file.
TEST_F(StoreTest, ACrashAtAnyPointLeavesTheOldState) {
  {
    Store store = open();
    commit(store, "one");
  }
  const std::string pointer = slurp(directory_ / "current");
  {
    Store store = open();
    commit(store, "two", seconds(60));
  }
  const std::string yaml = slurp(directory_ / "0002.yaml");
  const std::string meta = slurp(directory_ / "0002.meta");
  const auto rewind = [&] {
    spit(directory_ / "current", pointer);
    fs::remove(directory_ / "0002.yaml");
    fs::remove(directory_ / "0002.meta");
  };
  const auto expect_old = [&](const char* when) {
    Store store = open();
    EXPECT_EQ(store.current(), 1U) << when;
    EXPECT_FALSE(store.pending()) << when;
    EXPECT_EQ(current_text(store), "one") << when;
    EXPECT_EQ(store.history().size(), 1U) << when;
    EXPECT_FALSE(store.load(2)) << when;
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(directory_)) ++files;
    EXPECT_EQ(files, 3U) << when << ": leftovers are removed";
    EXPECT_EQ(commit(store, "again"), 2U) << when;
  };
  rewind();
  spit(directory_ / "0002.yaml.a1B2c3", yaml.substr(0, 1));
  expect_old("in the middle of the text");
  rewind();
  spit(directory_ / "0002.yaml", yaml);
  expect_old("after the text");
  rewind();
  spit(directory_ / "0002.yaml", yaml);
  spit(directory_ / "0002.meta.a1B2c3", meta.substr(0, 10));
  expect_old("in the middle of the metadata");
  rewind();
  spit(directory_ / "0002.yaml", yaml);
  spit(directory_ / "0002.meta", meta);
  spit(directory_ / "current.a1B2c3", "curr");
  expect_old("in the middle of the pointer");
}

TEST_F(StoreTest, DamageIsSaidNotGuessed) {
  {
    Store store = open();
    commit(store, "one");
    commit(store, "two");
  }
  spit(directory_ / "0001.yaml", "changed by hand");
  {
    const Store store = open();
    const auto damaged = store.load(1);
    ASSERT_FALSE(damaged);
    EXPECT_THAT(damaged.error().what, HasSubstr("hash"));
  }
  spit(directory_ / "0002.yaml", "changed by hand");
  const Store store = open();
  const auto damaged = store.load_current();
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(damaged.error().what, HasSubstr("0002.yaml"));
  EXPECT_THAT(damaged.error().hint, HasSubstr("no version is whole"));
}

TEST_F(StoreTest, ADamagedCurrentVersionIsLeftByUndo) {
  {
    Store store = open();
    commit(store, "one");
    commit(store, "two");
  }
  spit(directory_ / "0002.yaml", "changed by hand");
  spit(directory_ / "0003.yaml", "of a crash");
  Store store = open();
  EXPECT_TRUE(fs::exists(directory_ / "0003.yaml")) << "nothing is removed as long as something is wrong";
  ASSERT_FALSE(store.load_current());
  EXPECT_THAT(store.load_current().error().hint, HasSubstr("simplon config undo 1"));
  const auto back = store.undo("root");
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->number, 3U);
  EXPECT_EQ(current_text(store), "one");
  EXPECT_EQ(current_text(open()), "one");
}

TEST_F(StoreTest, ALostPointerLosesNoHistory) {
  {
    Store store = open();
    for (const char* text : {"one", "two", "three"}) commit(store, text);
  }
  fs::remove(directory_ / "current");
  {
    Store store = open();
    EXPECT_EQ(store.history().size(), 3U);
    const auto lost = store.load_current();
    ASSERT_FALSE(lost) << "not an empty configuration";
    EXPECT_THAT(lost.error().what, HasSubstr("current is missing"));
    EXPECT_THAT(lost.error().hint, HasSubstr("simplon config undo 3"));
    const auto guess = store.undo("root");
    ASSERT_FALSE(guess);
    EXPECT_THAT(guess.error().hint, HasSubstr("simplon config undo 3"));
  }
  Store store = open();
  ASSERT_TRUE(store.undo("root", 3));
  EXPECT_EQ(store.current(), 4U);
  EXPECT_EQ(current_text(open()), "three");
  ASSERT_TRUE(store.undo("root"));
  EXPECT_EQ(current_text(open()), "two") << "as if version 3 had stayed current";
  EXPECT_EQ(open().history().size(), 5U);
}

TEST_F(StoreTest, ACommitMendsALostPointer) {
  {
    Store store = open();
    commit(store, "one");
  }
  spit(directory_ / "current", "rubbish");
  Store store = open();
  EXPECT_EQ(commit(store, "two"), 2U);
  EXPECT_EQ(current_text(open()), "two");
  ASSERT_TRUE(store.undo("root"));
  EXPECT_EQ(current_text(store), "one");
}

/// The pointer is there before the first version: that version alone, without being pointed at, was never current.
TEST_F(StoreTest, ACrashInTheFirstCommitLeavesAnEmptyStore) {
  {
    Store store = open();
    commit(store, "one");
  }
  spit(directory_ / "current", "current: 0\n");
  Store store = open();
  EXPECT_EQ(store.current(), 0U);
  EXPECT_EQ(current_text(store), "");
  EXPECT_FALSE(fs::exists(directory_ / "0001.yaml"));
  EXPECT_EQ(commit(store, "again"), 1U);
}

TEST_F(StoreTest, ThePointerIsThereBeforeTheFirstVersion) {
  Store store = open();
  const auto staged = store.stage({"one", "root", "", {}, {}, true, {}, {}});
  ASSERT_TRUE(staged);
  EXPECT_EQ(slurp(directory_ / "current"), "current: 0\n");
}

TEST_F(StoreTest, NonsenseInThePointerIsRefusedNotFollowed) {
  { static_cast<void>(open()); }
  for (const char* text :
       {"", "x", "current: ", "current: -1", "current: 99999999999999999999999",
        "current: 1\npending: 2\nreverts-to: 0\ndeadline: 5\n", "current: 1\npending: 1\n", "current: 5"}) {
    spit(directory_ / "current", text);
    const Store store = open();
    EXPECT_FALSE(store.load_current()) << text;
    EXPECT_EQ(store.current(), 0U) << text;
    EXPECT_FALSE(store.pending()) << text;
  }
  Store store = open();
  EXPECT_EQ(commit(store, "one"), 1U);
  EXPECT_EQ(current_text(open()), "one");
}

TEST_F(StoreTest, AFullDiskLeavesTheOldState) {
  Store store = open();
  commit(store, "one");
  // A file size limit is a full disk that a test can have: write(2) fails, here with EFBIG.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto refused = store.commit({std::string(100'000, 'x'), "root", "", {}, {}, true, {}, {}});
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(store.current(), 1U);
  EXPECT_EQ(current_text(store), "one");
  EXPECT_EQ(current_text(open()), "one");
  EXPECT_EQ(commit(store, "two"), 2U);
}

TEST_F(StoreTest, AFolderThatCannotBeMadeIsNamed) {
  spit(folder_.path() / "file", "x");
  const auto store = Store::open(folder_.path() / "file" / "config", clock_);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().what, HasSubstr("file"));
}

GatewayConfig named(std::vector<std::string> domains, std::vector<std::string> tunnels) {
  GatewayConfig config;
  for (auto& name : domains) config.domains.push_back({std::move(name), std::nullopt, {}});
  for (auto& name : tunnels) config.tunnels.emplace_back().name = std::move(name);
  return config;
}

class IdsTest : public ::testing::Test {
 protected:
  IdRegistry open() {
    auto registry = IdRegistry::open(folder_.path());
    EXPECT_TRUE(registry) << registry.error().message();
    return std::move(*registry);
  }
  TemporaryFolder folder_;
};

TEST_F(IdsTest, AreStableOverRestartsAndNeverZero) {
  {
    IdRegistry ids = open();
    ASSERT_TRUE(ids.assign(named({"prod"}, {"paris", "berlin"})));
    EXPECT_EQ(ids.tunnel("paris"), TunnelId(1));
    EXPECT_EQ(ids.domain("prod"), DomainId(1));
  }
  IdRegistry ids = open();
  EXPECT_EQ(ids.tunnel("paris"), TunnelId(1));
  EXPECT_EQ(ids.tunnel("berlin"), TunnelId(2));
  EXPECT_EQ(ids.tunnel_name(TunnelId(2)), "berlin");
  EXPECT_EQ(ids.domain_name(DomainId(1)), "prod");
  EXPECT_FALSE(ids.tunnel("rome"));
  EXPECT_FALSE(ids.tunnel_name(TunnelId(9)));
}

TEST_F(IdsTest, ANumberIsNeverGivenTwice) {
  IdRegistry ids = open();
  ASSERT_TRUE(ids.assign(named({}, {"paris"})));
  ASSERT_TRUE(ids.retain(named({}, {})));
  EXPECT_FALSE(ids.tunnel("paris"));
  IdRegistry again = open();
  ASSERT_TRUE(again.assign(named({}, {"rome"})));
  EXPECT_EQ(again.tunnel("rome"), TunnelId(2));
}

TEST_F(IdsTest, ADamagedFileIsRefused) {
  for (const char* text : {"x", "tunnel paris", "tunnel paris 0", "tunnel * 9\ntunnel a 1\ntunnel b 1\n",
                           "tunnel * 9\ntunnel a 1\ntunnel a 2\n", "tunnel * 1\ntunnel a 5\n",
                           "tunnel * 9\ntunnel ../x 1\n", "tunnel a 99999999999\n", "tunnel * 9 9\n"}) {
    std::ofstream(folder_.path() / "ids", std::ios::trunc) << text;
    EXPECT_FALSE(IdRegistry::open(folder_.path())) << text;
  }
}

}  // namespace
}  // namespace simplon::config
