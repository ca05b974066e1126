// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/service_notify.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <future>
#include <utility>

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

TEST_F(ServiceNotifyTest, StoresADescriptorAndWaitsForTheManager) {
  // The manager's side: takes a message and its descriptor.
  const auto take = [this] {
    char text[256];
    struct iovec data {text, sizeof text};
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct msghdr message {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    struct pollfd polled {manager_.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&polled, 1, 5000), 1);
    const auto got = ::recvmsg(manager_.get(), &message, MSG_CMSG_CLOEXEC);
    std::pair<std::string, UniqueFd> taken;
    if (got > 0) taken.first.assign(text, static_cast<std::size_t>(got));
    int fd = -1;
    if (const auto* head = CMSG_FIRSTHDR(&message); head != nullptr) std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
    taken.second.reset(fd);
    return taken;
  };
  EXPECT_TRUE(has_service_manager());
  auto storing = std::async(std::launch::async, [this] { return store_descriptor("devices", manager_.get()); });
  const auto stored = take();
  EXPECT_EQ(stored.first, "FDSTORE=1\nFDNAME=devices\nFDPOLL=0");
  struct stat given {}, kept {};
  EXPECT_EQ(::fstat(manager_.get(), &given), 0);
  EXPECT_EQ(::fstat(stored.second.get(), &kept), 0);
  EXPECT_EQ(given.st_ino, kept.st_ino);
  EXPECT_EQ(take().first, "BARRIER=1");
  const auto done = storing.get();
  EXPECT_TRUE(done) << done.error().message();
  forget_stored_descriptors("devices");
  EXPECT_EQ(received(), "FDSTOREREMOVE=1\nFDNAME=devices");
}

TEST_F(ServiceNotifyTest, WithoutAServiceManagerNothingHappens) {
  ::unsetenv("NOTIFY_SOCKET");
  notify_ready("x");
  notify_alive();
  EXPECT_EQ(received(), "");
  EXPECT_EQ(watchdog_interval(), std::nullopt);
  EXPECT_FALSE(has_service_manager());
  EXPECT_FALSE(store_descriptor("x", 0));
  EXPECT_TRUE(take_passed_descriptors().empty());
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
