// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/ping.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "platform/sys/netns.h"
#include "platform/sys/unique_fd.h"
#include "platform/wire/icmp.h"

// The kernel gives a ping socket an identifier of its own, computes the checksum and hands over only answers to it; a
// fresh socket per echo therefore never sees somebody else's answer, and needs no sequence numbers. An ICMP error about
// the request comes back as an error of the socket (IP_RECVERR).

namespace simplon::control {

namespace asio = boost::asio;

namespace {

Result<sys::UniqueFd> open_and_send(const std::string& netns, const IpAddress& to) {
  const int family = to.is_v4() ? AF_INET : AF_INET6;
  auto fd = sys::open_socket_in_netns(netns, family, SOCK_DGRAM | SOCK_NONBLOCK,
                                      to.is_v4() ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6});
  if (!fd) return fd;
  const int on = 1;
  if (to.is_v4()) {
    static_cast<void>(::setsockopt(fd->get(), IPPROTO_IP, IP_RECVERR, &on, sizeof on));
  } else {
    static_cast<void>(::setsockopt(fd->get(), IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on));
  }
  sockaddr_storage storage{};
  socklen_t length = 0;
  if (to.is_v4()) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    std::memcpy(&address.sin_addr, to.bytes().data(), to.bytes().size());
    std::memcpy(&storage, &address, sizeof address);
    length = sizeof address;
  } else {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    std::memcpy(&address.sin6_addr, to.bytes().data(), to.bytes().size());
    std::memcpy(&storage, &address, sizeof address);
    length = sizeof address;
  }
  std::array<std::uint8_t, 64> request{};
  request[0] = to.is_v4() ? wire::kIcmpEcho : wire::kIcmpv6Echo;
  for (std::size_t i = sizeof(wire::IcmpHeader); i < request.size(); ++i) request[i] = static_cast<std::uint8_t>(i);
  if (::sendto(fd->get(), request.data(), request.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&storage), length) < 0) {
    return fail_errno("an echo request to " + to.to_string() + " cannot be sent from " + netns, errno);
  }
  return fd;
}

class IcmpPinger final : public Pinger {
 public:
  explicit IcmpPinger(asio::io_context& io) : io_(io) {}

  asio::awaitable<Result<void>> ping(std::string netns, IpAddress to, std::chrono::milliseconds timeout) override {
    auto fd = open_and_send(netns, to);
    if (!fd) co_return Unexpected(fd.error());
    const auto socket = std::make_shared<asio::posix::stream_descriptor>(io_, fd->release());
    asio::steady_timer timer(io_, timeout);
    const auto late = std::make_shared<bool>(false);
    timer.async_wait([socket, late](const boost::system::error_code& cancelled) {
      if (cancelled) return;
      *late = true;
      boost::system::error_code ignored;
      socket->cancel(ignored);
    });
    const std::uint8_t wanted = to.is_v4() ? wire::kIcmpEchoReply : wire::kIcmpv6EchoReply;
    std::array<std::uint8_t, 512> reply{};
    while (!*late) {
      boost::system::error_code error;
      co_await socket->async_wait(asio::posix::stream_descriptor::wait_read,
                                  asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      const ssize_t got = ::recv(socket->native_handle(), reply.data(), reply.size(), MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got < 0) {
        const int errnum = errno;
        co_return fail(ErrorCode::kPeer, to.to_string() + " cannot be reached: " + std::strerror(errnum));
      }
      if (got > 0 && reply[0] == wanted) co_return Result<void>{};
    }
    co_return fail(ErrorCode::kPeer, to.to_string() + " does not answer within " + std::to_string(timeout.count()) + " ms");
  }

 private:
  asio::io_context& io_;
};

}  // namespace

std::unique_ptr<Pinger> make_icmp_pinger(asio::io_context& io) { return std::make_unique<IcmpPinger>(io); }

}  // namespace simplon::control
