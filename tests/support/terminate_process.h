// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <signal.h>

#include <chrono>
#include <thread>
#include <utility>

#include "platform/sys/process.h"

namespace simplon::test {

/// SIGTERM, then SIGKILL after `grace`. Returns when it is gone; false if it survives that by a second. Idempotent.
[[nodiscard]] inline bool terminate_process(const sys::ProcessId& process, std::chrono::milliseconds grace) {
  using Steady = std::chrono::steady_clock;
  for (const auto& [signal, wait] : {std::pair{SIGTERM, grace}, std::pair{SIGKILL, std::chrono::milliseconds(1000)}}) {
    if (!sys::signal_process(process, signal)) return false;
    const auto deadline = Steady::now() + wait;
    while (sys::process_alive(process) && Steady::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (!sys::process_alive(process)) return true;
  }
  return false;
}

}  // namespace simplon::test
