// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/fib/route_tree.h"

#include <new>
#include <utility>

#include "platform/base/result.h"

namespace simplon::forward {

namespace {

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
constexpr CoverMasks kCover;

[[nodiscard]] constexpr std::uint64_t below(unsigned bit) noexcept { return (std::uint64_t{1} << bit) - 1; }

[[nodiscard]] std::size_t node_bytes(std::uint64_t shorter, std::uint64_t exact, std::uint64_t child) noexcept {
  return 24 + static_cast<std::size_t>(std::popcount(child)) * sizeof(void*) +
         static_cast<std::size_t>(std::popcount(shorter) + std::popcount(exact)) * sizeof(std::uint32_t);
}

}  // namespace

template <class Key>
typename RouteTree<Key>::Node*& RouteTree<Key>::Node::link(unsigned chunk) const noexcept {
  return links()[std::popcount(child & below(chunk))];
}

template <class Key>
std::uint32_t RouteTree<Key>::Node::longest(unsigned chunk) const noexcept {
  if (((exact >> chunk) & 1) != 0) return values()[std::popcount(shorter) + std::popcount(exact & below(chunk))];
  const std::uint64_t covering = shorter & kCover.mask[chunk];
  if (covering == 0) return 0;
  const auto last = static_cast<unsigned>(63 - std::countl_zero(covering));
  return values()[std::popcount(shorter & below(last))];
}

/// Where a prefix of a certain length stands in its node: a bit of `shorter` or of `exact`.
template <class Key>
struct RouteTree<Key>::Position {
  unsigned depth;
  bool exact;
  unsigned bit;

  Position(Key key, unsigned length) noexcept
      : depth((length - 1) / kStride * kStride), exact(length % kStride == 0), bit(0) {
    const unsigned r = length - depth;
    const unsigned chunk = chunk_at(key, depth);
    bit = exact ? chunk : ((1U << r) - 2) + (chunk >> (kStride - r));
  }
  [[nodiscard]] bool present(const Node& node) const noexcept {
    return (((exact ? node.exact : node.shorter) >> bit) & 1) != 0;
  }
  [[nodiscard]] std::uint32_t& value(const Node& node) const noexcept {
    const int index = exact ? std::popcount(node.shorter) + std::popcount(node.exact & below(bit))
                            : std::popcount(node.shorter & below(bit));
    return node.values()[index];
  }
};

template <class Key>
RouteTree<Key>::~RouteTree() {
  destroy_all(root_);
}

template <class Key>
void RouteTree<Key>::destroy_all(Node* node) noexcept {
  if (node == nullptr) return;
  for (unsigned i = 0; i < node->children(); ++i) destroy_all(node->links()[i]);
  destroy(node);
}

template <class Key>
typename RouteTree<Key>::Node* RouteTree<Key>::make(std::uint64_t shorter, std::uint64_t exact, std::uint64_t child) {
  const std::size_t bytes = node_bytes(shorter, exact, child);
  auto* node = new (::operator new(bytes)) Node{shorter, exact, child};
  for (unsigned i = 0; i < node->children(); ++i) node->links()[i] = nullptr;
  for (unsigned i = 0; i < node->results(); ++i) node->values()[i] = 0;
  bytes_ += bytes;
  return node;
}

template <class Key>
void RouteTree<Key>::destroy(Node* node) noexcept {
  bytes_ -= node_bytes(node->shorter, node->exact, node->child);
  ::operator delete(node);
}

/// Copies what both nodes have; what only `to` has stays zero.
template <class Key>
void RouteTree<Key>::carry_over(const Node& from, Node& to) noexcept {
  for (std::uint64_t left = from.child & to.child; left != 0; left &= left - 1) {
    const auto chunk = static_cast<unsigned>(std::countr_zero(left));
    to.link(chunk) = from.link(chunk);
  }
  const std::uint32_t* value = from.values();
  for (std::uint64_t left = from.shorter; left != 0; left &= left - 1, ++value) {
    const auto bit = static_cast<unsigned>(std::countr_zero(left));
    if (((to.shorter >> bit) & 1) != 0) to.values()[std::popcount(to.shorter & below(bit))] = *value;
  }
  const int shorter = std::popcount(to.shorter);
  for (std::uint64_t left = from.exact; left != 0; left &= left - 1, ++value) {
    const auto bit = static_cast<unsigned>(std::countr_zero(left));
    if (((to.exact >> bit) & 1) != 0) to.values()[shorter + std::popcount(to.exact & below(bit))] = *value;
  }
}

template <class Key>
std::uint32_t RouteTree<Key>::upsert(Key key, unsigned length, std::uint32_t value) {
  SIMPLON_CHECK(value != 0);
  if (length == 0) {
    const std::uint32_t old = std::exchange(default_, value);
    if (old == 0) ++size_;
    return old;
  }
  const Position position(key, length);
  Node** link = &root_;
  unsigned depth = 0;
  // Down to the node itself, or to the last one on its path.
  while (*link != nullptr && depth < position.depth && (*link)->has_child(chunk_at(key, depth))) {
    link = &(*link)->link(chunk_at(key, depth));
    depth += kStride;
  }
  Node* node = *link;
  if (node != nullptr && depth == position.depth && position.present(*node)) {
    return std::exchange(position.value(*node), value);
  }

  // The nodes missing below, from the bottom up.
  const std::uint64_t bit = std::uint64_t{1} << position.bit;
  Node* made = nullptr;
  if (node == nullptr || depth < position.depth) {
    made = make(position.exact ? 0 : bit, position.exact ? bit : 0, 0);
    position.value(*made) = value;
    const unsigned first_new = node == nullptr ? depth : depth + kStride;
    for (unsigned d = position.depth; d > first_new; d -= kStride) {
      Node* parent = make(0, 0, std::uint64_t{1} << chunk_at(key, d - kStride));
      parent->links()[0] = made;
      made = parent;
    }
  }
  if (node != nullptr) {
    Node* copy = nullptr;
    if (depth == position.depth) {
      copy = make(node->shorter | (position.exact ? 0 : bit), node->exact | (position.exact ? bit : 0), node->child);
      carry_over(*node, *copy);
      position.value(*copy) = value;
    } else {
      copy = make(node->shorter, node->exact, node->child | (std::uint64_t{1} << chunk_at(key, depth)));
      carry_over(*node, *copy);
      copy->link(chunk_at(key, depth)) = made;
    }
    made = copy;
    destroy(node);
  }
  *link = made;
  ++size_;
  return 0;
}

template <class Key>
std::uint32_t RouteTree<Key>::remove(Key key, unsigned length) {
  if (length == 0) {
    const std::uint32_t old = std::exchange(default_, 0U);
    if (old != 0) --size_;
    return old;
  }
  const Position position(key, length);
  Node** links[kKeyBits / kStride + 2];
  links[0] = &root_;
  for (unsigned depth = 0; depth < position.depth; depth += kStride) {
    const Node* node = *links[depth / kStride];
    if (node == nullptr || !node->has_child(chunk_at(key, depth))) return 0;
    links[depth / kStride + 1] = &node->link(chunk_at(key, depth));
  }
  unsigned depth = position.depth;
  const Node* node = *links[depth / kStride];
  if (node == nullptr || !position.present(*node)) return 0;
  const std::uint32_t old = position.value(*node);

  const std::uint64_t bit = ~(std::uint64_t{1} << position.bit);
  std::uint64_t shorter = position.exact ? node->shorter : node->shorter & bit;
  std::uint64_t exact = position.exact ? node->exact & bit : node->exact;
  std::uint64_t child = node->child;
  Node* gone[kKeyBits / kStride + 2];
  unsigned gone_count = 0;
  gone[gone_count++] = *links[depth / kStride];
  // Nodes that become empty go with it.
  while ((shorter | exact | child) == 0 && depth > 0) {
    depth -= kStride;
    Node* above = *links[depth / kStride];
    gone[gone_count++] = above;
    shorter = above->shorter;
    exact = above->exact;
    child = above->child & ~(std::uint64_t{1} << chunk_at(key, depth));
  }
  Node* copy = nullptr;
  if ((shorter | exact | child) != 0) {
    copy = make(shorter, exact, child);
    carry_over(*gone[gone_count - 1], *copy);
  }
  *links[depth / kStride] = copy;
  while (gone_count > 0) destroy(gone[--gone_count]);
  --size_;
  return old;
}

template <class Key>
std::uint32_t RouteTree<Key>::exact(Key key, unsigned length) const noexcept {
  if (length == 0) return default_;
  const Position position(key, length);
  const Node* node = node_at(key, position.depth);
  return node == nullptr || !position.present(*node) ? 0 : position.value(*node);
}

template <class Key>
std::uint32_t RouteTree<Key>::longest(Key key, unsigned depth) const noexcept {
  std::uint32_t found = 0;
  const Node* node = root_;
  for (unsigned at = 0; at < depth && node != nullptr; at += kStride) {
    const unsigned chunk = chunk_at(key, at);
    if (const std::uint32_t here = node->longest(chunk); here != 0) found = here;
    node = node->child_at(chunk);
  }
  return found;
}

template <class Key>
const typename RouteTree<Key>::Node* RouteTree<Key>::node_at(Key key, unsigned depth) const noexcept {
  const Node* node = root_;
  for (unsigned at = 0; at < depth && node != nullptr; at += kStride) node = node->child_at(chunk_at(key, at));
  return node;
}

template class RouteTree<std::uint64_t>;
template class RouteTree<Uint128>;

}  // namespace simplon::forward
