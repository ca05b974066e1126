// SPDX-License-Identifier: GPL-2.0-or-later
//
// A SOCK_SEQPACKET pair of which only the reading end is kept. Each message says how many descriptors the whole bundle has and
// carries up to 253 of them (SCM_MAX_FD).
#include "platform/sys/descriptor_bundle.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

namespace simplon::sys {
namespace {

// Given by the kernel (SCM_MAX_FD).
constexpr std::size_t kPerMessage = 253;
constexpr std::uint32_t kMagic = 0x53504c44;

struct Label {
  std::uint32_t magic = kMagic;
  std::uint32_t total = 0;
};

/// Room for the control message, aligned as it must be.
union Control {
  struct cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int) * kPerMessage)> bytes;
};

}  // namespace

Result<UniqueFd> bundle_descriptors(std::span<const int> descriptors) {
  if (descriptors.empty() || descriptors.size() > kMaxBundledDescriptors) {
    return fail(ErrorCode::kExhausted, std::to_string(descriptors.size()) + " descriptors do not fit into a bundle");
  }
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
    return fail_errno("cannot make a socket pair", errno);
  }
  UniqueFd reader(pair[0]);
  const UniqueFd writer(pair[1]);
  Label label;
  label.total = static_cast<std::uint32_t>(descriptors.size());
  for (auto rest = descriptors; !rest.empty();) {
    const auto some = rest.first(std::min(rest.size(), kPerMessage));
    struct iovec data {&label, sizeof label};
    Control control{};
    struct msghdr message {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(some.size_bytes());
    struct cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(some.size_bytes());
    std::memcpy(CMSG_DATA(head), some.data(), some.size_bytes());
    if (::sendmsg(writer.get(), &message, MSG_NOSIGNAL) < 0) return fail_errno("cannot bundle descriptors", errno);
    rest = rest.subspan(some.size());
  }
  return reader;
}

Result<std::vector<UniqueFd>> unbundle_descriptors(int socket) {
  std::vector<UniqueFd> all;
  std::uint32_t total = 0;
  do {
    Label label;
    struct iovec data {&label, sizeof label};
    Control control{};
    struct msghdr message {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = sizeof control;
    const ssize_t got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0) {
      return fail(ErrorCode::kPeer, "the bundle of descriptors ends after " + std::to_string(all.size()) + ": " +
                                        std::generic_category().message(errno));
    }
    for (struct cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
      if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
      std::array<int, kPerMessage> fds;
      const std::size_t bytes = std::min<std::size_t>(head->cmsg_len - CMSG_LEN(0), sizeof fds);
      std::memcpy(fds.data(), CMSG_DATA(head), bytes);
      for (std::size_t i = 0; i < bytes / sizeof(int); ++i) all.emplace_back(fds[i]);
    }
    if (static_cast<std::size_t>(got) != sizeof label || label.magic != kMagic || label.total == 0 ||
        label.total > kMaxBundledDescriptors || (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) {
      return fail(ErrorCode::kPeer, "the bundle of descriptors is broken after " + std::to_string(all.size()),
                  (message.msg_flags & MSG_CTRUNC) != 0 ? "raise the limit of open files (LimitNOFILE=)" : "");
    }
    if (total != 0 && label.total != total) return fail(ErrorCode::kPeer, "the parts of a bundle of descriptors differ");
    total = label.total;
  } while (all.size() < total);
  if (all.size() != total) return fail(ErrorCode::kPeer, "the bundle holds more descriptors than it says");
  return all;
}

}  // namespace simplon::sys
