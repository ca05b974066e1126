// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/table_memory.h"

#include <array>
#include <cstdint>
#include <mutex>
#include <new>

#include "platform/base/huge_page.h"
#include "platform/base/result.h"

namespace simplon::forward {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kBlockBytes = kHugePageBytes;

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
    const std::scoped_lock lock(mutex_);
    Size& size = sizes_[reinterpret_cast<const Block*>(start_of_block<kBlockBytes>(memory))->lines];
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
    std::uint8_t* block = map_block(kBlockBytes);
    if (size.end != nullptr) want_huge_pages(block, kBlockBytes);  // a few objects need none
    new (block) Block{lines};
    size.untouched = block + sizeof(Block);
    size.end = block + kBlockBytes;
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
