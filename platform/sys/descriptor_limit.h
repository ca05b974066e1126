// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

namespace simplon::sys {

/// Raises the soft limit of open descriptors to the hard one and gives the limit that holds then. The soft one is usually 1,024, for
/// the sake of programs that use select(2).
/// Threads: any; the limit is that of the process, and children inherit it. Errors: none; the limit stays as it is.
std::uint64_t raise_descriptor_limit() noexcept;

}  // namespace simplon::sys
