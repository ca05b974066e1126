// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "platform/base/result.h"
#include "platform/xdp/too_big_ring.h"

namespace simplon::forwarder {

/// Hears every ICMP "fragmentation needed" or ICMPv6 "packet too big" that arrives at an uplink: at most kAtOnce each kPause; more
/// wait in the ring, and what finds no room there is lost.
///
/// Threads: the io_context's.
class TooBigListener {
 public:
  /// Chosen by us: a thousand a second cost next to nothing, and a path needs one.
  static constexpr unsigned kAtOnce = 64;
  static constexpr std::chrono::milliseconds kPause{50};

  /// Errors: kUnavailable with the kernel's reason.
  [[nodiscard]] static Result<std::unique_ptr<TooBigListener>> open(boost::asio::io_context& io, xdp::TooBigRing::Visit hear);
  TooBigListener(const TooBigListener&) = delete;
  TooBigListener& operator=(const TooBigListener&) = delete;

  /// For the programs of the uplinks.
  [[nodiscard]] const xdp::TooBigRing& ring() const noexcept { return *ring_; }

 private:
  TooBigListener(boost::asio::io_context& io, std::unique_ptr<xdp::TooBigRing> ring, int descriptor, xdp::TooBigRing::Visit hear);
  void wait();

  xdp::TooBigRing::Visit hear_;
  std::unique_ptr<xdp::TooBigRing> ring_;
  boost::asio::posix::stream_descriptor descriptor_;
  boost::asio::steady_timer pause_;
};

}  // namespace simplon::forwarder
