// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/base/huge_page.h"

#include <sys/mman.h>

#include <new>

#include "platform/base/result.h"

namespace simplon {
namespace {

constexpr std::size_t kLine = 64;

std::align_val_t alignment_of_array(std::size_t bytes) noexcept {
  return std::align_val_t{bytes < kHugePageBytes ? kLine : kHugePageBytes};
}

}  // namespace

void want_huge_pages(void* memory, std::size_t bytes) noexcept {
  static_cast<void>(::madvise(memory, bytes, MADV_HUGEPAGE));  // refused by a kernel without them
}

std::uint8_t* map_block(std::size_t bytes) {
  SIMPLON_CHECK((bytes & (bytes - 1)) == 0);
  // Mapped twice as large as needed, and trimmed to what is aligned.
  void* memory = ::mmap(nullptr, 2 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  auto* start = static_cast<std::uint8_t*>(memory);
  const std::size_t skipped = (bytes - reinterpret_cast<std::uintptr_t>(start) % bytes) % bytes;
  if (skipped > 0) ::munmap(start, skipped);
  start += skipped;
  ::munmap(start + bytes, bytes - skipped);
  return start;
}

void unmap_block(void* block, std::size_t bytes) noexcept { ::munmap(block, bytes); }

void* allocate_array(std::size_t bytes) {
  void* array = ::operator new(bytes, alignment_of_array(bytes));
  if (bytes >= kHugePageBytes) want_huge_pages(array, bytes);
  return array;
}

void release_array(void* array, std::size_t bytes) noexcept { ::operator delete(array, alignment_of_array(bytes)); }

}  // namespace simplon
