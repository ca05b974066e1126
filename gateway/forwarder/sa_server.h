// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "gateway/ipc/sa_decode.h"
#include "platform/base/result.h"

namespace simplon::forwarder {

/// Serves the SA protocol on a SOCK_SEQPACKET socket, to root and to our own user only.
///
/// A connection becomes the plugin's with its HELLO and ends the one before. Events raised while no plugin is connected, and
/// those that the last one did not take any more, are kept for one of the same session. Threads: the io_context's.
class SaServer {
 public:
  /// `handle` returns the encoded reply.
  using Handler = std::function<std::vector<std::uint8_t>(const ipc::sa::Request&)>;

  /// Errors: those of sys::listen_unix.
  [[nodiscard]] static Result<std::unique_ptr<SaServer>> open(boost::asio::io_context& io, const std::string& socket_path,
                                                              Handler handle);
  virtual ~SaServer() = default;
  virtual void send_event(std::vector<std::uint8_t> event) = 0;

  /// Events that no plugin has got yet, and the session they are for.
  struct Pending {
    std::uint64_t session = 0;
    std::vector<std::vector<std::uint8_t>> events;
  };
  /// Closes the connections; nothing is served any more.
  [[nodiscard]] virtual Pending close() = 0;
  /// Into a new server: what a former one had left.
  virtual void resume(Pending pending) = 0;
};

}  // namespace simplon::forwarder
