// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/process.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "platform/sys/file.h"

namespace simplon::sys {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

template <class Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (!condition() && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(1ms);
  return condition();
}

class ProcessTest : public ::testing::Test {
 protected:
  std::string directory_ = ::testing::TempDir() + "process-" + std::to_string(::getpid());
  void SetUp() override { ASSERT_TRUE(make_directories(directory_, 0700)); }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string log() const { return directory_ + "/log"; }
  static ServiceSpec script(const std::string& text) { return {"s", {}, {"/bin/sh", "-c", text}, {}}; }
  [[nodiscard]] std::string said() const { return read_file(log(), 10000).value_or(""); }
};

TEST_F(ProcessTest, RunsDetachedWithItsEnvironmentAndLog) {
  auto spec = script("echo $GREETING; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l; sleep 60");
  spec.environment = {"GREETING=hello"};
  const auto process = spawn_detached(spec, log());
  ASSERT_TRUE(process) << process.error().message();
  EXPECT_TRUE(eventually([&] { return said() == "hello\n/dev/null\n4\n"; })) << said();
  EXPECT_TRUE(process_alive(*process));
  EXPECT_NE(::getsid(process->pid), ::getsid(0));
  EXPECT_EQ(::waitpid(process->pid, nullptr, WNOHANG), -1) << "it is not our child";
  EXPECT_TRUE(signal_process(*process, SIGTERM));
  EXPECT_TRUE(eventually([&] { return !process_alive(*process); }));
  EXPECT_TRUE(signal_process(*process, SIGTERM)) << "idempotent";
}

TEST_F(ProcessTest, WhatCannotBeStartedIsNamed) {
  EXPECT_THAT(spawn_detached({"s", {}, {"/nonexistent/program"}, {}}, log()).error().what,
              AllOf(HasSubstr("/nonexistent/program"), HasSubstr("No such file")));
  EXPECT_EQ(spawn_detached({"s", {}, {"sh"}, {}}, log()).error().code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(spawn_detached({"s", "no-such-namespace", {"/bin/true"}, {}}, log()).error().what,
              HasSubstr("no-such-namespace"));
}

TEST_F(ProcessTest, AReusedPidIsSomebodyElse) {
  auto self = identify_process(::getpid());
  ASSERT_TRUE(self);
  EXPECT_TRUE(process_alive(*self));
  --self->start_ticks;
  EXPECT_FALSE(process_alive(*self));
  EXPECT_TRUE(signal_process(*self, SIGKILL)) << "and is not signalled";
}

TEST_F(ProcessTest, PidFiles) {
  const auto path = directory_ + "/pid";
  EXPECT_EQ(read_pid_file(path).value(), std::nullopt);
  const ProcessId process{17, 123456789};
  ASSERT_TRUE(write_pid_file(path, process));
  EXPECT_EQ(read_pid_file(path).value(), process);
  ASSERT_TRUE(write_file_atomically(path, "nonsense", 0644));
  EXPECT_EQ(read_pid_file(path).error().code, ErrorCode::kInvalidConfig);
}

TEST_F(ProcessTest, TheSupervisorFindsItsServicesAgain) {
  const ServiceSpec spec{"sleeper", {}, {"/bin/sleep", "60"}, {}};
  {
    const auto supervisor = make_process_supervisor(directory_ + "/services");
    EXPECT_FALSE(supervisor->running("sleeper").value());
    ASSERT_TRUE(supervisor->start(spec));
    ASSERT_TRUE(supervisor->start(spec));
  }
  const auto supervisor = make_process_supervisor(directory_ + "/services");
  EXPECT_TRUE(supervisor->running("sleeper").value());
  const auto first = read_pid_file(directory_ + "/services/sleeper.pid").value();
  ASSERT_TRUE(supervisor->start(spec));
  EXPECT_EQ(read_pid_file(directory_ + "/services/sleeper.pid").value(), first) << "what runs is left alone";
  ASSERT_TRUE(supervisor->request_stop("sleeper"));
  EXPECT_TRUE(eventually([&] { return !supervisor->running("sleeper").value(); }));
  EXPECT_TRUE(supervisor->request_stop("sleeper")) << "idempotent";
  EXPECT_FALSE(supervisor->start({"../x", {}, {"/bin/true"}, {}}));
}

}  // namespace
}  // namespace simplon::sys
