// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <unistd.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bgp/src/vty_reply.h"
#include "tests/unit/bgp/run_awaitable.h"

namespace simplon::bgp {

/// The vty socket of a daemon: remembers the commands it was told, answers what `respond` says.
class FakeVty {
 public:
  /// Nothing: never answers this command.
  using Respond = std::function<std::optional<VtyReply>(const std::string& command)>;

  FakeVty(boost::asio::io_context& io, Respond respond)
      : respond_(std::move(respond)),
        directory_(std::filesystem::temp_directory_path() / ("fake-vty-" + std::to_string(::getpid()))),
        acceptor_(io) {
    std::filesystem::create_directories(directory_);
    const boost::asio::local::stream_protocol::endpoint endpoint(path());
    acceptor_.open(endpoint.protocol());
    acceptor_.bind(endpoint);
    acceptor_.listen();
    boost::asio::co_spawn(io, serve(), boost::asio::detached);
  }
  FakeVty(const FakeVty&) = delete;
  FakeVty& operator=(const FakeVty&) = delete;
  ~FakeVty() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  [[nodiscard]] std::string path() const { return directory_ / "bgpd.vty"; }

  std::vector<std::string> commands;
  /// Bytes of a reply are sent in pieces of this size.
  std::size_t piece = 100000;
  /// Closes the connection instead of answering this command.
  std::string close_at;

 private:
  boost::asio::awaitable<void> serve() {
    boost::system::error_code error;
    for (;;) {
      boost::asio::local::stream_protocol::socket socket(acceptor_.get_executor());
      co_await acceptor_.async_accept(socket, boost::asio::redirect_error(boost::asio::use_awaitable, error));
      if (error) co_return;
      std::string input;
      for (;;) {
        const auto got = co_await boost::asio::async_read_until(
            socket, boost::asio::dynamic_buffer(input), '\0',
            boost::asio::redirect_error(boost::asio::use_awaitable, error));
        if (error) break;
        const std::string command = input.substr(0, got - 1);
        input.erase(0, got);
        commands.push_back(command);
        if (command == close_at) break;
        const auto reply = respond_(command);
        if (!reply) continue;
        std::string bytes = reply->text + std::string(3, '\0') + static_cast<char>(reply->status);
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
          const std::string part = bytes.substr(at, piece);
          co_await boost::asio::async_write(socket, boost::asio::buffer(part),
                                            boost::asio::redirect_error(boost::asio::use_awaitable, error));
        }
      }
    }
  }

  Respond respond_;
  std::filesystem::path directory_;
  boost::asio::local::stream_protocol::acceptor acceptor_;
};

}  // namespace simplon::bgp
