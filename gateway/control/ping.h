// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "platform/base/result.h"
#include "platform/net/ip_address.h"

namespace simplon::control {

/// Asks an address whether it answers.
class Pinger {
 public:
  virtual ~Pinger() = default;
  /// One ICMP or ICMPv6 echo request from inside namespace `netns`, and its answer. Errors: kPeer without an answer in
  /// time or with an ICMP error; kUnavailable if it could not be sent. Does not block.
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> ping(std::string netns, IpAddress to,
                                                                  std::chrono::milliseconds timeout) = 0;
};

/// Over the kernel's ping sockets (SOCK_DGRAM with IPPROTO_ICMP), which need no capability; sys::prepare_domain_netns
/// permits them.
[[nodiscard]] std::unique_ptr<Pinger> make_icmp_pinger(boost::asio::io_context& io);

}  // namespace simplon::control
