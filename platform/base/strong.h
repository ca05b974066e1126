// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstddef>
#include <functional>

namespace simplon {

/// An integer that does not mix with other integers: `using Vni = Strong<std::uint32_t, struct VniTag>;`
template <class T, class Tag>
class Strong {
 public:
  using Value = T;

  constexpr Strong() noexcept = default;
  constexpr explicit Strong(T value) noexcept : value_(value) {}

  [[nodiscard]] constexpr T value() const noexcept { return value_; }

  friend constexpr auto operator<=>(Strong, Strong) noexcept = default;

 private:
  T value_{};
};

}  // namespace simplon

template <class T, class Tag>
struct std::hash<simplon::Strong<T, Tag>> {
  std::size_t operator()(simplon::Strong<T, Tag> strong) const noexcept { return std::hash<T>{}(strong.value()); }
};
