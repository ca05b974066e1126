// SPDX-License-Identifier: GPL-2.0-or-later
//
// A disk that fails at the n-th call, for every n. The linker sends write, fsync, fdatasync and rename of the libraries
// under test here (--wrap), so what runs is the product's code without a hook in it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "gateway/audit/audit_log.h"
#include "gateway/config/store.h"
#include "tests/unit/config/sample.h"

namespace {

/// Calls until the fault; negative: none.
long left = -1;
bool for_ever = false;
int fault = EIO;
long calls = 0;

bool fails() {
  ++calls;
  if (left < 0) return false;
  if (left > 0) {
    --left;
    return false;
  }
  if (!for_ever) left = -1;
  errno = fault;
  return true;
}

}  // namespace

extern "C" {
ssize_t __real_write(int fd, const void* data, size_t bytes);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_rename(const char* from, const char* to);
ssize_t __wrap_write(int fd, const void* data, size_t bytes);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_rename(const char* from, const char* to);

ssize_t __wrap_write(int fd, const void* data, size_t bytes) {
  if (fd > 2 && fails()) return -1;
  return __real_write(fd, data, bytes);
}
int __wrap_fsync(int fd) { return fails() ? -1 : __real_fsync(fd); }
int __wrap_fdatasync(int fd) { return fails() ? -1 : __real_fdatasync(fd); }
int __wrap_rename(const char* from, const char* to) { return fails() ? -1 : __real_rename(from, to); }
}

namespace simplon::config {
namespace {

namespace fs = std::filesystem;

class DiskFaultTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { heal(); }
  void TearDown() override { heal(); }

  static void heal() {
    left = -1;
    for_ever = false;
  }
  static void break_at(long call, bool stays) {
    left = call;
    for_ever = stays;
    fault = GetParam();
  }
  static Store::CommitRequest request(const std::string& text) {
    Store::CommitRequest made;
    made.text = text;
    made.who = "test";
    made.confirm_within = std::chrono::seconds(60);
    return made;
  }

  TemporaryFolder folder_;
  SystemWallClock clock_;
};

TEST_P(DiskFaultTest, ACommitThatFailsLeavesTheOldStateWhereverItFails) {
  long total = 0;
  for (long call = 0;; ++call) {
    const fs::path directory = folder_.path() / std::to_string(call);
    auto store = Store::open(directory, clock_).value();
    ASSERT_TRUE(store.commit(request("old")));
    ASSERT_TRUE(store.confirm());
    break_at(call, false);
    const auto committed = store.commit(request("new"));
    const bool hit = left < 0;
    heal();
    if (!hit) {
      ASSERT_TRUE(committed);
      total = call;
      break;
    }
    ASSERT_FALSE(committed) << "call " << call;
    EXPECT_EQ(committed.error().code, fault == ENOSPC ? ErrorCode::kExhausted : ErrorCode::kUnavailable);
    EXPECT_FALSE(committed.error().hint.empty());
    EXPECT_EQ(store.current(), 1U);
    EXPECT_FALSE(store.pending());
    const auto again = Store::open(directory, clock_);
    ASSERT_TRUE(again) << "call " << call << ": " << again.error().message();
    EXPECT_EQ(again->current(), 1U) << "call " << call;
    EXPECT_EQ(again->load_current()->text, "old");
    EXPECT_FALSE(again->pending());
    // And the store still works.
    ASSERT_TRUE(store.commit(request("newer")));
    EXPECT_EQ(Store::open(directory, clock_)->load_current()->text, "newer");
  }
  EXPECT_GE(total, 12);  // three files of four calls each
}

TEST_P(DiskFaultTest, ADiskThatStaysBrokenLeavesOneWholeState) {
  for (long call = 0; call < 12; ++call) {
    const fs::path directory = folder_.path() / ("stays-" + std::to_string(call));
    auto store = Store::open(directory, clock_).value();
    ASSERT_TRUE(store.commit(request("old")));
    ASSERT_TRUE(store.confirm());
    break_at(call, true);
    EXPECT_FALSE(store.commit(request("new")));
    heal();
    EXPECT_EQ(store.current(), 1U);
    const auto again = Store::open(directory, clock_);
    ASSERT_TRUE(again) << "call " << call << ": " << again.error().message();
    const auto text = again->load_current()->text;
    EXPECT_TRUE(text == "old" || text == "new") << text;
    // If the new one, then with its probation: it goes back by itself.
    EXPECT_TRUE(text == "old" || again->pending());
  }
}

TEST_P(DiskFaultTest, AnAuditEntryIsWrittenLaterInstead) {
  for (long call = 0; call < 6; ++call) {
    const fs::path directory = folder_.path() / ("audit-" + std::to_string(call));
    auto log = audit::Log::open(directory, {}).value();
    audit::Event event;
    event.who = "test";
    event.action = "apply";
    event.outcome = "done";
    ASSERT_TRUE(log->append(event));
    break_at(call, false);
    const auto written = log->append(event);
    heal();
    EXPECT_TRUE(written || log->problem());
    ASSERT_TRUE(log->append(event));
    EXPECT_FALSE(log->problem());
    audit::VerifyOptions options;
    options.log = directory / "audit.log";
    const auto verdict = audit::verify(options);
    ASSERT_TRUE(verdict);
    EXPECT_TRUE(verdict->sound()) << call << ": " << verdict->faults.front().what;
    EXPECT_EQ(verdict->lines, 3U) << call;
  }
}

INSTANTIATE_TEST_SUITE_P(Errors, DiskFaultTest, ::testing::Values(EIO, ENOSPC),
                         [](const auto& tested) { return tested.param == EIO ? "Eio" : "Enospc"; });

}  // namespace
}  // namespace simplon::config
