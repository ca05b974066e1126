// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "gateway/forward/quiescence.h"
#include "platform/base/huge_page.h"
#include "platform/base/result.h"

namespace simplon::forward {

/// A fixed number of zeroed elements that never move. Address space is reserved for all; memory is used by those that
/// were written (or, by the page, read).
template <class T>
class StableArray {
 public:
  static_assert(std::is_trivially_destructible_v<T>);

  explicit StableArray(std::size_t size) : size_(size) {
    void* memory = ::mmap(nullptr, size * sizeof(T), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    SIMPLON_CHECK(memory != MAP_FAILED);
    data_ = static_cast<T*>(memory);  // all-zero bytes are a valid T
  }
  /// Asks for huge pages, for what thousands of tenants look at in no order. Before the first element is written.
  void want_huge_pages() const noexcept { simplon::want_huge_pages(data_, size_ * sizeof(T)); }
  ~StableArray() { ::munmap(static_cast<void*>(data_), size_ * sizeof(T)); }
  StableArray(const StableArray&) = delete;
  StableArray& operator=(const StableArray&) = delete;

  [[nodiscard]] T& operator[](std::size_t index) const noexcept {
    SIMPLON_ASSERT(index < size_);
    return data_[index];
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  T* data_;
  std::size_t size_;
};

/// Hands out the numbers 1 to size - 1; 0 means none. A number given back is used again only after a grace period, so
/// that a worker with an old number in its hands never meets another object under it.
class SlotAllocator {
 public:
  explicit SlotAllocator(std::size_t size) : size_(size) {}

  /// 0 if all are in use.
  [[nodiscard]] std::uint32_t allocate() {
    if (!free_.empty()) {
      const std::uint32_t slot = free_.back();
      free_.pop_back();
      return slot;
    }
    return next_ < size_ ? next_++ : 0;
  }
  /// At once: nobody can have it in hand any more.
  void give_back(std::uint32_t slot) { free_.push_back(slot); }
  void release(std::uint32_t slot, Quiescence& quiescence) {
    quiescence.retire(new Returned{this, slot}, [](void* p) {
      auto* returned = static_cast<Returned*>(p);
      returned->to->give_back(returned->slot);
      delete returned;
    });
  }

 private:
  struct Returned {
    SlotAllocator* to;
    std::uint32_t slot;
  };
  std::size_t size_;
  std::uint32_t next_ = 1;
  std::vector<std::uint32_t> free_;
};

}  // namespace simplon::forward
