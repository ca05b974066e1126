// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bgp/speaker.h"

// What FRR's daemons say about sessions, as values, and the judgment of it. All functions are pure.

namespace simplon::bgp {

/// One neighbor in `show bgp neighbors json`.
struct SessionView {
  std::string state;
  std::uint64_t uptime_seconds = 0;
  /// It was established since bgpd started, or is.
  bool was_established = false;
  /// The neighbor announced that it can restart gracefully, so it sends End-of-RIB (RFC 4724 section 3).
  bool graceful_restart = false;
  /// End-of-RIB (RFC 4724 section 2) came for each negotiated family since the session is up.
  bool end_of_rib = false;
  std::uint64_t accepted = 0;
  std::uint64_t sent = 0;
  bool prefix_limit_exceeded = false;
  bool shut_down_here = false;
  /// Until FRR tries again after the prefix limit.
  std::uint64_t restart_in_seconds = 0;
};

/// Errors of all parsers: kPeer when the text is not the JSON that FRR 8.4 writes.
[[nodiscard]] Result<std::map<IpAddress, SessionView>> parse_neighbors(std::string_view json);
/// "up", "down", "init" by peer, of `show bfd peers json`.
[[nodiscard]] Result<std::map<IpAddress, std::string>> parse_bfd_peers(std::string_view json);
/// "Adj-in" of `show bgp FAMILY neighbors A prefix-counts json`: routes received, denied ones included.
[[nodiscard]] Result<std::uint64_t> parse_received_count(std::string_view json);
/// True if `show ip route A json` has a connected route that is in use.
[[nodiscard]] Result<bool> parse_is_connected(std::string_view json);
/// True if `show zebra client summary` lists bgpd.
[[nodiscard]] bool bgp_is_attached(std::string_view client_summary);

/// So long after its start bgpd may still be without routes that it had before: FRR's default restart time, which it tells its
/// neighbors (RFC 4724 section 3). After that they have forgotten its routes as well.
inline constexpr std::chrono::seconds kRestartTime{120};
/// A neighbor that sends no End-of-RIB is taken to have announced its routes when its session is so old. Chosen by us.
inline constexpr std::chrono::seconds kWithoutEndOfRib{30};
/// Whether what a bgpd of this age announces to zebra is all there is: each neighbor sent End-of-RIB (which bgpd, while it restarts
/// gracefully, waits for itself: RFC 4724 section 4.1), has been up for `kWithoutEndOfRib` and sends none, or is lost since it was
/// up, and its routes with it; or bgpd is `kRestartTime` old.
/// Not checked: whether bgpd has selected from these routes, and zebra sent what it was told: that shows in FPM only.
[[nodiscard]] bool has_its_routes(const std::vector<NeighborSpec>& neighbors, const std::map<IpAddress, SessionView>& sessions,
                                  std::chrono::seconds age);

/// The last NOTIFICATION (RFC 4271 section 4.5) of a neighbor since its session was last up.
struct Notification {
  bool sent_by_us = false;
  unsigned code = 0;
  unsigned subcode = 0;
  /// FRR's words for the two numbers.
  std::string text;
  std::chrono::system_clock::time_point at;
  friend bool operator==(const Notification&, const Notification&) = default;
};

/// From lines of bgpd's log (local time); other lines are passed over.
[[nodiscard]] std::map<IpAddress, Notification> parse_notifications(std::string_view log);

/// Evidence about one neighbor whose session is not established.
struct SessionEvidence {
  SessionView session;
  std::string bfd_state;
  std::optional<Notification> notification;
  /// An interface of the namespace is up and has a network with the neighbor's address; unknown if unset.
  std::optional<bool> connected;
  /// Segments with a wrong, missing or unexpected TCP-MD5 signature (RFC 2385) arrived lately in this namespace, of this neighbor as
  /// far as anybody knows: all others have sessions.
  bool md5_failures = false;
  /// The same, of this or another one.
  bool md5_failures_of_some = false;
  std::chrono::system_clock::time_point now;
};

struct Diagnosis {
  std::string problem;
  std::string hint;
};

/// Why `neighbor` of a speaker in AS `local_asn` is not established; empty if it is.
[[nodiscard]] Diagnosis diagnose(const NeighborSpec& neighbor, std::uint32_t local_asn, const SessionEvidence& evidence);

/// Sum of the three TCPMD5 counters of /proc/net/netstat, or nothing if the text has none.
[[nodiscard]] std::optional<std::uint64_t> parse_md5_failures(std::string_view netstat);

}  // namespace simplon::bgp
