// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/result.h"

namespace simplon::sys {

/// A process for certain: a pid alone may have been reused.
struct ProcessId {
  pid_t pid = 0;
  /// Clock ticks since boot at its start, field 22 of /proc/PID/stat.
  std::uint64_t start_ticks = 0;
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

/// A program that outlives us, as a service manager would run it.
struct ServiceSpec {
  /// Unique among the services of one supervisor; names its files, or its systemd unit. Letters, digits, '-', '_', '.', '@'.
  std::string name;
  /// Network namespace it runs in; ours if unset. The mount namespace is ours.
  std::optional<std::string> netns;
  /// argv[0] is an absolute path. The program must stay in the foreground (no -d).
  std::vector<std::string> argv;
  /// Added to our own environment: "NAME=value".
  std::vector<std::string> environment;
};

/// Starts `spec` detached: own session, reparented to init, no descriptor of ours, signals reset, stdin /dev/null, stdout and
/// stderr appended to `log_file`. Returns when exec(2) succeeded. Errors: kUnavailable naming program, step and errno.
[[nodiscard]] Result<ProcessId> spawn_detached(const ServiceSpec& spec, const std::string& log_file);

[[nodiscard]] bool process_alive(const ProcessId& process);
/// The process that has this pid now. Errors: kUnavailable if there is none.
[[nodiscard]] Result<ProcessId> identify_process(pid_t pid);
/// Only sends `signal`; does not wait. Success if the process is already gone.
[[nodiscard]] Result<void> signal_process(const ProcessId& process, int signal);

/// A pid file holds "PID START_TICKS\n". Reading one that does not exist gives nullopt.
[[nodiscard]] Result<void> write_pid_file(const std::string& path, const ProcessId& process);
[[nodiscard]] Result<std::optional<ProcessId>> read_pid_file(const std::string& path);

/// Runs services that outlive this process. On hosts with systemd they are template units; without it (labs, containers)
/// they are detached processes with pid files, found again after a restart. Threads: one. Nothing here blocks for longer
/// than a round trip to the service manager (some milliseconds, at most 2 s).
class ServiceSupervisor {
 public:
  virtual ~ServiceSupervisor() = default;
  /// Idempotent: a service that runs is left alone, even if `spec` changed since.
  [[nodiscard]] virtual Result<void> start(const ServiceSpec& spec) = 0;
  [[nodiscard]] virtual Result<bool> running(const std::string& name) = 0;
  /// Asks it to end (SIGTERM) and returns at once; follow `running`. Idempotent.
  [[nodiscard]] virtual Result<void> request_stop(const std::string& name) = 0;
  /// Where to read what the service printed: a file, or a command. For hints.
  [[nodiscard]] virtual std::string output_of(const std::string& name) const = 0;
};

/// Detached processes; NAME.pid and NAME.log in `directory`, which is created (0750).
[[nodiscard]] std::unique_ptr<ServiceSupervisor> make_process_supervisor(std::string directory);

/// Units of systemd: service NAME is NAME.service, which must be installed; the rest of its ServiceSpec is in the unit.
/// `start` succeeds when the job is queued. What does not end when it is asked to, systemd kills (TimeoutStopSec= of the
/// unit). Needs the system bus, and root or polkit's permission (packaging/polkit).
[[nodiscard]] std::unique_ptr<ServiceSupervisor> make_systemd_supervisor();

}  // namespace simplon::sys
