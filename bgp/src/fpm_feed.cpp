// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/fpm_feed.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <cerrno>
#include <cstring>

#include "platform/base/log.h"
#include "platform/sys/netns.h"

namespace simplon::bgp {
namespace asio = boost::asio;
namespace {

using boost::system::error_code;

// Holds the longest frame and some more; a full read is about 4000 routes, a millisecond of work.
constexpr std::size_t kBufferBytes = 256 * 1024;
static_assert(kBufferBytes > 2 * kFpmMaxFrame);

constexpr std::chrono::milliseconds kFlushQuiet{5};
constexpr std::chrono::milliseconds kFlushLatest{50};
constexpr std::size_t kFlushBatch = 4096;

// A feed that never becomes idle; a million routes take zebra 3 to 24 s.
constexpr std::chrono::seconds kSweepCap{60};

constexpr std::chrono::milliseconds kAcceptRetry{500};

Result<sys::UniqueFd> listen_in(const std::string& netns, std::uint16_t port) {
  auto fd = sys::open_socket_in_netns(netns, AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  if (!fd) return fd;
  const int on = 1;
  ::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string where = "127.0.0.1:" + std::to_string(port) + " in namespace " + netns;
  // The API of sockets wants the cast.
  if (::bind(fd->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(fd->get(), 4) != 0) {
    if (errno == EADDRINUSE) {
      return fail(ErrorCode::kConflict, "FPM listener: " + where + " is in use",
                  "is another simplond responsible for this namespace?");
    }
    return fail_errno("FPM listener on " + where, errno);
  }
  return fd;
}

}  // namespace

Result<std::shared_ptr<FpmFeed>> FpmFeed::open(asio::io_context& io, const std::string& netns, Options options,
                                               RoutesChanged routes_changed) {
  auto listener = listen_in(netns, options.port);
  if (!listener) return Unexpected(std::move(listener).error());
  auto names = sys::open_socket_in_netns(netns, AF_INET, SOCK_DGRAM);
  if (!names) return Unexpected(std::move(names).error());
  std::shared_ptr<FpmFeed> feed(new FpmFeed(io, *std::move(names), options, std::move(routes_changed)));
  error_code error;
  feed->acceptor_.assign(asio::ip::tcp::v4(), listener->get(), error);
  if (error) return fail(ErrorCode::kUnavailable, "FPM listener: " + error.message());
  static_cast<void>(listener->release());
  return feed;
}

FpmFeed::FpmFeed(asio::io_context& io, sys::UniqueFd names, Options options, RoutesChanged routes_changed)
    : acceptor_(io),
      connection_(io),
      flush_timer_(io),
      sweep_timer_(io),
      accept_timer_(io),
      names_(std::move(names)),
      routes_changed_(std::move(routes_changed)),
      tracker_(options.sweep_idle, kSweepCap),
      buffer_(kBufferBytes) {}

void FpmFeed::start() { accept(); }

void FpmFeed::close() {
  closed_ = true;
  error_code ignored;
  acceptor_.close(ignored);
  connection_.close(ignored);
  flush_timer_.cancel();
  sweep_timer_.cancel();
  accept_timer_.cancel();
}

void FpmFeed::accept() {
  acceptor_.async_accept([self = shared_from_this()](const error_code& error, asio::ip::tcp::socket socket) {
    if (self->closed_) return;
    if (error) {
      // Out of descriptors or the like: not a reason to spin.
      self->accept_timer_.expires_after(kAcceptRetry);
      self->accept_timer_.async_wait([self](const error_code& canceled) {
        if (!canceled && !self->closed_) self->accept();
      });
      return;
    }
    self->connection_ = std::move(socket);
    ++self->connection_number_;
    self->filled_ = 0;
    self->rib_.begin_dump();
    self->tracker_.connected();
    self->read();
    self->accept();
  });
}

void FpmFeed::read() {
  connection_.async_read_some(
      asio::buffer(buffer_.data() + filled_, buffer_.size() - filled_),
      [self = shared_from_this(), number = connection_number_](const error_code& error, std::size_t count) {
        if (self->closed_ || number != self->connection_number_) return;
        if (error) return self->lost(error == asio::error::eof ? std::string() : error.message());
        self->on_bytes(count);
      });
}

void FpmFeed::on_bytes(std::size_t count) {
  filled_ += count;
  tracker_.received(std::chrono::steady_clock::now());
  const auto decoded = decode_fpm(std::span<const std::uint8_t>(buffer_).first(filled_), *this, statistics_);
  if (!decoded) return lost(decoded.error().message());
  if (statistics_.without_nexthops != reported_without_nexthops_) {
    spdlog::warn("FPM: {} route(s) without nexthops; is 'no fpm use-next-hop-groups' missing in zebra?",
                 statistics_.without_nexthops - reported_without_nexthops_);
    reported_without_nexthops_ = statistics_.without_nexthops;
  }
  filled_ -= *decoded;
  if (filled_ != 0) std::memmove(buffer_.data(), buffer_.data() + *decoded, filled_);
  if (rib_.dirty()) schedule_flush();
  read();
}

void FpmFeed::lost(const std::string& why) {
  if (!why.empty()) spdlog::warn("FPM connection ended: {}; waiting for zebra to connect again", why);
  error_code ignored;
  connection_.close(ignored);
  ++connection_number_;
  tracker_.disconnected();
  sweep_timer_.cancel();
}

void FpmFeed::on_route(const FpmRoute& route) {
  if (route.withdrawal) {
    rib_.withdraw(route.prefix);
  } else {
    rib_.upsert(route.prefix, route.nexthops);
  }
}

void FpmFeed::schedule_flush() {
  const auto now = std::chrono::steady_clock::now();
  if (!flush_scheduled_) flush_latest_ = now + kFlushLatest;
  flush_scheduled_ = true;
  flush_timer_.expires_at(std::min(now + kFlushQuiet, flush_latest_));
  flush_timer_.async_wait([self = shared_from_this()](const error_code& canceled) {
    if (!canceled && !self->closed_) self->flush();
  });
}

void FpmFeed::flush() {
  flush_scheduled_ = false;
  const auto changes = rib_.take_changes(kFlushBatch, &interface_name, this);
  if (rib_.dirty()) {
    // The next batch at once, but after whatever else is ready.
    flush_scheduled_ = true;
    flush_latest_ = std::chrono::steady_clock::now();
    flush_timer_.expires_at(flush_latest_);
    flush_timer_.async_wait([self = shared_from_this()](const error_code& canceled) {
      if (!canceled && !self->closed_) self->flush();
    });
  }
  if (!changes.upserts.empty() || !changes.withdrawals.empty()) routes_changed_(changes);
}

void FpmFeed::source_ready() {
  if (!tracker_.waits_for_source()) return;
  tracker_.source_ready(std::chrono::steady_clock::now());
  schedule_sweep();
}

void FpmFeed::schedule_sweep() {
  const auto deadline = tracker_.deadline();
  if (!deadline) return;
  sweep_timer_.expires_at(*deadline);
  sweep_timer_.async_wait([self = shared_from_this()](const error_code& canceled) {
    if (canceled || self->closed_) return;
    if (!self->tracker_.completes(std::chrono::steady_clock::now())) return self->schedule_sweep();
    const auto swept = self->rib_.sweep();
    if (swept != 0) spdlog::info("FPM: {} route(s) were not in zebra's dump and are withdrawn", swept);
    // Everything of the dump is reported before `synchronized` says so.
    while (self->rib_.dirty()) self->flush();
    self->synchronized_ = true;
  });
}

void FpmFeed::clear() {
  rib_.clear();
  while (rib_.dirty()) flush();
}

std::optional<std::string> FpmFeed::interface_name(const void* context, std::uint32_t ifindex) {
  ifreq request{};
  request.ifr_ifindex = static_cast<int>(ifindex);
  if (::ioctl(static_cast<const FpmFeed*>(context)->names_.get(), SIOCGIFNAME, &request) != 0) return std::nullopt;
  return std::string(request.ifr_name, ::strnlen(request.ifr_name, sizeof request.ifr_name));
}

}  // namespace simplon::bgp
