// SPDX-License-Identifier: GPL-2.0-or-later
//
// A detached process is the grandchild of a double fork: the child leaves the session and dies, so the program is
// reparented to init and never becomes our zombie. Between fork and exec only async-signal-safe calls are made, because
// other threads of ours may have held any lock at the moment of the fork; everything that allocates happens before.
// A close-on-exec pipe brings back either the pid and nothing more (exec succeeded) or the failed step with its errno.
#include "platform/sys/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "platform/sys/file.h"
#include "platform/sys/netns.h"
#include "platform/sys/unique_fd.h"

extern char** environ;

namespace simplon::sys {
namespace {

enum class Step : int { kStarted, kNamespace, kSession, kDescriptors, kExec };

const char* to_string(Step step) {
  switch (step) {
    case Step::kStarted: return "fork";
    case Step::kNamespace: return "enter its network namespace";
    case Step::kSession: return "make a session";
    case Step::kDescriptors: return "set up descriptors";
    case Step::kExec: return "execute it";
  }
  return "start";
}

struct Report {
  Step step;
  int number;  // pid for kStarted, else errno
};

void report_and_exit(int pipe, Step step, int number) {
  const Report report{step, number};
  static_cast<void>(!::write(pipe, &report, sizeof report));
  ::_exit(127);
}

/// What a new process needs. Its words are those of the ServiceSpec.
struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> environment;
  /// None: it stays in ours.
  UniqueFd netns;
  UniqueFd log;
  UniqueFd null;
  /// Of the pipe for reports.
  UniqueFd reader;
  UniqueFd writer;
};

Result<Prepared> prepare(const ServiceSpec& spec, const std::string& log_file) {
  Prepared prepared;
  if (spec.netns) {
    if (!netns_exists(*spec.netns)) {
      return fail(ErrorCode::kUnavailable, "network namespace '" + *spec.netns + "' of " + spec.name + " does not exist");
    }
    prepared.netns.reset(::open(netns_path(*spec.netns).c_str(), O_RDONLY | O_CLOEXEC));
    if (!prepared.netns.valid()) return fail_errno("cannot open " + netns_path(*spec.netns), errno);
  }
  prepared.log.reset(::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!prepared.log.valid()) return fail_errno("cannot open " + log_file, errno);
  prepared.null.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("cannot make a pipe", errno);
  prepared.reader.reset(ends[0]);
  prepared.writer.reset(ends[1]);
  for (const auto& word : spec.argv) prepared.argv.push_back(const_cast<char*>(word.c_str()));
  prepared.argv.push_back(nullptr);
  for (char** entry = environ; *entry != nullptr; ++entry) prepared.environment.push_back(*entry);
  for (const auto& entry : spec.environment) prepared.environment.push_back(const_cast<char*>(entry.c_str()));
  prepared.environment.push_back(nullptr);
  return prepared;
}

// Async-signal-safe from here to the exec.
[[noreturn]] void become(const Prepared& prepared) {
  const int pipe = prepared.writer.get();
  if (prepared.netns.valid() && ::setns(prepared.netns.get(), CLONE_NEWNET) != 0) {
    report_and_exit(pipe, Step::kNamespace, errno);
  }
  if (::dup2(prepared.null.get(), 0) < 0 || ::dup2(prepared.log.get(), 1) < 0 || ::dup2(prepared.log.get(), 2) < 0) {
    report_and_exit(pipe, Step::kDescriptors, errno);
  }
  if (::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) report_and_exit(pipe, Step::kDescriptors, errno);
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(prepared.argv[0], prepared.argv.data(), prepared.environment.data());
  report_and_exit(pipe, Step::kExec, errno);
  ::_exit(127);
}

bool read_report(int fd, Report& report) {
  for (;;) {
    const ssize_t got = ::read(fd, &report, sizeof report);
    if (got == static_cast<ssize_t>(sizeof report)) return true;
    if (got < 0 && errno == EINTR) continue;
    return false;
  }
}

/// The pid of the grandchild, which has executed `program`.
Result<pid_t> fork_and_report(Prepared& prepared, const std::string& program) {
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot fork for " + program, errno);
  if (child == 0) {
    const int pipe = prepared.writer.get();
    if (::setsid() < 0) report_and_exit(pipe, Step::kSession, errno);
    const pid_t grandchild = ::fork();
    if (grandchild < 0) report_and_exit(pipe, Step::kSession, errno);
    if (grandchild == 0) become(prepared);
    const Report report{Step::kStarted, grandchild};
    static_cast<void>(!::write(pipe, &report, sizeof report));
    ::_exit(0);
  }
  prepared.writer.reset();
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  pid_t pid = 0;
  Report report{};
  while (read_report(prepared.reader.get(), report)) {
    if (report.step != Step::kStarted) {
      return fail_errno("cannot start " + program + ": failed to " + to_string(report.step), report.number);
    }
    pid = report.number;
  }
  if (pid == 0) return fail(ErrorCode::kUnavailable, "cannot start " + program + ": it died before it ran");
  return pid;
}

Result<std::uint64_t> start_ticks_of(pid_t pid, char* state) {
  auto stat = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!stat) return fail(ErrorCode::kUnavailable, "no process " + std::to_string(pid));
  // The second field is the name in parentheses and may contain anything: fields are counted from the last one.
  const auto close = stat->rfind(')');
  if (close == std::string::npos || close + 2 >= stat->size()) {
    return fail(ErrorCode::kBug, "cannot read /proc/" + std::to_string(pid) + "/stat");
  }
  *state = (*stat)[close + 2];
  std::size_t at = close + 2;
  for (int field = 3; field < 22; ++field) {
    at = stat->find(' ', at);
    if (at == std::string::npos) return fail(ErrorCode::kBug, "cannot read /proc/" + std::to_string(pid) + "/stat");
    ++at;
  }
  std::uint64_t ticks = 0;
  std::from_chars(stat->data() + at, stat->data() + stat->size(), ticks);
  return ticks;
}

}  // namespace

Result<ProcessId> identify_process(pid_t pid) {
  char state = 0;
  auto ticks = start_ticks_of(pid, &state);
  if (!ticks) return Unexpected(ticks.error());
  return ProcessId{pid, *ticks};
}

bool process_alive(const ProcessId& process) {
  if (process.pid <= 0) return false;
  char state = 0;
  const auto ticks = start_ticks_of(process.pid, &state);
  return ticks && *ticks == process.start_ticks && state != 'Z' && state != 'X';
}

Result<ProcessId> spawn_detached(const ServiceSpec& spec, const std::string& log_file) {
  if (spec.argv.empty() || spec.argv[0].empty() || spec.argv[0][0] != '/') {
    return fail(ErrorCode::kInvalidConfig, "service '" + spec.name + "' has no absolute program path");
  }
  const std::string& program = spec.argv[0];
  auto prepared = prepare(spec, log_file);
  if (!prepared) return Unexpected(prepared.error());
  const auto pid = fork_and_report(*prepared, program);
  if (!pid) return Unexpected(pid.error());
  auto identity = identify_process(*pid);
  if (!identity) {
    return fail(ErrorCode::kUnavailable, program + " ended at once", "its last words are in " + log_file);
  }
  return identity;
}

Result<void> signal_process(const ProcessId& process, int signal) {
  // A descriptor of the process keeps the pid from being reused between the check and the signal.
  const UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!fd.valid()) {
    if (errno == ESRCH) return {};
    return fail_errno("cannot open process " + std::to_string(process.pid), errno);
  }
  if (!process_alive(process)) return {};
  if (::syscall(SYS_pidfd_send_signal, fd.get(), signal, nullptr, 0) != 0 && errno != ESRCH) {
    return fail_errno("cannot signal process " + std::to_string(process.pid), errno);
  }
  return {};
}

Result<void> write_pid_file(const std::string& path, const ProcessId& process) {
  return write_file_atomically(path, std::to_string(process.pid) + " " + std::to_string(process.start_ticks) + "\n",
                               0644);
}

Result<std::optional<ProcessId>> read_pid_file(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return std::optional<ProcessId>{};
  auto text = read_file(path, 64);
  if (!text) return Unexpected(text.error());
  ProcessId process;
  const char* end = text->data() + text->size();
  const auto pid = std::from_chars(text->data(), end, process.pid);
  if (pid.ec != std::errc{} || pid.ptr == end || *pid.ptr != ' ' ||
      std::from_chars(pid.ptr + 1, end, process.start_ticks).ec != std::errc{}) {
    return fail(ErrorCode::kInvalidConfig, path + " is not a pid file of ours", "remove it");
  }
  return std::optional<ProcessId>{process};
}

}  // namespace simplon::sys
