// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bgp/rib.h"
#include "bgp/src/dump_tracker.h"
#include "bgp/src/fpm_message.h"
#include "platform/sys/unique_fd.h"

namespace simplon::bgp {

/// The listener for zebra's FPM connection, and the RIB that it fills.
///
/// Changes are reported when zebra has been silent for a moment (5 ms; a DELROUTE and its NEWROUTE may arrive in two
/// reads) or after at most 50 ms, in batches. One connection at a time; a new one replaces the old.
/// Threads: that of the io_context. Owned by a shared_ptr, because its handlers outlive `close` by a moment.
class FpmFeed : public std::enable_shared_from_this<FpmFeed>, private FpmRouteSink {
 public:
  struct Options {
    std::uint16_t port = 2620;
    std::chrono::milliseconds sweep_idle{1500};
  };
  using RoutesChanged = std::function<void(const RouteChanges&)>;

  /// Binds 127.0.0.1:port inside the namespace. Errors: kUnavailable (no such namespace), kConflict (port in use).
  [[nodiscard]] static Result<std::shared_ptr<FpmFeed>> open(boost::asio::io_context& io, const std::string& netns,
                                                             Options options, RoutesChanged routes_changed);
  ~FpmFeed() override = default;

  void start();
  /// Ends everything; `routes_changed` is not called any more.
  void close();

  [[nodiscard]] bool connected() const noexcept { return tracker_.is_connected(); }
  /// A connection is there whose dump counts from `source_ready` on.
  [[nodiscard]] bool waits_for_source() const noexcept { return tracker_.waits_for_source(); }
  /// bgpd is attached to zebra, has what its neighbors announce, and has announced that to zebra or will do so at once.
  void source_ready();
  [[nodiscard]] bool synchronized() const noexcept { return synchronized_; }

  /// Withdraws everything and reports it.
  void clear();

 private:
  FpmFeed(boost::asio::io_context& io, sys::UniqueFd names, Options options, RoutesChanged routes_changed);

  void on_route(const FpmRoute& route) override;
  void accept();
  void read();
  void on_bytes(std::size_t count);
  void lost(const std::string& why);
  void schedule_flush();
  void flush();
  void schedule_sweep();

  static std::optional<std::string> interface_name(const void* context, std::uint32_t ifindex);

  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::ip::tcp::socket connection_;
  boost::asio::steady_timer flush_timer_;
  boost::asio::steady_timer sweep_timer_;
  boost::asio::steady_timer accept_timer_;
  sys::UniqueFd names_;  // a socket of the namespace, to ask for names of interfaces
  RoutesChanged routes_changed_;
  Rib rib_;
  DumpTracker tracker_;
  FpmStatistics statistics_;
  std::uint64_t reported_without_nexthops_ = 0;
  std::vector<std::uint8_t> buffer_;
  std::size_t filled_ = 0;
  std::uint64_t connection_number_ = 0;
  MonoTime flush_latest_{};
  bool flush_scheduled_ = false;
  bool synchronized_ = false;
  bool closed_ = false;
};

}  // namespace simplon::bgp
