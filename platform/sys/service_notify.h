// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <optional>
#include <string>

// What a daemon tells the service manager that started it (sd_notify). Without one every function does nothing.
// None blocks; any thread.

namespace simplon::sys {

/// Serves its sockets from now on; `status` is a line for `systemctl status`.
void notify_ready(const std::string& status);
/// Alive: send one at least every `watchdog_interval`.
void notify_alive();
/// Ends on purpose.
void notify_stopping();

/// Half of what the service manager allows between two signs of life; unset when it does not watch.
[[nodiscard]] std::optional<std::chrono::milliseconds> watchdog_interval();

/// This process is the main process of a unit of the running systemd (not merely somewhere below one).
[[nodiscard]] bool runs_as_systemd_unit();

}  // namespace simplon::sys
