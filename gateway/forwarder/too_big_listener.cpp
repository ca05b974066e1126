// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/too_big_listener.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace simplon::forwarder {

namespace asio = boost::asio;

Result<std::unique_ptr<TooBigListener>> TooBigListener::open(asio::io_context& io, xdp::TooBigRing::Visit hear) {
  auto ring = xdp::TooBigRing::create();
  if (!ring) return Unexpected(ring.error());
  const int descriptor = ::dup((*ring)->poll_fd());
  if (descriptor < 0) return fail_errno("cannot listen for ICMP messages about path MTUs", errno);
  return std::unique_ptr<TooBigListener>(new TooBigListener(io, *std::move(ring), descriptor, std::move(hear)));
}

TooBigListener::TooBigListener(asio::io_context& io, std::unique_ptr<xdp::TooBigRing> ring, int descriptor, xdp::TooBigRing::Visit hear)
    : hear_(std::move(hear)), ring_(std::move(ring)), descriptor_(io, descriptor), pause_(io) {
  wait();
}

void TooBigListener::wait() {
  descriptor_.async_wait(asio::posix::descriptor_base::wait_read, [this](const boost::system::error_code& error) {
    // Aborted by the destructor: `this` is gone.
    if (error) return;
    if (ring_->take(kAtOnce, hear_) < kAtOnce) return wait();
    pause_.expires_after(kPause);
    pause_.async_wait([this](const boost::system::error_code& aborted) {
      if (!aborted) wait();
    });
  });
}

}  // namespace simplon::forwarder
