// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "platform/base/result.h"

namespace simplon {

/// An Ethernet address, in transmission order.
struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};

  /// "02:00:00:00:00:01". Errors: kInvalidConfig.
  [[nodiscard]] static Result<MacAddress> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return (bytes[0] & 1) != 0; }
  [[nodiscard]] bool is_zero() const noexcept { return *this == MacAddress{}; }

  friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) noexcept = default;
  /// Two loads instead of a call, which is what GCC makes of comparing the arrays.
  friend bool operator==(const MacAddress& a, const MacAddress& b) noexcept {
    return __builtin_memcmp(a.bytes.data(), b.bytes.data(), sizeof a.bytes) == 0;
  }
};

}  // namespace simplon
