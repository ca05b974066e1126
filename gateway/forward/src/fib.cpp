// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/fib.h"

#include <new>

#include "platform/base/result.h"

namespace simplon::forward {

using fib_detail::below;

namespace {

std::size_t node_bytes(std::uint64_t shorter, std::uint64_t exact, std::uint64_t child) noexcept {
  return sizeof(fib_detail::Node) + static_cast<std::size_t>(std::popcount(child)) * sizeof(void*) +
         static_cast<std::size_t>(std::popcount(shorter) + std::popcount(exact)) * sizeof(std::uint32_t);
}

void destroy_node(void* node) { ::operator delete(node); }

void destroy_tree(fib_detail::Node* node) {
  if (node == nullptr) return;
  for (unsigned i = 0; i < node->children(); ++i) destroy_tree(node->links()[i].load(std::memory_order_relaxed));
  destroy_node(node);
}

template <class Key>
unsigned chunk_at(Key key, unsigned depth) noexcept {
  return static_cast<unsigned>((key << (6 * depth)) >> (sizeof(Key) * 8 - 6));
}

}  // namespace

/// Where a prefix of a certain length stands in its node: a bit of `shorter` or of `exact`.
template <class Key>
struct Fib<Key>::Position {
  unsigned depth;
  bool exact;
  unsigned bit;

  Position(Key key, unsigned length) noexcept : depth((length - 1) / 6), exact(length % 6 == 0), bit(0) {
    const unsigned r = length - 6 * depth;
    const unsigned chunk = chunk_at(key, depth);
    bit = exact ? chunk : ((1U << r) - 2) + (chunk >> (6 - r));
  }
  [[nodiscard]] bool present(const Node& node) const noexcept {
    return (((exact ? node.exact : node.shorter) >> bit) & 1) != 0;
  }
  [[nodiscard]] std::atomic<std::uint32_t>& value(const Node& node) const noexcept {
    const int index = exact ? std::popcount(node.shorter) + std::popcount(node.exact & below(bit))
                            : std::popcount(node.shorter & below(bit));
    return node.values()[index];
  }
};

template <class Key>
Fib<Key>::~Fib() {
  destroy_tree(root_.load(std::memory_order_relaxed));
}

template <class Key>
fib_detail::Node* Fib<Key>::make(std::uint64_t shorter, std::uint64_t exact, std::uint64_t child) {
  const std::size_t bytes = node_bytes(shorter, exact, child);
  auto* node = new (::operator new(bytes)) Node{shorter, exact, child};
  for (unsigned i = 0; i < node->children(); ++i) new (node->links() + i) std::atomic<Node*>(nullptr);
  for (unsigned i = 0; i < node->results(); ++i) new (node->values() + i) std::atomic<std::uint32_t>(0);
  bytes_ += bytes;
  return node;
}

template <class Key>
void Fib<Key>::retire(Node* node) {
  bytes_ -= node_bytes(node->shorter, node->exact, node->child);
  quiescence_.retire(node, &destroy_node);
}

namespace {

/// Copies what both nodes have; what only `to` has stays zero.
void carry_over(const fib_detail::Node& from, fib_detail::Node& to) noexcept {
  for (std::uint64_t left = from.child & to.child; left != 0; left &= left - 1) {
    const auto chunk = static_cast<unsigned>(std::countr_zero(left));
    to.link(chunk).store(from.link(chunk).load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  const auto value = [](const fib_detail::Node& node, bool exact, unsigned bit) -> std::atomic<std::uint32_t>& {
    return node.values()[exact ? std::popcount(node.shorter) + std::popcount(node.exact & below(bit))
                               : std::popcount(node.shorter & below(bit))];
  };
  for (const bool exact : {false, true}) {
    for (std::uint64_t left = exact ? from.exact & to.exact : from.shorter & to.shorter; left != 0; left &= left - 1) {
      const auto bit = static_cast<unsigned>(std::countr_zero(left));
      value(to, exact, bit).store(value(from, exact, bit).load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
  }
}

}  // namespace

template <class Key>
std::uint32_t Fib<Key>::upsert(Key key, unsigned length, std::uint32_t value) {
  SIMPLON_CHECK(value != 0);
  if (length == 0) {
    const std::uint32_t old = default_.exchange(value, std::memory_order_acq_rel);
    if (old == 0) ++size_;
    return old;
  }
  const Position position(key, length);
  std::atomic<Node*>* link = &root_;
  unsigned depth = 0;
  Node* node = link->load(std::memory_order_relaxed);
  // Down to the node itself, or to the last one on its path.
  while (node != nullptr && depth < position.depth && ((node->child >> chunk_at(key, depth)) & 1) != 0) {
    link = &node->link(chunk_at(key, depth));
    node = link->load(std::memory_order_relaxed);
    ++depth;
  }
  if (node != nullptr && depth == position.depth && position.present(*node)) {
    return position.value(*node).exchange(value, std::memory_order_acq_rel);
  }

  // The nodes missing below, made from the bottom up before anything of them can be seen.
  const std::uint64_t bit = std::uint64_t{1} << position.bit;
  Node* made = nullptr;
  const unsigned first_new = node == nullptr ? depth : depth + 1;
  for (unsigned d = position.depth + 1; d > first_new; --d) {
    if (made == nullptr) {
      made = make(position.exact ? 0 : bit, position.exact ? bit : 0, 0);
      position.value(*made).store(value, std::memory_order_relaxed);
    } else {
      Node* parent = make(0, 0, std::uint64_t{1} << chunk_at(key, d - 1));
      parent->links()[0].store(made, std::memory_order_relaxed);
      made = parent;
    }
  }
  if (node != nullptr) {
    Node* copy = nullptr;
    if (depth == position.depth) {
      copy = make(node->shorter | (position.exact ? 0 : bit), node->exact | (position.exact ? bit : 0), node->child);
      carry_over(*node, *copy);
      position.value(*copy).store(value, std::memory_order_relaxed);
    } else {
      copy = make(node->shorter, node->exact, node->child | (std::uint64_t{1} << chunk_at(key, depth)));
      carry_over(*node, *copy);
      copy->link(chunk_at(key, depth)).store(made, std::memory_order_relaxed);
    }
    made = copy;
  }
  link->store(made, std::memory_order_release);
  if (node != nullptr) retire(node);
  ++size_;
  return 0;
}

template <class Key>
std::uint32_t Fib<Key>::remove(Key key, unsigned length) {
  if (length == 0) {
    const std::uint32_t old = default_.exchange(0, std::memory_order_acq_rel);
    if (old != 0) --size_;
    return old;
  }
  const Position position(key, length);
  std::atomic<Node*>* links[sizeof(Key) * 8 / 6 + 2];
  Node* nodes[sizeof(Key) * 8 / 6 + 2];
  links[0] = &root_;
  nodes[0] = root_.load(std::memory_order_relaxed);
  for (unsigned depth = 0; depth < position.depth; ++depth) {
    const Node* node = nodes[depth];
    if (node == nullptr || ((node->child >> chunk_at(key, depth)) & 1) == 0) return 0;
    links[depth + 1] = &node->link(chunk_at(key, depth));
    nodes[depth + 1] = links[depth + 1]->load(std::memory_order_relaxed);
  }
  unsigned depth = position.depth;
  Node* node = nodes[depth];
  if (node == nullptr || !position.present(*node)) return 0;
  const std::uint32_t old = position.value(*node).load(std::memory_order_relaxed);

  const std::uint64_t bit = ~(std::uint64_t{1} << position.bit);
  std::uint64_t shorter = position.exact ? node->shorter : node->shorter & bit;
  std::uint64_t exact = position.exact ? node->exact & bit : node->exact;
  std::uint64_t child = node->child;
  // Nodes that become empty go with it.
  while ((shorter | exact | child) == 0 && depth > 0) {
    --depth;
    shorter = nodes[depth]->shorter;
    exact = nodes[depth]->exact;
    child = nodes[depth]->child & ~(std::uint64_t{1} << chunk_at(key, depth));
  }
  Node* copy = nullptr;
  if ((shorter | exact | child) != 0) {
    copy = make(shorter, exact, child);
    carry_over(*nodes[depth], *copy);
  }
  links[depth]->store(copy, std::memory_order_release);
  for (unsigned d = depth; d <= position.depth; ++d) retire(nodes[d]);
  --size_;
  return old;
}

template <class Key>
std::uint32_t Fib<Key>::exact(Key key, unsigned length) const noexcept {
  if (length == 0) return default_.load(std::memory_order_acquire);
  const Position position(key, length);
  const Node* node = root_.load(std::memory_order_acquire);
  for (unsigned depth = 0; depth < position.depth && node != nullptr; ++depth) {
    if (((node->child >> chunk_at(key, depth)) & 1) == 0) return 0;
    node = node->link(chunk_at(key, depth)).load(std::memory_order_acquire);
  }
  if (node == nullptr || !position.present(*node)) return 0;
  return position.value(*node).load(std::memory_order_acquire);
}

template class Fib<std::uint64_t>;
template class Fib<Uint128>;

}  // namespace simplon::forward
