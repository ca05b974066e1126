// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "gateway/cli/src/commands.h"

namespace simplon::cli {

/// What the shells' completion scripts (gateway/cli/completion) ask: `words` is the command line behind the program's
/// name, the last one is being typed. The first line of the answer is "files" if file names fit too, or "words"; each
/// following line is a word that fits, a tab, and what it is. Never fails and waits at most a second: without simplond
/// there are no names.
[[nodiscard]] std::string complete(const Commands& commands, const std::vector<std::string>& words);

}  // namespace simplon::cli
