// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "platform/base/result.h"
#include "platform/net/ip_address.h"
#include "platform/net/ip_prefix.h"
#include "platform/sys/process.h"

namespace simplon::bgp {

struct PrefixRule {
  IpPrefix prefix;
  std::uint8_t max_length = 0;
  friend bool operator==(const PrefixRule&, const PrefixRule&) = default;
};

struct NeighborSpec {
  std::string name;
  IpAddress address;
  std::uint32_t remote_asn = 0;
  /// TCP-MD5 password itself, or empty; never logged.
  std::string password;
  /// It should have a password, which cannot be had at the moment: FRR goes on with the one it has, or without this neighbor.
  bool keep_as_is = false;
  std::chrono::seconds keepalive{10};
  std::chrono::seconds hold{30};
  bool bfd = false;
  /// What no rule permits is denied, both ways.
  std::vector<PrefixRule> import;
  std::vector<PrefixRule> export_;
  std::uint32_t max_prefixes = 1000;
  friend bool operator==(const NeighborSpec&, const NeighborSpec&) = default;
};

/// Whether FRR takes it: at most 80 printable ASCII characters without spaces.
[[nodiscard]] bool is_password(std::string_view text) noexcept;

/// One wanted FRR instance.
struct SpeakerSpec {
  /// FRR pathspace (`-N`), also the name of the network namespace under /run/netns that it lives in.
  std::string netns;
  std::uint32_t asn = 0;
  IpAddress router_id;
  /// Prefixes of our own that are originated (subject to each neighbor's export policy).
  std::vector<IpPrefix> originate;
  std::vector<NeighborSpec> neighbors;
  friend bool operator==(const SpeakerSpec&, const SpeakerSpec&) = default;
};

struct NeighborStatus {
  std::string name;
  IpAddress address;
  std::uint32_t remote_asn = 0;
  /// BGP FSM state as FRR says it ("Established", "Active", ...), or "Unknown" when FRR does not answer.
  std::string state;
  std::uint64_t uptime_seconds = 0;
  /// Denied ones included. Only counted for `StatusDetail::kReceivedPrefixes`.
  std::uint64_t prefixes_received = 0;
  std::uint64_t prefixes_accepted = 0;
  std::uint64_t prefixes_sent = 0;
  std::string bfd_state;
  /// Why it is not established, and what to do; empty when it is.
  std::string problem;
  std::string hint;
};

enum class StatusDetail : std::uint8_t {
  kSessions,
  /// Also what neighbors announced: bgpd walks its whole table for each of them.
  kReceivedPrefixes,
};

struct SpeakerStatus {
  bool running = false;
  bool fpm_connected = false;
  std::vector<NeighborStatus> neighbors;
  std::string problem;
  std::string hint;
};

/// One nexthop of a learned route: a gateway on an interface of the namespace.
struct RouteNextHop {
  std::optional<IpAddress> gateway;
  std::string interface;
  std::uint16_t weight = 1;
  friend auto operator<=>(const RouteNextHop&, const RouteNextHop&) = default;
};

/// One selected route, as zebra sent it over FPM.
struct LearnedRoute {
  IpPrefix prefix;
  std::vector<RouteNextHop> nexthops;
  friend bool operator==(const LearnedRoute&, const LearnedRoute&) = default;
};

/// A batch of changes to the RIB; a prefix occurs at most once.
struct RouteChanges {
  std::vector<LearnedRoute> upserts;
  std::vector<IpPrefix> withdrawals;
};

/// One FRR instance (zebra, bgpd, bfdd) in one network namespace, and the routes it selected.
///
/// FRR outlives simplond: a new Speaker adopts the running instance, reads back its configuration and changes only what
/// differs; a change to one neighbor never resets another. A daemon of FRR that died is started again.
/// Routes come over FPM to a listener inside the namespace: DELROUTE+NEWROUTE of a prefix are coalesced; after a reconnect
/// old routes are stale until the dump went idle, then swept, so a restart of either side withdraws nothing by itself.
/// Threads: one io_context thread; nothing here blocks it.
class Speaker {
 public:
  using RoutesChanged = std::function<void(const RouteChanges&)>;

  struct Options {
    /// FPM listener port on 127.0.0.1 inside the namespace.
    std::uint16_t fpm_port = 2620;
    /// How long FPM must be silent after a (re)connect, from when bgpd is attached to zebra and its neighbors have announced their
    /// routes, before stale routes are swept.
    std::chrono::milliseconds sweep_idle{1500};
    /// A daemon that runs but has not answered on its vty socket for so long is ended and started again. Chosen as FRR's own
    /// watchfrr does: a bgpd that works off a large table is silent for seconds.
    std::chrono::milliseconds hung_after{90000};
    /// Starts and stops the daemons; detached processes if unset.
    std::shared_ptr<sys::ServiceSupervisor> supervisor;
  };

  /// The network namespace must exist. Does not start anything until `reconcile`.
  static Result<std::unique_ptr<Speaker>> create(boost::asio::io_context& io, std::string netns, Options options,
                                                 RoutesChanged routes_changed);
  /// Leaves FRR running.
  virtual ~Speaker() = default;

  /// Starts or adopts FRR and makes it hold exactly `wanted`. Idempotent. Errors: kUnavailable when FRR does not start or
  /// answer (retried by the caller), kInvalidConfig when FRR rejects a command, naming it.
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> reconcile(SpeakerSpec wanted) = 0;
  [[nodiscard]] virtual boost::asio::awaitable<SpeakerStatus> status(StatusDetail detail) = 0;
  /// Ends the instance and removes its files (the domain no longer speaks BGP).
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> stop() = 0;

  /// False until the first dump after construction went idle: until then, absent routes mean nothing.
  [[nodiscard]] virtual bool synchronized() const = 0;
};

}  // namespace simplon::bgp
