// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace simplon {

static_assert(std::endian::native == std::endian::little, "Be<T> assumes a little-endian host");

template <std::unsigned_integral T>
[[nodiscard]] constexpr T byteswap(T value) noexcept {
  if constexpr (sizeof(T) == 1) {
    return value;
  } else if constexpr (sizeof(T) == 2) {
    return __builtin_bswap16(value);
  } else if constexpr (sizeof(T) == 4) {
    return __builtin_bswap32(value);
  } else {
    return __builtin_bswap64(value);
  }
}

/// An unsigned integer as it stands on the wire (big endian), alignment 1; reads and writes in host order.
template <std::unsigned_integral T>
class Be {
 public:
  constexpr Be() noexcept = default;
  constexpr Be(T host) noexcept { *this = host; }  // NOLINT(google-explicit-constructor): a wire field is assigned

  constexpr Be& operator=(T host) noexcept {
    if (!std::is_constant_evaluated()) {  // one instruction, which GCC does not make of the loop at -O2
      const T swapped = byteswap(host);
      std::memcpy(bytes_, &swapped, sizeof(T));
      return *this;
    }
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bytes_[i] = static_cast<std::uint8_t>(host >> (8 * (sizeof(T) - 1 - i)));
    }
    return *this;
  }
  [[nodiscard]] constexpr T host() const noexcept {
    T value{};
    if (!std::is_constant_evaluated()) {
      std::memcpy(&value, bytes_, sizeof(T));
      return byteswap(value);
    }
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>((value << 8) | bytes_[i]);
    return value;
  }

  friend constexpr bool operator==(const Be&, const Be&) noexcept = default;

 private:
  std::uint8_t bytes_[sizeof(T)]{};
};

using Be16 = Be<std::uint16_t>;
using Be32 = Be<std::uint32_t>;
using Be64 = Be<std::uint64_t>;

static_assert(sizeof(Be16) == 2 && alignof(Be16) == 1);
static_assert(sizeof(Be32) == 4 && alignof(Be32) == 1);

}  // namespace simplon
