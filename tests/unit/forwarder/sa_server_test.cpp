// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/sa_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "platform/sys/unix_socket.h"
#include "tests/unit/ipc/sa_wire.h"

namespace simplon::forwarder {
namespace {

using namespace std::chrono_literals;

class SaServerTest : public ::testing::Test {
 protected:
  std::string path_ = ::testing::TempDir() + "sa-" + std::to_string(::getpid()) + ".sock";
  boost::asio::io_context io_;
  std::vector<std::size_t> handled_;
  std::unique_ptr<SaServer> server_;

  void SetUp() override {
    auto server = SaServer::open(io_, path_, [this](const ipc::sa::Request& request) {
      handled_.push_back(request.body.index());
      return ipc::sa::encode_reply(request.sequence, SIMPLON_SA_OK, 42);
    });
    ASSERT_TRUE(server) << server.error().message();
    server_ = *std::move(server);
  }

  sys::UniqueFd connect() { return sys::connect_unix(path_, SOCK_SEQPACKET, true).value(); }

  static void send(const sys::UniqueFd& fd, const std::vector<std::uint8_t>& bytes) {
    ASSERT_EQ(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  static std::vector<std::uint8_t> hello(std::uint64_t session, std::uint32_t sequence = 1) {
    simplon_sa_hello body{};
    body.session = session;
    return test::sa_message(SIMPLON_SA_HELLO, sequence, body);
  }
  /// Type of the next message; -1: the connection is closed; 0: nothing came.
  int next(const sys::UniqueFd& fd) {
    for (int i = 0; i < 200; ++i) {
      io_.run_for(5ms);
      io_.restart();
      std::array<std::uint8_t, SIMPLON_SA_MAX_MESSAGE> buffer;
      const ssize_t got = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return -1;
      if (got > 0) {
        simplon_sa_header header{};
        std::memcpy(&header, buffer.data(), sizeof header);
        return header.type;
      }
    }
    return 0;
  }
};

TEST_F(SaServerTest, TheSocketIsForRootOnly) {
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0660U);
}

TEST_F(SaServerTest, RequestsAreAnswered) {
  const auto plugin = connect();
  send(plugin, hello(1));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
  send(plugin, test::sa_message(SIMPLON_SA_ALLOC_SPI, 2));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
  EXPECT_EQ(handled_.size(), 2U);
}

TEST_F(SaServerTest, WithoutADescriptorAClientWaits) {
  const auto plugin = connect();
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const sys::UniqueFd next_one(::fcntl(plugin.get(), F_DUPFD_CLOEXEC, 0));
  const struct rlimit none {static_cast<rlim_t>(next_one.get()), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  // Handlers that ran: a few attempts, not one after the other.
  const auto handlers = io_.run_for(250ms);
  io_.restart();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_LT(handlers, 20U);
  EXPECT_GT(handlers, 1U);
  send(plugin, hello(1));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
}

TEST_F(SaServerTest, AClientThatDoesNotGreetIsClosed) {
  const auto client = connect();
  send(client, test::sa_message(SIMPLON_SA_ALLOC_SPI, 1));
  EXPECT_EQ(next(client), -1);
  EXPECT_TRUE(handled_.empty());
}

TEST_F(SaServerTest, AMalformedBodyIsRefusedAndTheConnectionGoesOn) {
  const auto plugin = connect();
  send(plugin, hello(1));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
  send(plugin, test::sa_message(SIMPLON_SA_DELETE, 2, std::uint32_t{7}));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
  EXPECT_EQ(handled_.size(), 1U);
  send(plugin, test::sa_message(SIMPLON_SA_ALLOC_SPI, 3));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
}

TEST_F(SaServerTest, GarbageEndsTheConnection) {
  const auto plugin = connect();
  send(plugin, {1, 2, 3});
  EXPECT_EQ(next(plugin), -1);
}

TEST_F(SaServerTest, ANewPluginReplacesTheOldOneWhenItGreets) {
  const auto first = connect();
  send(first, hello(1));
  EXPECT_EQ(next(first), SIMPLON_SA_REPLY);
  const auto second = connect();
  io_.run_for(5ms);
  io_.restart();
  send(second, hello(2));
  EXPECT_EQ(next(second), SIMPLON_SA_REPLY);
  EXPECT_EQ(next(first), -1);
}

/// More than there may be at once.
TEST_F(SaServerTest, APluginThatWasReplacedTakesNoPlace) {
  std::vector<decltype(connect())> all;
  for (std::uint64_t session = 1; session <= 20; ++session) {
    all.push_back(connect());
    send(all.back(), hello(session));
    ASSERT_EQ(next(all.back()), SIMPLON_SA_REPLY) << session;
  }
}

TEST_F(SaServerTest, EventsWaitForAPluginOfTheSameSession) {
  const ipc::sa::Id id{IpAddress::v4(1), Spi(1), 50};
  auto plugin = connect();
  send(plugin, hello(1));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
  server_->send_event(ipc::sa::encode_expire(id, false));
  EXPECT_EQ(next(plugin), SIMPLON_SA_EXPIRE);
  plugin.reset();
  io_.run_for(20ms);
  io_.restart();
  server_->send_event(ipc::sa::encode_expire(id, true));
  plugin = connect();
  send(plugin, hello(1));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
  EXPECT_EQ(next(plugin), SIMPLON_SA_EXPIRE);
}

TEST_F(SaServerTest, EventsThatAPluginLeftUnreadWaitForTheNext) {
  auto plugin = connect();
  send(plugin, hello(1));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
  // More than the socket takes: the rest is queued in the server.
  constexpr std::uint32_t kEvents = 2000;
  for (std::uint32_t i = 0; i < kEvents; ++i) {
    server_->send_event(ipc::sa::encode_expire({IpAddress::v4(1), Spi(i), 50}, false));
  }
  send(plugin, test::sa_message(SIMPLON_SA_ALLOC_SPI, 2));
  std::uint32_t read = 0;
  const auto read_all = [&] {
    std::array<std::uint8_t, SIMPLON_SA_MAX_MESSAGE> buffer;
    while (::recv(plugin.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) ++read;
  };
  read_all();
  ASSERT_GT(read, 0U);
  ASSERT_LT(read, kEvents);
  plugin.reset();
  io_.run_for(20ms);
  io_.restart();
  plugin = connect();
  send(plugin, hello(1));
  EXPECT_EQ(next(plugin), SIMPLON_SA_REPLY);
  for (int i = 0; i < 200 && read < kEvents; ++i) {
    io_.run_for(5ms);
    io_.restart();
    read_all();
  }
  // Not the reply that the former connection was owed.
  EXPECT_EQ(read, kEvents);
}

TEST_F(SaServerTest, ASecondServerIsToldOfTheFirst) {
  const auto second = SaServer::open(io_, path_, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
}

}  // namespace
}  // namespace simplon::forwarder
