// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/service_notify.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "platform/sys/unique_fd.h"

namespace simplon::sys {
namespace {

using namespace std::chrono_literals;

/// The service manager's end of $NOTIFY_SOCKET.
class ServiceNotifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    struct sockaddr_un address {};
    address.sun_family = AF_UNIX;
    path_ = ::testing::TempDir() + "notify-" + std::to_string(::getpid());
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    manager_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(manager_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address), 0);
    ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  }
  void TearDown() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"}) ::unsetenv(name);
    ::unlink(path_.c_str());
  }
  std::string received() {
    char text[256];
    const auto got = ::recv(manager_.get(), text, sizeof text, 0);
    return got < 0 ? "" : std::string(text, static_cast<std::size_t>(got));
  }

  std::string path_;
  UniqueFd manager_;
};

TEST_F(ServiceNotifyTest, SaysReadyAliveAndStopping) {
  notify_ready("serving /run/x");
  EXPECT_EQ(received(), "READY=1\nSTATUS=serving /run/x");
  notify_alive();
  EXPECT_EQ(received(), "WATCHDOG=1");
  notify_stopping();
  EXPECT_EQ(received(), "STOPPING=1");
}

TEST_F(ServiceNotifyTest, WithoutAServiceManagerNothingHappens) {
  ::unsetenv("NOTIFY_SOCKET");
  notify_ready("x");
  notify_alive();
  EXPECT_EQ(received(), "");
  EXPECT_EQ(watchdog_interval(), std::nullopt);
}

TEST_F(ServiceNotifyTest, TheWatchdogIsFedTwicePerPeriod) {
  ::setenv("WATCHDOG_USEC", "10000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(watchdog_interval(), 5s);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(watchdog_interval(), std::nullopt) << "it watches another process";
}

TEST_F(ServiceNotifyTest, AChildOfAUnitIsNotTheUnit) {
  EXPECT_FALSE(runs_as_systemd_unit());
  ::setenv("SYSTEMD_EXEC_PID", "1", 1);
  EXPECT_FALSE(runs_as_systemd_unit());
}

}  // namespace
}  // namespace simplon::sys
