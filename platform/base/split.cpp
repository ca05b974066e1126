// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/base/split.h"

#include <sstream>

namespace simplon {

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

}  // namespace simplon
