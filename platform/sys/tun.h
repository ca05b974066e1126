// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "platform/base/result.h"
#include "platform/sys/netns.h"
#include "platform/sys/unique_fd.h"

namespace simplon::sys {

/// Opens TUN device `interface` (IFF_TUN | IFF_NO_PI, non-blocking) in namespace `netns`, creating it if necessary.
/// It is persistent: addresses, routes and sockets on it survive the close of the descriptor. It goes when its last descriptor is
/// closed after TUNSETPERSIST 0.
/// Errors: kConflict if the name belongs to another kind of device or another process holds it; kUnavailable if
/// /dev/net/tun or the namespace is missing.
[[nodiscard]] Result<UniqueFd> open_tun(const std::string& netns, const std::string& interface);

/// The same for a TAP device (IFF_TAP), which carries Ethernet frames.
[[nodiscard]] Result<UniqueFd> open_tap(const std::string& netns, const std::string& interface);

/// The namespace of a TUN or TAP device. Errors: kUnavailable if it was deleted, or without CAP_NET_ADMIN.
[[nodiscard]] Result<NetnsId> netns_of_tun(int fd);

/// A TAP device of our own namespace that lives as long as its descriptor.
struct PassingTap {
  UniqueFd fd;
  std::string interface;
};
/// `pattern`: its name, with a "%d" that becomes the first free number. The kernel sends nothing through it by itself. It is
/// down. Errors: those of open_tap.
[[nodiscard]] Result<PassingTap> open_passing_tap(const std::string& pattern);

}  // namespace simplon::sys
