// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/vty_client.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace simplon::bgp {
namespace asio = boost::asio;
namespace {

using Socket = asio::local::stream_protocol::socket;
using boost::system::error_code;

/// Cancels what waits on a socket when the time is up.
class Watchdog {
 public:
  Watchdog(Socket& socket, std::chrono::milliseconds timeout)
      : timer_(socket.get_executor()), state_(std::make_shared<State>(State{&socket, false})) {
    timer_.expires_after(timeout);
    timer_.async_wait([state = state_](const error_code& error) {
      if (error || state->socket == nullptr) return;
      state->expired = true;
      error_code ignored;
      state->socket->cancel(ignored);
    });
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() { state_->socket = nullptr; }

  [[nodiscard]] bool expired() const noexcept { return state_->expired; }

 private:
  struct State {
    Socket* socket;
    bool expired;
  };
  asio::steady_timer timer_;
  std::shared_ptr<State> state_;
};

Unexpected lost(const std::string& path, const Watchdog& watchdog, const error_code& error) {
  if (watchdog.expired()) {
    return fail(ErrorCode::kUnavailable, "FRR does not answer on " + path, "it may be busy; see its log");
  }
  if (error == asio::error::eof) return fail(ErrorCode::kUnavailable, "FRR closed " + path, "the daemon has ended");
  return fail(ErrorCode::kUnavailable, path + ": " + error.message());
}

}  // namespace

VtyClient::VtyClient(asio::any_io_executor executor, std::string path, std::chrono::milliseconds timeout)
    : socket_(std::move(executor)), path_(std::move(path)), timeout_(timeout) {}

asio::awaitable<Result<std::unique_ptr<VtyClient>>> VtyClient::connect(asio::any_io_executor executor, std::string path,
                                                                       std::chrono::milliseconds timeout) {
  if (path.size() > 107) {  // sun_path
    co_return fail(ErrorCode::kInvalidConfig, "socket path " + path + " is longer than 107 bytes");
  }
  std::unique_ptr<VtyClient> client(new VtyClient(std::move(executor), std::move(path), timeout));
  {
    Watchdog watchdog(client->socket_, timeout);
    error_code error;
    const asio::local::stream_protocol::endpoint endpoint(client->path_);
    co_await client->socket_.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return lost(client->path_, watchdog, error);
  }
  auto enabled = co_await client->command("enable");
  if (!enabled) co_return Unexpected(std::move(enabled).error());
  if (enabled->status != VtyReply::kSuccess) {
    co_return fail(ErrorCode::kPeer, client->path_ + " refuses 'enable': " + enabled->text,
                   "the instance must not have an enable password");
  }
  co_return std::move(client);
}

asio::awaitable<Result<VtyReply>> VtyClient::command(std::string command) {
  Watchdog watchdog(socket_, timeout_);
  error_code error;
  command.push_back('\0');
  co_await asio::async_write(socket_, asio::buffer(command), asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return lost(path_, watchdog, error);

  VtyReplyParser parser(kMaxReply);
  std::array<std::uint8_t, 16384> buffer;
  for (;;) {
    const std::size_t got =
        co_await socket_.async_read_some(asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return lost(path_, watchdog, error);
    std::size_t consumed = 0;
    auto reply = parser.feed(std::span<const std::uint8_t>(buffer).first(got), consumed);
    if (!reply) co_return Unexpected(std::move(reply).error());
    if (!reply->has_value()) continue;
    if (consumed != got) co_return fail(ErrorCode::kPeer, path_ + " sent bytes after its reply");
    co_return **std::move(reply);
  }
}

}  // namespace simplon::bgp
