// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "gateway/forward/tables.h"
#include "gateway/forward/watchers.h"
#include "gateway/ipc/table_server.h"
#include "platform/base/clock.h"

namespace simplon::forwarder {

/// Answers those who look inside: traces and captures (gateway/ipc/inspect_model.h). Threads: the control thread's.
class Inspector {
 public:
  struct Ports {
    /// The interface of a port; empty: none.
    std::function<std::string(forward::PortId)> name;
    /// The port of an uplink's interface.
    std::function<std::optional<forward::PortId>(const std::string&)> uplink;
  };

  /// At most so many captures and live traces at once; each capture has its buffer (4 MiB). Chosen by us.
  static constexpr std::size_t kMost = 8;

  /// `install`: as of forward::Watchers.
  Inspector(boost::asio::io_context& io, forward::Tables& tables, const Clock& clock, Ports ports,
            std::function<void(forward::Watch*)> install);
  /// The workers have ended. What still waits for a packet or reads a capture finds nothing any more.
  ~Inspector();

  [[nodiscard]] boost::asio::awaitable<ipc::TraceReply> trace(ipc::TraceRequest request);
  [[nodiscard]] Result<std::unique_ptr<ipc::CaptureFeed>> capture(const ipc::CaptureRequest& request);

 private:
  struct Core;
  class Feed;
  std::shared_ptr<Core> core_;
};

}  // namespace simplon::forwarder
