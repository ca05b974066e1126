// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/fib/fib_arena.h"

#include <sys/mman.h>

#include <new>

#include "platform/base/huge_page.h"
#include "platform/base/result.h"

namespace simplon::forward {

FibArena::FibArena(Quiescence& quiescence) : quiescence_(quiescence) {
  static_assert(units(64) < std::tuple_size_v<decltype(free_)>);
  // Not accessible yet, so not counted as memory even where the system does not overcommit.
  reserved_ =
      ::mmap(nullptr, kReservedBytes + kBlockBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  SIMPLON_CHECK(reserved_ != MAP_FAILED);
  const auto start = reinterpret_cast<std::uintptr_t>(reserved_);
  base_ = static_cast<std::uint8_t*>(reserved_) + (kBlockBytes - start % kBlockBytes) % kBlockBytes;
}

FibArena::~FibArena() {
  quiescence_.destroy_all();  // nodes among them
  ::munmap(reserved_, kReservedBytes + kBlockBytes);
}

void FibArena::add_block() {
  std::uint8_t* block = base_ + blocks_ * kBlockBytes;
  if ((blocks_ + 1) * kBlockBytes > kReservedBytes || ::mprotect(block, kBlockBytes, PROT_READ | PROT_WRITE) != 0) {
    throw std::bad_alloc();
  }
  if (blocks_ > 0) want_huge_pages(block, kBlockBytes);  // a small table needs none
  ++blocks_;
  new (block) BlockHeader{this};
  untouched_ = block + kUnitBytes;
  end_ = block + kBlockBytes;
}

void FibArena::keep(std::uint8_t* place, std::size_t unit_count) noexcept {
  free_[unit_count] = new (place) Free{free_[unit_count]};
}

std::uint32_t FibArena::make(std::uint64_t starts) {
  const auto entries = static_cast<unsigned>(std::popcount(starts));
  const std::size_t needed = units(entries);
  std::uint8_t* place = nullptr;
  if (free_[needed] != nullptr) {
    place = reinterpret_cast<std::uint8_t*>(free_[needed]);
    free_[needed] = free_[needed]->next;
  } else {
    const auto left = static_cast<std::size_t>(end_ - untouched_);
    if (left < needed * kUnitBytes) {
      if (left > 0) keep(untouched_, left / kUnitBytes);
      add_block();
    }
    place = untouched_;
    untouched_ += needed * kUnitBytes;
  }
  auto* node = new (place) FibNode{starts};
  for (unsigned i = 0; i < entries; ++i) new (node->entries() + i) std::atomic<std::uint32_t>(0);
  return static_cast<std::uint32_t>(static_cast<std::size_t>(place - base_) / kUnitBytes);
}

void FibArena::destroy(std::uint32_t number) noexcept {
  FibNode& node = at(number);
  keep(reinterpret_cast<std::uint8_t*>(&node), units(node.count()));
}

void FibArena::retire(std::uint32_t number) {
  quiescence_.retire(&at(number), [](void* p) {
    auto* bytes = static_cast<std::uint8_t*>(p);
    FibArena& arena = *reinterpret_cast<BlockHeader*>(start_of_block<kBlockBytes>(p))->arena;
    arena.destroy(static_cast<std::uint32_t>(static_cast<std::size_t>(bytes - arena.base_) / kUnitBytes));
  });
}

}  // namespace simplon::forward
