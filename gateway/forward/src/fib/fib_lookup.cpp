// SPDX-License-Identifier: GPL-2.0-or-later
//
// The search through tiny, narrow, small and large tables (fib_forms.h), in three versions: for processors with AVX-512, with AVX2,
// and any. Which one is taken is decided when the program starts; all give the same results.
//
// Look-ups wait for memory, not for the processor: a table with a million routes costs a cache miss for the slot and
// one for each node. So a burst is looked up level by level, and what the next level needs is on its way meanwhile.
#include <atomic>

#include "gateway/forward/src/fib/fib_forms.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace simplon::forward {
namespace {

namespace portable {

#define SIMPLON_TARGET

/// How many of the first `Count` bounds are below the key.
template <unsigned Count>
unsigned bounds_below(const std::int32_t* bounds, std::uint64_t key) noexcept {
  const std::int32_t wanted = fib_signed(static_cast<std::uint32_t>(key >> 32));
  unsigned below = 0;
  for (unsigned i = 0; i < Count; ++i) below += bounds[i] < wanted ? 1U : 0U;
  return below;
}
template <unsigned Count>
unsigned bounds_below(const SmallFib<Uint128>::Bounds& bounds, Uint128 key) noexcept {
  const std::int64_t high = fib_signed(static_cast<std::uint64_t>(key >> 64));
  const std::int64_t low = fib_signed(static_cast<std::uint64_t>(key));
  unsigned below = 0;
  for (unsigned i = 0; i < Count; ++i) {
    below += bounds.high[i] < high || (bounds.high[i] == high && bounds.low[i] < low) ? 1U : 0U;
  }
  return below;
}

unsigned bounds_below(const NarrowFib::Leaf& leaf, std::uint32_t relative) noexcept {
  const auto high = static_cast<std::int16_t>((relative >> 8) ^ 0x8000);
  const auto low = static_cast<std::uint8_t>(relative);
  unsigned below = 0;
  for (unsigned i = 0; i < NarrowFib::kBounds; ++i) {
    below += leaf.high[i] < high || (leaf.high[i] == high && leaf.low[i] < low) ? 1U : 0U;
  }
  return below;
}

#include "gateway/forward/src/fib/fib_lookup.inc"

#undef SIMPLON_TARGET

}  // namespace portable

#if defined(__x86_64__)

namespace avx2 {

#define SIMPLON_TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))

template <unsigned Count>
SIMPLON_TARGET unsigned bounds_below(const std::int32_t* bounds, std::uint64_t key) noexcept {
  const __m256i wanted = _mm256_set1_epi32(fib_signed(static_cast<std::uint32_t>(key >> 32)));
  const auto* lanes = reinterpret_cast<const __m256i*>(bounds);
  const int first = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(wanted, _mm256_load_si256(lanes))));
  const int second = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(wanted, _mm256_load_si256(lanes + 1))));
  const auto all = static_cast<unsigned>(first | (second << 8));
  return static_cast<unsigned>(__builtin_popcount(all & ((1U << Count) - 1)));
}
template <unsigned Count>
SIMPLON_TARGET unsigned bounds_below(const SmallFib<Uint128>::Bounds& bounds, Uint128 key) noexcept {
  const __m256i high = _mm256_set1_epi64x(fib_signed(static_cast<std::uint64_t>(key >> 64)));
  const __m256i low = _mm256_set1_epi64x(fib_signed(static_cast<std::uint64_t>(key)));
  unsigned all = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const __m256i highs = _mm256_load_si256(reinterpret_cast<const __m256i*>(bounds.high) + i);
    const __m256i lows = _mm256_load_si256(reinterpret_cast<const __m256i*>(bounds.low) + i);
    const __m256i below =
        _mm256_or_si256(_mm256_cmpgt_epi64(high, highs),
                        _mm256_and_si256(_mm256_cmpeq_epi64(high, highs), _mm256_cmpgt_epi64(low, lows)));
    all |= static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(below))) << (4 * i);
  }
  return static_cast<unsigned>(__builtin_popcount(all & ((1U << Count) - 1)));
}

SIMPLON_TARGET unsigned bounds_below(const NarrowFib::Leaf& leaf, std::uint32_t relative) noexcept {
  const __m256i high = _mm256_set1_epi16(static_cast<std::int16_t>((relative >> 8) ^ 0x8000));
  const __m256i low = _mm256_set1_epi16(static_cast<std::int16_t>(relative & 0xff));
  const __m256i highs = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaf.high));
  const __m256i lows = _mm256_cvtepu8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(leaf.low)));
  const __m256i below =
      _mm256_or_si256(_mm256_cmpgt_epi16(high, highs), _mm256_and_si256(_mm256_cmpeq_epi16(high, highs), _mm256_cmpgt_epi16(low, lows)));
  return static_cast<unsigned>(__builtin_popcount(static_cast<unsigned>(_mm256_movemask_epi8(below)))) / 2;
}

#include "gateway/forward/src/fib/fib_lookup.inc"

#undef SIMPLON_TARGET

}  // namespace avx2

namespace avx512 {

#define SIMPLON_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx2,bmi,bmi2,lzcnt,popcnt")))

template <unsigned Count>
SIMPLON_TARGET unsigned bounds_below(const std::int32_t* bounds, std::uint64_t key) noexcept {
  const __m512i wanted = _mm512_set1_epi32(fib_signed(static_cast<std::uint32_t>(key >> 32)));
  const __mmask16 below = _mm512_cmplt_epi32_mask(_mm512_load_si512(bounds), wanted);
  return static_cast<unsigned>(__builtin_popcount(below & ((1U << Count) - 1)));
}
template <unsigned Count>
SIMPLON_TARGET unsigned bounds_below(const SmallFib<Uint128>::Bounds& bounds, Uint128 key) noexcept {
  const __m512i high = _mm512_set1_epi64(fib_signed(static_cast<std::uint64_t>(key >> 64)));
  const __m512i low = _mm512_set1_epi64(fib_signed(static_cast<std::uint64_t>(key)));
  unsigned all = 0;
  for (unsigned i = 0; i < 2; ++i) {
    const __m512i highs = _mm512_load_si512(bounds.high + 8 * i);
    const __mmask8 equal = _mm512_cmpeq_epi64_mask(highs, high);
    const __mmask8 below = _mm512_cmplt_epi64_mask(highs, high);
    const __mmask8 tied = _mm512_mask_cmplt_epi64_mask(equal, _mm512_load_si512(bounds.low + 8 * i), low);
    all |= (static_cast<unsigned>(below) | static_cast<unsigned>(tied)) << (8 * i);
  }
  return static_cast<unsigned>(__builtin_popcount(all & ((1U << Count) - 1)));
}

SIMPLON_TARGET unsigned bounds_below(const NarrowFib::Leaf& leaf, std::uint32_t relative) noexcept {
  const __m256i high = _mm256_set1_epi16(static_cast<std::int16_t>((relative >> 8) ^ 0x8000));
  const __m256i low = _mm256_set1_epi16(static_cast<std::int16_t>(relative & 0xff));
  const __m256i highs = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaf.high));
  const __m256i lows = _mm256_cvtepu8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(leaf.low)));
  const __mmask16 equal = _mm256_cmpeq_epi16_mask(highs, high);
  const __mmask16 below = _mm256_cmplt_epi16_mask(highs, high);
  const __mmask16 tied = _mm256_mask_cmplt_epi16_mask(equal, lows, low);
  return static_cast<unsigned>(__builtin_popcount(static_cast<unsigned>(below) | static_cast<unsigned>(tied)));
}

#include "gateway/forward/src/fib/fib_lookup.inc"

#undef SIMPLON_TARGET

}  // namespace avx512

#endif

template <class Key>
void look_up_with(FibInstructions instructions, FibQuery<Key>* queries, std::size_t count) noexcept {
#if defined(__x86_64__)
  if (instructions == FibInstructions::kAvx512) return avx512::look_up(queries, count);
  if (instructions == FibInstructions::kAvx2) return avx2::look_up(queries, count);
#endif
  portable::look_up(queries, count);
}

const FibInstructions kBest = fib_can(FibInstructions::kAvx512) ? FibInstructions::kAvx512
                              : fib_can(FibInstructions::kAvx2) ? FibInstructions::kAvx2
                                                                : FibInstructions::kPortable;

}  // namespace

bool fib_can(FibInstructions instructions) noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  switch (instructions) {
    case FibInstructions::kPortable:
      return true;
    case FibInstructions::kAvx2:
      return avx2;
    case FibInstructions::kAvx512:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl");
  }
#endif
  return instructions == FibInstructions::kPortable;
}

void fib_lookup(FibQuery<std::uint64_t>* queries, std::size_t count) noexcept { look_up_with(kBest, queries, count); }
void fib_lookup(FibQuery<Uint128>* queries, std::size_t count) noexcept { look_up_with(kBest, queries, count); }
void fib_lookup(FibInstructions instructions, FibQuery<std::uint64_t>* queries, std::size_t count) noexcept {
  look_up_with(instructions, queries, count);
}
void fib_lookup(FibInstructions instructions, FibQuery<Uint128>* queries, std::size_t count) noexcept {
  look_up_with(instructions, queries, count);
}

}  // namespace simplon::forward
