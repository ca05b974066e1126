// SPDX-License-Identifier: GPL-2.0-or-later
//
// A packet socket, since the forwarder's unit lets it speak no IP (IPAddressDeny), and since a firewall that keeps ICMP from the host
// would make a black hole of every narrow path. The filter runs in the kernel, on what the XDP programs leave to it.
#include "gateway/forwarder/too_big_listener.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <cerrno>
#include <iterator>
#include <utility>

namespace simplon::forwarder {
namespace {

namespace asio = boost::asio;

constexpr std::uint32_t kAll = 0xffffffff;

// ICMP, no later fragment; type 3 and code 4 behind the header, however long it is.
constexpr sock_filter kFilter4[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 6),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
    BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
    BPF_STMT(BPF_LD | BPF_H | BPF_IND, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0304, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, kAll),
    BPF_STMT(BPF_RET | BPF_K, 0),
};
// ICMPv6 at once behind the header; type 2.
constexpr sock_filter kFilter6[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 3),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 40),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, kAll),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

/// Bound only when the filter is there, so that nothing else is in its buffer.
Result<sys::UniqueFd> open_socket(std::uint16_t ether_type, std::span<const sock_filter> filter) {
  sys::UniqueFd fd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno("cannot listen for ICMP messages about path MTUs", errno);
  const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) {
    return fail_errno("cannot listen for ICMP messages about path MTUs: filter", errno);
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ether_type);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("cannot listen for ICMP messages about path MTUs: bind", errno);
  }
  return fd;
}

}  // namespace

Result<std::unique_ptr<TooBigListener>> TooBigListener::open(asio::io_context& io, Hear hear) {
  auto v4 = open_socket(ETH_P_IP, kFilter4);
  if (!v4) return Unexpected(v4.error());
  auto v6 = open_socket(ETH_P_IPV6, kFilter6);
  if (!v6) return Unexpected(v6.error());
  return std::unique_ptr<TooBigListener>(new TooBigListener(io, *std::move(v4), *std::move(v6), std::move(hear)));
}

TooBigListener::TooBigListener(asio::io_context& io, sys::UniqueFd v4, sys::UniqueFd v6, Hear hear)
    : hear_(std::move(hear)), families_{Family(io, std::move(v4)), Family(io, std::move(v6))} {
  for (Family& family : families_) wait(family);
}

void TooBigListener::wait(Family& family) {
  family.descriptor.async_wait(asio::posix::descriptor_base::wait_read, [this, &family](const boost::system::error_code& error) {
    // Aborted by the destructor: `this` is gone.
    if (error) return;
    if (!receive(family)) return wait(family);
    family.pause.expires_after(kPause);
    family.pause.async_wait([this, &family](const boost::system::error_code& aborted) {
      if (!aborted) wait(family);
    });
  });
}

bool TooBigListener::receive(Family& family) {
  for (unsigned i = 0; i < kAtOnce; ++i) {
    sockaddr_ll from{};
    socklen_t from_bytes = sizeof from;
    const ssize_t got = ::recvfrom(family.descriptor.native_handle(), buffer_.data(), buffer_.size(), MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&from), &from_bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    // What a switch floods is somebody else's.
    if (from.sll_pkttype == PACKET_HOST) hear_({buffer_.data(), static_cast<std::size_t>(got)});
  }
  return true;
}

std::uint64_t TooBigListener::overrun() {
  std::uint64_t sum = 0;
  for (Family& family : families_) {
    tpacket_stats since{};
    socklen_t bytes = sizeof since;
    if (::getsockopt(family.descriptor.native_handle(), SOL_PACKET, PACKET_STATISTICS, &since, &bytes) == 0) {
      family.overrun += since.tp_drops;  // the kernel begins anew
    }
    sum += family.overrun;
  }
  return sum;
}

}  // namespace simplon::forwarder
