// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "platform/base/result.h"

namespace simplon::forwarder {

/// Makes the network card leave VLAN tags in received frames (`ethtool -K INTERFACE rxvlan off`, and the same for outer tags):
/// an XDP program does not see those that were taken out. Succeeds if there is no such offload. Errors: kUnavailable if the
/// driver insists on it.
[[nodiscard]] Result<void> leave_vlan_tags(const std::string& interface);

}  // namespace simplon::forwarder
