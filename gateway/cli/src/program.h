// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <iosfwd>

namespace simplon::cli {

/// Exit codes of `simplon`.
enum Exit : int {
  kExitDone = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitUnreachable = 3,
  /// The question was answered, and the answer is that something works less well than configured. Not with --json,
  /// where the reply tells.
  kExitDegraded = 4,
};

/// The whole program: parses `argv`, asks simplond, prints. `color`: `out` is a terminal that wants it.
int run_program(int argc, const char* const* argv, std::ostream& out, std::ostream& err, bool color);

}  // namespace simplon::cli
