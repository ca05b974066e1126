// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/silent_prompt.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

#include "platform/sys/unique_fd.h"

namespace simplon::cli {
namespace {

class SilentPrompt : public ::testing::Test {
 protected:
  void SetUp() override {
    int master = -1, slave = -1;
    ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
    master_.reset(master);
    slave_.reset(slave);  // stays open: the last end that closes resets the terminal
    ASSERT_TRUE(echoes());
  }
  [[nodiscard]] bool echoes() const {
    termios now{};
    EXPECT_EQ(::tcgetattr(slave_.get(), &now), 0);
    return (now.c_lflag & ECHO) != 0;
  }
  /// A process that asks at the terminal; exits 0 if "secret" is the answer.
  pid_t ask() {
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(slave_.get(), STDIN_FILENO);
      std::ostringstream err;
      ::_exit(ask_silently(err, "? ") == "secret" ? 0 : 1);
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (echoes() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_FALSE(echoes());
    return child;
  }
  static int wait(pid_t child) {
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }
  sys::UniqueFd master_, slave_;
};

TEST_F(SilentPrompt, AnAnswerIsNotShown) {
  const pid_t child = ask();
  ASSERT_EQ(::write(master_.get(), "secret\n", 7), 7);
  const int status = wait(child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(echoes());
}

TEST_F(SilentPrompt, ASignalLeavesATerminalThatShowsWhatIsTyped) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const pid_t child = ask();
    ASSERT_EQ(::kill(child, signal), 0);
    const int status = wait(child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_TRUE(echoes()) << signal;
  }
}

}  // namespace
}  // namespace simplon::cli
