// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/privileges.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>

namespace simplon::forwarder {
namespace {

// Interfaces, addresses, TUN, XDP; AF_XDP and packet sockets; BPF; namespaces of the domains; UMEM beyond RLIMIT_MEMLOCK; the sockets
// in a run directory that belongs to another user.
constexpr std::array<std::pair<int, const char*>, 6> kNeeded = {{{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                                                {CAP_NET_RAW, "CAP_NET_RAW"},
                                                                {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
                                                                {CAP_BPF, "CAP_BPF"},
                                                                {CAP_IPC_LOCK, "CAP_IPC_LOCK"},
                                                                {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"}}};
// Without these nothing works; the others have substitutes on some systems.
constexpr std::size_t kIndispensable = 3;

using Sets = std::array<__user_cap_data_struct, 2>;

__user_cap_header_struct header() { return {_LINUX_CAPABILITY_VERSION_3, 0}; }

std::uint32_t bit(int capability) { return std::uint32_t{1} << (capability % 32); }

}  // namespace

Result<void> check_capabilities() {
  auto head = header();
  Sets sets{};
  if (::syscall(SYS_capget, &head, sets.data()) != 0) return fail_errno("cannot read capabilities", errno);
  for (std::size_t i = 0; i < kIndispensable; ++i) {
    const auto& [capability, name] = kNeeded[i];
    if ((sets[static_cast<std::size_t>(capability) / 32].effective & bit(capability)) == 0) {
      return fail(ErrorCode::kUnavailable, std::string(name) + " is missing", "run simplon-forwarder as root");
    }
  }
  return {};
}

Result<void> restrict_process() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno("cannot turn off core dumps", errno);
  const struct rlimit none {0, 0};
  static_cast<void>(::setrlimit(RLIMIT_CORE, &none));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("cannot forbid new privileges", errno);
  auto head = header();
  Sets sets{};
  if (::syscall(SYS_capget, &head, sets.data()) != 0) return fail_errno("cannot read capabilities", errno);
  Sets kept{};
  for (const auto& [capability, name] : kNeeded) {
    const auto word = static_cast<std::size_t>(capability) / 32;
    kept[word].effective |= sets[word].permitted & bit(capability);
    kept[word].permitted |= sets[word].permitted & bit(capability);
  }
  if (::syscall(SYS_capset, &head, kept.data()) != 0) return fail_errno("cannot give up capabilities", errno);
  return {};
}

}  // namespace simplon::forwarder
