// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gateway/forward/quiescence.h"
#include "gateway/forward/src/fib/fib_arena.h"
#include "gateway/forward/src/fib/fib_forms.h"
#include "gateway/forward/src/fib/route_tree.h"

namespace simplon::forward {

/// An address with its bits at the top.
[[nodiscard]] inline std::uint64_t fib_key(std::uint32_t ipv4) noexcept { return std::uint64_t{ipv4} << 32; }
[[nodiscard]] inline Uint128 fib_key(const std::uint8_t* ipv6) noexcept {
  std::uint64_t high;
  std::uint64_t low;
  __builtin_memcpy(&high, ipv6, 8);
  __builtin_memcpy(&low, ipv6 + 8, 8);
  return (static_cast<Uint128>(__builtin_bswap64(high)) << 64) | __builtin_bswap64(low);
}

/// Longest-prefix match of one domain and family: the routes as they were given (RouteTree), and the form that readers
/// search (fib_forms.h): tiny, narrow, small or large by what fits.
///
/// A change of a large table shows at once: the node that has the route is replaced, and those below that inherit from
/// it. A small table, and one that outgrew its form, is made anew by `publish`, once for all changes since the last.
/// Either way one atomic store decides, and a lookup sees a change whole or not at all.
///
/// Key: std::uint64_t for IPv4, Uint128 for IPv6. Values are not 0, which means: no route.
/// Threads: `form` and `lookup` for readers, between two quiescent states; the rest for the one writer.
template <class Key>
class Fib {
 public:
  static constexpr std::uint32_t kMostValue = FibEntry::kNodeBit - 1;

  explicit Fib(FibArena& arena) noexcept;
  ~Fib();
  Fib(const Fib&) = delete;
  Fib& operator=(const Fib&) = delete;

  /// For FibQuery.
  [[nodiscard]] std::uintptr_t form() const noexcept { return form_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint32_t lookup(Key key) const noexcept {
    FibQuery<Key> query{form(), key, 0};
    fib_lookup(&query, 1);
    return query.found;
  }

  /// Returns the value replaced, 0 if the prefix is new. Bits of `key` behind `length` are ignored.
  std::uint32_t upsert(Key key, unsigned length, std::uint32_t value);
  /// Returns the value removed, 0 if there was none.
  std::uint32_t remove(Key key, unsigned length);
  /// Of exactly this prefix, published or not; 0 if there is none.
  [[nodiscard]] std::uint32_t exact(Key key, unsigned length) const noexcept { return routes_.exact(key, length); }
  /// Readers see all changes. Cheap if there are none.
  void publish();
  [[nodiscard]] bool published() const noexcept { return !stale_; }

  [[nodiscard]] std::size_t size() const noexcept { return routes_.size(); }
  /// What readers search.
  [[nodiscard]] std::size_t form_bytes() const noexcept { return bytes_; }
  /// With the writer's record.
  [[nodiscard]] std::size_t memory_bytes() const noexcept { return bytes_ + routes_.memory_bytes(); }

 private:
  using Tree = RouteTree<Key>;
  using Node = typename Tree::Node;
  using Small = SmallFib<Key>;

  struct Interval {
    Key start;
    std::uint32_t value;
  };
  /// The list of them while it is made.
  struct Intervals;

  void changed(Key key, unsigned length);
  [[nodiscard]] bool form_fits() const noexcept;

  [[nodiscard]] std::uintptr_t make_small();
  [[nodiscard]] std::uintptr_t make_tiny(const std::vector<Interval>& list);
  [[nodiscard]] std::optional<std::uintptr_t> make_narrow(const std::vector<Interval>& list, const std::vector<std::uint32_t>& palette);
  static void collect(const Node* node, unsigned depth, Key start, std::uint32_t inherited, Intervals& intervals);

  [[nodiscard]] std::uintptr_t make_large(unsigned bits);
  void fill(LargeFib& form, const Node* node, unsigned depth, std::size_t first, std::uint32_t inherited);
  /// The entry for what is below `depth`, with new nodes.
  [[nodiscard]] std::uint32_t compile(const Node* node, unsigned depth, std::uint32_t inherited);
  /// The same after the change of a route, with the old nodes where they are still right. Replaced ones are retired.
  [[nodiscard]] std::uint32_t refresh(std::uint32_t old, const Node* node, unsigned depth, std::uint32_t inherited,
                                      Key key, unsigned length);
  /// A value if all entries are the same, else a node of them.
  [[nodiscard]] std::uint32_t pack(const std::uint32_t (&entries)[64]);
  void retire_below(std::uint32_t entry);
  /// The form itself is retired; its bytes no longer count.
  void retire_form(std::uintptr_t form);

  // One word for readers, alone at the start.
  std::atomic<std::uintptr_t> form_;
  FibArena& arena_;
  /// The published form if it is a large one.
  LargeFib* large_ = nullptr;
  bool stale_ = false;
  std::size_t bytes_ = 0;
  Tree routes_;
};

extern template class Fib<std::uint64_t>;
extern template class Fib<Uint128>;

}  // namespace simplon::forward
