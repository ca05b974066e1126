// SPDX-License-Identifier: GPL-2.0-or-later
//
// A session is one coroutine: read, apply, wait until the workers have it, answer, read on. So a client that sends
// faster than tables can be applied is held up by its own socket, and answers are in order by construction. Sessions
// share state with the server through a weak pointer only: a coroutine that resumes after the server is gone ends.
#include "gateway/ipc/table_server.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <list>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "platform/sys/unix_socket.h"

namespace simplon::ipc {
namespace {

namespace asio = boost::asio;
using Socket = asio::local::stream_protocol::socket;
using boost::system::error_code;

// Chosen by us: more observers than people and scripts on one box.
constexpr std::size_t kMaxSessions = 64;
// How often a capture is emptied, and how often its client hears of it all the same: that it is gone is noticed by then.
constexpr auto kCapturePause = std::chrono::milliseconds(10);
constexpr int kPausesPerSign = 50;
// Between two attempts to accept a connection when there is no descriptor for it.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

struct Session {
  explicit Session(Socket socket_) : socket(std::move(socket_)) {}
  Socket socket;
  TableFramer framer;
  bool greeted = false;
  bool programmer = false;
};

struct Shared {
  Shared(std::string software_, TableService& service_) : software(std::move(software_)), service(service_) {}
  std::string software;
  TableService& service;
  std::list<std::shared_ptr<Session>> sessions;
  std::weak_ptr<Session> programmer;
};

void close(Session& session) {
  error_code ignored;
  session.socket.shutdown(Socket::shutdown_both, ignored);
  session.socket.close(ignored);
}

// Takes the bytes, not the message: GCC 12 destroys temporaries that are braced into a coroutine's arguments twice.
asio::awaitable<bool> send(std::shared_ptr<Session> session, std::vector<std::uint8_t> frame) {
  error_code error;
  co_await asio::async_write(session->socket, asio::buffer(frame), asio::redirect_error(asio::use_awaitable, error));
  co_return !error;
}

Result<void> greet(Shared& shared, const std::shared_ptr<Session>& session, const Hello& hello) {
  if (hello.version != kTableProtocolVersion) {
    return fail(ErrorCode::kPeer, hello.software + " speaks version " + std::to_string(hello.version) +
                                      " of the table protocol, this is version " + std::to_string(kTableProtocolVersion),
                "install the same version of simplond and simplon-forwarder");
  }
  session->greeted = true;
  session->programmer = !hello.observer;
  if (!session->programmer) return {};
  if (auto former = shared.programmer.lock(); former && former != session) {
    spdlog::info("{} replaces the former programming connection", hello.software);
    close(*former);
  }
  shared.programmer = session;
  return {};
}

// Not inside the coroutine below: GCC 12 destroys the string of a braced temporary in a coroutine twice.
std::vector<std::uint8_t> hello_frame(const Shared& shared) {
  Hello hello;
  hello.software = shared.software;
  hello.instance = shared.service.instance();
  return encode_table_message(hello);
}

std::vector<std::uint8_t> refusal_frame(const Error& error) {
  CaptureData data;
  data.error = error.what;
  data.hint = error.hint;
  return encode_table_message(std::move(data));
}

Result<std::unique_ptr<CaptureFeed>> open_feed(const std::weak_ptr<Shared>& weak, const CaptureRequest& request) {
  if (const auto shared = weak.lock()) return shared->service.capture(request);
  return fail(ErrorCode::kUnavailable, "the forwarder ends");
}

/// Sends what a capture sees until the client is gone.
asio::awaitable<void> feed(std::weak_ptr<Shared> weak, std::shared_ptr<Session> session, CaptureRequest request) {
  auto opened = open_feed(weak, request);
  if (!opened) {
    spdlog::info("capture refused: {}", opened.error().message());
    auto frame = refusal_frame(opened.error());
    static_cast<void>(co_await send(session, std::move(frame)));
    co_return;
  }
  const std::unique_ptr<CaptureFeed> source = *std::move(opened);
  asio::steady_timer timer(session->socket.get_executor());
  int quiet = kPausesPerSign;
  while (!weak.expired()) {
    CaptureData data = source->take();
    if (!data.packets.empty() || ++quiet >= kPausesPerSign) {
      quiet = 0;
      auto frame = encode_table_message(std::move(data));
      const bool sent = co_await send(session, std::move(frame));
      if (!sent) co_return;
      continue;
    }
    error_code ignored;
    timer.expires_after(kCapturePause);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

/// False ends the session.
asio::awaitable<bool> handle(std::weak_ptr<Shared> weak, std::shared_ptr<Session> session, TableMessage message) {
  auto shared = weak.lock();
  if (!shared) co_return false;
  if (const auto* hello = std::get_if<Hello>(&message); hello != nullptr && !session->greeted) {
    const auto greeted = greet(*shared, session, *hello);
    // Also to a client of another version, so that it can say which.
    auto frame = hello_frame(*shared);
    const bool sent = co_await send(session, std::move(frame));
    if (!greeted) spdlog::warn("table protocol: {}", greeted.error().message());
    co_return sent && greeted.has_value();
  }
  if (!session->greeted) {
    spdlog::warn("table protocol: a client did not begin with Hello");
    co_return false;
  }
  if (std::holds_alternative<StatsRequest>(message)) {
    // Chosen by us: a Stats message stays well below the limit of a message.
    constexpr std::uint32_t kMostConnections = 10'000;
    const StatsRequest request = std::get<StatsRequest>(message);
    Stats stats = shared->service.stats(std::min(request.connections, kMostConnections));
    stats.token = request.token;
    auto frame = encode_table_message(std::move(stats));
    const bool sent = co_await send(session, std::move(frame));
    co_return sent;
  }
  if (!session->programmer) {
    if (auto* request = std::get_if<TraceRequest>(&message)) {
      auto answer = shared->service.trace(std::move(*request));
      shared.reset();
      TraceReply trace = co_await std::move(answer);
      auto frame = encode_table_message(std::move(trace));
      const bool sent = co_await send(session, std::move(frame));
      co_return sent;
    }
    if (auto* request = std::get_if<CaptureRequest>(&message)) {
      CaptureRequest owned = std::move(*request);
      shared.reset();
      co_await feed(weak, session, std::move(owned));
      co_return false;
    }
    spdlog::warn("table protocol: an observer may only ask");
    co_return false;
  }
  if (const auto* begin = std::get_if<SyncBegin>(&message)) {
    shared->service.sync_begin(begin->epoch);
    co_return true;
  }
  Ack ack;
  if (const auto* update = std::get_if<Update>(&message)) {
    ack.generation = update->generation;
    ack.errors = shared->service.apply(*update);
  } else if (const auto* end = std::get_if<SyncEnd>(&message)) {
    ack.generation = end->generation;
    ack.errors = shared->service.sync_end(*end);
  } else {
    spdlog::warn("table protocol: a client sent a message that only servers send");
    co_return false;
  }
  auto settled = shared->service.settled();
  shared.reset();
  co_await std::move(settled);
  auto frame = encode_table_message(std::move(ack));
  const bool sent = co_await send(session, std::move(frame));
  co_return sent;
}

asio::awaitable<void> serve(std::weak_ptr<Shared> weak, std::shared_ptr<Session> session) {
  std::vector<std::uint8_t> chunk(65536);
  for (bool going = true; going;) {
    error_code error;
    const std::size_t got = co_await session->socket.async_read_some(asio::buffer(chunk),
                                                                     asio::redirect_error(asio::use_awaitable, error));
    if (error) break;
    session->framer.append({chunk.data(), got});
    while (going) {
      auto envelope = session->framer.next();
      if (!envelope) {
        spdlog::warn("table protocol: {}", envelope.error().message());
        going = false;
        break;
      }
      if (!envelope->has_value()) break;
      auto message = decode_table_message(**envelope);
      if (!message) {
        spdlog::warn("table protocol: {}", message.error().message());
        going = false;
        break;
      }
      TableMessage owned = *std::move(message);
      going = co_await handle(weak, session, std::move(owned));
    }
  }
  close(*session);
  if (auto shared = weak.lock()) shared->sessions.remove(session);
}

class UnixTableServer final : public TableServer {
 public:
  UnixTableServer(asio::io_context& io, int fd, std::string path, const char* user, std::string software,
                  TableService& service)
      : acceptor_(io, asio::local::stream_protocol(), fd),
        pause_(io),
        path_(std::move(path)),
        user_(user),
        shared_(std::make_shared<Shared>(std::move(software), service)) {
    accept();
  }

  ~UnixTableServer() override {
    error_code ignored;
    acceptor_.close(ignored);
    ::unlink(path_.c_str());
    for (const auto& session : shared_->sessions) close(*session);
  }

 private:
  void accept() {
    acceptor_.async_accept([this](const error_code& error, Socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) {
        wait_for_descriptors(error);
        return;
      }
      waiting_ = false;
      if (may_connect(socket) && shared_->sessions.size() < kMaxSessions) {
        auto session = std::make_shared<Session>(std::move(socket));
        shared_->sessions.push_back(session);
        asio::co_spawn(acceptor_.get_executor(), serve(shared_, session), asio::detached);
      }
      accept();
    });
  }

  /// The queue of the socket holds the client meanwhile: asked at once, it would be offered again at once, for ever.
  void wait_for_descriptors(const error_code& why) {
    if (!waiting_) spdlog::warn("cannot accept a connection on {}: {}", path_, why.message());
    waiting_ = true;
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](const error_code& error) {
      if (!error) accept();
    });
  }

  [[nodiscard]] bool may_connect(Socket& socket) const {
    const auto peer = sys::peer_credentials(socket.native_handle());
    if (peer && sys::is_trusted_user(peer->uid, user_)) return true;
    spdlog::warn("refused a connection on {} from user {}", path_, peer ? std::to_string(peer->uid) : "unknown");
    return false;
  }

  asio::local::stream_protocol::acceptor acceptor_;
  asio::steady_timer pause_;
  bool waiting_ = false;
  std::string path_;
  const char* user_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace

Result<std::unique_ptr<TableServer>> TableServer::open(asio::io_context& io, const std::string& socket_path,
                                                       const char* user, std::string software, TableService& service) {
  auto fd = sys::listen_unix(socket_path, SOCK_STREAM, 0660);
  if (!fd) return Unexpected(fd.error());
  return std::unique_ptr<TableServer>(
      std::make_unique<UnixTableServer>(io, fd->release(), socket_path, user, std::move(software), service));
}

}  // namespace simplon::ipc
