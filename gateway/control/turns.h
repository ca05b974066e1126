// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <deque>
#include <memory>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace simplon::control {

/// Lets one coroutine at a time do a thing, first come first served.
///
///     auto turn = co_await turns.take();   // until `turn` is destroyed the others wait
///
/// Threads: one io_context thread.
class Turns {
  struct State {
    bool taken = false;
    std::deque<std::shared_ptr<boost::asio::steady_timer>> waiting;
  };

 public:
  class Turn {
   public:
    explicit Turn(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
    Turn(Turn&&) noexcept = default;
    Turn& operator=(Turn&&) = delete;
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn();

   private:
    std::shared_ptr<State> state_;
  };

  explicit Turns(boost::asio::io_context& io) : io_(io), state_(std::make_shared<State>()) {}

  [[nodiscard]] boost::asio::awaitable<Turn> take();
  [[nodiscard]] bool taken() const noexcept { return state_->taken; }

 private:
  boost::asio::io_context& io_;
  // Shared: a suspended coroutine may be destroyed after us, with the io_context.
  std::shared_ptr<State> state_;
};

}  // namespace simplon::control
