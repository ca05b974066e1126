// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/table_memory.h"

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <mutex>

#include "platform/base/result.h"

namespace simplon::forward {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kBlockBytes = std::size_t{2} << 20;  // a huge page

// Sanitizers see the life of an object only if it is allocated by itself.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kPooled = false;
#elif defined(__clang__)
constexpr bool kPooled = !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer));
#else
constexpr bool kPooled = true;
#endif

/// Of each size in lines: blocks as large as a huge page and aligned to it, so that the size follows from the address.
class Pool {
 public:
  void* allocate(std::size_t lines) {
    const std::scoped_lock lock(mutex_);
    Size& size = sizes_[lines];
    if (Free* place = size.free) {
      size.free = place->next;
      return place;
    }
    if (static_cast<std::size_t>(size.end - size.untouched) < lines * kLine) add_block(size, lines);
    void* place = size.untouched;
    size.untouched += lines * kLine;
    return place;
  }
  void release(void* memory) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    const std::scoped_lock lock(mutex_);
    Size& size = sizes_[reinterpret_cast<const Block*>(address - address % kBlockBytes)->lines];
    size.free = new (memory) Free{size.free};
  }

 private:
  struct Free {
    Free* next;
  };
  struct alignas(kLine) Block {
    std::size_t lines;
  };
  struct Size {
    Free* free = nullptr;
    std::uint8_t* untouched = nullptr;
    std::uint8_t* end = nullptr;
  };

  static void add_block(Size& size, std::size_t lines) {
    // Mapped twice as large as needed, and trimmed to what is aligned.
    void* memory = ::mmap(nullptr, 2 * kBlockBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    auto* start = static_cast<std::uint8_t*>(memory);
    const std::size_t skipped = (kBlockBytes - reinterpret_cast<std::uintptr_t>(start) % kBlockBytes) % kBlockBytes;
    if (skipped > 0) ::munmap(start, skipped);
    start += skipped;
    ::munmap(start + kBlockBytes, kBlockBytes - skipped);
    if (size.end != nullptr) static_cast<void>(::madvise(start, kBlockBytes, MADV_HUGEPAGE));  // a few objects need none
    new (start) Block{lines};
    size.untouched = start + sizeof(Block);
    size.end = start + kBlockBytes;
  }

  std::mutex mutex_;
  std::array<Size, kMostTableBytes / kLine + 1> sizes_{};
};

/// Never destroyed: objects may outlive other statics.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

}  // namespace

void* allocate_table_memory(std::size_t bytes) {
  SIMPLON_CHECK(bytes <= kMostTableBytes);
  if (!kPooled) return ::operator new(bytes, std::align_val_t{kLine});
  return pool().allocate(bytes == 0 ? 1 : (bytes + kLine - 1) / kLine);
}

void release_table_memory(void* memory) noexcept {
  if (!kPooled) return ::operator delete(memory, std::align_val_t{kLine});
  if (memory != nullptr) pool().release(memory);
}

}  // namespace simplon::forward
