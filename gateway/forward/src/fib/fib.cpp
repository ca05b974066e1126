// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/fib/fib.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "gateway/forward/table_memory.h"
#include "platform/base/huge_page.h"
#include "platform/base/result.h"

namespace simplon::forward {

namespace {

/// How many bits the array of a large table is indexed by, and for how many routes. Chosen by us: the array is to cost
/// less than the routes, and a table at a border is not to change with every route.
struct Size {
  unsigned bits;
  std::size_t least;
  std::size_t most;
};
constexpr Size kSizes[] = {{0, kMostSmallRoutes / 2, 512}, {12, 256, 32768}, {18, 16384, ~std::size_t{0}}};

LargeFib::Slot* make_slots(std::size_t count) {
  auto* slots = static_cast<LargeFib::Slot*>(allocate_array(count * sizeof(LargeFib::Slot)));
  for (std::size_t i = 0; i < count; ++i) new (slots + i) LargeFib::Slot{};
  return slots;
}

void destroy_slots(LargeFib::Slot* slots, std::size_t count) noexcept {
  release_array(slots, count * sizeof(LargeFib::Slot));
}

void destroy_below(FibArena& arena, std::uint32_t entry) noexcept {
  if (!FibEntry::is_node(entry)) return;
  const FibNode& node = arena.at(FibEntry::number(entry));
  for (unsigned i = 0; i < node.count(); ++i) destroy_below(arena, node.entries()[i].load(std::memory_order_relaxed));
  arena.destroy(FibEntry::number(entry));
}

struct RetiredLarge {
  FibArena& arena;
  LargeFib* form;
  ~RetiredLarge() {
    const std::size_t count = std::size_t{1} << form->bits;
    for (std::size_t i = 0; i < count; ++i) destroy_below(arena, form->slots[i].entry.load(std::memory_order_relaxed));
    destroy_slots(form->slots, count);
    delete form;
  }
};

/// A small form without routes, shared by all tables that have none.
template <class Key>
struct EmptyForm {
  typename SmallFib<Key>::Head head;
  FibPalette palette{};
  typename SmallFib<Key>::Leaf leaf;
  EmptyForm() noexcept {
    std::memset(static_cast<void*>(&leaf), 0, sizeof leaf);
    for (unsigned i = 0; i < SmallFib<Key>::kSeparators; ++i) SmallFib<Key>::set_bound(head.separators, i, Key{0});
  }
};

template <class Key>
std::uintptr_t empty_form() noexcept {
  static const EmptyForm<Key> empty;
  return FibWord::small(&empty, 1);
}

}  // namespace

template <class Key>
Fib<Key>::Fib(FibArena& arena) noexcept : form_(empty_form<Key>()), arena_(arena) {}

template <class Key>
Fib<Key>::~Fib() {
  const std::uintptr_t form = form_.load(std::memory_order_relaxed);
  if (large_ != nullptr) {
    const RetiredLarge now{arena_, large_};
  } else if (form != empty_form<Key>()) {
    release_table_memory(const_cast<void*>(FibWord::block(form)));
  }
}

template <class Key>
std::uint32_t Fib<Key>::upsert(Key key, unsigned length, std::uint32_t value) {
  SIMPLON_CHECK(value <= kMostValue);
  const std::uint32_t old = routes_.upsert(key, length, value);
  if (old != value) changed(key, length);
  return old;
}

template <class Key>
std::uint32_t Fib<Key>::remove(Key key, unsigned length) {
  const std::uint32_t old = routes_.remove(key, length);
  if (old != 0) changed(key, length);
  return old;
}

template <class Key>
bool Fib<Key>::form_fits() const noexcept {
  if (large_ == nullptr) return false;
  return std::any_of(std::begin(kSizes), std::end(kSizes), [this](const Size& size) {
    return size.bits == large_->bits && size.least <= routes_.size() && routes_.size() <= size.most;
  });
}

template <class Key>
void Fib<Key>::changed(Key key, unsigned length) {
  if (stale_) return;
  if (!form_fits()) {
    stale_ = true;
    return;
  }
  if (length == 0) {
    large_->fallback.store(routes_.shortest(), std::memory_order_release);
    return;
  }
  const unsigned bits = large_->bits;
  const auto slot = static_cast<std::size_t>(key >> 1 >> (Tree::kKeyBits - 1 - bits));
  if (length > bits) {
    std::atomic<std::uint32_t>& entry = large_->slots[slot].entry;
    const std::uint32_t old = entry.load(std::memory_order_relaxed);
    const std::uint32_t now = refresh(old, routes_.node_at(key, bits), bits, 0, key, length);
    if (now != old) entry.store(now, std::memory_order_release);
    return;
  }
  const std::size_t covered = std::size_t{1} << (bits - length);
  const std::size_t first = slot & ~(covered - 1);
  for (std::size_t i = first; i < first + covered; ++i) {
    const Key at = static_cast<Key>(i) << (Tree::kKeyBits - bits);
    large_->slots[i].cover.store(routes_.longest(at, bits), std::memory_order_release);
  }
}

template <class Key>
void Fib<Key>::publish() {
  if (!stale_) return;
  stale_ = false;
  bytes_ = 0;
  std::uintptr_t form = empty_form<Key>();
  large_ = nullptr;
  if (routes_.size() > kMostSmallRoutes) {
    const auto* size = std::find_if(std::begin(kSizes), std::end(kSizes),
                                    [this](const Size& candidate) { return routes_.size() <= candidate.most; });
    form = make_large(size->bits);
  } else if (routes_.size() > 0) {
    form = make_small();
  }
  retire_form(form_.exchange(form, std::memory_order_acq_rel));
}

template <class Key>
void Fib<Key>::retire_form(std::uintptr_t form) {
  if (FibWord::is_large(form)) {
    arena_.quiescence().retire(new RetiredLarge{arena_, const_cast<LargeFib*>(&FibWord::large(form))});
  } else if (form != empty_form<Key>()) {
    arena_.quiescence().retire(const_cast<void*>(FibWord::block(form)), release_table_memory);
  }
}

// Small.

template <class Key>
struct Fib<Key>::Intervals {
  std::vector<Interval> list;
  void add(Key start, std::uint32_t value) {
    if (list.empty() || list.back().value != value) list.push_back({start, value});
  }
};

template <class Key>
void Fib<Key>::collect(const Node* node, unsigned depth, Key start, std::uint32_t inherited, Intervals& intervals) {
  if (node == nullptr) return intervals.add(start, inherited);
  // At the end of an address a chunk has fewer bits than the key has places for: nothing is stored there, so the
  // surplus chunks repeat the one before and are merged into it.
  for (unsigned chunk = 0; chunk < 64; ++chunk) {
    const std::uint32_t here = node->longest(chunk);
    const std::uint32_t value = here != 0 ? here : inherited;
    Key at = start;
    if (depth + Tree::kStride <= Tree::kKeyBits) {
      at |= static_cast<Key>(chunk) << (Tree::kKeyBits - Tree::kStride - depth);
    } else {
      const unsigned missing = depth + Tree::kStride - Tree::kKeyBits;
      if ((chunk & ((1U << missing) - 1)) != 0) continue;
      at |= static_cast<Key>(chunk >> missing);
    }
    if (const Node* child = node->child_at(chunk)) {
      collect(child, depth + Tree::kStride, at, value, intervals);
    } else {
      intervals.add(at, value);
    }
  }
}

template <class Key>
std::uintptr_t Fib<Key>::make_tiny(const std::vector<Interval>& list) {
  bytes_ = sizeof(TinyFib);
  auto* tiny = new (allocate_table_memory(bytes_)) TinyFib{};
  for (unsigned i = 0; i <= TinyFib::kBounds; ++i) {
    if (i > 0) SmallFib<std::uint64_t>::set_bound(tiny->bounds, i - 1, i < list.size() ? static_cast<std::uint64_t>(list[i].start) : 0);
    if (i < list.size()) tiny->values[i] = list[i].value;
  }
  return FibWord::of(tiny);
}

namespace {

/// Of the leaf that begins with interval `first`: bounds relative to their first. Empty if they do not fit.
template <class Interval>
std::optional<std::uint32_t> narrow_base(const std::vector<Interval>& list, std::size_t first) {
  const std::size_t end = std::min(first + NarrowFib::kBounds + 1, list.size());
  if (end - first < 2) return 0;
  const auto bound = [&](std::size_t i) { return static_cast<std::uint32_t>(list[i].start >> 32) - 1; };
  if (bound(end - 1) - bound(first + 1) >= NarrowFib::kMostRelative) return std::nullopt;
  return bound(first + 1);
}

}  // namespace

/// Empty if the table is none of these.
template <class Key>
std::optional<std::uintptr_t> Fib<Key>::make_narrow(const std::vector<Interval>& list, const std::vector<std::uint32_t>& palette) {
  constexpr std::size_t kLeaf = NarrowFib::kBounds + 1;
  if (list.size() > NarrowFib::kMostIntervals || palette.size() > NarrowFib::kValues) return std::nullopt;
  for (std::size_t first = 0; first < list.size(); first += kLeaf) {
    if (!narrow_base(list, first)) return std::nullopt;
  }
  const std::size_t leaves = (list.size() + kLeaf - 1) / kLeaf;
  bytes_ = sizeof(NarrowFib) + leaves * sizeof(NarrowFib::Leaf);
  void* block = allocate_table_memory(bytes_);
  std::memset(block, 0, bytes_);
  auto* head = static_cast<NarrowFib*>(block);
  auto* leaf = reinterpret_cast<NarrowFib::Leaf*>(head + 1);
  std::copy(palette.begin(), palette.end(), head->palette);
  for (unsigned i = 0; i < NarrowFib::kSeparators; ++i) {
    const std::size_t first = (i + 1) * kLeaf;
    SmallFib<std::uint64_t>::set_bound(head->separators, i, first < list.size() ? static_cast<std::uint64_t>(list[first].start) : 0);
  }
  for (std::size_t i = 0; i < leaves * kLeaf; ++i) {
    NarrowFib::Leaf& place = leaf[i / kLeaf];
    const auto at = static_cast<unsigned>(i % kLeaf);
    if (at == 0) place.base = *narrow_base(list, i);
    if (at > 0) {
      place.set_bound(at - 1, i < list.size() ? static_cast<std::uint32_t>(list[i].start >> 32) - 1 - place.base : NarrowFib::kMostRelative);
    }
    if (i >= list.size()) continue;
    const auto index = std::lower_bound(palette.begin(), palette.end(), list[i].value) - palette.begin();
    place.values[at / 2] = static_cast<std::uint8_t>(place.values[at / 2] | (index << (at % 2 * 4)));
  }
  return FibWord::of(head);
}

template <class Key>
std::uintptr_t Fib<Key>::make_small() {
  constexpr std::size_t kLeaf = Small::kBounds + 1;
  Intervals intervals;
  intervals.list.reserve(2 * kMostSmallRoutes + 1);
  collect(routes_.node_at(Key{0}, 0), 0, Key{0}, routes_.shortest(), intervals);
  const std::vector<Interval>& list = intervals.list;
  if constexpr (sizeof(Key) == 8) {
    if (list.size() <= TinyFib::kBounds + 1) return make_tiny(list);
  }
  std::vector<std::uint32_t> palette;
  for (const Interval& interval : list) palette.push_back(interval.value);
  std::sort(palette.begin(), palette.end());
  palette.erase(std::unique(palette.begin(), palette.end()), palette.end());
  if constexpr (sizeof(Key) == 8) {
    if (const auto narrow = make_narrow(list, palette)) return *narrow;
  }
  const std::size_t leaves = (list.size() + kLeaf - 1) / kLeaf;
  SIMPLON_CHECK(leaves <= Small::kSeparators + 1);
  const std::size_t palette_lines = (palette.size() + kPaletteLine - 1) / kPaletteLine;

  bytes_ = sizeof(typename Small::Head) + palette_lines * sizeof(FibPalette) + leaves * sizeof(typename Small::Leaf);
  void* block = allocate_table_memory(bytes_);
  std::memset(block, 0, bytes_);
  auto* head = static_cast<typename Small::Head*>(block);
  auto* values = reinterpret_cast<FibPalette*>(head + 1);
  auto* leaf = reinterpret_cast<typename Small::Leaf*>(values + palette_lines);
  for (std::size_t i = 0; i < palette.size(); ++i) values[i / kPaletteLine].values[i % kPaletteLine] = palette[i];
  for (unsigned i = 0; i < Small::kSeparators; ++i) {
    const std::size_t first = (i + 1) * kLeaf;
    Small::set_bound(head->separators, i, first < list.size() ? list[first].start : Key{0});
  }
  for (std::size_t i = 0; i < leaves * kLeaf; ++i) {
    typename Small::Leaf& place = leaf[i / kLeaf];
    const auto at = static_cast<unsigned>(i % kLeaf);
    if (at > 0) Small::set_bound(place.bounds, at - 1, i < list.size() ? list[i].start : Key{0});
    if (i >= list.size()) continue;
    const auto index = std::lower_bound(palette.begin(), palette.end(), list[i].value) - palette.begin();
    place.values[at] = static_cast<std::uint8_t>(index);
  }
  return FibWord::small(block, palette_lines);
}

// Large.

template <class Key>
std::uintptr_t Fib<Key>::make_large(unsigned bits) {
  const std::size_t count = std::size_t{1} << bits;
  large_ = new LargeFib{make_slots(count), arena_.base(), bits, {}};
  bytes_ = sizeof(LargeFib) + count * sizeof(LargeFib::Slot);
  large_->fallback.store(routes_.shortest(), std::memory_order_relaxed);
  const Node* root = routes_.node_at(Key{0}, 0);
  if (bits == 0) {
    large_->slots[0].entry.store(compile(root, 0, 0), std::memory_order_relaxed);
  } else {
    fill(*large_, root, 0, 0, 0);
  }
  return FibWord::of(large_);
}

/// Slots from `first` on, for a node above the array's depth.
template <class Key>
void Fib<Key>::fill(LargeFib& form, const Node* node, unsigned depth, std::size_t first, std::uint32_t inherited) {
  const unsigned below = form.bits - depth - Tree::kStride;
  for (unsigned chunk = 0; chunk < 64; ++chunk) {
    const std::size_t at = first + (std::size_t{chunk} << below);
    const std::uint32_t here = node == nullptr ? 0 : node->longest(chunk);
    const std::uint32_t value = here != 0 ? here : inherited;
    const Node* child = node == nullptr ? nullptr : node->child_at(chunk);
    if (below == 0) {
      form.slots[at].cover.store(value, std::memory_order_relaxed);
      form.slots[at].entry.store(compile(child, form.bits, 0), std::memory_order_relaxed);
    } else if (child != nullptr) {
      fill(form, child, depth + Tree::kStride, at, value);
    } else if (value != 0) {
      for (std::size_t i = at; i < at + (std::size_t{1} << below); ++i) {
        form.slots[i].cover.store(value, std::memory_order_relaxed);
      }
    }
  }
}

template <class Key>
std::uint32_t Fib<Key>::pack(const std::uint32_t (&entries)[64]) {
  std::uint64_t starts = 1;
  for (unsigned chunk = 1; chunk < 64; ++chunk) {
    if (entries[chunk] != entries[chunk - 1]) starts |= std::uint64_t{1} << chunk;
  }
  if (starts == 1 && !FibEntry::is_node(entries[0])) return entries[0];
  const std::uint32_t number = arena_.make(starts);
  const FibNode& node = arena_.at(number);
  unsigned at = 0;
  for (std::uint64_t left = starts; left != 0; left &= left - 1) {
    node.entries()[at++].store(entries[std::countr_zero(left)], std::memory_order_relaxed);
  }
  bytes_ += FibArena::units(at) * FibArena::kUnitBytes;
  return FibEntry::node(number);
}

template <class Key>
std::uint32_t Fib<Key>::compile(const Node* node, unsigned depth, std::uint32_t inherited) {
  if (node == nullptr) return inherited;
  std::uint32_t entries[64];
  for (unsigned chunk = 0; chunk < 64; ++chunk) {
    const std::uint32_t here = node->longest(chunk);
    const std::uint32_t value = here != 0 ? here : inherited;
    const Node* child = node->child_at(chunk);
    entries[chunk] = child == nullptr ? value : compile(child, depth + Tree::kStride, value);
  }
  return pack(entries);
}

template <class Key>
std::uint32_t Fib<Key>::refresh(std::uint32_t old, const Node* node, unsigned depth, std::uint32_t inherited, Key key,
                                unsigned length) {
  if (node == nullptr) {
    retire_below(old);
    return inherited;
  }
  if (!FibEntry::is_node(old)) return compile(node, depth, inherited);
  const FibNode& was = arena_.at(FibEntry::number(old));

  // The chunks that the route covers or, if it is longer, leads through.
  const unsigned last_bit = depth + Tree::kStride;
  const bool deeper = length > last_bit;
  const unsigned covered = length <= depth ? 64 : deeper ? 1 : 1U << (last_bit - length);
  const unsigned first = length <= depth ? 0 : Tree::chunk_at(key, depth) & ~(covered - 1);
  const auto value_at = [&](unsigned chunk) {
    const std::uint32_t here = node->longest(chunk);
    return here != 0 ? here : inherited;
  };

  // Only something below changed, and its entry is not shared: this node stays.
  const bool alone = ((was.starts >> first) & 1) != 0 && (first == 63 || ((was.starts >> (first + 1)) & 1) != 0);
  const Node* through = node->child_at(first);
  if (deeper && alone && through != nullptr) {
    std::atomic<std::uint32_t>& entry = was.entry(first);
    const std::uint32_t before = entry.load(std::memory_order_relaxed);
    const std::uint32_t now = refresh(before, through, last_bit, value_at(first), key, length);
    if (now != before) entry.store(now, std::memory_order_release);
    return old;
  }

  std::uint32_t entries[64];
  for (unsigned chunk = 0; chunk < 64; ++chunk) {
    const std::uint32_t before = was.entry(chunk).load(std::memory_order_relaxed);
    const bool touched = chunk - first < covered;
    const Node* child = node->child_at(chunk);
    if (!touched) {
      entries[chunk] = before;
    } else if (child != nullptr) {
      entries[chunk] = refresh(before, child, last_bit, value_at(chunk), key, length);
    } else {
      retire_below(before);
      entries[chunk] = value_at(chunk);
    }
  }
  bytes_ -= FibArena::units(was.count()) * FibArena::kUnitBytes;
  arena_.retire(FibEntry::number(old));
  return pack(entries);
}

template <class Key>
void Fib<Key>::retire_below(std::uint32_t entry) {
  if (!FibEntry::is_node(entry)) return;
  const FibNode& node = arena_.at(FibEntry::number(entry));
  for (unsigned i = 0; i < node.count(); ++i) retire_below(node.entries()[i].load(std::memory_order_relaxed));
  bytes_ -= FibArena::units(node.count()) * FibArena::kUnitBytes;
  arena_.retire(FibEntry::number(entry));
}

template class Fib<std::uint64_t>;
template class Fib<Uint128>;

}  // namespace simplon::forward
