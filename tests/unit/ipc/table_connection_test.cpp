// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/ipc/capture_stream.h"
#include "gateway/ipc/live_trace.h"
#include "gateway/ipc/table_client.h"
#include "gateway/ipc/table_server.h"
#include "platform/sys/unix_socket.h"

namespace simplon::ipc {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;

class FakeService final : public TableService {
 public:
  explicit FakeService(asio::io_context& io) : io_(io) {}
  std::uint64_t instance() const override { return 42; }
  void sync_begin(Epoch epoch) override { log.push_back("begin " + std::to_string(epoch.value())); }
  std::vector<OperationError> apply(const Update& update) override {
    log.push_back("update " + std::to_string(update.operations.size()));
    std::vector<OperationError> errors;
    for (std::size_t i = 0; i < update.operations.size(); ++i) {
      const auto* route = std::get_if<Route>(&update.operations[i]->object);
      if (route != nullptr && route->domain == DomainId(13)) errors.push_back({static_cast<std::uint32_t>(i), "unlucky"});
    }
    return errors;
  }
  std::vector<OperationError> sync_end(const SyncEnd& end) override {
    log.push_back("end " + std::to_string(end.epoch.value()));
    return {};
  }
  asio::awaitable<void> settled() override {
    asio::steady_timer timer(io_, settle_after);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    ++settles;
  }
  Stats stats(std::uint32_t connections) override {
    asked_connections = connections;
    Stats stats;
    stats.routes = 7;
    return stats;
  }
  asio::awaitable<TraceReply> trace(TraceRequest request) override {
    TraceReply reply;
    reply.token = request.token;
    reply.drop = request.live ? "live" : std::to_string(request.packet.size()) + " bytes";
    if (!request.live) co_return reply;
    ++waiting;
    while (!packet_came) {
      asio::steady_timer timer(io_, 1ms);
      boost::system::error_code ignored;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    co_return reply;
  }
  /// Says how many feeds there are, and gives a packet each time it is asked.
  struct Feed final : CaptureFeed {
    explicit Feed(int& count) : open(count) { ++open; }
    ~Feed() override { --open; }
    CaptureData take() override {
      CaptureData data;
      data.packets.emplace_back().length = 7;
      data.lost = 3;
      return data;
    }
    int& open;
  };
  Result<std::unique_ptr<CaptureFeed>> capture(const CaptureRequest& request) override {
    if (request.uplink == "none") return fail(ErrorCode::kInvalidConfig, "there is no uplink none", "another one");
    return std::unique_ptr<CaptureFeed>(std::make_unique<Feed>(feeds));
  }

  std::vector<std::string> log;
  std::chrono::milliseconds settle_after{1};
  int settles = 0;
  int feeds = 0;
  /// Live traces end when a packet came.
  bool packet_came = false;
  int waiting = 0;
  std::uint32_t asked_connections = 0;

 private:
  asio::io_context& io_;
};

class TableConnectionTest : public ::testing::Test {
 protected:
  asio::io_context io_;
  std::string path_ = ::testing::TempDir() + "table-" + std::to_string(::getpid()) + ".sock";
  FakeService service_{io_};
  std::unique_ptr<TableServer> server_;
  std::vector<std::unique_ptr<TableClient>> clients_;
  int connects_ = 0;
  std::vector<Error> losses_;

  void SetUp() override { serve(); }
  void TearDown() override {
    clients_.clear();
    server_.reset();
    io_.restart();
    io_.run_for(10ms);
  }

  void serve() {
    auto server = TableServer::open(io_, path_, "simplond", "forwarder", service_);
    ASSERT_TRUE(server) << server.error().message();
    server_ = *std::move(server);
  }
  TableClient& client(bool observer = false) {
    clients_.push_back(TableClient::create(io_, {path_, "test", 1, observer}));
    auto& client = *clients_.back();
    client.on_connected = [this](std::uint64_t instance) {
      EXPECT_EQ(instance, 42U);
      ++connects_;
    };
    client.on_disconnected = [this](const Error& why) { losses_.push_back(why); };
    client.start();
    return client;
  }
  template <class Condition>
  bool run_until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!condition() && std::chrono::steady_clock::now() < deadline) {
      io_.restart();
      io_.run_one_for(20ms);
    }
    return condition();
  }
  template <class T>
  T wait(asio::awaitable<T> operation) {
    std::optional<T> result;
    asio::co_spawn(io_, std::move(operation), [&](std::exception_ptr, T value) { result = std::move(value); });
    EXPECT_TRUE(run_until([&] { return result.has_value(); }));
    return *std::move(result);
  }
  static std::vector<Operation> routes(std::uint32_t count) {
    std::vector<Operation> operations;
    for (std::uint32_t i = 0; i < count; ++i) {
      operations.push_back(Operation::upsert(Route{DomainId(1), IpPrefix(IpAddress::v4(i << 8), 24), RouteAction::kForward,
                                                   {{AttachmentRef::tunnel(TunnelId(1)), 1}}}));
    }
    return operations;
  }
};

TEST_F(TableConnectionTest, ASyncGoesThroughInOrderAndIsAcknowledgedWhenSettled) {
  auto& programmer = client();
  ASSERT_TRUE(run_until([&] { return programmer.connected(); }));
  EXPECT_TRUE(wait(programmer.sync_begin(Epoch(5))));
  const auto ack = wait(programmer.update(routes(3)));
  ASSERT_TRUE(ack);
  EXPECT_EQ(service_.settles, 1);
  EXPECT_EQ(programmer.acknowledged(), ack->generation);
  ASSERT_TRUE(wait(programmer.sync_end(Epoch(5))));
  EXPECT_THAT(service_.log, ::testing::ElementsAre("begin 5", "update 3", "end 5"));
}

TEST_F(TableConnectionTest, ALongUpdateIsSplitAndErrorsKeepTheirIndex) {
  auto& programmer = client();
  ASSERT_TRUE(run_until([&] { return programmer.connected(); }));
  auto operations = routes(10000);
  std::get<Route>(operations[5000].object).domain = DomainId(13);
  std::get<Route>(operations[9999].object).domain = DomainId(13);
  const auto ack = wait(programmer.update(std::move(operations)));
  ASSERT_TRUE(ack);
  EXPECT_THAT(ack->errors, ::testing::ElementsAre(OperationError{5000, "unlucky"}, OperationError{9999, "unlucky"}));
  EXPECT_EQ(service_.log.size(), 3U);
}

TEST_F(TableConnectionTest, AnEmptyUpdateIsAcknowledged) {
  auto& programmer = client();
  ASSERT_TRUE(run_until([&] { return programmer.connected(); }));
  EXPECT_TRUE(wait(programmer.update({})));
}

TEST_F(TableConnectionTest, WithoutADescriptorAClientWaits) {
  const auto socket = sys::connect_unix(path_, SOCK_STREAM, true);
  ASSERT_TRUE(socket);
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const sys::UniqueFd next(::fcntl(socket->get(), F_DUPFD_CLOEXEC, 0));
  const struct rlimit none {static_cast<rlim_t>(next.get()), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  // Handlers that ran: a few attempts, not one after the other.
  const auto handlers = io_.run_for(250ms);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_LT(handlers, 20U);
  EXPECT_GT(handlers, 1U);
  auto& observer = client(true);
  EXPECT_TRUE(run_until([&] { return observer.connected(); }));
}

TEST_F(TableConnectionTest, ObserversMayOnlyAsk) {
  auto& observer = client(true);
  ASSERT_TRUE(run_until([&] { return observer.connected(); }));
  const auto stats = wait(observer.stats(20'000));
  EXPECT_EQ(service_.asked_connections, 10'000U);
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->routes, 7U);
  EXPECT_FALSE(wait(observer.update(routes(1))));
  EXPECT_TRUE(service_.log.empty());
}

TEST_F(TableConnectionTest, ANewProgrammerReplacesTheOldOneAndObserversStay) {
  auto& first = client();
  auto& observer = client(true);
  ASSERT_TRUE(run_until([&] { return first.connected() && observer.connected(); }));
  auto& second = client();
  ASSERT_TRUE(run_until([&] { return second.connected() && !losses_.empty(); }));
  first.stop();
  EXPECT_TRUE(wait(observer.stats()));
}

TEST_F(TableConnectionTest, TheClientReconnectsAndSaysSo) {
  auto& programmer = client();
  ASSERT_TRUE(run_until([&] { return connects_ == 1; }));
  server_.reset();
  ASSERT_TRUE(run_until([&] { return losses_.size() == 2; }));
  EXPECT_FALSE(programmer.connected());
  EXPECT_THAT(losses_[0].what, ::testing::HasSubstr("closed the connection"));
  EXPECT_THAT(losses_[1].what, ::testing::HasSubstr("no connection to the forwarder"));
  const auto failed = wait(programmer.update(routes(1)));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kUnavailable);
  serve();
  EXPECT_TRUE(run_until([&] { return connects_ == 2; }));
  EXPECT_EQ(losses_.size(), 2U) << "each reason is reported once";
  EXPECT_TRUE(wait(programmer.update(routes(1))));
}

TEST_F(TableConnectionTest, WhyItStaysAwayIsToldAlsoAfterALoss) {
  client();
  ASSERT_TRUE(run_until([&] { return connects_ == 1; }));
  server_.reset();
  const auto listener = sys::listen_unix(path_, SOCK_STREAM, 0600);
  ASSERT_TRUE(listener) << listener.error().message();
  ASSERT_EQ(::fcntl(listener->get(), F_SETFL, O_NONBLOCK), 0);
  const auto hello = encode_table_message(Hello{99, "simplon-forwarder 9", 1, false});
  EXPECT_TRUE(run_until([&] {
    const sys::UniqueFd peer(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (peer.valid()) static_cast<void>(::send(peer.get(), hello.data(), hello.size(), MSG_NOSIGNAL));
    return std::any_of(losses_.begin(), losses_.end(),
                       [](const Error& why) { return why.what.starts_with("simplon-forwarder 9 speaks version 99"); });
  }));
  ::unlink(path_.c_str());
}

TEST_F(TableConnectionTest, WhatIsInFlightFailsWithTheConnection) {
  auto& programmer = client();
  ASSERT_TRUE(run_until([&] { return programmer.connected(); }));
  service_.settle_after = 5s;
  std::optional<Result<Ack>> ack;
  asio::co_spawn(io_, programmer.update(routes(1)), [&](std::exception_ptr, Result<Ack> value) { ack = std::move(value); });
  ASSERT_TRUE(run_until([&] { return !service_.log.empty(); }));
  server_.reset();
  ASSERT_TRUE(run_until([&] { return ack.has_value(); }));
  EXPECT_EQ(ack->error().code, ErrorCode::kUnavailable);
}

TEST_F(TableConnectionTest, AClientMayBeDestroyedAtAnyTime) {
  auto& programmer = client();
  ASSERT_TRUE(run_until([&] { return programmer.connected(); }));
  std::optional<Result<Stats>> stats;
  asio::co_spawn(io_, programmer.stats(), [&](std::exception_ptr, Result<Stats> value) { stats = std::move(value); });
  clients_.clear();
  ASSERT_TRUE(run_until([&] { return stats.has_value(); }));
  EXPECT_FALSE(*stats);
}

TEST_F(TableConnectionTest, AnotherVersionIsRefusedByName) {
  auto raw = sys::connect_unix(path_, SOCK_STREAM, false);
  ASSERT_TRUE(raw);
  const auto frame = encode_table_message(Hello{99, "simplond 9", 1, false});
  ASSERT_EQ(::send(raw->get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
  std::vector<std::uint8_t> received;
  EXPECT_TRUE(run_until([&] {
    std::array<std::uint8_t, 4096> chunk;
    const ssize_t got = ::recv(raw->get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got > 0) received.insert(received.end(), chunk.begin(), chunk.begin() + got);
    return got == 0;
  })) << "the connection is closed";
  TableFramer framer;
  framer.append(received);
  const auto envelope = framer.next();
  ASSERT_TRUE(envelope && envelope->has_value());
  EXPECT_EQ(std::get<Hello>(decode_table_message(**envelope).value()).version, kTableProtocolVersion);
}

TEST_F(TableConnectionTest, GarbageEndsItsConnectionOnly) {
  auto& programmer = client();
  ASSERT_TRUE(run_until([&] { return programmer.connected(); }));
  auto raw = sys::connect_unix(path_, SOCK_STREAM, false);
  ASSERT_TRUE(raw);
  ASSERT_EQ(::send(raw->get(), "GET / HTTP/1.1\r\n", 16, 0), 16);
  EXPECT_TRUE(run_until([&] {
    char byte;
    return ::recv(raw->get(), &byte, 1, MSG_DONTWAIT) == 0;
  }));
  EXPECT_TRUE(wait(programmer.stats()));
}

TEST_F(TableConnectionTest, AMissingForwarderIsNamed) {
  server_.reset();
  client();
  ASSERT_TRUE(run_until([&] { return !losses_.empty(); }));
  EXPECT_THAT(losses_[0].what, ::testing::HasSubstr(path_));
  EXPECT_THAT(losses_[0].hint, ::testing::HasSubstr("simplon-forwarder"));
}

TEST_F(TableConnectionTest, AnObserverMayTraceAndAProgrammerMayNot) {
  auto& observer = client(true);
  ASSERT_TRUE(run_until([&] { return observer.connected(); }));
  TraceRequest request;
  request.from = AttachmentRef::vpc(Vni(5));
  request.packet = {1, 2, 3};
  const auto reply = wait(observer.trace(request));
  ASSERT_TRUE(reply) << reply.error().message();
  EXPECT_EQ(reply->drop, "3 bytes");
  auto& programmer = client();
  ASSERT_TRUE(run_until([&] { return programmer.connected(); }));
  EXPECT_FALSE(wait(programmer.trace(request)));
}

TEST_F(TableConnectionTest, NobodyWaitsForALiveTrace) {
  auto& observer = client(true);
  ASSERT_TRUE(run_until([&] { return observer.connected(); }));
  TraceRequest live;
  live.from = AttachmentRef::vpc(Vni(5));
  live.live = true;
  live.wait_seconds = 60;
  std::vector<std::string> ended;
  for (int i = 0; i < 3; ++i) {
    asio::co_spawn(io_, trace_live(io_, path_, "test", live), [&](std::exception_ptr, Result<TraceReply> reply) {
      ended.push_back(reply ? reply->drop : reply.error().message());
    });
  }
  ASSERT_TRUE(run_until([&] { return service_.waiting == 3; })) << "one waits for another";
  TraceRequest described = live;
  described.live = false;
  described.packet = {1, 2, 3};
  const auto reply = wait(observer.trace(described));
  ASSERT_TRUE(reply) << reply.error().message();
  EXPECT_EQ(reply->drop, "3 bytes");
  EXPECT_TRUE(ended.empty());
  service_.packet_came = true;
  ASSERT_TRUE(run_until([&] { return ended.size() == 3; }));
  EXPECT_THAT(ended, ::testing::Each("live"));
}

TEST_F(TableConnectionTest, ACaptureGoesOnUntilItsClientLeaves) {
  CaptureRequest request;
  request.points = 1;
  auto stream = CaptureStream::create(io_, path_, "test");
  const auto opened = wait(stream->open(request));
  ASSERT_TRUE(opened) << opened.error().message();
  for (int i = 0; i < 3; ++i) {
    const auto data = wait(stream->next());
    ASSERT_TRUE(data) << data.error().message();
    EXPECT_EQ(data->packets.front().length, 7U);
    EXPECT_EQ(data->lost, 3U);
  }
  EXPECT_EQ(service_.feeds, 1);
  stream.reset();
  EXPECT_TRUE(run_until([&] { return service_.feeds == 0; }));
}

TEST_F(TableConnectionTest, ARefusedCaptureSaysWhy) {
  CaptureRequest request;
  request.points = 1;
  request.uplink = "none";
  auto stream = CaptureStream::create(io_, path_, "test");
  const auto opened = wait(stream->open(request));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().what, "there is no uplink none");
  EXPECT_EQ(opened.error().hint, "another one");
}

}  // namespace
}  // namespace simplon::ipc
