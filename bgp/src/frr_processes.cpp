// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/frr_processes.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "platform/sys/file.h"
#include "platform/sys/netns.h"
#include "platform/sys/unique_fd.h"

// A daemon of FRR holds a POSIX lock on its pid file as long as it lives, so the kernel says who runs (F_GETLK), for
// certain and no matter who started it. That is how an instance is found again after a restart of simplond.
//
// Configuration: one file per daemon, named with -f. FRR reads its integrated configuration only through vtysh, and skips
// the default per-daemon files when /etc/frr/frr.conf exists, even for another pathspace. The files are not below /etc/frr:
// that is writable for root and FRR only. Nobody needs them after a reboot, which ends the daemons too.

namespace simplon::bgp {
namespace {

constexpr const char* kProgramDirectory = "/usr/lib/frr/";
constexpr const char* kConfigRoot = "/run/simplon-frr";
constexpr const char* kUser = "frr";
constexpr const char* kGroup = "frr";
constexpr mode_t kFileMode = 0640;
constexpr std::size_t kMaxSocketList = 1 << 20;

// A killed zebra leaves its routes in the kernel. The next one reads them, and its sweep (FRR 8.4.4, rib_sweep_table) runs
// on a timer that races with the queue they wait in: what it misses is a route for ever. So they are not there to be read.
constexpr std::array kWithoutOldRoutes = {
    "/bin/sh", "-c", R"(ip -4 route flush proto bgp; ip -6 route flush proto bgp; exec "$0" "$@")"};

Result<gid_t> frr_group() {
  const group* found = ::getgrnam(kGroup);
  if (found == nullptr) {
    return fail(ErrorCode::kUnavailable, "FRR is not installed: there is no group 'frr'", "apt-get install frr");
  }
  return found->gr_gid;
}

/// Files in it belong to FRR's group by its setgid bit and are closed to others: none is ever given away, which needs root.
/// Nor is there a folder in it: our umask would close it to the group, and to open it again would end the setgid bit.
Result<void> prepare_config_root() {
  const auto wanted = frr_group();
  if (!wanted) return Unexpected(wanted.error());
  if (auto made = sys::make_directories(kConfigRoot, 0750); !made) return made;
  struct stat info {};
  if (::lstat(kConfigRoot, &info) != 0) return fail_errno(std::string("cannot inspect ") + kConfigRoot, errno);
  if (info.st_gid == *wanted && (info.st_mode & S_ISGID) != 0) return {};
  if (::lchown(kConfigRoot, static_cast<uid_t>(-1), *wanted) != 0 || ::chmod(kConfigRoot, 02750) != 0) {
    return fail_errno(std::string("cannot give ") + kConfigRoot + " to group frr", errno,
                      "systemd-tmpfiles --create simplon.conf");
  }
  return {};
}

/// FRR makes it by itself where it may: below the /run/frr that its package's units have.
Result<void> give_run_directory(const std::string& path) {
  const passwd* user = ::getpwnam(kUser);
  if (user == nullptr) {
    return fail(ErrorCode::kUnavailable, "FRR is not installed: there is no user 'frr'", "apt-get install frr");
  }
  if (auto made = sys::make_directories(path, 0755); !made) return made;
  if (::lchown(path.c_str(), user->pw_uid, user->pw_gid) != 0) return fail_errno("chown " + path, errno);
  return {};
}

Result<void> store_file(const std::string& path, const std::string& content) {
  const auto present = sys::read_file(path, content.size());
  if (present && *present == content) return {};
  return sys::write_file_atomically(path, content, kFileMode);
}

}  // namespace

const char* to_string(FrrDaemon daemon) noexcept {
  switch (daemon) {
    case FrrDaemon::kZebra:
      return "zebra";
    case FrrDaemon::kBgpd:
      return "bgpd";
    case FrrDaemon::kBfdd:
      return "bfdd";
  }
  return "";
}

bool listens_at(std::string_view sockets, std::string_view path) {
  // "Num RefCount Protocol Flags Type St Inode Path"; connections that a listener accepted have its path, but not the flag.
  constexpr std::string_view kListens = " 00010000 ";
  while (!sockets.empty()) {
    const auto end = std::min(sockets.find('\n'), sockets.size());
    const auto line = sockets.substr(0, end);
    sockets.remove_prefix(std::min(end + 1, sockets.size()));
    const auto space = line.rfind(' ');
    if (space == std::string_view::npos || line.substr(space + 1) != path) continue;
    if (line.find(kListens) != std::string_view::npos) return true;
  }
  return false;
}

FrrProcesses::FrrProcesses(std::string pathspace, std::shared_ptr<sys::ServiceSupervisor> supervisor)
    : pathspace_(std::move(pathspace)),
      config_prefix_(std::string(kConfigRoot) + "/" + pathspace_ + "."),
      run_directory_("/var/run/frr/" + pathspace_),
      units_(supervisor != nullptr),
      supervisor_(supervisor ? std::move(supervisor) : sys::make_process_supervisor(run_directory_ + "/supervisor")) {}

Result<void> FrrProcesses::check_installed() const {
  for (const auto daemon : kFrrDaemons) {
    const std::string program = std::string(kProgramDirectory) + to_string(daemon);
    if (::access(program.c_str(), X_OK) != 0) {
      return fail(ErrorCode::kUnavailable, "FRR is not installed: no " + program, "apt-get install frr");
    }
  }
  if (auto group = frr_group(); !group) return Unexpected(std::move(group).error());
  return {};
}

Result<void> FrrProcesses::store(const FrrConfig& config) const {
  if (auto ready = prepare_config_root(); !ready) return ready;
  if (!units_) {
    if (auto made = give_run_directory(run_directory_); !made) return made;
  }
  const std::pair<const char*, const std::string&> files[] = {
      {"zebra.conf", config.zebra}, {"bgpd.conf", config.bgpd}, {"bfdd.conf", config.bfdd}};
  for (const auto& [name, content] : files) {
    if (auto stored = store_file(config_prefix_ + name, content); !stored) return stored;
  }
  return {};
}

Result<void> FrrProcesses::start(FrrDaemon daemon) {
  if (running(daemon)) return {};
  // The same program and arguments as in packaging/systemd/simplon-{zebra,bgpd,bfdd}@.service.
  const std::string name = to_string(daemon);
  sys::ServiceSpec spec;
  spec.name = service_name(daemon);
  spec.netns = pathspace_;
  spec.argv = {kProgramDirectory + name, "-N", pathspace_, "-f", config_prefix_ + name + ".conf",
               // No vty over TCP.
               "-P", "0"};
  if (daemon == FrrDaemon::kZebra) {
    spec.argv.insert(spec.argv.end(), {"-M", "dplane_fpm_nl"});
    spec.argv.insert(spec.argv.begin(), kWithoutOldRoutes.begin(), kWithoutOldRoutes.end());
  }
  return supervisor_->start(spec);
}

std::optional<sys::ProcessId> FrrProcesses::running(FrrDaemon daemon) const {
  const std::string path = run_directory_ + "/" + to_string(daemon) + ".pid";
  const sys::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return std::nullopt;
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(file.get(), F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK || lock.l_pid <= 0) return std::nullopt;
  auto process = sys::identify_process(lock.l_pid);
  if (!process) return std::nullopt;
  return *process;
}

Result<void> FrrProcesses::request_stop(FrrDaemon daemon, bool kill) {
  const auto process = running(daemon);
  if (!process) return units_ && !kill ? supervisor_->request_stop(service_name(daemon)) : Result<void>();
  if (kill) {
    // systemd kills what a unit does not end in time.
    if (units_) return {};
    return sys::signal_process(*process, SIGKILL);
  }
  // Through whoever started it, who would start it again otherwise.
  const auto ours = supervisor_->running(service_name(daemon));
  if (ours && *ours) return supervisor_->request_stop(service_name(daemon));
  return sys::signal_process(*process, SIGTERM);
}

bool FrrProcesses::is_left_behind(FrrDaemon daemon) const {
  if (!running(daemon)) return false;
  // A Unix socket belongs to the namespace that it was made in, though it can be reached by its path from any other, and
  // /proc/net/unix lists those of the reader's. /proc/PID/ns/net would need rights over a process of user frr.
  const auto here = sys::call_in_netns<bool>(pathspace_, [&]() -> Result<bool> {
    auto sockets = sys::read_file("/proc/thread-self/net/unix", kMaxSocketList);
    if (!sockets) return Unexpected(std::move(sockets).error());
    return listens_at(*sockets, vty_path(daemon));
  });
  return here && !*here;
}

Result<void> FrrProcesses::remove_files() const {
  std::vector<std::string> paths;
  for (const auto daemon : kFrrDaemons) paths.push_back(config_prefix_ + to_string(daemon) + ".conf");
  // FRR's own directory, which simplon-netns@.service removes when it stops.
  if (!units_) paths.push_back(run_directory_);
  for (const auto& path : paths) {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) return fail(ErrorCode::kUnavailable, "cannot remove " + path + ": " + error.message());
  }
  return {};
}

std::string FrrProcesses::vty_path(FrrDaemon daemon) const {
  return run_directory_ + "/" + to_string(daemon) + ".vty";
}

std::string FrrProcesses::output_of(FrrDaemon daemon) const { return supervisor_->output_of(service_name(daemon)); }

std::string FrrProcesses::service_name(FrrDaemon daemon) const {
  return std::string("simplon-") + to_string(daemon) + "@" + pathspace_;
}

}  // namespace simplon::bgp
