// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {

/// Waits for the process that is to go on with this one's work (Predecessor::running), and gives it the two parts of a handover, one after
/// the other. One successor at a time. Threads: the io_context's.
class Succession {
 public:
  struct Handlers {
    /// The first part, packed. Forwarding goes on.
    std::function<Result<sys::UniqueFd>()> tables;
    /// The second part. Forwarding has ended.
    std::function<Result<sys::UniqueFd>()> traffic;
    /// The successor went away between the two: everything as before.
    std::function<void()> stay;
    /// The second part is given away, or lost.
    std::function<void(Result<void>)> end;
  };
  /// Only our own user and root may be successors. Errors: those of sys::listen_unix.
  [[nodiscard]] static Result<std::unique_ptr<Succession>> open(boost::asio::io_context& io, const std::string& path, Handlers handlers);
  /// The socket's name stays: the successor may have it by now.
  virtual ~Succession() = default;
};

}  // namespace simplon::forwarder
