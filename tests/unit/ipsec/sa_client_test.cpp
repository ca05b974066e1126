// SPDX-License-Identifier: GPL-2.0-or-later
// The plugin's end of the SA protocol against a server that the test scripts: what charon would see when the forwarder
// is there, slow, gone, restarted or lying.
#include "ipsec/charon-plugin/sa_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Answers each message by `answer` in a thread of its own; HELLO with `instance`.
class Server {
 public:
  explicit Server(std::string path) : path_(std::move(path)) { open(); }
  ~Server() { close(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void open() {
    ::unlink(path_.c_str());
    listener_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    ASSERT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener_, 4), 0);
    stop_ = false;
    thread_ = std::thread([this] { serve(); });
  }

  void close() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    if (connection_ >= 0) ::close(connection_);
    connection_ = -1;
    ::close(listener_);
    ::unlink(path_.c_str());
  }

  void event(std::uint16_t type, const void* body, std::size_t length) {
    const std::lock_guard lock(mutex_);
    send(type, 0, body, length);
  }
  void raw(const std::vector<std::uint8_t>& bytes) {
    const std::lock_guard lock(mutex_);
    (void)::send(connection_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

  std::vector<std::uint16_t> types() {
    const std::lock_guard lock(mutex_);
    return types_;
  }

  std::atomic<std::uint64_t> instance{7};
  std::atomic<bool> silent{false};
  std::atomic<std::uint32_t> status{SIMPLON_SA_OK};
  std::atomic<std::uint64_t> value{0xc0000001};

 private:
  void serve() {
    while (!stop_) {
      pollfd polled[2] = {{listener_, POLLIN, 0}, {connection_, POLLIN, 0}};
      if (::poll(polled, connection_ >= 0 ? 2 : 1, 10) <= 0) continue;
      if (polled[0].revents != 0) {
        const std::lock_guard lock(mutex_);
        if (connection_ >= 0) ::close(connection_);
        connection_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        continue;
      }
      std::uint8_t buffer[SIMPLON_SA_MAX_MESSAGE];
      const ssize_t size = ::recv(connection_, buffer, sizeof(buffer), 0);
      const std::lock_guard lock(mutex_);
      if (size <= 0) {
        ::close(connection_);
        connection_ = -1;
        continue;
      }
      simplon_sa_header header{};
      std::memcpy(&header, buffer, sizeof(header));
      EXPECT_EQ(header.length, static_cast<std::uint32_t>(size));
      types_.push_back(header.type);
      if (silent && header.type != SIMPLON_SA_HELLO) continue;
      if (header.type == SIMPLON_SA_QUERY) {
        const simplon_sa_usage usage{status, 0, 1000, 10, 5};
        send(SIMPLON_SA_USAGE, header.sequence, &usage, sizeof(usage));
      } else {
        const bool hello = header.type == SIMPLON_SA_HELLO;
        const simplon_sa_reply reply{hello ? 0 : status.load(), 0, hello ? instance.load() : value.load()};
        send(SIMPLON_SA_REPLY, header.sequence, &reply, sizeof(reply));
      }
    }
  }

  void send(std::uint16_t type, std::uint32_t sequence, const void* body, std::size_t length) {
    std::vector<std::uint8_t> message(sizeof(simplon_sa_header) + length);
    const simplon_sa_header header{SIMPLON_SA_MAGIC, SIMPLON_SA_VERSION, type,
                                   static_cast<std::uint32_t>(message.size()), sequence};
    std::memcpy(message.data(), &header, sizeof(header));
    std::memcpy(message.data() + sizeof(header), body, length);
    (void)::send(connection_, message.data(), message.size(), MSG_NOSIGNAL);
  }

  std::string path_;
  int listener_ = -1;
  int connection_ = -1;
  std::atomic<bool> stop_{false};
  std::thread thread_;
  std::mutex mutex_;
  std::vector<std::uint16_t> types_;
};

class SaClientTest : public ::testing::Test {
 protected:
  SaClientTest() {
    directory_ = std::filesystem::temp_directory_path() / ("simplon-sa-" + std::to_string(::getpid()));
    std::filesystem::create_directories(directory_);
    path_ = directory_ / "sa.sock";
  }
  ~SaClientTest() override {
    stop();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    const sa_client_hooks hooks = {
        .user = this,
        .log = [](void* user,
                  const char* text) { self(user).note([&](auto& me) { me.log_ += std::string(text) + "\n"; }); },
        .expire =
            [](void* user, const simplon_sa_expire* event) {
              self(user).note([&](auto& me) { me.expired_.push_back({event->id.spi, event->hard}); });
            },
        .mapping =
            [](void* user, const simplon_sa_mapping* event) {
              self(user).note([&](auto& me) { me.mapped_.push_back(event->new_port); });
            },
        .lost =
            [](void* user) {
              if (self(user).when_lost_) self(user).when_lost_();
              self(user).note([](auto& me) { ++me.lost_; });
            },
    };
    client_ = sa_client_create(path_.c_str(), &hooks);
    ASSERT_NE(client_, nullptr);
    thread_ = std::thread([this] { sa_client_run(client_); });
  }
  void stop() {
    if (client_ == nullptr) return;
    sa_client_stop(client_);
    thread_.join();
    sa_client_destroy(client_);
    client_ = nullptr;
  }

  static bool until(const std::function<bool()>& condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  /// For conditions on what the hooks noted.
  bool noted(const std::function<bool()>& condition) {
    return until([&] {
      const std::lock_guard lock(mutex_);
      return condition();
    });
  }

  static SaClientTest& self(void* user) { return *static_cast<SaClientTest*>(user); }
  template <class Change>
  void note(Change change) {
    const std::lock_guard lock(mutex_);
    change(*this);
  }

  int alloc(std::uint64_t* spi = nullptr) { return sa_client_request(client_, SIMPLON_SA_ALLOC_SPI, nullptr, 0, spi); }
  int erase(std::uint32_t spi) {
    simplon_sa_id id{};
    id.spi = spi;
    return sa_client_deliver(client_, SIMPLON_SA_DELETE, &id, sizeof(id));
  }

  std::filesystem::path directory_;
  std::string path_;
  sa_client* client_ = nullptr;
  std::thread thread_;
  std::mutex mutex_;
  std::string log_;
  std::vector<std::pair<std::uint32_t, int>> expired_;
  std::vector<int> mapped_;
  int lost_ = 0;
  std::function<void()> when_lost_;
};

TEST_F(SaClientTest, GreetsThenAsks) {
  Server server(path_);
  start();
  std::uint64_t spi = 0;
  EXPECT_EQ(alloc(&spi), SIMPLON_SA_OK);
  EXPECT_EQ(spi, 0xc0000001u);
  EXPECT_THAT(server.types(), ElementsAre(SIMPLON_SA_HELLO, SIMPLON_SA_ALLOC_SPI));
}

TEST_F(SaClientTest, StatusesAndUsageArePassedOn) {
  Server server(path_);
  server.status = SIMPLON_SA_NOT_SUPPORTED;
  start();
  EXPECT_EQ(alloc(), SIMPLON_SA_NOT_SUPPORTED);
  server.status = SIMPLON_SA_OK;
  simplon_sa_id id{};
  simplon_sa_usage usage{};
  EXPECT_EQ(sa_client_query(client_, &id, &usage), SIMPLON_SA_OK);
  EXPECT_EQ(usage.bytes, 1000u);
  EXPECT_EQ(usage.packets, 10u);
  EXPECT_EQ(usage.last_use, 5u);
}

TEST_F(SaClientTest, ManyThreadsGetTheirOwnAnswers) {
  Server server(path_);
  start();
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        simplon_sa_id id{};
        simplon_sa_usage usage{};
        std::uint64_t spi = 0;
        if (alloc(&spi) == SIMPLON_SA_OK && spi == 0xc0000001u &&
            sa_client_query(client_, &id, &usage) == SIMPLON_SA_OK && usage.packets == 10) {
          ++good;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 1600);
}

TEST_F(SaClientTest, WithoutAForwarderItSaysSoAndDoesNotWaitEachTime) {
  start();
  EXPECT_EQ(alloc(), SA_CLIENT_UNAVAILABLE);
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(alloc(), SA_CLIENT_UNAVAILABLE);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(500));
  const std::lock_guard lock(mutex_);
  EXPECT_THAT(log_, HasSubstr("is simplon-forwarder running?"));
}

TEST_F(SaClientTest, ALateForwarderIsFound) {
  start();
  EXPECT_EQ(alloc(), SA_CLIENT_UNAVAILABLE);
  Server server(path_);
  EXPECT_TRUE(until([&] { return alloc() == SIMPLON_SA_OK; }));
}

TEST_F(SaClientTest, AForwarderThatStaysSilentIsGivenUp) {
  Server server(path_);
  start();
  ASSERT_EQ(alloc(), SIMPLON_SA_OK);
  server.silent = true;
  EXPECT_EQ(alloc(), SA_CLIENT_UNAVAILABLE);
  server.silent = false;
  EXPECT_TRUE(until([&] { return alloc() == SIMPLON_SA_OK; }));
}

TEST_F(SaClientTest, EventsReachTheirHooks) {
  Server server(path_);
  start();
  ASSERT_EQ(alloc(), SIMPLON_SA_OK);
  simplon_sa_expire expire{};
  expire.id.spi = 0xc0000001;
  expire.hard = 1;
  server.event(SIMPLON_SA_EXPIRE, &expire, sizeof(expire));
  simplon_sa_mapping mapping{};
  mapping.new_port = 40044;
  server.event(SIMPLON_SA_MAPPING, &mapping, sizeof(mapping));
  EXPECT_TRUE(noted([&] { return expired_.size() == 1 && mapped_.size() == 1; }));
  EXPECT_EQ(expired_.front(), std::make_pair(0xc0000001u, 1));
  EXPECT_EQ(mapped_.front(), 40044);
}

TEST_F(SaClientTest, ARestartedForwarderHasLostOurSas) {
  Server server(path_);
  start();
  ASSERT_EQ(alloc(), SIMPLON_SA_OK);
  server.close();
  server.instance = 8;
  server.open();
  EXPECT_TRUE(noted([&] { return lost_ == 1; }));
  EXPECT_TRUE(until([&] { return alloc() == SIMPLON_SA_OK; }));
  EXPECT_EQ(lost_, 1);
}

TEST_F(SaClientTest, TheLossIsToldBeforeAnybodyReachesTheNewInstance) {
  Server server(path_);
  start();
  ASSERT_EQ(alloc(), SIMPLON_SA_OK);
  std::vector<std::uint16_t> types;
  when_lost_ = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    types = server.types();
  };
  server.close();
  server.instance = 8;
  // One that was sent before the client noticed the end has no answer.
  std::thread waiting([this] { EXPECT_TRUE(until([this] { return alloc() == SIMPLON_SA_OK; })); });
  server.open();
  waiting.join();
  EXPECT_TRUE(noted([&] { return lost_ == 1; }));
  EXPECT_THAT(types, ElementsAre(SIMPLON_SA_HELLO, SIMPLON_SA_ALLOC_SPI, SIMPLON_SA_HELLO));
}

TEST_F(SaClientTest, ALostConnectionAloneLosesNothing) {
  Server server(path_);
  start();
  ASSERT_EQ(alloc(), SIMPLON_SA_OK);
  server.close();
  server.open();
  EXPECT_TRUE(until([&] { return alloc() == SIMPLON_SA_OK; }));
  EXPECT_EQ(lost_, 0);
}

TEST_F(SaClientTest, WhatIsOwedIsSentInOrderBeforeAnythingElse) {
  Server server(path_);
  start();
  ASSERT_EQ(alloc(), SIMPLON_SA_OK);
  server.close();
  EXPECT_EQ(erase(0xc0000001), SA_CLIENT_UNAVAILABLE);
  const simplon_sa_policy policy{};
  EXPECT_EQ(sa_client_deliver(client_, SIMPLON_SA_ADD_POLICY, &policy, sizeof(policy)), SA_CLIENT_UNAVAILABLE);
  EXPECT_EQ(erase(0xc0000002), SA_CLIENT_UNAVAILABLE);
  const std::size_t before = server.types().size();
  server.open();
  EXPECT_TRUE(until([&] { return alloc() == SIMPLON_SA_OK; }));
  auto types = server.types();
  types.erase(types.begin(), types.begin() + static_cast<std::ptrdiff_t>(before));
  EXPECT_THAT(types, ElementsAre(SIMPLON_SA_HELLO, SIMPLON_SA_DELETE, SIMPLON_SA_ADD_POLICY, SIMPLON_SA_DELETE,
                                 SIMPLON_SA_ALLOC_SPI));
}

TEST_F(SaClientTest, NothingIsOwedToAnotherInstance) {
  Server server(path_);
  start();
  ASSERT_EQ(alloc(), SIMPLON_SA_OK);
  server.close();
  EXPECT_EQ(erase(0xc0000001), SA_CLIENT_UNAVAILABLE);
  const std::size_t before = server.types().size();
  server.instance = 8;
  server.open();
  EXPECT_TRUE(until([&] { return alloc() == SIMPLON_SA_OK; }));
  auto types = server.types();
  types.erase(types.begin(), types.begin() + static_cast<std::ptrdiff_t>(before));
  types.resize(2);
  EXPECT_THAT(types, ElementsAre(SIMPLON_SA_HELLO, SIMPLON_SA_ALLOC_SPI));
}

TEST_F(SaClientTest, BrokenMessagesEndTheConnectionAndNothingElse) {
  Server server(path_);
  start();
  simplon_sa_header lying{SIMPLON_SA_MAGIC, SIMPLON_SA_VERSION, SIMPLON_SA_EXPIRE, 4000, 0};
  simplon_sa_header other_version{SIMPLON_SA_MAGIC, 9, SIMPLON_SA_REPLY, sizeof(lying), 0};
  for (const simplon_sa_header& header : {lying, other_version}) {
    ASSERT_TRUE(until([&] { return alloc() == SIMPLON_SA_OK; }));
    std::vector<std::uint8_t> bytes(sizeof(header));
    std::memcpy(bytes.data(), &header, sizeof(header));
    server.raw(bytes);
  }
  ASSERT_TRUE(until([&] { return alloc() == SIMPLON_SA_OK; }));
  server.raw({1, 2, 3});
  server.raw(std::vector<std::uint8_t>(SIMPLON_SA_MAX_MESSAGE + 1000, 0xff));
  EXPECT_TRUE(until([&] { return alloc() == SIMPLON_SA_OK; }));
  EXPECT_TRUE(expired_.empty());
  EXPECT_EQ(lost_, 0);
}

TEST_F(SaClientTest, StopsWhileARequestWaits) {
  Server server(path_);
  server.silent = true;
  start();
  std::thread waiting([this] { EXPECT_EQ(alloc(), SA_CLIENT_UNAVAILABLE); });
  ASSERT_TRUE(until([&] { return server.types().size() == 2; }));
  sa_client_stop(client_);
  waiting.join();
}

TEST_F(SaClientTest, APathThatCannotBeASocketIsRefused) {
  const sa_client_hooks hooks = {};
  EXPECT_EQ(sa_client_create(std::string(108, 'x').c_str(), &hooks), nullptr);
}

}  // namespace
