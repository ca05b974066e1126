// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <new>

namespace simplon::forward {

/// Memory for the objects that packets read (attachments, SAs, counters, routes of small tables), side by side in huge pages where the
/// system has them: with thousands of tenants a look then costs one cache line, and no walk of page tables. Aligned to a cache line.
///
/// Threads: any; blocks on a mutex, so not for the packet path. Memory given back is used again for objects of its size, never
/// returned to the system. Throws std::bad_alloc. At most kMostTableBytes at a time.
inline constexpr std::size_t kMostTableBytes = 16384;
[[nodiscard]] void* allocate_table_memory(std::size_t bytes);
/// nullptr: nothing happens.
void release_table_memory(void* memory) noexcept;

/// Base of classes whose objects, alone or in arrays, live there.
struct InTableMemory {
  static void* operator new(std::size_t bytes) { return allocate_table_memory(bytes); }
  static void* operator new(std::size_t bytes, std::align_val_t) { return allocate_table_memory(bytes); }
  static void* operator new[](std::size_t bytes) { return allocate_table_memory(bytes); }
  static void* operator new[](std::size_t bytes, std::align_val_t) { return allocate_table_memory(bytes); }
  static void operator delete(void* memory) noexcept { release_table_memory(memory); }
  static void operator delete(void* memory, std::align_val_t) noexcept { release_table_memory(memory); }
  static void operator delete[](void* memory) noexcept { release_table_memory(memory); }
  static void operator delete[](void* memory, std::align_val_t) noexcept { release_table_memory(memory); }
};

}  // namespace simplon::forward
