// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/succession.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "platform/sys/unix_socket.h"

namespace simplon::forwarder {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Descriptor = asio::posix::stream_descriptor;

// Between two attempts to accept a connection when there is no descriptor for it. Chosen by us.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

class UnixSuccession final : public Succession {
 public:
  UnixSuccession(asio::io_context& io, int fd, Handlers handlers)
      : io_(io), listener_(io, fd), pause_(io), handlers_(std::move(handlers)) {
    accept();
  }

 private:
  void accept() {
    listener_.async_wait(Descriptor::wait_read, [this](const error_code& error) {
      if (error) return;
      const int fd = ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      const bool exhausted = fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
      if (fd >= 0) welcome(sys::UniqueFd(fd));
      if (!exhausted) return accept();
      pause_.expires_after(kAcceptPause);
      pause_.async_wait([this](const error_code& stopped) {
        if (!stopped) accept();
      });
    });
  }

  void welcome(sys::UniqueFd fd) {
    const auto peer = sys::peer_credentials(fd.get());
    if (!peer || !sys::is_trusted_user(peer->uid, "root") || successor_) {
      spdlog::warn("refused a successor: {}", successor_ ? "there is one already" : "another user");
      return;
    }
    spdlog::info("a successor begins");
    const auto packed = handlers_.tables();
    const auto sent = packed ? sys::send_descriptor(fd.get(), packed->get()) : Result<void>(Unexpected(packed.error()));
    if (!sent) {
      spdlog::warn("no successor can begin: {}", sent.error().message());
      return handlers_.stay();
    }
    successor_.emplace(io_, fd.release());
    successor_->async_wait(Descriptor::wait_read, [this](const error_code& error) {
      if (!error) decide();
    });
  }

  void decide() {
    char go = 0;
    const ssize_t got = ::recv(successor_->native_handle(), &go, sizeof go, MSG_DONTWAIT);
    if (got <= 0) {
      spdlog::warn("the successor went away; everything goes on");
      successor_.reset();
      return handlers_.stay();
    }
    // The successor will listen there.
    error_code ignored;
    listener_.close(ignored);
    const auto packed = handlers_.traffic();
    handlers_.end(packed ? sys::send_descriptor(successor_->native_handle(), packed->get()) : Result<void>(Unexpected(packed.error())));
  }

  asio::io_context& io_;
  Descriptor listener_;
  asio::steady_timer pause_;
  Handlers handlers_;
  std::optional<Descriptor> successor_;
};

}  // namespace

Result<std::unique_ptr<Succession>> Succession::open(asio::io_context& io, const std::string& path, Handlers handlers) {
  auto fd = sys::listen_unix(path, SOCK_SEQPACKET, 0600);
  if (!fd) return Unexpected(fd.error());
  return std::make_unique<UnixSuccession>(io, fd->release(), std::move(handlers));
}

}  // namespace simplon::forwarder
