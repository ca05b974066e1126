// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

// Named network namespaces, compatible with `ip netns`: a bind mount under /run/netns. Whatever needs to be inside a
// namespace runs in a short-lived helper thread, so the namespace of the calling thread never changes.
// Cost: each call makes a thread (about 50 us) and blocks until it is done; nothing here waits for the network.

namespace simplon::sys {

/// "/run/netns/NAME".
[[nodiscard]] std::string netns_path(const std::string& name);

/// Which namespace a name stands for, or a device is in. While something is in a namespace, no other has its id.
struct NetnsId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend bool operator==(const NetnsId&, const NetnsId&) = default;
};
/// Nothing if NAME is not a mounted namespace.
[[nodiscard]] std::optional<NetnsId> netns_id(const std::string& name);

/// Makes the caller's own namespace that of a domain (the settings of `prepare_domain_netns`) and gives it a name, which it
/// keeps after the caller has ended. For a program that a service manager started in a new namespace with lo up; it needs
/// CAP_SYS_ADMIN, CAP_NET_ADMIN and a /run/netns that it may write. Does nothing if NAME exists. Errors: kConflict if the
/// caller's namespace has routes, and is therefore somebody else's; those of `create_netns`.
[[nodiscard]] Result<void> name_own_domain_netns(const std::string& name);

/// Like `ip netns add`; idempotent. Errors: kInvalidConfig for a name with '/' or longer than 200 bytes; kUnavailable
/// without CAP_SYS_ADMIN.
[[nodiscard]] Result<void> create_netns(const std::string& name);
/// Like `ip netns delete`; idempotent. The namespace itself lives on while a process or socket uses it.
[[nodiscard]] Result<void> delete_netns(const std::string& name);
/// True if NAME is a mounted namespace (a stale empty file is not).
[[nodiscard]] inline bool netns_exists(const std::string& name) { return netns_id(name).has_value(); }

/// Runs `fn` in a helper thread inside namespace `name` and returns its result. `/proc/sys/net` is the namespace's own
/// inside `fn`; `/sys/class/net` is not. Errors: kUnavailable if the namespace does not exist; those of `fn`.
[[nodiscard]] Result<void> run_in_netns(const std::string& name, const std::function<Result<void>()>& fn);

/// The same for a function that returns a value.
template <class T>
[[nodiscard]] Result<T> call_in_netns(const std::string& name, const std::function<Result<T>()>& fn) {
  std::optional<Result<T>> value;
  auto ran = run_in_netns(name, [&]() -> Result<void> {
    value.emplace(fn());
    return {};
  });
  if (!ran) return Unexpected(std::move(ran).error());
  return *std::move(value);
}

/// socket(2) inside the namespace; the socket stays there while its owner stays outside. Close-on-exec.
[[nodiscard]] Result<UniqueFd> open_socket_in_netns(const std::string& name, int family, int type, int protocol = 0);

/// Writes /proc/sys/net/KEY inside the namespace: `set_net_sysctl("red", "ipv4/ip_forward", "0")`.
[[nodiscard]] Result<void> set_net_sysctl(const std::string& name, const std::string& key, const std::string& value);

/// What a domain's namespace needs: lo up, IPv4 and IPv6 forwarding off, no reverse path filter, no redirects,
/// ping sockets for everybody.
[[nodiscard]] Result<void> prepare_domain_netns(const std::string& name);

}  // namespace simplon::sys
