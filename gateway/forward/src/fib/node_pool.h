// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "platform/base/huge_page.h"

namespace simplon::forward {

/// Elements of a big table, side by side in huge pages where the system has them: a lookup then costs one cache line and
/// no walk of page tables.
///
/// Blocks are as large as a huge page and aligned to it, so that the pool of an element follows from its address.
/// Threads: the writer's. Everything is given back before the pool ends.
template <class T>
class NodePool {
 public:
  NodePool() = default;
  ~NodePool() {
    for (Block* block : blocks_) unmap_block(block, kBlockBytes);
  }
  NodePool(const NodePool&) = delete;
  NodePool& operator=(const NodePool&) = delete;

  template <class... Arguments>
  [[nodiscard]] T* make(Arguments&&... arguments) {
    void* place = free_;
    if (place != nullptr) {
      free_ = free_->next;
    } else {
      if (untouched_ == 0) add_block();
      place = reinterpret_cast<std::uint8_t*>(blocks_.back()) + kBlockBytes - untouched_ * sizeof(T);
      --untouched_;
    }
    return new (place) T{std::forward<Arguments>(arguments)...};
  }
  /// What `make` of any pool returned.
  static void destroy(T* element) noexcept {
    element->~T();
    NodePool& pool = *reinterpret_cast<Block*>(start_of_block<kBlockBytes>(element))->pool;
    pool.free_ = new (static_cast<void*>(element)) Free{pool.free_};
  }

 private:
  static constexpr std::size_t kBlockBytes = kHugePageBytes;
  struct Free {
    Free* next;
  };
  struct alignas(64) Block {
    NodePool* pool;
  };
  static_assert(sizeof(T) >= sizeof(Free) && alignof(T) >= alignof(Free) && kBlockBytes % sizeof(T) == 0);

  void add_block() {
    std::uint8_t* block = map_block(kBlockBytes);
    if (!blocks_.empty()) want_huge_pages(block, kBlockBytes);  // a small table needs none
    blocks_.push_back(new (block) Block{this});
    untouched_ = (kBlockBytes - sizeof(Block)) / sizeof(T);
  }

  Free* free_ = nullptr;
  /// Of the last block, whose end they fill.
  std::size_t untouched_ = 0;
  std::vector<Block*> blocks_;
};

}  // namespace simplon::forward
