// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "gateway/forwarder/worker_placement.h"
#include "platform/base/result.h"

namespace simplon::forwarder {

struct ForwarderOptions {
  /// Holds forwarder.sock and sa.sock; must exist.
  std::string run_dir;
  std::string software;
  /// Packet memory of all workers; 4 KiB each. 0: as many as the workers need for rings of the usual length.
  std::size_t frames = 0;
  WorkerPlacement workers;
  /// The XDP programs forward by themselves what needs no more (XdpTier), where they can.
  bool xdp_forwarding = true;
  /// In a planned restart packets wait in devices on all uplinks, not only where the kernel hands no socket over.
  bool wait_in_devices = false;
  /// Uplinks may have an MTU that one frame has no room for, where the kernel can.
  bool jumbo = true;
  /// How often the service manager wants a sign of life; 0: it does not.
  std::chrono::milliseconds watchdog{0};
};

/// The whole forwarder: the worker threads that forward, and the control side on the io_context, which is the only writer of
/// the tables.
class Forwarder {
 public:
  /// In the network namespace of the caller (the underlay). Goes on with what a former process handed over, if there is something
  /// and it is good; else starts from nothing. Errors: one line that names what is missing and the remedy.
  [[nodiscard]] static Result<std::unique_ptr<Forwarder>> start(boost::asio::io_context& io, const ForwarderOptions& options);
  /// Makes the tables of the forwarder that runs below `options.run_dir` its own, while that one forwards; calls `before_end`; then that one
  /// ends, and this one goes on at once. Errors: that one goes on; if it had been asked to end already, this one starts from nothing instead.
  [[nodiscard]] static Result<std::unique_ptr<Forwarder>> succeed(boost::asio::io_context& io, const ForwarderOptions& options,
                                                                  std::function<Result<void>()> before_end);
  virtual ~Forwarder() = default;

  /// Stops forwarding and leaves sockets, devices, tables and SAs to the next process of this service. From then on packets wait
  /// in the kernel; all that is left to do here is to end, and soon. Errors: the next process starts from nothing.
  [[nodiscard]] virtual Result<void> hand_over() = 0;
  /// As in the options; of a successor what its predecessor had.
  [[nodiscard]] virtual std::chrono::milliseconds watchdog() const = 0;

  /// Returns when every worker has been between two bursts, or asleep, since the call, and no XDP program forwards by what the
  /// tables said before it: proof that the workers run.
  [[nodiscard]] virtual boost::asio::awaitable<void> writes_settled() = 0;
};

}  // namespace simplon::forwarder
