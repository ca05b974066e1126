// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/api_server.h"

#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>

#include "gateway/config/json.h"
#include "gateway/ipc/api_request.h"
#include "platform/base/log.h"
#include "platform/sys/unix_socket.h"

// One coroutine accepts, one per connection reads a request, asks the backend, writes the reply, and so on until the
// client closes, is too slow, or sends something that is not HTTP.
//
// The role is decided from the kernel's word about the peer before the body of a request is read, and a GET has none to
// speak of: who may only look cannot make us read 20 MiB. Timeouts are those of beast::basic_stream, which closes the
// socket when they pass; while the backend works no timeout runs, because an apply may wait for charon and FRR.
//
// Everything a client sends is parsed by Beast (HTTP) and `parse_api_request` (target and body, fuzzed). What escapes
// as an exception from a reply's construction ends in an answer "bug", not in the daemon.

namespace simplon::daemon {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::redirect_error;
using asio::use_awaitable;
using boost::system::error_code;
using nlohmann::json;
using Protocol = asio::local::stream_protocol;
using Stream = beast::basic_stream<Protocol>;
using Reply = http::response<http::string_body>;

constexpr std::chrono::seconds kWriteTimeout{30};
constexpr std::chrono::milliseconds kAcceptPause{100};
constexpr const char* kCapturePath = "/v1/capture";

struct Answer {
  unsigned status = 200;
  json body;
};

Answer refusal(unsigned status, std::vector<config::Issue> issues) {
  return {status, {{"errors", config::to_json(issues, config::Severity::kError)}}};
}

Answer refusal(unsigned status, const Error& error) { return refusal(status, ApiFailure(error).issues); }

Answer answer_of(ApiResult result) {
  if (result) return {200, std::move(*result)};
  std::vector<config::Issue>& issues = result.error().issues;
  const auto first = std::find_if(issues.begin(), issues.end(), [](const config::Issue& issue) {
    return issue.severity == config::Severity::kError;
  });
  if (first == issues.end()) {
    return refusal(500, make_error(ErrorCode::kBug, "the request was refused without a reason", {}));
  }
  return refusal(ipc::http_status_of(first->code), std::move(issues));
}

std::string user_name(uid_t uid) {
  std::array<char, 4096> space{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, space.data(), space.size(), &found) == 0 && found != nullptr) return entry.pw_name;
  return "uid " + std::to_string(uid);
}

std::optional<gid_t> find_group(const std::string& name) {
  std::array<char, 16384> space{};
  group entry{};
  group* found = nullptr;
  if (name.empty() || ::getgrnam_r(name.c_str(), &entry, space.data(), space.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  return entry.gr_gid;
}

/// Supplementary groups of the peer when it connected; the primary one is in its credentials.
std::vector<gid_t> peer_groups(int fd) {
  std::vector<gid_t> groups(64);
  for (;;) {
    auto length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) == 0) {
      groups.resize(length / sizeof(gid_t));
      return groups;
    }
    if (errno != ERANGE || length / sizeof(gid_t) <= groups.size()) return {};
    groups.resize(length / sizeof(gid_t));
  }
}

config::Author author_of(uid_t uid) { return config::Author(user_name(uid), static_cast<std::uint32_t>(uid)); }

struct Peer {
  uid_t uid = 0;
  bool admin = false;
};

}  // namespace

struct ApiServer::Impl : std::enable_shared_from_this<ApiServer::Impl> {
  Impl(asio::io_context& context, ApiBackend& served, Options chosen)
      : io(context), backend(served), options(std::move(chosen)), acceptor(context), pause(context) {}

  Peer identify(int fd) const {
    Peer peer;
    const auto credentials = sys::peer_credentials(fd);
    if (!credentials) return {static_cast<uid_t>(-1), false};
    peer.uid = credentials->uid;
    if (options.every_peer_is_admin) {
      peer.admin = *options.every_peer_is_admin;
      return peer;
    }
    peer.admin = peer.uid == 0 || peer.uid == ::geteuid();
    if (!peer.admin && admin_gid) {
      const auto groups = peer_groups(fd);
      peer.admin =
          credentials->gid == *admin_gid || std::find(groups.begin(), groups.end(), *admin_gid) != groups.end();
    }
    return peer;
  }

  /// Refuses and takes note. `what` ends before the name.
  Answer deny(const Peer& peer, std::string_view target, const std::string& what) {
    backend.denied(author_of(peer.uid), std::string(target.substr(0, 200)));
    return refusal(403, make_error(ErrorCode::kInvalidConfig, what + ": " + user_name(peer.uid) + " is no administrator",
                                   "use sudo, or become a member of group " + options.admin_group));
  }

  static ApplyRequest change_of(const ipc::ApiRequest& request, const Peer& peer) {
    const auto seconds = [](std::uint64_t count) { return std::chrono::seconds(static_cast<std::int64_t>(count)); };
    ApplyRequest change;
    change.base_version = request.base_version;
    change.comment = request.comment;
    if (request.confirm_seconds) change.confirm_within = seconds(*request.confirm_seconds);
    change.gates = request.gates;
    if (request.gate_seconds) change.gate_window = seconds(*request.gate_seconds);
    change.dry_run = request.dry_run;
    change.who = author_of(peer.uid);
    return change;
  }

  asio::awaitable<ApiResult> call(ipc::ApiRequest request, Peer peer) {
    switch (request.call) {
      case ipc::ApiCall::kStatus:
        co_return co_await backend.status();
      case ipc::ApiCall::kConfig:
        co_return co_await backend.config(request.version);
      case ipc::ApiCall::kHistory:
        co_return co_await backend.history();
      case ipc::ApiCall::kDiff:
        co_return co_await backend.diff(request.from.value_or(0), request.to);
      case ipc::ApiCall::kCheck:
        co_return co_await backend.check(std::move(request.document));
      case ipc::ApiCall::kApply: {
        ApplyRequest apply = change_of(request, peer);
        apply.document = std::move(request.document);
        co_return co_await backend.apply(std::move(apply));
      }
      case ipc::ApiCall::kImport: {
        ApplyRequest change = change_of(request, peer);
        change.archive = std::move(request.archive);
        co_return co_await backend.import_archive(std::move(change));
      }
      case ipc::ApiCall::kExport:
        co_return co_await backend.export_archive(request.history);
      case ipc::ApiCall::kAudit:
        co_return co_await backend.audit(static_cast<std::size_t>(request.last.value_or(50)));
      case ipc::ApiCall::kConfirm:
        co_return co_await backend.confirm(author_of(peer.uid), request.version);
      case ipc::ApiCall::kUndo: {
        ApplyRequest change = change_of(request, peer);
        change.to = request.to;
        co_return co_await backend.undo(std::move(change));
      }
      case ipc::ApiCall::kTunnels:
        co_return co_await backend.tunnels();
      case ipc::ApiCall::kTunnelUp:
        co_return co_await backend.tunnel_action(author_of(peer.uid), std::move(request.name), TunnelAction::kUp);
      case ipc::ApiCall::kTunnelDown:
        co_return co_await backend.tunnel_action(author_of(peer.uid), std::move(request.name), TunnelAction::kDown);
      case ipc::ApiCall::kTunnelRekey: {
        const TunnelAction action = request.ike ? TunnelAction::kRekeyIke : TunnelAction::kRekeyChild;
        co_return co_await backend.tunnel_action(author_of(peer.uid), std::move(request.name), action);
      }
      case ipc::ApiCall::kVpcs:
        co_return co_await backend.vpcs();
      case ipc::ApiCall::kCircuits:
        co_return co_await backend.circuits();
      case ipc::ApiCall::kRoutes: {
        RouteRequest routes;
        routes.domain = std::move(request.domain);
        routes.prefix = request.prefix;
        routes.limit = static_cast<std::size_t>(request.limit.value_or(ipc::kApiRoutes));
        co_return co_await backend.routes(std::move(routes));
      }
      case ipc::ApiCall::kBgp:
        co_return co_await backend.bgp();
      case ipc::ApiCall::kDrops:
        co_return co_await backend.drops();
      case ipc::ApiCall::kTrace:
        co_return co_await backend.trace(std::move(request.packet));
      case ipc::ApiCall::kTraceLive:
        co_return co_await backend.trace_live(author_of(peer.uid), std::move(request.packet));
      case ipc::ApiCall::kCapture:
        break;  // a stream: serve_capture
      case ipc::ApiCall::kAcls:
        co_return co_await backend.acls();
      case ipc::ApiCall::kNat:
        co_return co_await backend.nat();
      case ipc::ApiCall::kConnections:
        co_return co_await backend.connections();
    }
    co_return fail(ErrorCode::kBug, "an unknown call");
  }

  asio::awaitable<Answer> answer(const http::request<http::string_body>& message, Peer peer) {
    const auto method = message.method_string();
    const auto target = message.target();
    auto request =
        ipc::parse_api_request({method.data(), method.size()}, {target.data(), target.size()}, message.body());
    if (!request) co_return refusal(request.error().http_status, request.error().error);
    if (request->history && !peer.admin) {
      co_return deny(peer, std::string_view(target.data(), target.size()), "you may look, but not at all versions at once");
    }
    if (request->limit.value_or(0) > ipc::kApiRoutes && !peer.admin) {
      co_return deny(peer, std::string_view(target.data(), target.size()), "you may look, but not at so many routes at once");
    }
    std::string problem;
    try {
      ApiResult result = co_await call(std::move(*request), peer);
      co_return answer_of(std::move(result));
    } catch (const std::exception& error) {
      problem = error.what();
    }
    spdlog::error("api: {} failed: {}", std::string_view(target.data(), target.size()), problem);
    co_return refusal(500,
                      make_error(ErrorCode::kBug, "simplond failed to answer: " + problem, "its log has the details"));
  }

  /// Nothing is read from a client while it receives a stream, so that it left shows only here.
  static bool has_left(Stream& stream) {
    char byte = 0;
    return ::recv(stream.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
  }

  /// Pieces until the end, or until the client is gone or too slow; the connection is closed afterwards.
  asio::awaitable<void> send_stream(Stream& stream, unsigned version, std::unique_ptr<ApiStream> source) {
    http::response<http::empty_body> head(http::status::ok, version);
    head.set(http::field::content_type, "application/x-pcapng");
    head.chunked(true);
    head.keep_alive(false);
    http::response_serializer<http::empty_body> serializer(head);
    error_code error;
    stream.expires_after(kWriteTimeout);
    co_await http::async_write_header(stream, serializer, redirect_error(use_awaitable, error));
    while (!error && !closed) {
      const auto piece = co_await source->next();
      stream.expires_after(kWriteTimeout);
      if (!piece) {
        co_await asio::async_write(stream, http::make_chunk_last(), redirect_error(use_awaitable, error));
        co_return;
      }
      if (has_left(stream)) co_return;
      if (piece->empty()) continue;
      co_await asio::async_write(stream, http::make_chunk(asio::buffer(*piece)), redirect_error(use_awaitable, error));
    }
  }

  /// What a request for a stream gets if it does not get one.
  asio::awaitable<std::optional<Answer>> serve_capture(Stream& stream, const http::request<http::string_body>& message,
                                                       Peer peer) {
    auto request = ipc::parse_api_request("POST", kCapturePath, message.body());
    if (!request) co_return refusal(request.error().http_status, request.error().error);
    std::string problem;
    try {
      auto source = co_await backend.capture(author_of(peer.uid), std::move(request->packet));
      if (!source) co_return answer_of(tl::unexpected(std::move(source.error())));
      co_await send_stream(stream, message.version(), *std::move(source));
      co_return std::nullopt;
    } catch (const std::exception& error) {
      problem = error.what();
    }
    spdlog::error("api: a capture failed: {}", problem);
    co_return refusal(500, make_error(ErrorCode::kBug, "simplond failed to answer: " + problem, "its log has the details"));
  }

  static Reply reply_of(Answer answer, unsigned version, bool keep_alive) {
    Reply reply(static_cast<http::status>(answer.status), version);
    reply.set(http::field::content_type, "application/json");
    answer.body["api"] = ipc::kApiVersion;
    // Text that came from outside may be cut inside a character: replaced, not thrown.
    reply.body() = answer.body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    reply.keep_alive(keep_alive);
    reply.prepare_payload();
    return reply;
  }

  /// False if the connection is to be closed.
  asio::awaitable<bool> write(Stream& stream, Reply reply) {
    error_code error;
    stream.expires_after(kWriteTimeout);
    const bool keep = reply.keep_alive();
    co_await http::async_write(stream, reply, redirect_error(use_awaitable, error));
    co_return !error && keep;
  }

  /// What to tell a client whose request could not be read; nothing if nobody listens any more.
  static std::optional<Answer> complaint(const error_code& error) {
    if (error == http::error::body_limit) {
      return refusal(413, make_error(ErrorCode::kInvalidConfig, "the body is too large", "split the document"));
    }
    if (error == http::error::header_limit) {
      return refusal(431, make_error(ErrorCode::kInvalidConfig, "the header is too large", {}));
    }
    if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
    if (error.category() != http::make_error_code(http::error::bad_method).category()) return std::nullopt;
    return refusal(400, make_error(ErrorCode::kInvalidConfig, "this is not an HTTP request: " + error.message(), {}));
  }

  /// False if the connection is to be closed.
  asio::awaitable<bool> serve_one(Stream& stream, beast::flat_buffer& buffer, Peer peer) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(ipc::kApiMaxHeader));
    parser.body_limit(options.max_body);
    error_code error;
    stream.expires_after(options.idle_timeout);
    co_await http::async_read_header(stream, buffer, parser, redirect_error(use_awaitable, error));
    if (!error && parser.get().method() != http::verb::get && !peer.admin) {
      const auto target = parser.get().target();
      Answer denied = deny(peer, std::string_view(target.data(), target.size()), "you may look, but not change");
      Reply reply = reply_of(std::move(denied), parser.get().version(), false);
      co_return co_await write(stream, std::move(reply));
    }
    if (!error && parser.get().method() == http::verb::get) {
      // The first is for a body in chunks: that of a known length was compared with the limit already.
      parser.body_limit(ipc::kApiMaxGetBody);
      if (parser.content_length().value_or(0) > ipc::kApiMaxGetBody) error = http::error::body_limit;
    }
    if (!error && beast::iequals(parser.get()[http::field::expect], "100-continue")) {  // RFC 9110 section 10.1.1
      http::response<http::empty_body> go_on(http::status::continue_, 11);
      co_await http::async_write(stream, go_on, redirect_error(use_awaitable, error));
    }
    if (!error) {
      stream.expires_after(options.read_timeout);
      co_await http::async_read(stream, buffer, parser, redirect_error(use_awaitable, error));
    }
    if (error) {
      auto told = complaint(error);
      if (!told) co_return false;
      Reply reply = reply_of(std::move(*told), 11, false);
      co_return co_await write(stream, std::move(reply));
    }
    stream.expires_never();
    const http::request<http::string_body> message = parser.release();
    if (message.method() == http::verb::post && message.target() == kCapturePath) {
      auto refused = co_await serve_capture(stream, message, peer);
      if (!refused) co_return false;
      Reply reply = reply_of(std::move(*refused), message.version(), message.keep_alive());
      co_return co_await write(stream, std::move(reply));
    }
    Answer answered = co_await answer(message, peer);
    Reply reply = reply_of(std::move(answered), message.version(), message.keep_alive());
    co_return co_await write(stream, std::move(reply));
  }

  asio::awaitable<void> serve(std::shared_ptr<Stream> stream, Peer peer) {
    const auto self = shared_from_this();
    beast::flat_buffer buffer;
    bool open = true;
    while (open && !closed) open = co_await serve_one(*stream, buffer, peer);
    error_code ignored;
    stream->socket().shutdown(Protocol::socket::shutdown_both, ignored);
    stream->close();
    streams.erase(stream);
  }

  /// Who may only look cannot keep administrators out, nor one of them the others.
  bool has_place_for(const Peer& peer) const {
    if (peer.admin || streams.size() >= options.max_connections) return streams.size() < options.max_connections;
    const auto lookers = std::count_if(streams.begin(), streams.end(), [](const auto& one) { return !one.second.admin; });
    const auto own = std::count_if(streams.begin(), streams.end(), [&](const auto& one) { return one.second.uid == peer.uid; });
    return static_cast<std::size_t>(lookers) < options.max_lookers && static_cast<std::size_t>(own) < options.max_of_one_looker;
  }

  static void turn_away(Protocol::socket& socket) {
    Reply reply = reply_of(
        refusal(503, make_error(ErrorCode::kUnavailable, "too many connections", "try again in a moment")), 11, false);
    error_code ignored;
    socket.non_blocking(true, ignored);
    http::write(socket, reply, ignored);
    socket.shutdown(Protocol::socket::shutdown_both, ignored);
  }

  asio::awaitable<void> accept() {
    const auto self = shared_from_this();
    while (!closed) {
      error_code error;
      Protocol::socket socket = co_await acceptor.async_accept(redirect_error(use_awaitable, error));
      if (closed) co_return;
      if (error) {
        // Out of descriptors, most likely: the queue holds the clients until some are free again.
        spdlog::warn("api: cannot accept a connection: {}", error.message());
        pause.expires_after(kAcceptPause);
        co_await pause.async_wait(redirect_error(use_awaitable, error));
        continue;
      }
      const Peer peer = identify(socket.native_handle());
      if (!has_place_for(peer)) {
        turn_away(socket);
        continue;
      }
      auto stream = std::make_shared<Stream>(std::move(socket));
      streams.emplace(stream, peer);
      asio::co_spawn(io, serve(stream, peer), [self, stream](std::exception_ptr problem) {
        self->streams.erase(stream);
        if (problem) spdlog::error("api: a connection ended with an exception");
      });
    }
  }

  void close() {
    closed = true;
    error_code ignored;
    acceptor.close(ignored);
    pause.cancel();
    for (const auto& [stream, peer] : streams) stream->close();
    if (bound) ::unlink(options.socket.c_str());
    bound = false;
  }

  asio::io_context& io;
  ApiBackend& backend;
  Options options;
  Protocol::acceptor acceptor;
  asio::steady_timer pause;
  std::optional<gid_t> admin_gid;
  std::map<std::shared_ptr<Stream>, Peer> streams;
  bool bound = false;
  bool closed = false;
};

Result<std::unique_ptr<ApiServer>> ApiServer::start(asio::io_context& io, ApiBackend& backend, Options options) {
  auto impl = std::make_shared<Impl>(io, backend, std::move(options));
  impl->admin_gid = find_group(impl->options.admin_group);
  // Everybody may connect; what one may do is decided by role.
  auto listener = sys::listen_unix(impl->options.socket, SOCK_STREAM, 0666);
  if (!listener) return Unexpected(listener.error());
  error_code error;
  impl->acceptor.assign(Protocol(), listener->get(), error);
  if (error) return fail(ErrorCode::kUnavailable, "cannot serve " + impl->options.socket + ": " + error.message());
  static_cast<void>(listener->release());
  impl->bound = true;
  asio::co_spawn(io, impl->accept(), asio::detached);
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(impl)));
}

ApiServer::ApiServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

ApiServer::~ApiServer() { impl_->close(); }

std::size_t ApiServer::connections() const noexcept { return impl_->streams.size(); }

}  // namespace simplon::daemon
