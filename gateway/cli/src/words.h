// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"

// Words that all pages share.

namespace simplon::cli {

/// Of what stands below the verdict.
inline constexpr std::size_t kIndent = 2;

enum class Mood : std::uint8_t { kGood, kBad, kNeutral };

/// On a terminal: bold, green or red.
[[nodiscard]] std::string colored(const std::string& word, Mood mood, Style style);
/// The first line of a page, made of parts; what does not fit goes to the next one.
[[nodiscard]] std::string headline(const std::vector<std::string>& parts, Style style);
/// "generation 412 (current)", or that the forwarder is away.
[[nodiscard]] std::string programmed_words(const nlohmann::json& programmed);
/// Indented problem and hint; empty if there is no problem.
[[nodiscard]] std::string problem_lines(const std::string& about, const std::string& problem, const std::string& hint,
                                        Style style);
[[nodiscard]] std::string or_dash(std::string text);
[[nodiscard]] std::string number_or_dash(const nlohmann::json& object, const char* key);
[[nodiscard]] std::string up_or_down(bool up);
[[nodiscard]] std::string upper(std::string word);

/// Of a tunnel or a circuit, as observed.
[[nodiscard]] bool is_up(const nlohmann::json& attachment);
[[nodiscard]] bool is_off(const nlohmann::json& attachment);
/// A counter of what the forwarder has; a dash if it has it not.
[[nodiscard]] std::string counter(const nlohmann::json& programmed, const char* key);
/// "1,234 packets, 1.2 MiB"
[[nodiscard]] std::string traffic(const nlohmann::json& object, const char* packets, const char* bytes);
/// What every attachment has: MTU, host port, traffic.
void add_programmed(Table& table, const nlohmann::json& config, const nlohmann::json& programmed);

}  // namespace simplon::cli
