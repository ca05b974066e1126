// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/audit/audit_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace simplon::audit {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class AuditLogTest : public ::testing::Test {
 protected:
  AuditLogTest() {
    std::string pattern = fs::temp_directory_path() / "simplon-audit-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~AuditLogTest() override { fs::remove_all(folder_); }

  std::unique_ptr<Log> open(std::size_t max_file_bytes = 4U << 20, std::size_t max_waiting = 1000) {
    Log::Options options;
    options.max_file_bytes = max_file_bytes;
    options.max_waiting = max_waiting;
    options.kept_files = 3;
    options.now = [] { return std::chrono::system_clock::time_point(std::chrono::seconds(1'800'000'000)); };
    auto log = Log::open(folder_, options);
    EXPECT_TRUE(log) << log.error().message();
    return std::move(*log);
  }
  static Event event(const std::string& detail) {
    Event made;
    made.who = "alice";
    made.uid = 1000;
    made.action = "apply";
    made.outcome = "done";
    made.version = 7;
    made.detail = detail;
    return made;
  }
  void write(int count) {
    const auto log = open();
    for (int i = 0; i < count; ++i) ASSERT_TRUE(log->append(event("change " + std::to_string(i))));
  }
  Verdict verdict() const {
    VerifyOptions options;
    options.log = file("audit.log");
    const auto verified = verify(options);
    EXPECT_TRUE(verified) << verified.error().message();
    return verified.value_or(Verdict{});
  }
  std::string file(const std::string& name) const { return folder_ / name; }
  std::string slurp(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(file(name)).rdbuf();
    return text.str();
  }
  void spit(const std::string& name, const std::string& text) const { std::ofstream(file(name), std::ios::trunc) << text; }

  fs::path folder_;
};

TEST_F(AuditLogTest, EntriesAreSignedChainedAndFound) {
  write(3);
  const auto found = verdict();
  EXPECT_TRUE(found.sound()) << found.faults.front().what;
  EXPECT_EQ(found.lines, 3U);
  EXPECT_EQ(found.last, 3U);
  struct stat info {};
  ASSERT_EQ(::stat(file("audit.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  const auto lines = open()->tail(2);
  ASSERT_EQ(lines.size(), 2U);
  const auto last = nlohmann::json::parse(lines.back());
  EXPECT_EQ(last["who"], "alice");
  EXPECT_EQ(last["uid"], 1000);
  EXPECT_EQ(last["detail"], "change 2");
  EXPECT_EQ(last["when"], "2027-01-15T08:00:00Z");
}

TEST_F(AuditLogTest, ANewLifeGoesOnWithTheChain) {
  write(2);
  write(2);
  const auto found = verdict();
  EXPECT_TRUE(found.sound());
  EXPECT_EQ(found.last, 4U);
}

TEST_F(AuditLogTest, EveryFlippedByteIsFoundAtItsLine) {
  write(3);
  const std::string good = slurp("audit.log");
  std::size_t line = 1;
  for (std::size_t at = 0; at < good.size(); ++at) {
    const bool is_end = good[at] == '\n';
    // Signatures cost time: every byte of the middle line, every seventh of the others.
    if (line == 2 || at % 7 == 0 || is_end) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      spit("audit.log", bad);
      const auto found = verdict();
      ASSERT_FALSE(found.sound()) << at;
      EXPECT_EQ(found.faults.front().line, line) << at << ": " << found.faults.front().what;
      EXPECT_TRUE(is_end || found.faults.size() == 1U) << at << ": " << found.faults.back().what;
    }
    if (is_end) ++line;
  }
}

TEST_F(AuditLogTest, MissingRepeatedAndCutOffEntriesAreNamed) {
  write(5);
  const std::string good = slurp("audit.log");
  std::vector<std::string> lines;
  std::istringstream stream(good);
  for (std::string line; std::getline(stream, line);) lines.push_back(line + "\n");
  const auto with = [&](const std::vector<std::size_t>& wanted) {
    std::string text;
    for (const auto index : wanted) text += lines[index];
    spit("audit.log", text);
    return verdict().faults;
  };
  auto faults = with({0, 1, 3, 4});
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(faults.front().line, 3U);
  EXPECT_THAT(faults.front().what, HasSubstr("entry 3 is missing"));
  EXPECT_FALSE(with({0, 1, 2, 2, 3, 4}).empty());
  EXPECT_FALSE(with({0, 2, 1, 3, 4}).empty());
  faults = with({0, 1, 2});
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_THAT(faults.front().what, HasSubstr("entries 4 to 5 are cut off at the end"));
  faults = with({1, 2, 3, 4});
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_THAT(faults.front().what, HasSubstr("entry 1 is missing at the beginning"));
  faults = with({0, 1, 2, 3, 4});
  EXPECT_TRUE(faults.empty());
  spit("audit.head", "{}");
  EXPECT_FALSE(verdict().sound());
  fs::remove(file("audit.head"));
  EXPECT_FALSE(verdict().sound());
}

TEST_F(AuditLogTest, AnotherKeyFitsNoLine) {
  write(2);
  const std::string log = slurp("audit.log");
  const std::string head = slurp("audit.head");
  for (const char* name : {"audit.log", "audit.head", "audit.key", "audit.pub"}) fs::remove(file(name));
  write(1);
  spit("audit.log", log);
  spit("audit.head", head);
  EXPECT_EQ(verdict().faults.size(), 3U);
}

TEST_F(AuditLogTest, AKillBetweenLineAndHeadLosesNothing) {
  write(2);
  const std::string head = slurp("audit.head");
  write(1);
  spit("audit.head", head);
  EXPECT_TRUE(verdict().sound());
  const auto log = open();
  EXPECT_FALSE(log->problem());
  EXPECT_EQ(log->sequence(), 3U);
  ASSERT_TRUE(log->append(event("after")));
  EXPECT_TRUE(verdict().sound());
}

TEST_F(AuditLogTest, AKillAfterARotationLosesNothing) {
  // After `lines` lines of a new file, of which the head has not heard; and after a part of a line.
  for (const int lines : {1, 2, 0}) {
    fs::remove_all(folder_);
    std::string head;
    {
      const auto log = open(2000);
      for (int i = 0; !fs::exists(file("audit.log.2")); ++i) {
        head = slurp("audit.head");
        ASSERT_TRUE(log->append(event("change " + std::to_string(i))));
      }
      if (lines == 2) {
        ASSERT_TRUE(log->append(event("one more")));
      }
    }
    const auto written = verdict().last;
    spit("audit.head", head);
    if (lines == 0) spit("audit.log", slurp("audit.log").substr(0, 20));
    const auto log = open(2000);
    EXPECT_FALSE(log->problem()) << log->problem()->what;
    EXPECT_EQ(log->sequence(), lines == 0 ? written - 1 : written);
    ASSERT_TRUE(log->append(event("after")));
    const auto found = verdict();
    EXPECT_TRUE(found.sound()) << found.faults.front().what;
    EXPECT_EQ(found.last, lines == 0 ? written : written + 1);
  }
}

TEST_F(AuditLogTest, ALineWithoutItsEndIsRemoved) {
  write(2);
  const std::string good = slurp("audit.log");
  spit("audit.log", good + R"({"audit":1,"seq":3,"wh)");
  const auto log = open();
  EXPECT_FALSE(log->problem());
  ASSERT_TRUE(log->append(event("after")));
  EXPECT_TRUE(verdict().sound());
  EXPECT_EQ(verdict().lines, 3U);
}

TEST_F(AuditLogTest, ALogThatWasCutIsContinuedAndTheGapStays) {
  write(3);
  const std::string good = slurp("audit.log");
  spit("audit.log", good.substr(0, good.find('\n') + 1));
  {
    const auto log = open();
    ASSERT_TRUE(log->problem());
    EXPECT_THAT(log->problem()->what, HasSubstr("entry 3"));
    ASSERT_TRUE(log->append(event("after")));
  }
  const auto found = verdict();
  ASSERT_EQ(found.faults.size(), 1U);
  EXPECT_EQ(found.faults.front().line, 2U);
  EXPECT_THAT(found.faults.front().what, HasSubstr("entries 2 to 3 are missing"));
  EXPECT_EQ(found.lines, 3U);
  EXPECT_THAT(slurp("audit.log"), HasSubstr(R"("action":"audit","outcome":"refused","version":0,"subject":"","detail":"the audit log does not contain entry 3)"));
}

/// Whoever cuts the log and takes its head away leaves a gap that stays, through restarts and rotations.
TEST_F(AuditLogTest, ALogWithoutItsHeadHasAGapThatStays) {
  for (const bool removed : {true, false}) {
    fs::remove_all(folder_);
    write(5);
    std::string cut = slurp("audit.log");
    for (int i = 0; i < 2; ++i) cut.resize(cut.rfind('\n', cut.size() - 2) + 1);
    spit("audit.log", cut);
    if (removed) {
      fs::remove(file("audit.head"));
    } else {
      spit("audit.head", "{}\n");
    }
    {
      const auto log = open(3000);
      ASSERT_TRUE(log->problem());
      EXPECT_THAT(log->problem()->what, HasSubstr("audit.head is missing or was changed"));
      EXPECT_EQ(log->sequence(), 5U);
      const auto entry = nlohmann::json::parse(log->tail(1).front());
      EXPECT_EQ(entry["action"], "audit");
      EXPECT_THAT(entry["detail"].get<std::string>(), HasSubstr("entries after 3 may be gone, and none has number 4"));
      for (int i = 0; i < 3; ++i) ASSERT_TRUE(log->append(event("after")));
    }
    const auto log = open();
    EXPECT_FALSE(log->problem());
    EXPECT_EQ(log->sequence(), 8U);
    const auto found = verdict();
    ASSERT_EQ(found.faults.size(), 1U);
    EXPECT_THAT(found.faults.front().what, HasSubstr("entry 4 is missing before this line"));
    EXPECT_EQ(found.first, 1U);
  }
}

TEST_F(AuditLogTest, WithoutHeadTheOldestFileTellsTheFirstEntry) {
  {
    const auto log = open(2000);
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(log->append(event("change")));
  }
  const auto first = verdict().first;
  fs::remove(file("audit.head"));
  (void)open(1U << 20);
  EXPECT_EQ(verdict().faults.size(), 1U);
  EXPECT_EQ(verdict().first, first);
  fs::remove(file("audit.log.3"));
  EXPECT_EQ(verdict().faults.size(), 2U);
}

TEST_F(AuditLogTest, ALogThatIsGoneWithItsHeadIsNotANewOne) {
  EXPECT_TRUE(open()->tail(1).empty());
  (void)open();
  EXPECT_FALSE(fs::exists(file("audit.log")));
  fs::remove(file("audit.head"));
  const auto log = open();
  EXPECT_EQ(log->sequence(), 1U);
  EXPECT_THAT(log->tail(1).front(), HasSubstr("the log begins anew"));
  EXPECT_TRUE(verdict().sound());
}

TEST_F(AuditLogTest, AKillBetweenTheFirstLineAndItsHeadLosesNothing) {
  (void)open();
  const std::string head = slurp("audit.head");
  write(1);
  spit("audit.head", head);
  EXPECT_TRUE(verdict().sound());
  write(1);
  EXPECT_TRUE(verdict().sound());
  EXPECT_EQ(verdict().last, 2U);
}

/// The key was lost, or replaced: the former log stays what it was, and its successor says where it is.
TEST_F(AuditLogTest, ALogOfAnotherKeyIsMovedAside) {
  for (const bool replaced : {false, true}) {
    fs::remove_all(folder_);
    std::string another;
    if (replaced) {
      write(1);
      another = slurp("audit.key");
      fs::remove_all(folder_);
    }
    write(3);
    fs::remove(file("audit.key"));
    if (replaced) {
      spit("audit.key", another);
      fs::permissions(file("audit.key"), fs::perms::owner_read);
    }
    const auto log = open();
    ASSERT_TRUE(log->problem());
    EXPECT_THAT(log->tail(1).front(), HasSubstr("audit.former.1, a new one begins"));
    ASSERT_TRUE(log->append(event("after")));
    EXPECT_TRUE(verdict().sound());
    EXPECT_EQ(verdict().lines, 2U);
    VerifyOptions options;
    options.log = file("audit.former.1/audit.log");
    const auto former = verify(options);
    ASSERT_TRUE(former) << former.error().message();
    EXPECT_TRUE(former->sound());
    EXPECT_EQ(former->lines, 3U);
    EXPECT_FALSE(open()->problem());
  }
}

/// A public key that does not fit is wrong, not the log.
TEST_F(AuditLogTest, TheDamagedPublicKeyIsWrittenAnew) {
  write(2);
  const std::string good = slurp("audit.pub");
  for (const std::string& bad : {std::string("no key\n"), std::string()}) {
    spit("audit.pub", bad);
    EXPECT_FALSE(open()->problem());
    EXPECT_EQ(slurp("audit.pub"), good);
    EXPECT_TRUE(verdict().sound());
  }
}

TEST_F(AuditLogTest, WhatCouldNotBeWrittenIsWrittenLater) {
  const auto log = open();
  EXPECT_TRUE(log->catch_up());
  fs::create_directory(file("audit.log"));
  ASSERT_FALSE(log->append(event("first")));
  ASSERT_FALSE(log->append(event("second")));
  EXPECT_THAT(log->problem()->what, HasSubstr("2 entries are not in the audit log yet"));
  EXPECT_FALSE(log->catch_up());
  fs::remove(file("audit.log"));
  EXPECT_TRUE(log->catch_up());
  EXPECT_FALSE(log->problem());
  EXPECT_EQ(log->sequence(), 2U);
  // Now the head only.
  fs::remove(file("audit.head"));
  fs::create_directory(file("audit.head"));
  ASSERT_FALSE(log->append(event("third")));
  EXPECT_THAT(log->problem()->what, HasSubstr("the head of the audit log is behind"));
  fs::remove(file("audit.head"));
  EXPECT_TRUE(log->catch_up());
  EXPECT_FALSE(log->problem());
  EXPECT_TRUE(verdict().sound());
  EXPECT_EQ(verdict().last, 3U);
}

TEST_F(AuditLogTest, DeniedAttemptsGiveWayToChanges) {
  const auto log = open(4U << 20, 4);
  const auto denied = [](const std::string& detail) {
    Event made = event(detail);
    made.action = "denied";
    return made;
  };
  fs::create_directory(file("audit.log"));
  ASSERT_FALSE(log->append(event("change 1")));
  for (int i = 0; i < 20; ++i) ASSERT_FALSE(log->append(denied("attempt " + std::to_string(i))));
  ASSERT_FALSE(log->append(event("change 2")));
  ASSERT_FALSE(log->append(event("change 3")));
  fs::remove(file("audit.log"));
  ASSERT_TRUE(log->catch_up());
  std::vector<std::string> details;
  for (const auto& line : log->tail(10)) details.push_back(nlohmann::json::parse(line)["detail"]);
  EXPECT_THAT(details, ::testing::ElementsAre("change 1", "attempt 19", "change 2", "change 3",
                                              "19 entries were given up while the log could not be written"));
  // Nothing but changes waits: the next attempt is the one that is given up.
  fs::rename(file("audit.log"), file("aside"));
  fs::create_directory(file("audit.log"));
  for (int i = 4; i < 8; ++i) ASSERT_FALSE(log->append(event("change " + std::to_string(i))));
  ASSERT_FALSE(log->append(denied("attempt 20")));
  fs::remove(file("audit.log"));
  fs::rename(file("aside"), file("audit.log"));
  ASSERT_TRUE(log->catch_up());
  EXPECT_EQ(log->sequence(), 10U);
  EXPECT_TRUE(verdict().sound());
}

TEST_F(AuditLogTest, RotationIsBoundedAndKeepsTheChain) {
  const auto log = open(2000);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(log->append(event("change " + std::to_string(i))));
  EXPECT_TRUE(fs::exists(file("audit.log.3")));
  EXPECT_FALSE(fs::exists(file("audit.log.4")));
  const auto found = verdict();
  EXPECT_TRUE(found.sound()) << found.faults.front().what;
  EXPECT_GT(found.first, 1U);
  EXPECT_EQ(found.last, 40U);
  EXPECT_EQ(log->tail(10).size(), 10U);
  // A whole file that somebody removed is not rotation.
  fs::remove(file("audit.log.3"));
  EXPECT_FALSE(verdict().sound());
}

/// By rotation, too: the files have room for a handful of lines.
TEST_F(AuditLogTest, WhatIsAppendedMeanwhileIsNoFault) {
  const auto log = open(2000);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(log->append(event("before")));
  for (const int meanwhile : {1, 5, 40}) {
    bool done = false;
    VerifyOptions options;
    options.log = file("audit.log");
    options.on_line = [&](const std::string&, std::uint64_t) {
      for (int i = 0; !done && i < meanwhile; ++i) ASSERT_TRUE(log->append(event("meanwhile")));
      done = true;
    };
    const auto found = verify(options);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_TRUE(found->sound()) << meanwhile << ": " << found->faults.front().what;
  }
}

TEST_F(AuditLogTest, AFaultIsOneHoweverOftenTheLogChanges) {
  const auto log = open();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(log->append(event("before")));
  std::string bad = slurp("audit.log");
  bad[20] = static_cast<char>(bad[20] ^ 1);
  spit("audit.log", bad);
  int told = 0;
  VerifyOptions options;
  options.log = file("audit.log");
  options.on_line = [&](const std::string&, std::uint64_t) {
    if (++told < 100) {
      ASSERT_TRUE(log->append(event("meanwhile")));
    }
  };
  const auto found = verify(options);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->faults.size(), 1U);
  EXPECT_EQ(found->faults.front().line, 1U);
}

TEST_F(AuditLogTest, ADamagedKeyIsAnError) {
  write(1);
  spit("audit.key", "no key\n");
  const auto log = Log::open(folder_, {});
  ASSERT_FALSE(log);
  EXPECT_THAT(log.error().what, HasSubstr("audit.key"));
}

}  // namespace
}  // namespace simplon::audit
