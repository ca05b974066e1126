// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {

/// Hears every ICMP "fragmentation needed" or ICMPv6 "packet too big" that arrives in the network namespace, before the host's
/// firewall does. At most kAtOnce of a family each kPause; of more, the kernel drops those that its buffer has no room for.
///
/// Threads: the io_context's.
class TooBigListener {
 public:
  /// Chosen by us: some thousand a second cost next to nothing, and a path needs one.
  static constexpr unsigned kAtOnce = 64;
  static constexpr std::chrono::milliseconds kPause{50};

  using Hear = std::function<void(std::span<const std::uint8_t> packet)>;

  /// Errors: kUnavailable with the kernel's reason.
  [[nodiscard]] static Result<std::unique_ptr<TooBigListener>> open(boost::asio::io_context& io, Hear hear);
  TooBigListener(const TooBigListener&) = delete;
  TooBigListener& operator=(const TooBigListener&) = delete;

  /// Messages that the kernel dropped.
  [[nodiscard]] std::uint64_t overrun();

 private:
  struct Family {
    Family(boost::asio::io_context& io, sys::UniqueFd socket) : descriptor(io, socket.release()), pause(io) {}
    boost::asio::posix::stream_descriptor descriptor;
    boost::asio::steady_timer pause;
    std::uint64_t overrun = 0;
  };

  TooBigListener(boost::asio::io_context& io, sys::UniqueFd v4, sys::UniqueFd v6, Hear hear);
  void wait(Family& family);
  /// True: there may be more.
  bool receive(Family& family);

  Hear hear_;
  std::array<Family, 2> families_;
  /// No router sends a longer one (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4); of one that does, the beginning is not enough.
  std::array<std::uint8_t, 2048> buffer_{};
};

}  // namespace simplon::forwarder
