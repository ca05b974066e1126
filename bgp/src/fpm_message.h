// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bgp/rib.h"
#include "platform/base/result.h"
#include "platform/net/ip_prefix.h"

// FPM, the feed of selected routes of FRR's zebra (module dplane_fpm_nl of 8.4.4).
//
// Who connects  zebra connects to our listener (TCP, 127.0.0.1 inside the namespace of the instance).
// Framing       4 bytes: version (1), type (1: netlink), u16 length of everything, big endian. Then one or more rtnetlink
//               messages in host byte order: an update of a route is DELROUTE and NEWROUTE in one frame.
// Semantics     after a connect the whole table comes, without a mark at its end; then every change.
// Reconnect     zebra's, every 3 s; what changed meanwhile is not queued, the whole table comes again.

namespace simplon::bgp {

/// One route message; `nexthops` lives as long as the call.
struct FpmRoute {
  bool withdrawal = false;
  IpPrefix prefix;
  std::span<const FpmNextHop> nexthops;
};

class FpmRouteSink {
 public:
  virtual ~FpmRouteSink() = default;
  virtual void on_route(const FpmRoute& route) = 0;
};

struct FpmStatistics {
  std::uint64_t frames = 0;
  std::uint64_t routes = 0;
  /// Messages that are not about BGP unicast routes of the main table (connected routes, nexthop objects, ...).
  std::uint64_t ignored = 0;
  /// Routes that only name a nexthop group, which zebra was told not to use.
  std::uint64_t without_nexthops = 0;
};

inline constexpr std::size_t kFpmMaxFrame = 65535;

/// Decodes the complete frames at the start of `bytes` and calls `sink` for each BGP route, in order. Returns how many bytes
/// they took; the rest is the beginning of a frame that has not arrived yet.
///
/// Never reads outside `bytes`, allocates nothing. Errors: kPeer for anything zebra would not send; nothing of the broken
/// frame's broken message was given to `sink`. The stream cannot be continued then.
[[nodiscard]] Result<std::size_t> decode_fpm(std::span<const std::uint8_t> bytes, FpmRouteSink& sink,
                                             FpmStatistics& statistics);

}  // namespace simplon::bgp
