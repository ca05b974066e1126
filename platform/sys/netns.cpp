// SPDX-License-Identifier: GPL-2.0-or-later
//
// A named namespace is a file under /run/netns onto which a thread of that namespace bind-mounted its own
// /proc/thread-self/ns/net. Namespaces belong to threads, not to processes: unshare(2) and setns(2) of a helper thread
// leave the caller where it was, and when the thread ends nothing has to be undone. That is why no function here
// switches back.
//
// /run/netns is made a shared mount first (as `ip netns` does), so that a namespace made here is seen by processes that
// have their own mount namespace, and its removal too.
#include "platform/sys/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "platform/sys/file.h"

namespace simplon::sys {
namespace {

constexpr const char* kDirectory = "/run/netns";

Result<void> check_name(const std::string& name) {
  if (name.empty() || name.size() > 200 || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return fail(ErrorCode::kInvalidConfig, "'" + name + "' cannot be the name of a network namespace",
                "use 1 to 200 characters without '/'");
  }
  return {};
}

bool is_namespace_file(const std::string& path) {
  struct statfs info {};
  return ::statfs(path.c_str(), &info) == 0 && info.f_type == NSFS_MAGIC;
}

Result<void> share_directory() {
  if (::mkdir(kDirectory, 0755) != 0 && errno != EEXIST) return fail_errno("cannot create /run/netns", errno);
  if (::mount("", kDirectory, "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
  if (errno != EINVAL) return fail_errno("cannot share mount /run/netns", errno, "run as root");
  // Not a mount point yet.
  if (::mount(kDirectory, kDirectory, "none", MS_BIND | MS_REC, nullptr) != 0) {
    return fail_errno("cannot bind mount /run/netns", errno);
  }
  if (::mount("", kDirectory, "none", MS_SHARED | MS_REC, nullptr) != 0) {
    return fail_errno("cannot share mount /run/netns", errno);
  }
  return {};
}

Result<void> in_thread(const std::function<Result<void>()>& body) {
  Result<void> result;
  std::thread thread([&] { result = body(); });
  thread.join();
  return result;
}

Result<void> write_sysctl(const std::string& key, const std::string& value) {
  const std::string path = "/proc/sys/net/" + key;
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("cannot open " + path, errno);
  if (::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return fail_errno("cannot write " + value + " to " + path, errno);
  }
  return {};
}

Result<void> loopback_up() {
  // Of any family; this one is in every sandbox.
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno("cannot open a socket", errno);
  struct ifreq request {};
  std::strcpy(request.ifr_name, "lo");
  if (::ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno("cannot read the flags of lo", errno);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno("cannot set lo up", errno);
  return {};
}

Result<void> mount_own_namespace(const std::string& path) {
  if (::mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0) {
    return fail_errno("cannot mount the namespace on " + path, errno);
  }
  return {};
}

/// Makes the file NAME and lets `mount` put a namespace on it, unless there is one.
Result<void> name_netns(const std::string& name, const std::function<Result<void>(const std::string&)>& mount) {
  if (auto ok = check_name(name); !ok) return ok;
  if (netns_exists(name)) return {};
  if (auto ok = share_directory(); !ok) return ok;
  const std::string path = netns_path(name);
  {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0));
    // It may be there and closed to everybody: that is how it is made.
    if (!file.valid() && errno != EACCES) return fail_errno("cannot create " + path, errno);
  }
  auto made = mount(path);
  if (!made) ::unlink(path.c_str());
  return made;
}

/// Somebody's namespace has routes; a new one may have interfaces besides lo (tunl0, sit0), which the kernel makes.
Result<void> is_new() {
  const auto text = read_file("/proc/thread-self/net/route", 1U << 20);
  if (!text) return Unexpected(text.error());
  if (std::count(text->begin(), text->end(), '\n') <= 1) return {};
  return fail(ErrorCode::kConflict, "this is not a new network namespace: it has routes",
              "this program is for simplon-netns@.service, which starts it in one");
}

Result<void> write_domain_settings() {
  // The forwarder forwards, the kernel of a domain only terminates: nothing may take a second path.
  static constexpr const char* kSettings[][2] = {
      {"ipv4/ip_forward", "0"},           {"ipv4/conf/all/rp_filter", "0"},
      {"ipv4/conf/default/rp_filter", "0"}, {"ipv4/conf/all/send_redirects", "0"},
      {"ipv4/conf/default/send_redirects", "0"},
      // Health gates ping from here without CAP_NET_RAW.
      {"ipv4/ping_group_range", "0 2147483647"},
  };
  for (const auto& setting : kSettings) {
    if (auto ok = write_sysctl(setting[0], setting[1]); !ok) return ok;
  }
  // Absent on hosts with IPv6 disabled.
  static constexpr const char* kIpv6[][2] = {
      {"ipv6/conf/all/forwarding", "0"}, {"ipv6/conf/default/accept_ra", "0"},
      {"ipv6/conf/default/addr_gen_mode", "1"},
  };
  for (const auto& setting : kIpv6) static_cast<void>(write_sysctl(setting[0], setting[1]));
  return {};
}

}  // namespace

std::string netns_path(const std::string& name) { return std::string(kDirectory) + "/" + name; }

std::optional<NetnsId> netns_id(const std::string& name) {
  const std::string path = netns_path(name);
  struct stat info {};
  if (!check_name(name) || !is_namespace_file(path) || ::stat(path.c_str(), &info) != 0) return std::nullopt;
  return NetnsId{info.st_dev, info.st_ino};
}

Result<void> name_own_domain_netns(const std::string& name) {
  return name_netns(name, [](const std::string& path) -> Result<void> {
    if (auto ok = is_new(); !ok) return ok;
    if (auto ok = write_domain_settings(); !ok) return ok;
    return mount_own_namespace(path);
  });
}

Result<void> create_netns(const std::string& name) {
  return name_netns(name, [](const std::string& path) {
    return in_thread([&]() -> Result<void> {
      if (::unshare(CLONE_NEWNET) != 0) return fail_errno("cannot create a network namespace", errno, "run as root");
      return mount_own_namespace(path);
    });
  });
}

Result<void> delete_netns(const std::string& name) {
  if (auto ok = check_name(name); !ok) return ok;
  const std::string path = netns_path(name);
  // Several mounts may be stacked on it; each umount2 takes one off.
  while (::umount2(path.c_str(), MNT_DETACH) == 0) {
  }
  if (errno != EINVAL && errno != ENOENT) return fail_errno("cannot unmount " + path, errno);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("cannot remove " + path, errno);
  return {};
}

Result<void> run_in_netns(const std::string& name, const std::function<Result<void>()>& fn) {
  if (auto ok = check_name(name); !ok) return ok;
  const std::string path = netns_path(name);
  const UniqueFd target(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!target.valid() || !is_namespace_file(path)) {
    return fail(ErrorCode::kUnavailable, "network namespace '" + name + "' does not exist");
  }
  return in_thread([&]() -> Result<void> {
    if (::setns(target.get(), CLONE_NEWNET) != 0) {
      return fail_errno("cannot enter network namespace '" + name + "'", errno, "CAP_SYS_ADMIN is needed");
    }
    return fn();
  });
}

Result<UniqueFd> open_socket_in_netns(const std::string& name, int family, int type, int protocol) {
  return call_in_netns<UniqueFd>(name, [&]() -> Result<UniqueFd> {
    UniqueFd fd(::socket(family, type | SOCK_CLOEXEC, protocol));
    if (!fd.valid()) return fail_errno("cannot open a socket in network namespace '" + name + "'", errno);
    return fd;
  });
}

Result<void> set_net_sysctl(const std::string& name, const std::string& key, const std::string& value) {
  return run_in_netns(name, [&] { return write_sysctl(key, value); });
}

Result<void> prepare_domain_netns(const std::string& name) {
  return run_in_netns(name, []() -> Result<void> {
    if (auto ok = loopback_up(); !ok) return ok;
    return write_domain_settings();
  });
}

}  // namespace simplon::sys
