// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "gateway/ipc/table_protocol.h"
#include "platform/base/result.h"

namespace simplon::ipc {

/// The packets of one capture; it ends when this is destroyed.
class CaptureFeed {
 public:
  virtual ~CaptureFeed() = default;
  /// What has come since the last call; never blocks.
  [[nodiscard]] virtual CaptureData take() = 0;
};

/// What the forwarder does with the messages of the table protocol. Called in the order of the programming connection, one
/// call at a time.
class TableService {
 public:
  virtual ~TableService() = default;
  [[nodiscard]] virtual std::uint64_t instance() const = 0;
  virtual void sync_begin(Epoch epoch) = 0;
  /// Applies what can be applied; `index` of an error is that of its operation.
  [[nodiscard]] virtual std::vector<OperationError> apply(const Update& update) = 0;
  /// Removes what was not upserted since `sync_begin`. An error has index 0 and names the object.
  [[nodiscard]] virtual std::vector<OperationError> sync_end(const SyncEnd& end) = 0;
  /// Returns when every worker forwards with everything applied so far.
  [[nodiscard]] virtual boost::asio::awaitable<void> settled() = 0;
  /// With up to `connections` of the connection table.
  [[nodiscard]] virtual Stats stats(std::uint32_t connections) = 0;
  /// What would become of a packet, or what becomes of the next one.
  [[nodiscard]] virtual boost::asio::awaitable<TraceReply> trace(TraceRequest request) = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<CaptureFeed>> capture(const CaptureRequest& request) = 0;
};

/// Serves the table protocol on a Unix socket: one programming connection (a new one replaces the old one), any number
/// of observers. Threads: the io_context's thread. `service` outlives the server.
class TableServer {
 public:
  /// The socket is 0660; whoever connects and is neither root nor our own user nor `user` (a literal) is turned away.
  /// Errors: those of sys::listen_unix.
  [[nodiscard]] static Result<std::unique_ptr<TableServer>> open(boost::asio::io_context& io, const std::string& socket_path,
                                                                 const char* user, std::string software,
                                                                 TableService& service);
  /// Closes the socket, removes its file and ends all sessions.
  virtual ~TableServer() = default;
};

}  // namespace simplon::ipc
