// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/charon_session.h"

#include <utility>
#include <variant>

#include <boost/asio/use_awaitable.hpp>

namespace simplon::ipsec {
namespace {

namespace asio = boost::asio;
using vici::Section;

/// charon answers at once, and goes on by itself.
constexpr const char* kDoNotWait = "-1";

Unexpected not_connected() { return fail(ErrorCode::kUnavailable, "there is no connection to charon"); }

bool is_answer(const Result<void>& result) { return result || result.error().code != ErrorCode::kUnavailable; }

}  // namespace

CharonSession::CharonSession(asio::io_context& io, std::string path) : io_(io), path_(std::move(path)) {}

bool CharonSession::connected() const { return commands_ && events_ && commands_->is_open() && events_->is_open(); }

bool CharonSession::disconnect() {
  const auto commands = std::exchange(commands_, nullptr);
  const auto events = std::exchange(events_, nullptr);
  if (commands) commands->close();
  if (events) events->close();
  return commands || events;
}

asio::awaitable<Result<void>> CharonSession::connect(Handlers handlers) {
  auto events = co_await vici::Connection::open(io_, path_);
  if (!events) co_return Unexpected(std::move(events.error()));
  auto commands = co_await vici::Connection::open(io_, path_);
  if (!commands) {
    (*events)->close();
    co_return Unexpected(std::move(commands.error()));
  }
  (*commands)->set_handlers(nullptr, handlers.on_close);
  (*events)->set_handlers(std::move(handlers.on_event), std::move(handlers.on_close));
  commands_ = std::move(*commands);
  events_ = std::move(*events);
  const std::vector<std::string> pushed = {"ike-updown", "child-updown", "log"};
  for (const std::string& event : pushed) {
    const auto connection = events_;
    if (!connection) co_return not_connected();
    if (auto done = co_await connection->subscribe(event); !done) co_return done;
  }
  const std::vector<std::string> streamed = {"list-sa", "list-conn"};
  for (const std::string& event : streamed) {
    const auto connection = commands_;
    if (!connection) co_return not_connected();
    if (auto done = co_await connection->subscribe(event); !done) co_return done;
  }
  co_return Result<void>{};
}

asio::awaitable<Result<Section>> CharonSession::command(std::string name, Section message) {
  // Ours as long as it takes, whoever disconnects.
  const auto connection = commands_;
  if (!connection) {
    message.wipe();
    co_return not_connected();
  }
  co_return co_await connection->command(std::move(name), std::move(message));
}

asio::awaitable<Result<std::vector<Section>>> CharonSession::stream(std::string name, std::string event, Section message) {
  const auto connection = commands_;
  if (!connection) co_return not_connected();
  co_return co_await connection->stream(std::move(name), std::move(event), std::move(message));
}

asio::awaitable<Result<void>> CharonSession::succeed(std::string name, Section message) {
  auto reply = co_await command(std::move(name), std::move(message));
  if (!reply) co_return Unexpected(std::move(reply.error()));
  co_return vici::require_success(*reply);
}

asio::awaitable<bool> CharonSession::tell(std::string name, Section message) {
  const auto result = co_await succeed(std::move(name), std::move(message));
  co_return is_answer(result);
}

asio::awaitable<Result<void>> CharonSession::load_secret(Section message) {
  co_return co_await succeed("load-shared", std::move(message));
}

asio::awaitable<Result<void>> CharonSession::load_connection(Section message) {
  co_return co_await succeed("load-conn", std::move(message));
}

asio::awaitable<Result<void>> CharonSession::initiate(std::string connection, std::string child) {
  Section message;
  message.set("ike", connection).set("child", child).set("timeout", kDoNotWait).set("init-limits", "no");
  co_return co_await succeed("initiate", std::move(message));
}

asio::awaitable<Result<void>> CharonSession::rekey(std::string connection, std::string child) {
  Section message;
  message.set("ike", connection);
  if (!child.empty()) message.set("child", child);
  co_return co_await succeed("rekey", std::move(message));
}

asio::awaitable<Result<CharonSession::Observed>> CharonSession::list_sas(std::string connection) {
  Section of;
  if (!connection.empty()) of.set("ike", connection);
  auto listed = co_await stream("list-sas", "list-sa", std::move(of));
  if (!listed) co_return Unexpected(std::move(listed.error()));
  Observed observed;
  for (const Section& message : *listed) {
    if (auto ike = parse_sa(message)) observed[ike->name].push_back(std::move(*ike));
  }
  co_return observed;
}

asio::awaitable<Result<std::vector<std::string>>> CharonSession::list_connections() {
  Section all;
  auto listed = co_await stream("list-conns", "list-conn", std::move(all));
  if (!listed) co_return Unexpected(std::move(listed.error()));
  std::vector<std::string> ours;
  for (const Section& message : *listed) {
    for (const vici::Entry& entry : message.entries()) {
      const auto* connection = std::get_if<Section>(&entry.value);
      if (connection == nullptr) continue;
      std::vector<std::string> children;
      if (const Section* list = connection->section("children")) {
        for (const vici::Entry& child : list->entries()) children.push_back(child.name);
      }
      if (is_our_connection(entry.name, children)) ours.push_back(entry.name);
    }
  }
  co_return ours;
}

asio::awaitable<Result<std::vector<std::string>>> CharonSession::list_secrets() {
  auto reply = co_await command("get-shared", Section{});
  if (!reply) co_return Unexpected(std::move(reply.error()));
  const Section::List* keys = reply->list("keys");
  co_return keys == nullptr ? std::vector<std::string>{} : std::vector<std::string>(keys->begin(), keys->end());
}

asio::awaitable<bool> CharonSession::unload_connection(std::string connection) {
  Section message;
  message.set("name", connection);
  co_return co_await tell("unload-conn", std::move(message));
}

asio::awaitable<bool> CharonSession::unload_secret(std::string secret) {
  Section message;
  message.set("id", secret);
  co_return co_await tell("unload-shared", std::move(message));
}

asio::awaitable<bool> CharonSession::terminate(std::uint32_t ike_id) {
  Section message;
  message.set("ike-id", std::to_string(ike_id)).set("timeout", kDoNotWait);
  co_return co_await tell("terminate", std::move(message));
}

}  // namespace simplon::ipsec
