// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "gateway/forward/quiescence.h"
#include "platform/net/ip_address.h"

// Longest-prefix match: a tree bitmap with a stride of 6 bits (after Eatherton, Varghese, Dittia, "Tree Bitmap", 2004,
// with the arrangement of lengths changed so that a /24 and its 64 siblings share a node).
//
// A node at depth d holds the prefixes of length 6d+1 to 6d+6 that share their first 6d bits: one bitmap for the five
// shorter lengths, one for the longest, one for the children. Results and child links are dense arrays behind the
// bitmaps, found by counting bits. Nothing is pushed down into descendants, so a route lives in exactly one node: an
// update makes a new copy of that one node (or a chain of new ones) and publishes it with one atomic store into its
// parent. The value of an existing route is replaced in place. A lookup sees each update whole or not at all.

namespace simplon::forward {

__extension__ using Uint128 = unsigned __int128;

/// An address with its bits at the top.
[[nodiscard]] inline std::uint64_t fib_key(std::uint32_t ipv4) noexcept { return std::uint64_t{ipv4} << 32; }
[[nodiscard]] inline Uint128 fib_key(const std::uint8_t* ipv6) noexcept {
  std::uint64_t high;
  std::uint64_t low;
  __builtin_memcpy(&high, ipv6, 8);
  __builtin_memcpy(&low, ipv6 + 8, 8);
  return (static_cast<Uint128>(__builtin_bswap64(high)) << 64) | __builtin_bswap64(low);
}

namespace fib_detail {

struct Node;

/// Bits of the five shorter lengths that cover a chunk: for length r its top r bits, at offset 2^r - 2.
struct CoverMasks {
  std::uint64_t mask[64];
  constexpr CoverMasks() noexcept : mask() {
    for (unsigned chunk = 0; chunk < 64; ++chunk) {
      for (unsigned r = 1; r <= 5; ++r) {
        mask[chunk] |= std::uint64_t{1} << (((1U << r) - 2) + (chunk >> (6 - r)));
      }
    }
  }
};
inline constexpr CoverMasks kCover;

[[nodiscard]] constexpr std::uint64_t below(unsigned bit) noexcept { return (std::uint64_t{1} << bit) - 1; }

/// Followed by popcount(child) links and popcount(shorter) + popcount(exact) results.
struct Node {
  std::uint64_t shorter;
  std::uint64_t exact;
  std::uint64_t child;

  [[nodiscard]] unsigned children() const noexcept { return static_cast<unsigned>(std::popcount(child)); }
  [[nodiscard]] unsigned results() const noexcept {
    return static_cast<unsigned>(std::popcount(shorter) + std::popcount(exact));
  }
  [[nodiscard]] std::atomic<Node*>* links() const noexcept {
    return reinterpret_cast<std::atomic<Node*>*>(const_cast<Node*>(this) + 1);
  }
  [[nodiscard]] std::atomic<std::uint32_t>* values() const noexcept {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(links() + children());
  }
  [[nodiscard]] std::atomic<Node*>& link(unsigned chunk) const noexcept {
    return links()[std::popcount(child & below(chunk))];
  }
  /// Some prefix of this node covers the chunk.
  [[nodiscard]] bool matches(unsigned chunk) const noexcept {
    return ((shorter & kCover.mask[chunk]) | ((exact >> chunk) & 1)) != 0;
  }
  /// Result of the longest that does.
  [[nodiscard]] std::atomic<std::uint32_t>& longest(unsigned chunk) const noexcept {
    if (((exact >> chunk) & 1) != 0) return values()[std::popcount(shorter) + std::popcount(exact & below(chunk))];
    const auto last = static_cast<unsigned>(63 - std::countl_zero(shorter & kCover.mask[chunk]));
    return values()[std::popcount(shorter & below(last))];
  }
};
static_assert(sizeof(Node) == 24);

}  // namespace fib_detail

/// Key: std::uint64_t for IPv4, Uint128 for IPv6. Values are not 0, which means: no route.
/// Threads: `lookup` for readers; the rest for the one writer.
template <class Key>
class Fib {
 public:
  explicit Fib(Quiescence& quiescence) noexcept : quiescence_(quiescence) {}
  ~Fib();
  Fib(const Fib&) = delete;
  Fib& operator=(const Fib&) = delete;

  [[nodiscard]] std::uint32_t lookup(Key key) const noexcept {
    // On the way down, only where the longest match so far is; its value is found once, at the end.
    const Node* matched = nullptr;
    unsigned matched_chunk = 0;
    for (const Node* node = root_.load(std::memory_order_acquire); node != nullptr;) {
      const auto chunk = static_cast<unsigned>(key >> (sizeof(Key) * 8 - 6));
      key <<= 6;
      if (node->matches(chunk)) {
        matched = node;
        matched_chunk = chunk;
      }
      if (((node->child >> chunk) & 1) == 0) break;
      node = node->link(chunk).load(std::memory_order_acquire);
    }
    if (matched == nullptr) return default_.load(std::memory_order_acquire);
    return matched->longest(matched_chunk).load(std::memory_order_acquire);
  }
  /// The first node's line, ahead of `lookup`.
  void prefetch() const noexcept { __builtin_prefetch(root_.load(std::memory_order_acquire)); }

  /// Returns the value replaced, 0 if the prefix is new. Bits of `key` behind `length` are ignored.
  std::uint32_t upsert(Key key, unsigned length, std::uint32_t value);
  /// Returns the value removed, 0 if there was none.
  std::uint32_t remove(Key key, unsigned length);
  /// Of exactly this prefix; 0 if there is none.
  [[nodiscard]] std::uint32_t exact(Key key, unsigned length) const noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t memory_bytes() const noexcept { return bytes_; }

 private:
  using Node = fib_detail::Node;
  struct Position;
  Node* make(std::uint64_t shorter, std::uint64_t exact, std::uint64_t child);
  void retire(Node* node);

  Quiescence& quiescence_;
  std::atomic<Node*> root_{nullptr};
  std::atomic<std::uint32_t> default_{0};
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
};

extern template class Fib<std::uint64_t>;
extern template class Fib<Uint128>;

}  // namespace simplon::forward
