// SPDX-License-Identifier: GPL-2.0-or-later
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "gateway/cli/src/program.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);  // `simplon route show | head` ends quietly
  const char* no_color = std::getenv("NO_COLOR");
  const bool color = ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
  return simplon::cli::run_program(argc, argv, std::cout, std::cerr, color);
}
