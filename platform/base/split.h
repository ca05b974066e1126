// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

namespace simplon {

/// The words of `text` between white space.
[[nodiscard]] std::vector<std::string> split_words(const std::string& text);

}  // namespace simplon
