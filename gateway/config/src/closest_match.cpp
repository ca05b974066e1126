// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <utility>

#include "gateway/config/validate.h"

namespace simplon::config {

std::string closest_match(std::string_view word, const std::vector<std::string>& candidates) {
  // Optimal string alignment distance: a swapped pair is one mistake. A third of the letters may be wrong.
  if (word.size() > 40) return {};
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    if (candidate.size() > 40 || candidate == word) continue;
    const std::size_t columns = candidate.size() + 1;
    std::vector<std::size_t> before(columns), above(columns), row(columns);
    for (std::size_t j = 0; j < columns; ++j) above[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      row[0] = i;
      for (std::size_t j = 1; j < columns; ++j) {
        const std::size_t substitution = above[j - 1] + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        row[j] = std::min({above[j] + 1, row[j - 1] + 1, substitution});
        if (i > 1 && j > 1 && word[i - 1] == candidate[j - 2] && word[i - 2] == candidate[j - 1])
          row[j] = std::min(row[j], before[j - 2] + 1);
      }
      before.swap(above);
      above.swap(row);
    }
    if (above.back() < best_distance) {
      best_distance = above.back();
      best = candidate;
    }
  }
  // "psk" for "psk-file": the beginning of exactly one candidate.
  if (best.empty() && word.size() >= 3) {
    for (const auto& candidate : candidates) {
      if (!candidate.starts_with(word) && !word.starts_with(candidate)) continue;
      if (!best.empty()) return {};
      best = candidate;
    }
  }
  return best;
}

std::string suggest(const std::string& name, const std::vector<std::string>& known) {
  constexpr std::size_t kMostListed = 8;
  if (const std::string guess = closest_match(name, known); !guess.empty()) return "did you mean '" + guess + "'?";
  if (known.empty()) return "there is none at all";
  std::string hint;
  for (std::size_t i = 0; i < known.size() && i < kMostListed; ++i) hint += (i == 0 ? "there is " : ", ") + known[i];
  if (known.size() > kMostListed) hint += ", ...";
  return hint;
}

Unexpected no_such(const std::string& kind, const std::string& name, const std::vector<std::string>& known) {
  return fail(ErrorCode::kInvalidConfig, "there is no " + kind + " '" + name + "'", suggest(name, known));
}

}  // namespace simplon::config
