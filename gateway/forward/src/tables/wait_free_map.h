// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

#include "gateway/forward/quiescence.h"
#include "gateway/forward/src/fib/node_pool.h"
#include "platform/base/huge_page.h"
#include "platform/base/result.h"

namespace simplon::forward {

/// Hash map with one writer and wait-free readers.
///
/// Buckets are chains of nodes that never change but for their link. Growth does not stop the writer: a second array is
/// filled beside the first, a few buckets per write (and per `go_on_growing`), by copies of the nodes; writes go to both
/// until it is complete; then one store publishes it. A reader therefore looks into exactly one array, and never misses
/// an element because it was on the move.
///
/// `Hash` is a function object with well mixed 64-bit results; with a seed, if somebody else chooses the keys. Threads: `find` and `prefetch_*` for readers, between two
/// quiescent states; the rest for the writer.
template <class Key, class Value, class Hash>
class WaitFreeMap {
 public:
  explicit WaitFreeMap(Quiescence& quiescence, std::size_t buckets = 64, Hash hash = {})
      : quiescence_(quiescence), hash_(hash), current_(new Array(buckets)) {}
  ~WaitFreeMap() {
    quiescence_.destroy_all();  // nodes among them, which the pool must outlive
    delete current_.load(std::memory_order_relaxed);
    delete next_;
  }
  WaitFreeMap(const WaitFreeMap&) = delete;
  WaitFreeMap& operator=(const WaitFreeMap&) = delete;

  // Readers.

  /// nullptr, or a value that stays as it is until the reader's next quiescent state.
  [[nodiscard]] const Value* find(const Key& key) const noexcept { return find(key, hash_(key)); }
  [[nodiscard]] const Value* find(const Key& key, std::uint64_t hash) const noexcept {
    const Array* array = current_.load(std::memory_order_acquire);
    for (const Node* node = array->bucket(hash).load(std::memory_order_acquire); node != nullptr;
         node = node->next.load(std::memory_order_acquire)) {
      if (node->key == key) return &node->value;
    }
    return nullptr;
  }
  [[nodiscard]] std::uint64_t hash(const Key& key) const noexcept { return hash_(key); }
  void prefetch_bucket(std::uint64_t hash) const noexcept {
    __builtin_prefetch(&current_.load(std::memory_order_acquire)->bucket(hash));
  }
  void prefetch_node(std::uint64_t hash) const noexcept {
    __builtin_prefetch(current_.load(std::memory_order_acquire)->bucket(hash).load(std::memory_order_acquire));
  }

  // Writer.

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// True if the key is new.
  bool upsert(const Key& key, const Value& value) {
    const std::uint64_t hash = hash_(key);
    Array* array = current_.load(std::memory_order_relaxed);
    const bool is_new = put(*array, hash, key, value);
    if (next_ != nullptr && array->index(hash) < copied_) put(*next_, hash, key, value);
    if (is_new) ++size_;
    if (next_ == nullptr && size_ > array->buckets()) {
      next_ = new Array(array->buckets() * 4);
      copied_ = 0;
    }
    copy_some(8);
    return is_new;
  }
  /// True if it was there.
  bool erase(const Key& key) {
    const std::uint64_t hash = hash_(key);
    Array* array = current_.load(std::memory_order_relaxed);
    const bool was_there = take(*array, hash, key);
    if (next_ != nullptr && array->index(hash) < copied_) take(*next_, hash, key);
    if (was_there) --size_;
    copy_some(8);
    return was_there;
  }
  /// Copies up to `buckets` buckets if a growth is under way.
  void go_on_growing(std::size_t buckets) { copy_some(buckets); }

  /// `visit(key, value)` for each element, in no order.
  template <class Visit>
  void for_each(Visit&& visit) const {
    const Array* array = current_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < array->buckets(); ++i) {
      for (const Node* node = array->at(i).load(std::memory_order_relaxed); node != nullptr;
           node = node->next.load(std::memory_order_relaxed)) {
        visit(node->key, node->value);
      }
    }
  }

 private:
  static constexpr std::size_t kNodeBytes = sizeof(Key) + sizeof(Value) + sizeof(void*);
  /// Within one cache line, if it fits into one.
  struct alignas(std::bit_ceil(kNodeBytes < 64 ? kNodeBytes : 64)) Node {
    Key key;
    Value value;
    std::atomic<Node*> next;
  };
  using Pool = NodePool<Node>;
  class Array {
   public:
    explicit Array(std::size_t buckets) : mask_(buckets - 1), heads_(static_cast<Head*>(allocate_array(buckets * sizeof(Head)))) {
      SIMPLON_CHECK((buckets & mask_) == 0);
      for (std::size_t i = 0; i < buckets; ++i) new (heads_ + i) Head(nullptr);
    }
    ~Array() {
      for (std::size_t i = 0; i <= mask_; ++i) {
        for (Node* node = heads_[i].load(std::memory_order_relaxed); node != nullptr;) {
          Node* next = node->next.load(std::memory_order_relaxed);
          Pool::destroy(node);
          node = next;
        }
      }
      release_array(heads_, buckets() * sizeof(Head));
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    [[nodiscard]] std::size_t buckets() const noexcept { return mask_ + 1; }
    [[nodiscard]] std::size_t index(std::uint64_t hash) const noexcept { return hash & mask_; }
    [[nodiscard]] std::atomic<Node*>& bucket(std::uint64_t hash) const noexcept { return heads_[hash & mask_]; }
    [[nodiscard]] std::atomic<Node*>& at(std::size_t i) const noexcept { return heads_[i]; }

   private:
    using Head = std::atomic<Node*>;
    std::size_t mask_;
    Head* heads_;
  };

  /// The link that leads to the key's node, or the last link of its chain.
  static std::atomic<Node*>* locate(const Array& array, std::uint64_t hash, const Key& key) noexcept {
    std::atomic<Node*>* link = &array.bucket(hash);
    for (Node* node = link->load(std::memory_order_relaxed); node != nullptr;
         node = link->load(std::memory_order_relaxed)) {
      if (node->key == key) break;
      link = &node->next;
    }
    return link;
  }
  bool put(Array& array, std::uint64_t hash, const Key& key, const Value& value) {
    std::atomic<Node*>* link = locate(array, hash, key);
    Node* old = link->load(std::memory_order_relaxed);
    Node* next = old == nullptr ? nullptr : old->next.load(std::memory_order_relaxed);
    link->store(nodes_.make(key, value, next), std::memory_order_release);
    retire(old);
    return old == nullptr;
  }
  bool take(Array& array, std::uint64_t hash, const Key& key) {
    std::atomic<Node*>* link = locate(array, hash, key);
    Node* old = link->load(std::memory_order_relaxed);
    if (old == nullptr) return false;
    link->store(old->next.load(std::memory_order_relaxed), std::memory_order_release);
    retire(old);
    return true;
  }
  void copy_some(std::size_t buckets) {
    if (next_ == nullptr) return;
    Array* array = current_.load(std::memory_order_relaxed);
    for (; buckets > 0 && copied_ < array->buckets(); --buckets, ++copied_) {
      for (const Node* node = array->at(copied_).load(std::memory_order_relaxed); node != nullptr;
           node = node->next.load(std::memory_order_relaxed)) {
        std::atomic<Node*>& head = next_->bucket(hash_(node->key));
        head.store(nodes_.make(node->key, node->value, head.load(std::memory_order_relaxed)),
                   std::memory_order_relaxed);
      }
    }
    if (copied_ < array->buckets()) return;
    current_.store(next_, std::memory_order_release);
    next_ = nullptr;
    quiescence_.retire(array);
  }

  void retire(Node* node) {
    if (node != nullptr) quiescence_.retire(node, [](void* p) { Pool::destroy(static_cast<Node*>(p)); });
  }

  Quiescence& quiescence_;
  [[no_unique_address]] Hash hash_;
  Pool nodes_;
  std::atomic<Array*> current_;
  Array* next_ = nullptr;
  std::size_t copied_ = 0;
  std::size_t size_ = 0;
};

/// Multiplies into 128 bits and folds: two inputs to a well mixed 64-bit value.
[[nodiscard]] inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a ^ 0x9e3779b97f4a7c15U) * (b ^ 0xe7037ed1a0b428dbU);
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace simplon::forward
