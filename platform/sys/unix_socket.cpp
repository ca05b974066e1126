// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/sys/unix_socket.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace simplon::sys {
namespace {

/// Room for the control message of one descriptor, aligned as it must be.
union OneDescriptor {
  struct cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

Result<struct sockaddr_un> address_of(const std::string& path) {
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::kInvalidConfig, "socket path '" + path + "' is longer than 107 bytes",
                "choose a shorter directory");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

int connect_to(int fd, const struct sockaddr_un& address) {
  int result;
  do {
    result = ::connect(fd, reinterpret_cast<const struct sockaddr*>(&address), sizeof address);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

Result<void> remove_stale(const std::string& path, const struct sockaddr_un& address, int type) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) {
    return fail(ErrorCode::kConflict, path + " exists and is not a socket", "remove it");
  }
  const UniqueFd probe(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int error = connect_to(probe.get(), address);
  // EAGAIN: somebody listens, with a full backlog. EPROTOTYPE: somebody listens with another socket type.
  if (error == 0 || error == EAGAIN || error == EPROTOTYPE) {
    return fail(ErrorCode::kConflict, "another process serves " + path, "stop it, or choose another directory");
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("cannot remove stale socket " + path, errno);
  return {};
}

}  // namespace

Result<UniqueFd> listen_unix(const std::string& path, int type, mode_t mode) {
  auto address = address_of(path);
  if (!address) return Unexpected(address.error());
  if (auto ok = remove_stale(path, *address, type); !ok) return Unexpected(ok.error());
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno("cannot open a Unix socket", errno);
  // The socket file takes the mode of the descriptor, less the umask: never more permissive than asked, also between
  // bind and chmod.
  if (::fchmod(fd.get(), mode) != 0) return fail_errno("cannot set the mode of " + path, errno);
  if (::bind(fd.get(), reinterpret_cast<const struct sockaddr*>(&*address), sizeof *address) != 0) {
    const int error = errno;
    return fail_errno("cannot bind " + path, error,
                      error == ENOENT ? "create the directory first: mkdir -p " + path.substr(0, path.rfind('/')) : "");
  }
  if (::chmod(path.c_str(), mode) != 0) return fail_errno("cannot set the mode of " + path, errno);
  if (::listen(fd.get(), 16) != 0) return fail_errno("cannot listen on " + path, errno);
  return fd;
}

Result<UniqueFd> connect_unix(const std::string& path, int type, bool nonblocking) {
  auto address = address_of(path);
  if (!address) return Unexpected(address.error());
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno("cannot open a Unix socket", errno);
  if (const int error = connect_to(fd.get(), *address); error != 0) {
    return fail_errno("cannot connect to " + path, error);
  }
  if (nonblocking) {
    const int flags = ::fcntl(fd.get(), F_GETFL);
    if (::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) return fail_errno("cannot make a socket non-blocking", errno);
  }
  return fd;
}

Result<void> send_descriptor(int socket, int descriptor) {
  char byte = 0;
  OneDescriptor control{};
  struct iovec data {&byte, sizeof byte};
  struct msghdr message {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = sizeof control;
  struct cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) return fail_errno("cannot send a descriptor", errno);
  return {};
}

Result<UniqueFd> receive_descriptor(int socket) {
  char byte = 0;
  OneDescriptor control{};
  struct iovec data {&byte, sizeof byte};
  struct msghdr message {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = sizeof control;
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return fail_errno("no descriptor came", errno);
  const struct cmsghdr* head = CMSG_FIRSTHDR(&message);
  if (got == 0 || head == nullptr || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS ||
      head->cmsg_len != CMSG_LEN(sizeof(int))) {
    return fail(ErrorCode::kPeer, got == 0 ? "the other end closed" : "a message without a descriptor came");
  }
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(head), sizeof descriptor);
  return UniqueFd(descriptor);
}

Result<PeerCredentials> peer_credentials(int fd) {
  struct ucred credentials {};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return fail_errno("cannot read the credentials of a peer", errno);
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

bool is_trusted_user(uid_t uid, const char* name) {
  if (uid == 0 || uid == ::geteuid()) return true;
  struct passwd entry {};
  struct passwd* found = nullptr;
  std::array<char, 4096> space;
  return ::getpwnam_r(name, &entry, space.data(), space.size(), &found) == 0 && found != nullptr && found->pw_uid == uid;
}

}  // namespace simplon::sys
