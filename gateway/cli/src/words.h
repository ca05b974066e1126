// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "gateway/cli/src/render.h"

// Words that all pages share.

namespace simplon::cli {

enum class Mood : std::uint8_t { kGood, kBad, kNeutral };

/// On a terminal: bold, green or red.
[[nodiscard]] std::string colored(const std::string& word, Mood mood, Style style);
/// "generation 412 (current)", or that the forwarder is away.
[[nodiscard]] std::string programmed_words(const nlohmann::json& programmed);
/// Indented problem and hint; empty if there is no problem.
[[nodiscard]] std::string problem_lines(const std::string& about, const std::string& problem, const std::string& hint,
                                        Style style);
[[nodiscard]] std::string or_dash(std::string text);
/// "1,234 packets, 1.2 MiB"
[[nodiscard]] std::string traffic(const nlohmann::json& object, const char* packets, const char* bytes);

}  // namespace simplon::cli
