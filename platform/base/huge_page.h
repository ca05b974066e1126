// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>

namespace simplon {

/// Memory of tables that are read in no order: where each access meets another page, a page of 4 KiB costs a walk of the
/// page tables, and a huge one hardly ever.
///
/// Huge pages are a wish: a kernel without transparent huge pages, or without a free one, gives small pages, and nothing
/// but speed changes. They are decided on when a page is first touched, so the wish comes before that.
///
/// Sizes: bytes. Threads: any. Errors: std::bad_alloc, which ends the process. Cost: a system call or several; for
/// growth, not for a packet.

/// The smallest huge page of x86-64, and of ARM64 with pages of 4 KiB.
inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

/// The wish for a mapping that somebody else made. `memory` starts at a page.
void want_huge_pages(void* memory, std::size_t bytes) noexcept;

/// A block of zeroed memory that is aligned to its size, so that what stands at its start is found from any address
/// within it (`start_of_block`). Small pages until `want_huge_pages`.
///
/// `bytes` is a power of two, and a page at least. It uses no memory until it is touched.
[[nodiscard]] std::uint8_t* map_block(std::size_t bytes);
void unmap_block(void* block, std::size_t bytes) noexcept;

/// The start of the block of `kBytes` bytes that `inside` lies in.
template <std::size_t kBytes>
[[nodiscard]] inline std::uint8_t* start_of_block(void* inside) noexcept {
  static_assert((kBytes & (kBytes - 1)) == 0);
  return static_cast<std::uint8_t*>(inside) - reinterpret_cast<std::uintptr_t>(inside) % kBytes;
}

/// Memory for an array, from the heap and not initialized: aligned to a cache line or, from the size of a huge page on, to
/// a huge page and with the wish for them. `release_array` wants the size again.
[[nodiscard]] void* allocate_array(std::size_t bytes);
void release_array(void* array, std::size_t bytes) noexcept;

}  // namespace simplon
