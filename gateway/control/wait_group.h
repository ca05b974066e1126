// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace simplon::control {

/// Waits for coroutines that run at once.
///
///     WaitGroup group(io);
///     group.add();                                 // for each, before it is spawned
///     asio::co_spawn(io, [group]() -> asio::awaitable<void> { ...; group.done(); }, asio::detached);
///     co_await group.wait();
///
/// Copies are one group. Threads: one io_context thread.
class WaitGroup {
 public:
  explicit WaitGroup(boost::asio::io_context& io) : state_(std::make_shared<State>(io)) {}

  void add() const { ++state_->running; }
  void done() const;
  /// Returns at once if none is under way.
  [[nodiscard]] boost::asio::awaitable<void> wait() const;

 private:
  struct State {
    explicit State(boost::asio::io_context& io) : ended(io, boost::asio::steady_timer::time_point::max()) {}
    boost::asio::steady_timer ended;
    std::size_t running = 0;
  };
  // Shared: a suspended coroutine may be destroyed after the one that waits, with the io_context.
  std::shared_ptr<State> state_;
};

}  // namespace simplon::control
