// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "gateway/ipc/inspect_model.h"
#include "gateway/ipc/table_model.h"
#include "gateway/ipc/table_stats.h"
#include "platform/base/result.h"

namespace simplon::ipc {

/// A connection to the forwarder's table socket that makes itself again when it is lost.
///
///     auto client = TableClient::create(io, {"/run/simplon/forwarder.sock", "simplond 0.1.0", epoch, false});
///     client->on_connected = [&](std::uint64_t instance) { co_spawn(io, resync(), detached); };
///     client->start();
///     ...resync: sync_begin(epoch), update(...)..., sync_end(epoch) -> Ack
///
/// After a reconnect nothing is sent again by itself: `on_connected` starts a full sync. Calls made while the connection is
/// down fail with kUnavailable; calls in flight when it breaks fail with kUnavailable.
/// `update` splits what is too long for one message; the Ack has the indices of the caller's vector.
/// Threads: one io_context thread. Callbacks come from it, never from inside a call.
class TableClient {
 public:
  struct Options {
    std::string socket_path;
    std::string software;
    /// Our epoch: changes when simplond restarts.
    std::uint64_t instance = 0;
    bool observer = false;
  };

  static std::unique_ptr<TableClient> create(boost::asio::io_context& io, Options options);
  virtual ~TableClient() = default;

  /// After both Hellos; `instance` is the forwarder's (another value than before: it restarted and has lost its tables).
  std::function<void(std::uint64_t instance)> on_connected;
  /// `why` for a log line; called for each loss, if the first attempt fails, and when later ones fail for another reason.
  std::function<void(const Error& why)> on_disconnected;

  /// Connects and keeps connecting (100 ms to 2 s apart) until `stop` or destruction.
  virtual void start() = 0;
  virtual void stop() = 0;
  [[nodiscard]] virtual bool connected() const = 0;

  /// Errors of all: kUnavailable (not connected, or no answer within 10 s), kPeer (protocol broken or version differs).
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> sync_begin(Epoch epoch) = 0;
  /// Returns when every worker forwards with it. Generations are given by the client and grow.
  [[nodiscard]] virtual boost::asio::awaitable<Result<Ack>> update(std::vector<Operation> operations) = 0;
  /// Removes what was not upserted since `sync_begin`.
  [[nodiscard]] virtual boost::asio::awaitable<Result<Ack>> sync_end(Epoch epoch) = 0;
  /// Observers only. Of a described packet: a live trace, which takes its time, has a connection of its own (live_trace.h).
  [[nodiscard]] virtual boost::asio::awaitable<Result<TraceReply>> trace(TraceRequest request) = 0;
  /// With up to `connections` of the connection table, at most 10,000.
  [[nodiscard]] virtual boost::asio::awaitable<Result<Stats>> stats(std::uint32_t connections) = 0;
  [[nodiscard]] boost::asio::awaitable<Result<Stats>> stats() { return stats(0); }
  /// Of the latest Ack.
  [[nodiscard]] virtual Generation acknowledged() const = 0;
};

}  // namespace simplon::ipc
