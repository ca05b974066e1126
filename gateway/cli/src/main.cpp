// SPDX-License-Identifier: GPL-2.0-or-later
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "gateway/cli/src/program.h"

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);  // `simplon route show | head` ends quietly
  simplon::cli::Terminal terminal;
  terminal.dumb = environment("TERM") == "dumb";
  terminal.color = ::isatty(STDOUT_FILENO) == 1 && environment("NO_COLOR").empty() && !terminal.dumb;
  terminal.interactive = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
  terminal.socket = environment("SIMPLON_SOCKET");
  return simplon::cli::run_program(argc, argv, {std::cin, std::cout, std::cerr}, terminal);
}
