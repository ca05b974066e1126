// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "gateway/ipc/inspect_model.h"
#include "platform/base/result.h"

namespace simplon::ipc {

/// What becomes of the next packet, as `request` says (live), on a connection to the forwarder of its own: it may take as long as
/// `wait_seconds`, and nobody else waits meanwhile. Errors: kUnavailable (no connection, no answer), kPeer. Threads: the
/// io_context's one.
[[nodiscard]] boost::asio::awaitable<Result<TraceReply>> trace_live(boost::asio::io_context& io, std::string socket_path,
                                                                    std::string software, TraceRequest request);

}  // namespace simplon::ipc
