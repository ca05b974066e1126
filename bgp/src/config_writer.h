// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <utility>

#include <boost/asio/awaitable.hpp>

#include <string>

#include "bgp/src/vty_client.h"

namespace simplon::bgp {

/// Makes the daemon behind `vty` hold what `wanted` says: reads its configuration, sends the difference, reads it back.
///
/// `just_started`: the daemon may still be reading its file; nothing is sent before it had the time for that.
/// Commands that are refused do not stop the others; the first one is the error. A neighbor whose password the kernel does
/// not take is removed again, so that its session never runs without one.
/// Errors: kInvalidConfig naming the command (passwords hidden); kExhausted for the kernel's limit of TCP-MD5 keys;
/// kUnavailable when the daemon went away; kBug when it took everything and still shows something else.
[[nodiscard]] boost::asio::awaitable<Result<void>> write_config(VtyClient& vty, std::string daemon, std::string wanted,
                                                                 bool just_started);

/// Makes bgpd announce all its routes to zebra again, without touching a session.
[[nodiscard]] boost::asio::awaitable<Result<void>> announce_again(VtyClient& bgpd, std::uint32_t asn);

}  // namespace simplon::bgp
