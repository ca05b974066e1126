// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/service_notify.h"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace simplon::sys {
namespace {

/// Until it has read everything so far.
Result<void> wait_for_manager() {
  constexpr std::uint64_t kWithinMicroseconds = 1'000'000;
  if (const int passed = ::sd_notify_barrier(0, kWithinMicroseconds); passed < 0) {
    return fail_errno("the service manager does not answer", -passed);
  }
  return {};
}

}  // namespace

void notify_ready(const std::string& status) {
  const std::string message = "READY=1\nSTATUS=" + status;
  static_cast<void>(::sd_notify(0, message.c_str()));
}

void notify_alive() { static_cast<void>(::sd_notify(0, "WATCHDOG=1")); }

void notify_stopping() { static_cast<void>(::sd_notify(0, "STOPPING=1")); }

Result<void> notify_main_process(pid_t pid) {
  if (::sd_notify(0, ("MAINPID=" + std::to_string(pid)).c_str()) == 0) return {};
  return wait_for_manager();
}

bool has_service_manager() { return ::getenv("NOTIFY_SOCKET") != nullptr; }

Result<void> store_descriptor(const std::string& name, int descriptor) {
  // FDPOLL=0: the manager shall not drop it when poll(2) reports an event.
  const std::string message = "FDSTORE=1\nFDNAME=" + name + "\nFDPOLL=0";
  const int sent = ::sd_pid_notify_with_fds(0, 0, message.c_str(), &descriptor, 1);
  if (sent < 0) return fail_errno("cannot give a descriptor to the service manager", -sent);
  if (sent == 0) return fail(ErrorCode::kUnavailable, "there is no service manager to keep a descriptor");
  return wait_for_manager();
}

void forget_stored_descriptors(const std::string& name) {
  const std::string message = "FDSTOREREMOVE=1\nFDNAME=" + name;
  static_cast<void>(::sd_notify(0, message.c_str()));
}

std::vector<std::pair<std::string, UniqueFd>> take_passed_descriptors() {
  std::vector<std::pair<std::string, UniqueFd>> all;
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(1, &names);
  for (int i = 0; i < count; ++i) {
    all.emplace_back(names[i], UniqueFd(SD_LISTEN_FDS_START + i));
    std::free(names[i]);
  }
  std::free(names);
  return all;
}

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
