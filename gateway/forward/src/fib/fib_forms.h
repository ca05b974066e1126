// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "gateway/forward/src/fib/fib_arena.h"
#include "gateway/forward/src/fib/route_tree.h"

// What readers search. A table has one of four forms:
//
// Tiny    (IPv4) like a small one, but with at most eight intervals, and so in one cache line: bounds, values.
//
// Narrow  (IPv4) like a small one, for few values and leaves that span less than a /8 each, as those of a VPC do: separators and
//         palette share a cache line, a leaf has 17 intervals, their bounds in 24 bits.
//
//         | separators, palette | leaf 0 | leaf 1 | ...
//
// Small   at most kMostSmallRoutes routes, as the sorted list of intervals they cut the address space into, equal
//         neighbors merged. A tree of two levels: up to 16 separators choose one of 17 leaves, up to 12 (IPv6: 15)
//         bounds choose the interval in it. Each level is one vector comparison. One block, never changed: an update
//         makes another one.
//
//         | separators | palette: the distinct values | leaf 0 | leaf 1 | ...
//         leaf: bounds, indices into the palette
//
// Large   an array indexed by the first 0, 12 or 18 bits (by size), and below it nodes of six bits each (FibNode). A slot
//         of the array has the longest route of at most so many bits beside the entry for the longer ones, so that a
//         change of a short prefix touches slots only. Values are pushed down into nodes, never further up: a lookup
//         ends at the first value. Compared with a Poptrie (Asai and Ohara, "Poptrie", SIGCOMM 2015) the values and
//         links of a node lie behind it in one array: one cache line a level in place of two, and a node can be
//         replaced alone.
//
// A word names a table's form: the address, with the form in its lowest bit and, for a small one, the length of the
// palette; a tiny one has none, and a narrow one a length that no palette has.

namespace simplon::forward {

/// 2 n + 1 intervals at most, 17 leaves of 13.
inline constexpr std::size_t kMostSmallRoutes = 110;

/// Bounds are the address before an interval begins, so that "below the key" counts the intervals begun; with the sign
/// bit turned over, since vector instructions compare signed numbers. What is unused is the largest number: never
/// below.
[[nodiscard]] constexpr std::int32_t fib_signed(std::uint32_t word) noexcept {
  return static_cast<std::int32_t>(word ^ (std::uint32_t{1} << 31));
}
[[nodiscard]] constexpr std::int64_t fib_signed(std::uint64_t word) noexcept {
  return static_cast<std::int64_t>(word ^ (std::uint64_t{1} << 63));
}

template <class Key>
struct SmallFib;

template <>
struct SmallFib<std::uint64_t> {
  static constexpr unsigned kSeparators = 16;
  static constexpr unsigned kBounds = 12;
  struct alignas(64) Head {
    std::int32_t separators[16];
  };
  struct alignas(64) Leaf {
    std::int32_t bounds[kBounds];
    std::uint8_t values[kBounds + 1];
  };
  static void set_bound(std::int32_t* bounds, unsigned i, std::uint64_t start) noexcept {
    bounds[i] = fib_signed(static_cast<std::uint32_t>((start >> 32) - 1));
  }
};

template <>
struct SmallFib<Uint128> {
  static constexpr unsigned kSeparators = 16;
  static constexpr unsigned kBounds = 15;
  /// High halves, then low halves.
  struct Bounds {
    std::int64_t high[16];
    std::int64_t low[16];
  };
  struct alignas(64) Head {
    Bounds separators;
  };
  struct alignas(64) Leaf {
    Bounds bounds;  ///< The last is unused.
    std::uint8_t values[kBounds + 1];
  };
  static void set_bound(Bounds& bounds, unsigned i, Uint128 start) noexcept {
    const Uint128 before = start - 1;
    bounds.high[i] = fib_signed(static_cast<std::uint64_t>(before >> 64));
    bounds.low[i] = fib_signed(static_cast<std::uint64_t>(before));
  }
};

inline constexpr unsigned kPaletteLine = 16;
struct alignas(64) FibPalette {
  std::uint32_t values[kPaletteLine];
};

/// A tiny table.
struct alignas(64) TinyFib {
  static constexpr unsigned kBounds = 7;
  std::int32_t bounds[kBounds];
  std::uint32_t values[kBounds + 1];
};
static_assert(sizeof(TinyFib) == 64);

/// A narrow table: this, and leaves behind it.
struct alignas(64) NarrowFib {
  static constexpr unsigned kSeparators = 11;
  static constexpr unsigned kValues = 5;
  static constexpr unsigned kBounds = 16;
  static constexpr std::size_t kMostIntervals = (kSeparators + 1) * std::size_t{kBounds + 1};
  /// Of a bound, relative to the leaf's base. The largest is unused: never below.
  static constexpr std::uint32_t kMostRelative = 0xffffff;

  struct alignas(64) Leaf {
    /// Bits 8 to 23 of the bounds, with the sign bit turned over, and bits 0 to 7.
    std::int16_t high[kBounds];
    std::uint8_t low[kBounds];
    /// The first bound.
    std::uint32_t base;
    /// Indices into the palette, four bits each.
    std::uint8_t values[(kBounds + 2) / 2];

    [[nodiscard]] unsigned value(unsigned interval) const noexcept { return (values[interval / 2] >> (interval % 2 * 4)) & 15U; }
    void set_bound(unsigned i, std::uint32_t relative) noexcept {
      high[i] = static_cast<std::int16_t>((relative >> 8) ^ 0x8000);
      low[i] = static_cast<std::uint8_t>(relative);
    }
    /// What to compare bounds with.
    [[nodiscard]] std::uint32_t relative(std::uint32_t address) const noexcept {
      const std::uint32_t above = address > base ? address - base : 0;
      return above < kMostRelative ? above : kMostRelative;
    }
  };

  std::int32_t separators[kSeparators];
  std::uint32_t palette[kValues];

  [[nodiscard]] const Leaf* leaves() const noexcept { return reinterpret_cast<const Leaf*>(this + 1); }
};
static_assert(sizeof(NarrowFib) == 64 && sizeof(NarrowFib::Leaf) == 64);

struct alignas(64) LargeFib {
  struct Slot {
    /// For routes longer than `bits`; 0: none.
    std::atomic<std::uint32_t> entry;
    /// Of the longest route of 1 to `bits` bits; 0: none.
    std::atomic<std::uint32_t> cover;
  };
  Slot* slots;
  const std::uint8_t* nodes;
  unsigned bits;
  /// Of the route of length 0.
  std::atomic<std::uint32_t> fallback;
};

/// See above.
class FibWord {
 public:
  [[nodiscard]] static std::uintptr_t of(const LargeFib* form) noexcept {
    return reinterpret_cast<std::uintptr_t>(form) | 1;
  }
  [[nodiscard]] static std::uintptr_t small(const void* block, std::size_t palette_lines) noexcept {
    return reinterpret_cast<std::uintptr_t>(block) | (palette_lines << 1);
  }
  [[nodiscard]] static std::uintptr_t of(const TinyFib* form) noexcept { return reinterpret_cast<std::uintptr_t>(form); }
  [[nodiscard]] static std::uintptr_t of(const NarrowFib* form) noexcept { return reinterpret_cast<std::uintptr_t>(form) | kNarrow; }
  [[nodiscard]] static bool is_narrow(std::uintptr_t word) noexcept { return (word & 63) == kNarrow; }
  [[nodiscard]] static bool is_tiny(std::uintptr_t word) noexcept { return (word & 63) == 0; }
  [[nodiscard]] static bool is_large(std::uintptr_t word) noexcept { return (word & 1) != 0; }
  [[nodiscard]] static std::size_t palette_lines(std::uintptr_t word) noexcept { return (word & 63) >> 1; }
  [[nodiscard]] static const LargeFib& large(std::uintptr_t word) noexcept {
    return *reinterpret_cast<const LargeFib*>(word & ~std::uintptr_t{63});
  }
  [[nodiscard]] static const void* block(std::uintptr_t word) noexcept {
    return reinterpret_cast<const void*>(word & ~std::uintptr_t{63});
  }

 private:
  static constexpr std::uintptr_t kNarrow = 62;
};

/// One look-up of many: `form` and `key` in, `found` out.
template <class Key>
struct FibQuery {
  std::uintptr_t form;
  Key key;
  std::uint32_t found;
};

enum class FibInstructions : std::uint8_t { kPortable, kAvx2, kAvx512 };
/// What this processor has.
[[nodiscard]] bool fib_can(FibInstructions instructions) noexcept;

/// All at once: each level of all tables is fetched before any is used.
void fib_lookup(FibQuery<std::uint64_t>* queries, std::size_t count) noexcept;
void fib_lookup(FibQuery<Uint128>* queries, std::size_t count) noexcept;
/// With the given instructions, which the processor must have.
void fib_lookup(FibInstructions instructions, FibQuery<std::uint64_t>* queries, std::size_t count) noexcept;
void fib_lookup(FibInstructions instructions, FibQuery<Uint128>* queries, std::size_t count) noexcept;

}  // namespace simplon::forward
