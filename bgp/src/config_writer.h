// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <utility>

#include <boost/asio/awaitable.hpp>

#include <set>
#include <string>

#include "bgp/src/vty_client.h"

namespace simplon::bgp {

/// Sessions that must be reset for commands to take effect that bgpd may have already (ConfigChange has the reasons). Once it has a
/// command no difference shows that its reset is missing, so what an interruption has left over is kept here for the next time.
struct OwedResets {
  /// Addresses of neighbors.
  std::set<std::string> always;
  std::set<std::string> if_limited;
};

/// Makes the daemon behind `vty` hold what `wanted` says: reads its configuration, sends the difference, reads it back.
///
/// `just_started`: the daemon may still be reading its file; nothing is sent before it had the time for that. `owed`: what there is
/// to be reset from earlier on; what is done is removed.
/// Commands that are refused do not stop the others; the first one is the error. A neighbor whose password the kernel does
/// not take is removed again, so that its session never runs without one.
/// Errors: kInvalidConfig naming the command (passwords hidden); kExhausted for the kernel's limit of TCP-MD5 keys;
/// kUnavailable when the daemon went away; kBug when it took everything and still shows something else.
[[nodiscard]] boost::asio::awaitable<Result<void>> write_config(VtyClient& vty, std::string daemon, std::string wanted,
                                                                 bool just_started, OwedResets& owed);

/// Makes bgpd announce all its routes to zebra again, without touching a session.
[[nodiscard]] boost::asio::awaitable<Result<void>> announce_again(VtyClient& bgpd, std::uint32_t asn);

}  // namespace simplon::bgp
