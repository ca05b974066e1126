// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "platform/net/ip_address.h"

namespace simplon::ipsec {

/// Why a packet from `local` to `remote` could not leave this network namespace ("Network is unreachable"), or empty.
/// Asks the kernel by connecting an unused UDP socket; sends nothing, does not block.
[[nodiscard]] std::string why_unreachable(const IpAddress& local, const IpAddress& remote);

}  // namespace simplon::ipsec
