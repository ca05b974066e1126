// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/wait_group.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace simplon::control {

namespace asio = boost::asio;

void WaitGroup::done() const {
  if (--state_->running == 0) state_->ended.cancel();
}

asio::awaitable<void> WaitGroup::wait() const {
  const auto state = state_;
  boost::system::error_code cancelled;
  while (state->running != 0) co_await state->ended.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
}

}  // namespace simplon::control
