// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>

#include "platform/base/result.h"

namespace simplon::netlink {

/// What a driver can do with XDP, as the kernel says.
struct XdpFeatures {
  /// Frames that another interface's program redirects here are sent. Of a veth: its peer takes them.
  bool redirect_target = false;
};

/// Asks about one interface in our network namespace. nullopt: this kernel cannot tell (before 6.3).
/// Errors: kUnavailable.
[[nodiscard]] Result<std::optional<XdpFeatures>> xdp_features(std::uint32_t interface_index);

}  // namespace simplon::netlink
