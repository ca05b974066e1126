// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace simplon {

/// "2026-01-31T12:00:00Z"
[[nodiscard]] std::string format_utc(std::chrono::system_clock::time_point time);
/// Nothing for another form, and for years that the clock does not reach (before 1678, after 2261).
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> parse_utc(const std::string& text);

}  // namespace simplon
