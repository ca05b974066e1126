// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <exception>
#include <optional>

namespace simplon::bgp {

/// Runs `awaitable` to its end and returns what it gave.
template <class T>
T run(boost::asio::io_context& io, boost::asio::awaitable<T> awaitable) {
  std::optional<T> value;
  boost::asio::co_spawn(io, std::move(awaitable), [&](std::exception_ptr exception, T result) {
    if (exception) std::rethrow_exception(exception);
    value.emplace(std::move(result));
  });
  io.restart();
  while (!value && io.run_one() != 0) {
  }
  return std::move(value).value();
}

}  // namespace simplon::bgp
