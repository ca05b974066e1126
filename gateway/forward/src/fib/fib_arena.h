// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "gateway/forward/quiescence.h"
#include "platform/base/huge_page.h"

namespace simplon::forward {

/// What a big table has for each direct slot and behind it: a value, or the number of a node.
class FibEntry {
 public:
  static constexpr std::uint32_t kNodeBit = std::uint32_t{1} << 31;
  [[nodiscard]] static constexpr bool is_node(std::uint32_t raw) noexcept { return (raw & kNodeBit) != 0; }
  [[nodiscard]] static constexpr std::uint32_t node(std::uint32_t number) noexcept { return number | kNodeBit; }
  [[nodiscard]] static constexpr std::uint32_t number(std::uint32_t raw) noexcept { return raw & ~kNodeBit; }
};

/// Six bits of the address: 64 chunks, with equal neighbors stored once. Followed by popcount(starts) entries.
struct FibNode {
  /// A bit for each chunk whose entry differs from that of the chunk before it; the lowest is always set.
  std::uint64_t starts;

  [[nodiscard]] std::atomic<std::uint32_t>* entries() const noexcept {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(const_cast<FibNode*>(this) + 1);
  }
  [[nodiscard]] unsigned count() const noexcept { return static_cast<unsigned>(std::popcount(starts)); }
  [[nodiscard]] std::atomic<std::uint32_t>& entry(unsigned chunk) const noexcept {
    return entries()[std::popcount(starts & (~std::uint64_t{0} >> (63 - chunk))) - 1];
  }
};
static_assert(sizeof(FibNode) == 8);

/// The nodes of all big tables, in units of 16 bytes that a 31-bit number names; in huge pages where the system has
/// them.
///
/// Address space is reserved once, memory is taken by the huge page and never given back before the end; nodes that
/// were returned are used again for nodes of their size. Threads: the writer's.
class FibArena {
 public:
  explicit FibArena(Quiescence& quiescence);
  ~FibArena();
  FibArena(const FibArena&) = delete;
  FibArena& operator=(const FibArena&) = delete;

  static constexpr std::size_t kUnitBytes = 16;
  [[nodiscard]] static constexpr std::size_t units(unsigned entries) noexcept {
    return (sizeof(FibNode) + entries * sizeof(std::uint32_t) + kUnitBytes - 1) / kUnitBytes;
  }

  /// A node of that shape; the entries are not set yet.
  [[nodiscard]] std::uint32_t make(std::uint64_t starts);
  [[nodiscard]] FibNode& at(std::uint32_t number) const noexcept {
    return *reinterpret_cast<FibNode*>(base_ + number * kUnitBytes);
  }
  /// Where number 0 would be.
  [[nodiscard]] const std::uint8_t* base() const noexcept { return base_; }
  /// No reader knows it any more.
  void destroy(std::uint32_t number) noexcept;
  /// No reader can newly find it.
  void retire(std::uint32_t number);
  [[nodiscard]] Quiescence& quiescence() const noexcept { return quiescence_; }

 private:
  static constexpr std::size_t kBlockBytes = kHugePageBytes;
  static constexpr std::size_t kReservedBytes = std::size_t{1} << 34;  // chosen by us: 16 GiB of address space
  static_assert(kReservedBytes / kUnitBytes <= FibEntry::kNodeBit);
  struct Free {
    Free* next;
  };
  /// At the start of each block, which is aligned to its size: leads from a node to its arena.
  struct BlockHeader {
    FibArena* arena;
  };
  static_assert(sizeof(BlockHeader) <= kUnitBytes && sizeof(Free) <= kUnitBytes);

  void add_block();
  void keep(std::uint8_t* place, std::size_t unit_count) noexcept;

  Quiescence& quiescence_;
  void* reserved_ = nullptr;
  std::uint8_t* base_ = nullptr;
  std::size_t blocks_ = 0;
  /// Of the last block.
  std::uint8_t* untouched_ = nullptr;
  std::uint8_t* end_ = nullptr;
  std::array<Free*, 18> free_{};  ///< By size in units; the largest node has 64 entries.
};

}  // namespace simplon::forward
