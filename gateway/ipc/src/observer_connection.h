// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "gateway/ipc/table_protocol.h"
#include "platform/base/result.h"

// A connection to the forwarder for one question whose answer takes its time. Shared by who asks and the coroutine that waits on
// it, so that the former may go at any time: `close` ends the wait.

namespace simplon::ipc {

struct ObserverConnection {
  ObserverConnection(boost::asio::io_context& io, std::string socket_path)
      : socket(io), timer(io), path(std::move(socket_path)) {}
  boost::asio::local::stream_protocol::socket socket;
  boost::asio::steady_timer timer;
  std::string path;
  TableFramer framer;

  void close();
};
using SharedObserver = std::shared_ptr<ObserverConnection>;

/// Connects, greets and sends `question`, an encoded message. Errors: kUnavailable, kPeer.
[[nodiscard]] boost::asio::awaitable<Result<void>> ask_forwarder(SharedObserver connection, std::string software,
                                                                 std::vector<std::uint8_t> question);
/// The next message. Errors: kUnavailable when the forwarder is gone or says nothing within `patience`; kPeer.
[[nodiscard]] boost::asio::awaitable<Result<TableMessage>> read_message(SharedObserver connection,
                                                                        std::chrono::seconds patience);

}  // namespace simplon::ipc
