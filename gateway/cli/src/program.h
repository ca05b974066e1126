// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <iosfwd>
#include <string>

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

struct Streams {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
};

/// What surrounds the program.
struct Terminal {
  /// `out` is a terminal that wants color.
  bool color = false;
  /// Somebody sits at `in` and `err`: may be asked, and told what takes time.
  bool interactive = false;
  /// `err` cannot erase a line: no progress there.
  bool dumb = false;
  /// Of simplond; empty: where it usually is.
  std::string socket;
};

/// The whole program: parses `argv`, asks simplond, prints. Output that cannot be written is kExitFailed.
int run_program(int argc, const char* const* argv, const Streams& streams, const Terminal& terminal);

}  // namespace simplon::cli
