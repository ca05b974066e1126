// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/ipc/live_trace.h"

#include <chrono>
#include <memory>
#include <utility>
#include <variant>

#include "gateway/ipc/src/observer_connection.h"

namespace simplon::ipc {
namespace {

// Chosen by us: beyond the time that the trace itself waits.
constexpr std::chrono::seconds kAnswerWithin{10};

}  // namespace

boost::asio::awaitable<Result<TraceReply>> trace_live(boost::asio::io_context& io, std::string socket_path, std::string software,
                                                      TraceRequest request) {
  const auto patience = kAnswerWithin + std::chrono::seconds(request.wait_seconds);
  const auto connection = std::make_shared<ObserverConnection>(io, std::move(socket_path));
  auto question = encode_table_message(std::move(request));
  const auto asked = co_await ask_forwarder(connection, std::move(software), std::move(question));
  if (!asked) co_return Unexpected(asked.error());
  auto message = co_await read_message(connection, patience);
  if (!message) co_return Unexpected(message.error());
  auto* reply = std::get_if<TraceReply>(&*message);
  if (reply == nullptr) co_return fail(ErrorCode::kPeer, "the forwarder answered a trace with another message");
  co_return std::move(*reply);
}

}  // namespace simplon::ipc
