// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <iosfwd>
#include <optional>
#include <string>

namespace simplon::cli {

/// A line from standard input that is not shown; nothing if that is no terminal, or at its end. A signal that ends the
/// program meanwhile leaves a terminal that shows what is typed. Threads: one at a time.
[[nodiscard]] std::optional<std::string> ask_silently(std::ostream& err, const std::string& question);

}  // namespace simplon::cli
