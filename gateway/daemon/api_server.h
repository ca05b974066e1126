// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

#include "gateway/config/document.h"
#include "gateway/config/store.h"
#include "gateway/ipc/api.h"
#include "gateway/ipc/api_request.h"
#include "platform/base/result.h"
#include "platform/net/ip_prefix.h"

namespace simplon::daemon {

/// Why a request is refused: one error, or all findings of a document. `co_return fail(...)` and
/// `co_return Unexpected(result.error())` convert to it.
struct ApiFailure {
  std::vector<config::Issue> issues;

  ApiFailure() = default;
  /* implicit */ ApiFailure(const Error& error)
      : issues{{config::Severity::kError, error.code, {}, {}, error.what, error.hint, 0}} {}
  /* implicit */ ApiFailure(std::vector<config::Issue> findings) : issues(std::move(findings)) {}
};

/// Refuses with all findings: `co_return refuse(document.issues);`
[[nodiscard]] inline tl::unexpected<ApiFailure> refuse(std::vector<config::Issue> issues) {
  return tl::unexpected<ApiFailure>(ApiFailure(std::move(issues)));
}

using ApiResult = tl::expected<nlohmann::json, ApiFailure>;

/// A reply that goes on: pieces of a body of type application/x-pcapng.
class ApiStream {
 public:
  virtual ~ApiStream() = default;
  /// The next piece, at least twice a second: empty if there is nothing now, nothing at the end.
  virtual boost::asio::awaitable<std::optional<std::string>> next() = 0;
};
using ApiStreamResult = tl::expected<std::unique_ptr<ApiStream>, ApiFailure>;

struct ApplyRequest {
  std::string document;
  std::optional<std::uint64_t> base_version;
  std::string comment;
  std::optional<std::chrono::seconds> confirm_within;
  /// Health gates (gateway/control/gates.h), separated by spaces; default window if there are gates and no confirmation.
  std::string gates;
  std::chrono::seconds gate_window{60};
  bool dry_run = false;
  /// The peer, for the history.
  config::Author who;
  /// Of an import, instead of the document.
  std::string archive;
  /// Of an undo: a version; nothing: the one before.
  std::optional<std::uint64_t> to;
};

struct RouteRequest {
  /// Empty: all.
  std::string domain;
  /// Routes inside it and those that cover it; unset: all.
  std::optional<IpPrefix> prefix;
  std::size_t limit = static_cast<std::size_t>(ipc::kApiRoutes);
};

enum class TunnelAction : std::uint8_t { kUp, kDown, kRekeyChild, kRekeyIke };

/// What simplond answers. Each function returns the object documented in gateway/ipc/api.h, without "api", which the
/// server adds. Called on the io_context's thread; must not block it. Roles are already checked.
class ApiBackend {
 public:
  virtual ~ApiBackend() = default;

  virtual boost::asio::awaitable<ApiResult> status() = 0;
  /// `version`: nullopt for the current one.
  virtual boost::asio::awaitable<ApiResult> config(std::optional<std::uint64_t> version) = 0;
  virtual boost::asio::awaitable<ApiResult> history() = 0;
  virtual boost::asio::awaitable<ApiResult> diff(std::uint64_t from, std::optional<std::uint64_t> to) = 0;
  virtual boost::asio::awaitable<ApiResult> check(std::string document) = 0;
  virtual boost::asio::awaitable<ApiResult> apply(ApplyRequest request) = 0;
  virtual boost::asio::awaitable<ApiResult> confirm(config::Author who, std::optional<std::uint64_t> version) = 0;
  virtual boost::asio::awaitable<ApiResult> undo(ApplyRequest request) = 0;
  virtual boost::asio::awaitable<ApiResult> tunnels() = 0;
  virtual boost::asio::awaitable<ApiResult> tunnel_action(config::Author who, std::string name,
                                                       TunnelAction action) = 0;
  virtual boost::asio::awaitable<ApiResult> vpcs() = 0;
  virtual boost::asio::awaitable<ApiResult> circuits() = 0;
  virtual boost::asio::awaitable<ApiResult> routes(RouteRequest request) = 0;
  virtual boost::asio::awaitable<ApiResult> bgp() = 0;
  virtual boost::asio::awaitable<ApiResult> drops() = 0;
  virtual boost::asio::awaitable<ApiResult> acls() = 0;
  virtual boost::asio::awaitable<ApiResult> nat() = 0;
  virtual boost::asio::awaitable<ApiResult> connections() = 0;
  virtual boost::asio::awaitable<ApiResult> export_archive(bool history) = 0;
  virtual boost::asio::awaitable<ApiResult> import_archive(ApplyRequest request) = 0;
  virtual boost::asio::awaitable<ApiResult> audit(std::size_t last) = 0;
  virtual boost::asio::awaitable<ApiResult> trace(ipc::PacketQuery query) = 0;
  virtual boost::asio::awaitable<ApiResult> trace_live(config::Author who, ipc::PacketQuery query) = 0;
  /// Ends with the stream: when the client goes away.
  virtual boost::asio::awaitable<ApiStreamResult> capture(config::Author who, ipc::PacketQuery query) = 0;
  /// Somebody without the right to change anything tried to.
  virtual void denied(const config::Author& who, const std::string& target) = 0;
};

/// Serves the local API (gateway/ipc/api.h) on a Unix socket.
///
/// One coroutine per connection; sizes, times and the number of connections are bounded; a malformed request gets an
/// answer or a closed connection, and never anything else.
/// Lifetime: `io` and `backend` outlive the io_context's run; the destructor closes everything and removes the socket.
/// Threads: the io_context's one.
class ApiServer {
 public:
  struct Options {
    /// Path of the socket; a stale one is replaced, one that somebody serves is not.
    std::string socket;
    /// Members may change things; ignored if the group does not exist.
    std::string admin_group = "simplon";
    /// To receive one whole request, and to wait for the next one on an open connection.
    std::chrono::seconds read_timeout{10};
    std::chrono::seconds idle_timeout{30};
    std::size_t max_connections = ipc::kApiMaxConnections;
    /// Of these, what all who are no administrators may have together, and each of them.
    std::size_t max_lookers = ipc::kApiMaxConnections - 8;
    std::size_t max_of_one_looker = ipc::kApiMaxConnections / 4;
    std::size_t max_body = ipc::kApiMaxBody;
    /// For tests: decides about changes by peers instead of uid and groups.
    std::optional<bool> every_peer_is_admin;
  };

  /// Binds, listens and starts accepting. Errors: kConflict if another process serves the socket, kUnavailable naming
  /// the path.
  [[nodiscard]] static Result<std::unique_ptr<ApiServer>> start(boost::asio::io_context& io, ApiBackend& backend,
                                                                Options options);
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  [[nodiscard]] std::size_t connections() const noexcept;

 private:
  struct Impl;
  explicit ApiServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace simplon::daemon
