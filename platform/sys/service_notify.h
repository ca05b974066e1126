// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

// What a daemon tells the service manager that started it (sd_notify). Without one every function does nothing.
// None blocks but `store_descriptor`; any thread.

namespace simplon::sys {

/// Serves its sockets from now on; `status` is a line for `systemctl status`.
void notify_ready(const std::string& status);
/// Alive: send one at least every `watchdog_interval`.
void notify_alive();
/// Ends on purpose.
void notify_stopping();

/// `pid` is the process of the service from now on; said by a process that the manager started for it. Returns when the manager knows, after
/// one second at most. Errors: kUnavailable.
[[nodiscard]] Result<void> notify_main_process(pid_t pid);

/// There is a service manager to notify.
[[nodiscard]] bool has_service_manager();
/// Puts a copy of `descriptor` into the service manager's descriptor store (FileDescriptorStoreMax=), which gives it to the next
/// process of this service. Blocks until the manager has handled it, one second at most. A manager without room for it says
/// nothing. Errors: kUnavailable.
[[nodiscard]] Result<void> store_descriptor(const std::string& name, int descriptor);
/// Takes all of that name out of the store again: what was passed on also stays in it.
void forget_stored_descriptors(const std::string& name);
/// What the service manager passed to this process, with names; nothing the second time.
[[nodiscard]] std::vector<std::pair<std::string, UniqueFd>> take_passed_descriptors();

/// Half of what the service manager allows between two signs of life; unset when it does not watch.
[[nodiscard]] std::optional<std::chrono::milliseconds> watchdog_interval();

/// This process is the main process of a unit of the running systemd (not merely somewhere below one).
[[nodiscard]] bool runs_as_systemd_unit();

}  // namespace simplon::sys
