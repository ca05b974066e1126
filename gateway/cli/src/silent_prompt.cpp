// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/silent_prompt.h"

#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <iostream>

namespace simplon::cli {
namespace {

constexpr std::array<int, 4> kEnding = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/// Of the terminal before, for the handler.
termios shown{};

/// tcsetattr and raise are async-signal-safe (signal-safety(7)). SA_RESETHAND: the second signal ends the program.
/// Waits for no output, as TCSAFLUSH would: it may be stopped.
void show_and_end(int signal) {
  static_cast<void>(::tcsetattr(STDIN_FILENO, TCSANOW, &shown));
  static_cast<void>(::raise(signal));
}

/// The terminal does not echo during its life.
class Silence {
 public:
  Silence() {
    struct sigaction action {};
    action.sa_handler = show_and_end;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (std::size_t i = 0; i < kEnding.size(); ++i) {
      ::sigaction(kEnding[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(kEnding[i], &action, nullptr);
    }
    termios silent = shown;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    static_cast<void>(::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent));
  }
  ~Silence() {
    static_cast<void>(::tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown));
    for (std::size_t i = 0; i < kEnding.size(); ++i) ::sigaction(kEnding[i], &before_[i], nullptr);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  std::array<struct sigaction, kEnding.size()> before_{};
};

}  // namespace

std::optional<std::string> ask_silently(std::ostream& err, const std::string& question) {
  if (::isatty(STDIN_FILENO) != 1 || ::tcgetattr(STDIN_FILENO, &shown) != 0) return std::nullopt;
  err << question << std::flush;
  std::string line;
  bool got = false;
  {
    const Silence silence;
    got = static_cast<bool>(std::getline(std::cin, line));
  }
  err << "\n";
  if (!got) return std::nullopt;
  return line;
}

}  // namespace simplon::cli
