// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/launch.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "platform/sys/service_notify.h"

namespace simplon::forwarder {
namespace {

/// False: the other end is gone.
template <class T>
bool receive(int socket, T& value) {
  ssize_t got = 0;
  do {
    got = ::recv(socket, &value, sizeof value, 0);
  } while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(sizeof value);
}

template <class T>
bool send(int socket, const T& value) {
  return ::send(socket, &value, sizeof value, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof value);
}

/// What the waiting process does; the result is its exit status.
int wait_until_ready(int launched) {
  pid_t pid = 0;
  if (!receive(launched, pid)) return 1;  // it said why
  if (auto known = sys::notify_main_process(pid); !known) {
    spdlog::error("{}", known.error().message());
    return 1;
  }
  char ready = 0;
  return send(launched, '\0') && receive(launched, ready) ? 0 : 1;
}

}  // namespace

Result<Launch> Launch::begin() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return fail_errno("cannot make a socket pair", errno);
  sys::UniqueFd launched(pair[0]);
  sys::UniqueFd command(pair[1]);
  const pid_t between = ::fork();
  if (between < 0) return fail_errno("cannot start a process", errno);
  if (between == 0) {
    // Its child is the manager's as soon as this one has ended.
    if (::fork() != 0) ::_exit(0);
    launched.reset();
    return Launch(std::move(command));
  }
  command.reset();
  while (::waitpid(between, nullptr, 0) < 0 && errno == EINTR) {
  }
  ::_exit(wait_until_ready(launched.get()));
}

Result<void> Launch::become_main() {
  char known = 0;
  if (send(command_.get(), ::getpid()) && receive(command_.get(), known)) return {};
  return fail(ErrorCode::kUnavailable, "the service manager does not take this process for the service's");
}

void Launch::ready() {
  static_cast<void>(send(command_.get(), '\0'));
  command_.reset();
}

}  // namespace simplon::forwarder
