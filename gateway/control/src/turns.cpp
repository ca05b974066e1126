// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/turns.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace simplon::control {

namespace asio = boost::asio;

asio::awaitable<Turns::Turn> Turns::take() {
  if (!state_->taken) {
    state_->taken = true;
    co_return Turn(state_);
  }
  auto state = state_;
  auto called = std::make_shared<asio::steady_timer>(io_, asio::steady_timer::time_point::max());
  state->waiting.push_back(called);
  boost::system::error_code cancelled;
  co_await called->async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  // Whoever called us left `taken` set: the turn was handed over, nobody can step in between.
  co_return Turn(std::move(state));
}

Turns::Turn::~Turn() {
  if (!state_) return;
  if (state_->waiting.empty()) {
    state_->taken = false;
    return;
  }
  const auto next = std::move(state_->waiting.front());
  state_->waiting.pop_front();
  next->cancel();
}

}  // namespace simplon::control
