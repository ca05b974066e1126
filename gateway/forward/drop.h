// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace simplon::forward {

/// Why a packet was dropped. Everything about a reason is one line in drop.def.
enum class Drop : std::uint8_t {
#define SIMPLON_DROP(id, counter, reference, sentence) k##id,
#include "gateway/forward/drop.def"
#undef SIMPLON_DROP
};

struct DropInfo {
  /// snake_case; stable.
  std::string_view counter;
  /// "RFC 7348 section 5", or "none".
  std::string_view reference;
  /// For the operator.
  std::string_view sentence;
};

inline constexpr auto kDropInfo = std::to_array<DropInfo>({
#define SIMPLON_DROP(id, counter, reference, sentence) {counter, reference, sentence},
#include "gateway/forward/drop.def"
#undef SIMPLON_DROP
});

inline constexpr std::size_t kDropCount = kDropInfo.size();

[[nodiscard]] constexpr const DropInfo& info(Drop drop) noexcept { return kDropInfo[static_cast<std::size_t>(drop)]; }

}  // namespace simplon::forward
