// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "ipsec/vici/message.h"
#include "platform/base/result.h"

namespace simplon::ipsec::vici {

/// One connection to charon's VICI socket.
///
/// Any number of coroutines may use it at the same time; charon answers in the order of the requests. 5 s in which nothing
/// arrives of what was asked for, or anything broken, close the connection: every request under way then fails and later ones
/// fail at once. A connection is not reopened; make a new one. Ownership: shared; its own coroutines keep it alive
/// until it is closed. Threads: the io_context's.
class Connection {
 public:
  using EventHandler = std::function<void(const std::string& event, const Section& message)>;

  /// Errors: kUnavailable if nobody listens at `path`; kInvalidConfig if it is over 107 bytes.
  [[nodiscard]] static boost::asio::awaitable<Result<std::shared_ptr<Connection>>> open(boost::asio::io_context& io,
                                                                                        std::string path);
  virtual ~Connection() = default;

  /// Events that are subscribed to and are not part of a `stream` go to `handler`; may be called in the middle of any
  /// request, so it must not wait. `on_close` is called once, from the event loop.
  virtual void set_handlers(EventHandler on_event, std::function<void()> on_close) = 0;

  /// Errors: kUnavailable (no connection, no answer), kPeer (unknown command, broken reply).
  [[nodiscard]] virtual boost::asio::awaitable<Result<Section>> command(std::string name, Section message) = 0;
  /// A command that answers by `event`s before its reply (list-sas, list-conns); `subscribe` to the event first.
  [[nodiscard]] virtual boost::asio::awaitable<Result<std::vector<Section>>> stream(std::string name, std::string event,
                                                                                    Section message) = 0;
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> subscribe(std::string event) = 0;

  [[nodiscard]] virtual bool is_open() const = 0;
  virtual void close() = 0;
};

/// Turns charon's `success = no` into an error. Errors: kPeer with charon's words.
[[nodiscard]] Result<void> require_success(const Section& reply);

}  // namespace simplon::ipsec::vici
