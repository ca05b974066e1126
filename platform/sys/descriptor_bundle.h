// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

// Many descriptors in one: they wait, in order, in the queue of a socket. Whoever has the socket can take them out once, all of
// them or none, and when the socket is closed the kernel closes those still in it. So a store of descriptors holds either a whole
// set or nothing of it, and never gives the same set twice.
//
// The kernel refuses a sender with more descriptors in flight than RLIMIT_NOFILE (ETOOMANYREFS) unless it has CAP_SYS_ADMIN, and the
// taker with fewer free ones than there are. With a socket buffer of usual size (212,992 bytes) 70,000 fit.

namespace simplon::sys {

/// Chosen by us: a host port per tunnel and VPC is what there are many of.
inline constexpr std::size_t kMaxBundledDescriptors = 66000;

/// A socket that holds copies of `descriptors`. Errors: kExhausted for too many; kUnavailable.
[[nodiscard]] Result<UniqueFd> bundle_descriptors(std::span<const int> descriptors);

/// Takes them out. Does not block. Errors: kPeer if `socket` holds no whole bundle; what was in it is closed.
[[nodiscard]] Result<std::vector<UniqueFd>> unbundle_descriptors(int socket);

}  // namespace simplon::sys
