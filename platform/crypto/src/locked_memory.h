// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>

namespace simplon::crypto {

/// Memory for expanded keys: aligned to a cache line, kept out of core dumps and (as far as RLIMIT_MEMLOCK permits) out
/// of swap; overwritten when returned. Taken from slabs, so that a key does not cost a page of its own.
///
/// Threads: any. Blocks on a mutex; not for the packet path. Failure to allocate ends the process.
inline constexpr std::size_t kLockedBlockBytes = 1280;

[[nodiscard]] void* allocate_locked_block();
void release_locked_block(void* block) noexcept;

}  // namespace simplon::crypto
