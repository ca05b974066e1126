// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/route_probe.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace simplon::ipsec {
namespace {

constexpr std::uint16_t kIkePort = 500;  // RFC 7296 section 2

struct Endpoint {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

Endpoint endpoint(const IpAddress& address, std::uint16_t port) {
  Endpoint result;
  const std::array<std::uint8_t, 2> port_bytes = {static_cast<std::uint8_t>(port >> 8),
                                                  static_cast<std::uint8_t>(port)};
  const auto bytes = address.bytes();
  if (address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    std::memcpy(&in.sin_port, port_bytes.data(), 2);
    std::memcpy(&in.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&result.storage, &in, sizeof(in));
    result.length = sizeof(in);
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    std::memcpy(&in.sin6_port, port_bytes.data(), 2);
    std::memcpy(&in.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&result.storage, &in, sizeof(in));
    result.length = sizeof(in);
  }
  return result;
}

}  // namespace

std::string why_unreachable(const IpAddress& local, const IpAddress& remote) {
  const int fd = ::socket(local.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return {};  // no answer is not an answer
  std::string why;
  const Endpoint from = endpoint(local, 0);
  const Endpoint to = endpoint(remote, kIkePort);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&from.storage), from.length) != 0) {
    why = errno == EADDRNOTAVAIL ? local.to_string() + " is not an address of this gateway" : std::strerror(errno);
  } else if (::connect(fd, reinterpret_cast<const sockaddr*>(&to.storage), to.length) != 0) {
    why = std::strerror(errno);
  }
  ::close(fd);
  return why;
}

}  // namespace simplon::ipsec
