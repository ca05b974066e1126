// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

// The writer's record of the routes of one table, exact and cheap to change; the forms that readers search are made of
// it.
//
// A tree bitmap with a stride of 6 bits (after Eatherton, Varghese, Dittia, "Tree Bitmap", 2004, with the arrangement
// of lengths changed so that a /24 and its 64 siblings share a node). A node at depth d holds the prefixes of length d
// + 1 to d + 6 that share their first d bits: one bitmap for the five shorter lengths, one for the longest, one for the
// children. Results and child links are dense arrays behind the bitmaps, found by counting bits. Nothing is pushed down
// into descendants, so a route lives in exactly one node.

namespace simplon::forward {

__extension__ using Uint128 = unsigned __int128;

/// Key: an address with its bits at the top; std::uint64_t for IPv4, Uint128 for IPv6. Values are not 0.
/// Threads: the writer's.
template <class Key>
class RouteTree {
 public:
  static constexpr unsigned kKeyBits = sizeof(Key) * 8;
  static constexpr unsigned kStride = 6;

  /// Followed by popcount(child) links and popcount(shorter) + popcount(exact) results.
  struct Node {
    std::uint64_t shorter;
    std::uint64_t exact;
    std::uint64_t child;

    [[nodiscard]] bool has_child(unsigned chunk) const noexcept { return ((child >> chunk) & 1) != 0; }
    /// nullptr if there is none.
    [[nodiscard]] const Node* child_at(unsigned chunk) const noexcept {
      return has_child(chunk) ? link(chunk) : nullptr;
    }
    /// Value of the longest prefix of this node that covers the chunk; 0: none does.
    [[nodiscard]] std::uint32_t longest(unsigned chunk) const noexcept;

    [[nodiscard]] unsigned children() const noexcept { return static_cast<unsigned>(std::popcount(child)); }
    [[nodiscard]] unsigned results() const noexcept {
      return static_cast<unsigned>(std::popcount(shorter) + std::popcount(exact));
    }
    [[nodiscard]] Node** links() const noexcept { return reinterpret_cast<Node**>(const_cast<Node*>(this) + 1); }
    [[nodiscard]] std::uint32_t* values() const noexcept {
      return reinterpret_cast<std::uint32_t*>(links() + children());
    }
    [[nodiscard]] Node*& link(unsigned chunk) const noexcept;
  };
  static_assert(sizeof(Node) == 24);

  RouteTree() = default;
  ~RouteTree();
  RouteTree(const RouteTree&) = delete;
  RouteTree& operator=(const RouteTree&) = delete;

  /// The six bits of the key behind the first `depth`.
  [[nodiscard]] static unsigned chunk_at(Key key, unsigned depth) noexcept {
    return static_cast<unsigned>((key << depth) >> (kKeyBits - kStride));
  }

  /// Returns the value replaced, 0 if the prefix is new. Bits of `key` behind `length` are ignored.
  std::uint32_t upsert(Key key, unsigned length, std::uint32_t value);
  /// Returns the value removed, 0 if there was none.
  std::uint32_t remove(Key key, unsigned length);
  /// Of exactly this prefix; 0 if there is none.
  [[nodiscard]] std::uint32_t exact(Key key, unsigned length) const noexcept;
  /// Of the longest prefix of at least 1 and at most `depth` bits that covers the key; 0 if there is none. `depth` is a
  /// multiple of the stride.
  [[nodiscard]] std::uint32_t longest(Key key, unsigned depth) const noexcept;
  /// What is below the first `depth` bits of the key; nullptr if nothing is.
  [[nodiscard]] const Node* node_at(Key key, unsigned depth) const noexcept;
  /// Of the prefix of length 0.
  [[nodiscard]] std::uint32_t shortest() const noexcept { return default_; }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t memory_bytes() const noexcept { return bytes_; }

 private:
  struct Position;
  Node* make(std::uint64_t shorter, std::uint64_t exact, std::uint64_t child);
  void destroy(Node* node) noexcept;
  void destroy_all(Node* node) noexcept;
  static void carry_over(const Node& from, Node& to) noexcept;

  Node* root_ = nullptr;
  std::uint32_t default_ = 0;
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
};

extern template class RouteTree<std::uint64_t>;
extern template class RouteTree<Uint128>;

}  // namespace simplon::forward
