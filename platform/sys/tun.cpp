// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/tun.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace simplon::sys {
namespace {

/// What to do when /dev/net/tun cannot be opened.
const char* remedy_for(int error) {
  if (error == ENOENT || error == ENODEV || error == ENXIO) return "load the tun module: modprobe tun";
  if (error == EMFILE) return "VPCs, tunnels and circuits hold open files: raise LimitNOFILE= of the service";
  return "";
}

// Runs inside the namespace: the kernel creates or looks up the device in the namespace of the calling thread at TUNSETIFF.
// `kind`: IFF_TUN or IFF_TAP. `named`, if given, becomes the name that the kernel made of a pattern.
Result<UniqueFd> attach(const std::string& interface, short kind, std::string* named = nullptr) {
  const std::string name = kind == IFF_TAP ? "TAP device " : "TUN device ";
  if (interface.empty() || interface.size() >= IFNAMSIZ) {
    return fail(ErrorCode::kInvalidConfig, "'" + interface + "' cannot be an interface name", "use 1 to 15 characters");
  }
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("cannot open /dev/net/tun", errno, remedy_for(errno));
  struct ifreq request {};
  std::memcpy(request.ifr_name, interface.c_str(), interface.size());
  request.ifr_flags = static_cast<short>(kind | IFF_NO_PI);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    const int error = errno;
    if (error == EINVAL || error == EBUSY) {
      return fail(ErrorCode::kConflict,
                  error == EBUSY ? name + interface + " is held by another process"
                                 : interface + " exists and is not a " + (kind == IFF_TAP ? "TAP device" : "TUN device"),
                  error == EBUSY ? "is another simplon-forwarder running?" : "rename or remove it");
    }
    return fail_errno("cannot create " + name + interface, error,
                      error == EPERM ? "CAP_NET_ADMIN is needed" : "");
  }
  if (named != nullptr) *named = request.ifr_name;
  return fd;
}

Result<UniqueFd> open(const std::string& netns, const std::string& interface, short kind) {
  return call_in_netns<UniqueFd>(netns, [&]() -> Result<UniqueFd> {
    auto fd = attach(interface, kind);
    if (!fd) return fd;
    if (::ioctl(fd->get(), TUNSETPERSIST, 1) != 0) {
      return fail_errno("cannot make device " + interface + " persistent", errno);
    }
    return fd;
  });
}

}  // namespace

Result<UniqueFd> open_tun(const std::string& netns, const std::string& interface) { return open(netns, interface, IFF_TUN); }
Result<UniqueFd> open_tap(const std::string& netns, const std::string& interface) { return open(netns, interface, IFF_TAP); }

Result<NetnsId> netns_of_tun(int fd) {
  const UniqueFd netns(::ioctl(fd, TUNGETDEVNETNS));
  struct stat info {};
  if (!netns.valid() || ::fstat(netns.get(), &info) != 0) return fail_errno("cannot tell the namespace of a device", errno);
  return NetnsId{info.st_dev, info.st_ino};
}

Result<PassingTap> open_passing_tap(const std::string& pattern) {
  PassingTap tap;
  auto fd = attach(pattern, IFF_TAP, &tap.interface);
  if (!fd) return Unexpected(fd.error());
  tap.fd = *std::move(fd);
  // Fails without IPv6, which is as good.
  std::ofstream("/proc/sys/net/ipv6/conf/" + tap.interface + "/disable_ipv6") << '1';
  return tap;
}

}  // namespace simplon::sys
