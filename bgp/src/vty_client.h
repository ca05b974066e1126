// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <chrono>
#include <memory>
#include <string>

#include "bgp/src/vty_reply.h"

namespace simplon::bgp {

/// One session with a daemon of FRR over its vty socket (/var/run/frr/PATHSPACE/DAEMON.vty), in enable mode.
///
/// The protocol is that of vtysh: `command NUL`, answered by a VtyReply. It is not documented; this is FRR 8.4's.
/// Threads: that of the executor. One command at a time. Errors: kUnavailable when the daemon is not there, does not answer
/// in time or ends; kPeer when it answers something else. After an error the session cannot be used again.
class VtyClient {
 public:
  static constexpr std::size_t kMaxReply = 64U << 20;

  [[nodiscard]] static boost::asio::awaitable<Result<std::unique_ptr<VtyClient>>> connect(
      boost::asio::any_io_executor executor, std::string path, std::chrono::milliseconds timeout);

  /// Any status is a reply, not an error. `command` has no NUL or line break.
  [[nodiscard]] boost::asio::awaitable<Result<VtyReply>> command(std::string command);

  [[nodiscard]] boost::asio::any_io_executor executor() { return socket_.get_executor(); }

 private:
  VtyClient(boost::asio::any_io_executor executor, std::string path, std::chrono::milliseconds timeout);

  boost::asio::local::stream_protocol::socket socket_;
  std::string path_;
  std::chrono::milliseconds timeout_;
};

}  // namespace simplon::bgp
