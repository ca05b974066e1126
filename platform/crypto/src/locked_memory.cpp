// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/src/locked_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

#include "platform/base/result.h"
#include "platform/crypto/secret.h"

namespace simplon::crypto {
namespace {

// 51 blocks; a multiple of the page size that an RLIMIT_MEMLOCK of 8 MiB holds 128 times.
constexpr std::size_t kSlabBytes = 64 * 1024;

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
    void* slab = ::mmap(nullptr, kSlabBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SIMPLON_CHECK(slab != MAP_FAILED);
    // Best effort: without the limit keys are merely swappable.
    static_cast<void>(::madvise(slab, kSlabBytes, MADV_DONTDUMP));
    static_cast<void>(::mlock(slab, kSlabBytes));
    blocks_ += kSlabBytes / kLockedBlockBytes;
    free_.reserve(blocks_);
    for (std::size_t at = 0; at + kLockedBlockBytes <= kSlabBytes; at += kLockedBlockBytes) {
      free_.push_back(static_cast<std::uint8_t*>(slab) + at);
    }
  }

  std::mutex mutex_;
  std::vector<void*> free_;
  std::size_t blocks_ = 0;
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
