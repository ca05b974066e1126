// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "gateway/config/archive.h"
#include "gateway/config/document.h"
#include "gateway/config/json.h"
#include "gateway/daemon/api_server.h"
#include "platform/crypto/sha256.h"
#include "tests/unit/config/replies.h"
#include "tests/unit/config/sample.h"

namespace simplon::daemon {

/// A simplond that remembers what it was asked and answers from tests/unit/config/replies.h.
class FakeBackend final : public ApiBackend {
 public:
  using Reply = boost::asio::awaitable<ApiResult>;
  using json = nlohmann::json;

  std::string document = config::kSmallDocument;
  std::uint64_t version = 12;
  ApplyRequest applied, undone;
  /// Versions that `config` shows as waiting for their gates, so often.
  int undecided = 0;
  /// Called when a version is asked for.
  std::function<void()> on_config;
  /// Changes disturb nobody.
  bool harmless = false;
  /// Of a change, instead of that in replies.h.
  std::string summary;
  std::string action;
  std::string confirmed_by;

  Reply status() override { co_return cli::replies::status(); }
  Reply config(std::optional<std::uint64_t> wanted) override {
    if (on_config) on_config();
    if (wanted == 99) throw std::runtime_error("a bug");
    if (wanted && *wanted > version) {
      co_return fail(ErrorCode::kInvalidConfig, "there is no version " + std::to_string(*wanted));
    }
    co_return shown(wanted.value_or(version));
  }
  Reply history() override { co_return cli::replies::history(); }
  Reply diff(std::uint64_t from, std::optional<std::uint64_t> to) override {
    json reply = cli::replies::changes();
    if (!summary.empty()) reply["summary"] = summary;
    reply["from"] = from;
    reply["to"] = to.value_or(version);
    co_return reply;
  }
  Reply check(std::string text) override {
    const auto read = config::read_document(text, {.check_files = false});
    if (!read.ok()) co_return refuse(read.issues);
    json reply = cli::replies::changes();
    if (!summary.empty()) reply["summary"] = summary;
    reply["valid"] = true;
    reply["version"] = version;
    reply["warnings"] = config::to_json(read.issues, config::Severity::kWarning);
    co_return reply;
  }
  Reply apply(ApplyRequest request) override {
    if (request.base_version && *request.base_version != version)
      co_return fail(ErrorCode::kConflict, "the configuration was changed meanwhile", "try again");
    const auto read = config::read_document(request.document, {.check_files = false});
    if (!read.ok()) co_return refuse(read.issues);
    applied = std::move(request);
    json reply = cli::replies::changes();
    if (!summary.empty()) reply["summary"] = summary;
    if (harmless) reply["changes"] = reply["impact"] = json::array();
    reply["applied"] = !applied.dry_run;
    reply["previous"] = version;
    if (!applied.dry_run) {
      document = applied.document;
      ++version;
    }
    reply["version"] = version;
    reply["warnings"] = json::array();
    reply["pending"] = nullptr;
    if (applied.confirm_within) reply["pending"] = probation(applied.confirm_within->count());
    co_return reply;
  }
  Reply confirm(config::Author who, std::optional<std::uint64_t> number) override {
    if (number && *number != version) co_return fail(ErrorCode::kConflict, "version 12 does not wait for a confirmation");
    confirmed_by = std::move(who.name);
    json reply;
    reply["confirmed"] = true;
    reply["version"] = version;
    co_return reply;
  }
  Reply undo(ApplyRequest request) override {
    if (request.base_version && *request.base_version != version) {
      co_return fail(ErrorCode::kConflict, "the configuration was changed meanwhile", "try again");
    }
    json reply = cli::replies::changes();
    if (!summary.empty()) reply["summary"] = summary;
    undone = std::move(request);
    reply["restored"] = undone.to.value_or(version - 1);
    reply["applied"] = !undone.dry_run;
    reply["previous"] = version;
    if (!undone.dry_run) ++version;
    reply["version"] = version;
    reply["warnings"] = json::array();
    reply["pending"] = nullptr;
    if (undone.confirm_within) reply["pending"] = probation(undone.confirm_within->count());
    co_return reply;
  }
  Reply tunnels() override { co_return cli::replies::tunnels(); }
  Reply tunnel_action(config::Author, std::string name, TunnelAction wanted) override {
    if (name != "paris") co_return fail(ErrorCode::kInvalidConfig, "there is no tunnel '" + name + "'");
    action = name + " " + std::to_string(static_cast<int>(wanted));
    json reply;
    reply["done"] = true;
    co_return reply;
  }
  Reply vpcs() override { co_return cli::replies::vpcs(); }
  Reply circuits() override { co_return cli::replies::circuits(); }
  Reply routes(RouteRequest request) override {
    routes_asked = request;
    if (!request.domain.empty() && request.domain != "prod") {
      co_return fail(ErrorCode::kInvalidConfig, "there is no domain '" + request.domain + "'", "did you mean 'prod'?");
    }
    co_return cli::replies::routes();
  }
  Reply bgp() override { co_return cli::replies::bgp(); }
  Reply drops() override {
    co_return fail(ErrorCode::kUnavailable, "the forwarder is away", "systemctl status simplon-forwarder");
  }
  Reply acls() override { co_return cli::replies::acls(); }
  Reply nat() override { co_return cli::replies::nat(); }
  Reply connections() override { co_return cli::replies::connections(); }

  Reply export_archive(bool history) override {
    json reply;
    config::Archive archive;
    archive.gateway = "gw";
    archive.version = version;
    archive.document = document;
    if (history && history_bytes != 0) archive.history.push_back(old_version());
    reply["archive"] = config::format_open_archive(archive);
    reply["version"] = version;
    reply["secret_files"] = json::array();
    for (const auto& path : secret_files) reply["secret_files"].push_back(path);
    co_return reply;
  }
  Reply import_archive(ApplyRequest request) override {
    auto read = config::read_archive(request.archive);
    if (!read) co_return tl::unexpected(ApiFailure(read.error()));
    imported = read->secrets;
    imported_history = read->history.size();
    request.document = read->document;
    co_return co_await apply(std::move(request));
  }
  Reply audit(std::size_t) override {
    json reply;
    reply["entries"] = json::array();
    reply["sequence"] = 3;
    reply["hash"] = "abcdef";
    co_return reply;
  }
  Reply trace(ipc::PacketQuery query) override {
    asked = std::move(query);
    if (asked.from == "vpc:green") {
      co_return fail(ErrorCode::kInvalidConfig, "there is no 'vpc:green'", "did you mean vpc:red?");
    }
    co_return cli::replies::trace();
  }
  Reply trace_live(config::Author, ipc::PacketQuery query) override {
    asked = std::move(query);
    json reply = cli::replies::trace();
    reply["live"] = true;
    reply["verdict"] = "forwarded";
    reply["drop"] = nullptr;
    co_return reply;
  }
  /// Three pieces, then the end; without an end for a capture of 7 packets.
  struct Pieces final : ApiStream {
    Pieces(boost::asio::io_context& io, FakeBackend& of) : context(io), backend(of) { ++backend.streams; }
    ~Pieces() override { --backend.streams; }
    boost::asio::awaitable<std::optional<std::string>> next() override {
      boost::asio::steady_timer timer(context, std::chrono::milliseconds(1));
      co_await timer.async_wait(boost::asio::use_awaitable);
      if (sent == 3 && backend.asked.count != 7) co_return std::nullopt;
      // An enhanced packet block without a packet.
      co_return sent++ < 3 ? std::optional<std::string>(block()) : std::optional<std::string>("");
    }
    static std::string block() {
      std::string bytes(32, '\0');
      bytes[0] = 6;
      bytes[4] = bytes[28] = 32;
      return bytes;
    }
    boost::asio::io_context& context;
    FakeBackend& backend;
    int sent = 0;
  };
  boost::asio::awaitable<ApiStreamResult> capture(config::Author, ipc::PacketQuery query) override {
    asked = std::move(query);
    if (asked.from == "uplink:none") co_return tl::unexpected(no_uplink());
    co_return std::make_unique<Pieces>(*io, *this);
  }
  void denied(const config::Author& who, const std::string& target) override { denials.push_back(who.name + " " + target); }

  std::vector<std::string> secret_files;
  std::map<std::string, std::string> imported;
  /// Of the one older version that an export has.
  std::size_t history_bytes = 0;
  std::size_t imported_history = 0;
  std::vector<std::string> denials;
  ipc::PacketQuery asked;
  RouteRequest routes_asked;
  boost::asio::io_context* io = nullptr;
  std::atomic<int> streams{0};

 private:
  // Plain functions: GCC 12 destroys braced temporaries of a coroutine twice.
  [[nodiscard]] json stored(std::uint64_t number) const {
    return {{"version", number},    {"when", "2026-01-31T12:00:00Z"}, {"who", "root"},     {"comment", "why"}, {"hash", "ab"},
            {"current", version},   {"document", document},           {"pending", nullptr}, {"outcome", "committed"},
            {"outcome_reason", ""}};
  }
  [[nodiscard]] config::StoredDocument old_version() const {
    config::StoredDocument stored;
    stored.version.number = 1;
    stored.text = std::string(history_bytes, '#');
    stored.version.hash = crypto::sha256_hex(stored.text);
    return stored;
  }
  static ApiFailure no_uplink() {
    return make_error(ErrorCode::kInvalidConfig, "there is no open uplink none", "simplon status shows the uplinks");
  }
  [[nodiscard]] json shown(std::uint64_t number) {
    json reply = stored(number);
    if (undecided == 0) return reply;
    const bool healthy = --undecided == 0;
    reply["outcome"] = "unconfirmed";
    reply["pending"] = probation(undecided + 1);
    json gate = {{"gate", "bgp:prod/paris-router"}, {"healthy", healthy}, {"problem", healthy ? "" : "the session is Active"}};
    gate["held_seconds"] = 0;
    gate["needed_seconds"] = 30;
    reply["pending"]["gates"].push_back(std::move(gate));
    return reply;
  }
  [[nodiscard]] json probation(std::int64_t seconds) const {
    return {{"version", version}, {"reverts_to", version - 1}, {"deadline", ""}, {"seconds_left", seconds}};
  }
};

/// The real server on a real socket, in a thread of its own.
class ServedBackend {
 public:
  explicit ServedBackend(ApiServer::Options options = {}) : options_(std::move(options)) {
    backend.io = &io_;
    options_.socket = (folder_.path() / "api.sock").string();
    start();
    thread_ = std::thread([this] { io_.run(); });
  }
  ~ServedBackend() {
    io_.stop();
    thread_.join();
    server_.reset();
  }
  ServedBackend(const ServedBackend&) = delete;
  ServedBackend& operator=(const ServedBackend&) = delete;

  [[nodiscard]] std::string socket() const { return (folder_.path() / "api.sock").string(); }

  /// As a restart of simplond looks from outside: connections end, and nobody is there for a while.
  void restart(std::chrono::milliseconds away) {
    boost::asio::post(io_, [this, away] {
      server_.reset();
      back_.expires_after(away);
      back_.async_wait([this](const boost::system::error_code& error) {
        if (!error) start();
      });
    });
  }

  FakeBackend backend;

 private:
  void start() {
    auto started = ApiServer::start(io_, backend, options_);
    if (!started) throw std::runtime_error(started.error().message());
    server_ = std::move(*started);
  }

  ApiServer::Options options_;
  config::TemporaryFolder folder_;
  boost::asio::io_context io_;
  boost::asio::steady_timer back_{io_};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  std::unique_ptr<ApiServer> server_;
  std::thread thread_;
};

}  // namespace simplon::daemon
