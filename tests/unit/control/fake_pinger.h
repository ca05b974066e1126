// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "tests/unit/control/fakes.h"

namespace simplon::control {

/// Answers for the addresses it knows.
class FakePinger final : public Pinger {
 public:
  explicit FakePinger(boost::asio::io_context& io) : io_(io) {}

  /// "NETNS ADDRESS"
  std::set<std::string> alive;
  std::vector<std::string> asked;

  boost::asio::awaitable<Result<void>> ping(std::string netns, IpAddress to, std::chrono::milliseconds) override {
    asked.push_back(netns + " " + to.to_string());
    co_await next_turn(io_);
    if (!alive.contains(netns + " " + to.to_string())) {
      co_return fail(ErrorCode::kPeer, to.to_string() + " does not answer");
    }
    co_return Result<void>{};
  }

 private:
  boost::asio::io_context& io_;
};

}  // namespace simplon::control
