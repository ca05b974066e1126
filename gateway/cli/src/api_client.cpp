// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/api_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <nlohmann/json.hpp>

#include "gateway/ipc/api.h"
#include "platform/sys/unix_socket.h"

// Beast parses the reply, plain poll moves the bytes: a blocking Asio socket has no timeouts, and an event loop for one
// request is more than a short-lived program needs.

namespace simplon::cli {
namespace {

namespace http = boost::beast::http;
constexpr const char* kMayHappen = "it may still happen: simplon config history; ";
constexpr const char* kRemedy = "systemctl status simplond; journalctl -u simplond";
constexpr std::uint64_t kMaxReplyBytes = 512U << 20;

std::string post_request(const std::string& target, const nlohmann::json& body) {
  const std::string text = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return "POST " + target + " HTTP/1.1\r\nHost: simplon\r\nConnection: close\r\nContent-Type: application/json\r\n" +
         "Content-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text;
}

}  // namespace

/// Waits until `fd` is ready for `events`. Errors: kUnavailable when the time since `started` is over.
Result<void> ApiClient::wait(int fd, short events, Clock::time_point started, bool& ret_told) const {
  for (;;) {
    const auto waited = Clock::now() - started;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(timeout_ - waited).count();
    if (left <= 0)
      return fail(ErrorCode::kUnavailable, "simplond did not answer in time",
                  kRemedy);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(waited);
    if (on_wait_ && seconds.count() > 0) {
      on_wait_(seconds);
      ret_told = true;
    }
    const auto next = std::chrono::duration_cast<std::chrono::milliseconds>(seconds + std::chrono::seconds(1) - waited);
    pollfd item{fd, events, 0};
    const int ready = ::poll(&item, 1, static_cast<int>(std::min<std::int64_t>(left, next.count() + 1)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return fail_errno("cannot wait for simplond", errno);
  }
}

Result<sys::UniqueFd> ApiClient::connect() const {
  auto connected = sys::connect_unix(socket_, SOCK_STREAM, true);
  if (connected) return connected;
  return fail(ErrorCode::kUnavailable, "simplond is not reachable: " + connected.error().what,
              std::string(kRemedy) + "; one that listens elsewhere: --socket PATH");
}

Result<nlohmann::json> ApiClient::get(const std::string& target) const {
  const auto connected = connect();
  if (!connected) return Unexpected(connected.error());
  return exchange(connected->get(), "GET " + target + " HTTP/1.1\r\nHost: simplon\r\nConnection: close\r\n\r\n");
}

Result<nlohmann::json> ApiClient::post(const std::string& target, const nlohmann::json& body) const {
  const auto connected = connect();
  if (!connected) return Unexpected(connected.error());
  auto reply = exchange(connected->get(), post_request(target, body));
  const bool changes = target.starts_with("/v1/config/") && target != "/v1/config/check";
  if (reply || !changes || reply.error().code != ErrorCode::kUnavailable) return reply;
  Error error = reply.error();
  error.hint = kMayHappen + error.hint;
  return Unexpected(std::move(error));
}

Result<nlohmann::json> ApiClient::stream(const std::string& target, const nlohmann::json& body, const OnBytes& on_bytes,
                                         const std::function<bool()>& stop) const {
  const auto connected = connect();
  if (!connected) return Unexpected(connected.error());
  const int fd = connected->get();
  const std::string request = post_request(target, body);
  // A request is small: it fits the socket's buffer.
  if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    return fail_errno("cannot talk to simplond", errno);
  }
  http::response_parser<http::string_body> parser;
  parser.eager(true);
  parser.body_limit(boost::none);
  std::string pending;
  std::array<char, 65536> chunk{};
  while (!parser.is_done()) {
    if (stop()) return nlohmann::json::object();
    pollfd item{fd, POLLIN, 0};
    constexpr int kLookAgainMilliseconds = 500;
    if (::poll(&item, 1, kLookAgainMilliseconds) <= 0) continue;
    const ssize_t got = ::recv(fd, chunk.data(), chunk.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return fail(ErrorCode::kUnavailable, "simplond closed the connection before the end", kRemedy);
    pending.append(chunk.data(), static_cast<std::size_t>(got));
    while (!pending.empty() && !parser.is_done()) {
      boost::system::error_code error;
      const std::size_t used = parser.put(boost::asio::buffer(pending), error);
      pending.erase(0, used);
      if (error == http::error::need_more) break;
      if (error) return fail(ErrorCode::kPeer, "what answers at " + socket_ + " is not simplond: " + error.message());
    }
    if (!parser.is_header_done() || parser.get().result() != http::status::ok) continue;
    std::string& taken = parser.get().body();
    if (!taken.empty() && !on_bytes(taken)) return nlohmann::json::object();
    taken.clear();
  }
  if (parser.get().result() == http::status::ok) return nlohmann::json::object();
  auto refusal = nlohmann::json::parse(parser.get().body(), nullptr, false);
  if (!refusal.is_object()) return fail(ErrorCode::kPeer, "what answers at " + socket_ + " is not simplond: no API reply");
  return refusal;
}

Result<nlohmann::json> ApiClient::exchange(int fd, const std::string& request) const {
  bool told = false;
  auto reply = exchange(fd, request, told);
  if (told) on_wait_(std::chrono::seconds(0));
  return reply;
}

Result<nlohmann::json> ApiClient::exchange(int fd, const std::string& request, bool& ret_told) const {
  const auto started = Clock::now();

  std::string_view rest = request;
  while (!rest.empty()) {
    const ssize_t sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (auto ready = wait(fd, POLLOUT, started, ret_told); !ready) return Unexpected(ready.error());
    } else if (errno == EPIPE || errno == ECONNRESET) {
      break;  // refused before all was read: the reply tells why
    } else if (errno != EINTR) {
      return fail_errno("cannot talk to simplond", errno);
    }
  }

  http::response_parser<http::string_body> parser;
  parser.eager(true);
  parser.body_limit(kMaxReplyBytes);
  std::string pending;
  std::array<char, 65536> chunk{};
  boost::system::error_code error;
  const auto broken = [&](const std::string& why) {
    return fail(ErrorCode::kPeer, "what answers at " + socket_ + " is not simplond: " + why);
  };
  while (!parser.is_done()) {
    if (auto ready = wait(fd, POLLIN, started, ret_told); !ready) return Unexpected(ready.error());
    const ssize_t got = ::recv(fd, chunk.data(), chunk.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0)
      return fail(ErrorCode::kUnavailable, std::string("simplond closed the connection: ") + std::strerror(errno),
                  kRemedy);
    if (got == 0) {
      if (parser.got_some()) parser.put_eof(error);
      if (!parser.got_some() || error || !parser.is_done()) {
        return fail(ErrorCode::kUnavailable, "simplond closed the connection before it had answered",
                    kRemedy);
      }
      break;
    }
    pending.append(chunk.data(), static_cast<std::size_t>(got));
    while (!pending.empty() && !parser.is_done()) {
      const std::size_t used = parser.put(boost::asio::buffer(pending), error);
      if (error == http::error::need_more) {
        error = {};
        break;
      }
      if (error) return broken(error.message());
      pending.erase(0, used);
    }
  }
  auto reply = nlohmann::json::parse(parser.get().body(), nullptr, false);
  if (!reply.is_object() || !reply.contains("api") || !reply["api"].is_number_integer()) return broken("no API reply");
  if (reply["api"] != ipc::kApiVersion) {
    return fail(ErrorCode::kPeer,
                "simplond speaks version " + reply["api"].dump() + " of the API, this program version " +
                    std::to_string(ipc::kApiVersion),
                "install the same release of both");
  }
  return reply;
}

}  // namespace simplon::cli
