// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/src/locked_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <mutex>
#include <vector>

#include "platform/base/huge_page.h"
#include "platform/crypto/secret.h"

namespace simplon::crypto {
namespace {

// 51 blocks; a multiple of the page size that an RLIMIT_MEMLOCK of 8 MiB holds 128 times.
constexpr std::size_t kSmallSlabBytes = 64 * 1024;
// From the fifth on: huge pages, where the system has them. Thousands of keys are otherwise as many walks of page tables.
constexpr std::size_t kSmallSlabs = 4;
constexpr std::size_t kSlabBytes = kHugePageBytes;

class Slabs {
 public:
  void* allocate() {
    const std::scoped_lock lock(mutex_);
    if (free_.empty()) grow();
    void* block = free_.back();
    free_.pop_back();
    return block;
  }
  void release(void* block) noexcept {
    wipe(block, kLockedBlockBytes);
    const std::scoped_lock lock(mutex_);
    free_.push_back(block);  // never beyond the capacity reserved in grow()
  }

 private:
  void grow() {
    const std::size_t bytes = slabs_++ < kSmallSlabs ? kSmallSlabBytes : kSlabBytes;
    std::uint8_t* slab = map_block(bytes);
    // Best effort: without the limit keys are merely swappable.
    static_cast<void>(::madvise(slab, bytes, MADV_DONTDUMP));
    if (bytes == kSlabBytes) want_huge_pages(slab, bytes);
    static_cast<void>(::mlock(slab, bytes));
    blocks_ += bytes / kLockedBlockBytes;
    free_.reserve(blocks_);
    for (std::size_t at = 0; at + kLockedBlockBytes <= bytes; at += kLockedBlockBytes) free_.push_back(slab + at);
  }

  std::mutex mutex_;
  std::vector<void*> free_;
  std::size_t blocks_ = 0;
  std::size_t slabs_ = 0;
};

// Never destroyed: keys may outlive other statics. Reachable, so no leak is reported.
Slabs& slabs() {
  static Slabs* const instance = new Slabs;
  return *instance;
}

}  // namespace

void* allocate_locked_block() { return slabs().allocate(); }
void release_locked_block(void* block) noexcept { slabs().release(block); }

}  // namespace simplon::crypto
