// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "bgp/src/frr_config.h"
#include "platform/base/result.h"
#include "platform/sys/process.h"

namespace simplon::bgp {

enum class FrrDaemon : std::uint8_t { kZebra, kBgpd, kBfdd };

/// In the order they start; they stop in the other order, so that bgpd withdraws while zebra still listens.
inline constexpr std::array<FrrDaemon, 3> kFrrDaemons = {FrrDaemon::kZebra, FrrDaemon::kBfdd, FrrDaemon::kBgpd};

[[nodiscard]] const char* to_string(FrrDaemon daemon) noexcept;

/// Whether a Unix socket listens at `path`, by the text of /proc/net/unix.
[[nodiscard]] bool listens_at(std::string_view sockets, std::string_view path);

/// Processes and files of one FRR instance (`-N PATHSPACE`). Everything here returns within milliseconds.
///
/// Files: /run/simplon-frr/PATHSPACE.{zebra,bgpd,bfdd}.conf (0640, ours and of group frr: what a daemon reads when it
/// starts, also without us), /var/run/frr/PATHSPACE/ (FRR's: sockets, pid files, bgpd.log). Nothing below /etc/frr.
/// The daemon DAEMON is service simplon-DAEMON@PATHSPACE of the supervisor.
class FrrProcesses {
 public:
  /// `pathspace` has passed check_spec. Without `supervisor` the daemons are processes of ours, with files in supervisor/
  /// below the run directory.
  FrrProcesses(std::string pathspace, std::shared_ptr<sys::ServiceSupervisor> supervisor);

  /// Errors: kUnavailable with the apt-get line if FRR is not installed.
  [[nodiscard]] Result<void> check_installed() const;
  /// Directories and configuration files. Errors: kUnavailable.
  [[nodiscard]] Result<void> store(const FrrConfig& config) const;
  /// Starts the daemon with its stored configuration, if it does not run. Follow `vty_path` for it being ready.
  [[nodiscard]] Result<void> start(FrrDaemon daemon);
  /// Asks it to end; `kill` (after a while) ends it, which systemd does by itself for its units. A unit is stopped also while no
  /// process of it runs: it may be about to be restarted.
  [[nodiscard]] Result<void> request_stop(FrrDaemon daemon, bool kill = false);
  /// The process that holds the daemon's pid file, whoever started it.
  [[nodiscard]] std::optional<sys::ProcessId> running(FrrDaemon daemon) const;
  /// The daemon, which must answer on its vty socket, runs in a namespace that had the name before: that was deleted and made again
  /// without it. Needs no right over its process. False if the kernel does not tell us what listens in the namespace.
  [[nodiscard]] bool is_left_behind(FrrDaemon daemon) const;
  /// Only when nothing runs any more.
  [[nodiscard]] Result<void> remove_files() const;

  [[nodiscard]] std::string vty_path(FrrDaemon daemon) const;
  /// Where the daemon's own words are, for hints.
  [[nodiscard]] std::string output_of(FrrDaemon daemon) const;

 private:
  [[nodiscard]] std::string service_name(FrrDaemon daemon) const;

  std::string pathspace_;
  std::string config_prefix_;
  std::string run_directory_;
  /// The supervisor is systemd.
  bool units_;
  std::shared_ptr<sys::ServiceSupervisor> supervisor_;
};

}  // namespace simplon::bgp
