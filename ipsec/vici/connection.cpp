// SPDX-License-Identifier: GPL-2.0-or-later
// A request is a `Pending` in the order of sending; its timer is both its time limit and the way to wake its
// coroutine (cancelled when the answer is there). One coroutine reads, one at a time writes. After a lost answer the
// order of replies no longer tells whose they are, so a time-out closes the connection. The limit is on charon's silence, not
// on the place in the queue: thousands of requests may be sent at once, or stand behind a list of thousands of SAs.
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <cstring>
#include <deque>

#include "ipsec/vici/connection.h"

namespace simplon::ipsec::vici {
namespace {

namespace asio = boost::asio;
using asio::redirect_error;
using asio::use_awaitable;
using boost::system::error_code;

constexpr std::chrono::seconds kAnswerLimit{5};  // chosen by us; the contract of TunnelManager
constexpr std::size_t kMaxSocketPath = 107;      // given by struct sockaddr_un

struct Reply {
  Section message;
  std::vector<Section> events;
};

using Timer = asio::steady_timer;

struct Pending {
  explicit Pending(asio::io_context& io) : answered(io) {}

  Timer answered;
  std::string event;  // collected in the reply, if not empty
  bool done = false;
  Reply reply;
  Error error;
};

class StreamConnection final : public Connection, public std::enable_shared_from_this<StreamConnection> {
 public:
  StreamConnection(asio::io_context& io, asio::local::stream_protocol::socket socket)
      : io_(io), socket_(std::move(socket)) {}

  void start() { asio::co_spawn(io_, read_loop(shared_from_this()), asio::detached); }

  void set_handlers(EventHandler on_event, std::function<void()> on_close) override {
    on_event_ = std::move(on_event);
    on_close_ = std::move(on_close);
  }

  asio::awaitable<Result<Section>> command(std::string name, Section message) override {
    Packet packet{Operation::kCommand, std::move(name), std::move(message)};
    auto reply = co_await exchange(std::move(packet), std::string{});
    if (!reply) co_return Unexpected(std::move(reply.error()));
    co_return std::move(reply->message);
  }

  asio::awaitable<Result<std::vector<Section>>> stream(std::string name, std::string event, Section message) override {
    Packet packet{Operation::kCommand, std::move(name), std::move(message)};
    auto reply = co_await exchange(std::move(packet), std::move(event));
    if (!reply) co_return Unexpected(std::move(reply.error()));
    co_return std::move(reply->events);
  }

  asio::awaitable<Result<void>> subscribe(std::string event) override {
    Packet packet{Operation::kRegister, std::move(event), {}};
    auto reply = co_await exchange(std::move(packet), std::string{});
    if (!reply) co_return Unexpected(std::move(reply.error()));
    co_return Result<void>{};
  }

  bool is_open() const override { return socket_.is_open(); }

  void close() override { close_because("the connection to charon was closed"); }

 private:
  asio::awaitable<Result<Reply>> exchange(Packet packet, std::string event) {
    const auto self = shared_from_this();
    if (!is_open()) {
      packet.message.wipe();
      co_return fail(ErrorCode::kUnavailable, "not connected to charon");
    }
    auto bytes = encode_packet(packet);
    packet.message.wipe();
    if (!bytes) co_return Unexpected(std::move(bytes.error()));

    const auto pending = std::make_shared<Pending>(io_);
    pending->event = std::move(event);
    if (pending_.empty()) heard_ = Timer::clock_type::now();
    pending_.push_back(pending);
    outgoing_.push_back(std::move(*bytes));
    if (!writing_) {
      writing_ = true;
      asio::co_spawn(io_, write_loop(self), asio::detached);
    }
    while (!pending->done) {
      if (Timer::clock_type::now() >= heard_ + kAnswerLimit) {
        close_because("charon did not answer " + packet.name + " within 5 s");
        break;
      }
      pending->answered.expires_at(heard_ + kAnswerLimit);
      error_code ignored;
      co_await pending->answered.async_wait(redirect_error(use_awaitable, ignored));
    }
    if (pending->error.what.empty()) co_return std::move(pending->reply);
    co_return Unexpected(pending->error);
  }

  static asio::awaitable<void> write_loop(std::shared_ptr<StreamConnection> self) {
    while (!self->outgoing_.empty() && self->is_open()) {
      Bytes bytes = std::move(self->outgoing_.front());
      self->outgoing_.pop_front();
      error_code error;
      co_await asio::async_write(self->socket_, asio::buffer(bytes), redirect_error(use_awaitable, error));
      explicit_bzero(bytes.data(), bytes.size());  // it may hold a pre-shared key
      if (error) self->close_because("writing to charon failed: " + error.message());
    }
    self->writing_ = false;
  }

  static asio::awaitable<void> read_loop(std::shared_ptr<StreamConnection> self) {
    Bytes body;
    while (self->is_open()) {
      std::array<std::uint8_t, 4> prefix{};
      error_code error;
      co_await asio::async_read(self->socket_, asio::buffer(prefix), redirect_error(use_awaitable, error));
      if (error) break;
      std::size_t length = 0;
      for (const std::uint8_t byte : prefix) length = length << 8 | byte;
      if (length == 0 || length > kMaxPacketBytes) {
        self->close_because("charon sent a packet of " + std::to_string(length) + " bytes");
        co_return;
      }
      body.resize(length);
      co_await asio::async_read(self->socket_, asio::buffer(body), redirect_error(use_awaitable, error));
      if (error) break;
      auto packet = parse_packet(body);
      if (!packet) {
        self->close_because(packet.error().what);
        co_return;
      }
      self->dispatch(std::move(*packet));
    }
    self->close_because("charon closed the connection");
  }

  void dispatch(Packet packet) {
    if (packet.operation == Operation::kEvent) {
      if (!pending_.empty() && pending_.front()->event == packet.name) {
        heard_ = Timer::clock_type::now();
        pending_.front()->reply.events.push_back(std::move(packet.message));
      } else if (on_event_) {
        on_event_(packet.name, packet.message);
      }
      return;
    }
    if (pending_.empty()) {
      close_because("charon answered without being asked");
      return;
    }
    heard_ = Timer::clock_type::now();
    const auto pending = pending_.front();
    pending_.pop_front();
    switch (packet.operation) {
      case Operation::kResponse:
      case Operation::kConfirm:
        pending->reply.message = std::move(packet.message);
        break;
      case Operation::kUnknownCommand:
        pending->error = {ErrorCode::kPeer, "charon does not know the VICI command", "strongSwan 5.9.8 is needed"};
        break;
      default:
        pending->error = {ErrorCode::kPeer, "charon does not know the VICI event", "strongSwan 5.9.8 is needed"};
        break;
    }
    pending->done = true;
    pending->answered.cancel();
  }

  void close_because(const std::string& reason) {
    if (!is_open()) return;
    const auto self = shared_from_this();
    error_code ignored;
    socket_.close(ignored);
    for (Bytes& bytes : outgoing_) explicit_bzero(bytes.data(), bytes.size());
    outgoing_.clear();
    for (const auto& pending : std::exchange(pending_, {})) {
      pending->error = {ErrorCode::kUnavailable, reason, {}};
      pending->done = true;
      pending->answered.cancel();
    }
    asio::post(io_, [self] {
      self->on_event_ = nullptr;
      if (auto on_close = std::exchange(self->on_close_, nullptr)) on_close();
    });
  }

  asio::io_context& io_;
  asio::local::stream_protocol::socket socket_;
  EventHandler on_event_;
  std::function<void()> on_close_;
  std::deque<std::shared_ptr<Pending>> pending_;
  /// When charon last sent something of what is pending, or was asked while nothing was.
  Timer::time_point heard_;
  std::deque<Bytes> outgoing_;
  bool writing_ = false;
};

}  // namespace

asio::awaitable<Result<std::shared_ptr<Connection>>> Connection::open(asio::io_context& io, std::string path) {
  if (path.size() > kMaxSocketPath) {
    co_return fail(ErrorCode::kInvalidConfig, "VICI socket path '" + path + "' is too long", "at most 107 bytes");
  }
  asio::local::stream_protocol::socket socket(io);
  const asio::local::stream_protocol::endpoint endpoint(path);
  error_code error;
  co_await socket.async_connect(endpoint, redirect_error(use_awaitable, error));
  if (error) {
    co_return fail(ErrorCode::kUnavailable, "cannot connect to charon at " + path + ": " + error.message(),
                   "is charon running? (systemctl status simplon-charon)");
  }
  const auto connection = std::make_shared<StreamConnection>(io, std::move(socket));
  connection->start();
  co_return std::shared_ptr<Connection>(connection);
}

Result<void> require_success(const Section& reply) {
  if (reply.is_yes("success")) return {};
  const std::string_view words = reply.text("errmsg");
  return fail(ErrorCode::kPeer, words.empty() ? "charon refused without a reason" : std::string(words));
}

}  // namespace simplon::ipsec::vici
