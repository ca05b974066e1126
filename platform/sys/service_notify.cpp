// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/service_notify.h"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace simplon::sys {

void notify_ready(const std::string& status) {
  const std::string message = "READY=1\nSTATUS=" + status;
  static_cast<void>(::sd_notify(0, message.c_str()));
}

void notify_alive() { static_cast<void>(::sd_notify(0, "WATCHDOG=1")); }

void notify_stopping() { static_cast<void>(::sd_notify(0, "STOPPING=1")); }

std::optional<std::chrono::milliseconds> watchdog_interval() {
  std::uint64_t microseconds = 0;
  if (::sd_watchdog_enabled(0, &microseconds) <= 0) return std::nullopt;
  return std::chrono::milliseconds(microseconds / 2000);
}

bool runs_as_systemd_unit() {
  // systemd sets SYSTEMD_EXEC_PID to the pid of the process it made; children inherit the variable, not the pid.
  const char* pid = ::getenv("SYSTEMD_EXEC_PID");
  return pid != nullptr && std::to_string(::getpid()) == pid && ::sd_booted() > 0;
}

}  // namespace simplon::sys
