// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "gateway/ipc/inspect_model.h"
#include "platform/base/result.h"

namespace simplon::ipc {

/// One capture, on a connection to the forwarder of its own. Ends with this object. Threads: one io_context thread.
class CaptureStream {
 public:
  static std::unique_ptr<CaptureStream> create(boost::asio::io_context& io, std::string socket_path, std::string software);
  virtual ~CaptureStream() = default;

  /// Connects and begins. Errors: kUnavailable (no connection, no answer), kPeer, kInvalidConfig as the forwarder says.
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> open(CaptureRequest request) = 0;
  /// What came; returns at least twice a second, also with nothing. Errors: kUnavailable when the forwarder is gone.
  [[nodiscard]] virtual boost::asio::awaitable<Result<CaptureData>> next() = 0;
};

}  // namespace simplon::ipc
