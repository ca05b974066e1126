// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>

namespace simplon::bgp {

/// Mutual exclusion between coroutines of one io_context thread; not fair. Must outlive its guards.
class AsyncMutex {
 public:
  explicit AsyncMutex(boost::asio::io_context& io) : released_(io) {
    released_.expires_at(std::chrono::steady_clock::time_point::max());
  }

  class Guard {
   public:
    explicit Guard(AsyncMutex& mutex) noexcept : mutex_(&mutex) {}
    Guard(Guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      if (mutex_ == nullptr) return;
      mutex_->locked_ = false;
      mutex_->released_.cancel_one();
    }

   private:
    AsyncMutex* mutex_;
  };

  [[nodiscard]] boost::asio::awaitable<Guard> lock() {
    while (locked_) {
      boost::system::error_code canceled;
      co_await released_.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, canceled));
    }
    locked_ = true;
    co_return Guard(*this);
  }

 private:
  boost::asio::steady_timer released_;
  bool locked_ = false;
};

}  // namespace simplon::bgp
