// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gateway/forward/drop.h"
#include "tests/differential/oracle/ip_packet.h"
#include "tests/differential/oracle/world.h"

namespace simplon::oracle {

/// A packet on its way out, before it is put into its tunnel.
struct Departure {
  /// The inner packet (an ARP message, if `arp`). Several: any one of them, which differ in the address of ours that an
  /// ICMP error comes from.
  std::vector<Bytes> packets;
  AttachmentId egress;
  PortId port;
  // Exactly one of these three.
  bool to_host = false;
  const VpcEntry* vpc = nullptr;
  OutboundSa* sa = nullptr;

  const EndpointEntry* endpoint = nullptr;
  const AdjacencyEntry* neighbor = nullptr;
  bool arp = false;
  /// An ICMP error, or a fragment but the first.
  bool originated = false;
  bool error = false;
  /// The port did not take it: why.
  std::optional<forward::Drop> lost;
};

/// How it may end for one packet.
struct Ending {
  struct Dropped {
    forward::Drop why;
    /// Counted at the attachment it came from, if that is known and the packet was not ours.
    std::optional<AttachmentId> from;
  };
  std::vector<Departure> departures;
  std::vector<Dropped> drops;
  std::uint64_t originated = 0;
  /// ICMP errors that used a token of the rate limit, and that found none.
  unsigned tokens = 0;
  unsigned suppressed = 0;
};

enum class Origin : std::uint8_t { kHost, kVxlan, kEsp, kNone };

/// What became of one received packet.
struct Outcome {
  Origin origin = Origin::kNone;
  std::optional<AttachmentId> ingress;
  Flow flow;
  /// One, unless the route has several nexthops and the flow was not seen before: then one for each of `choices`.
  std::vector<Ending> endings;
  std::vector<AttachmentId> choices;
};

/// Tokens for ICMP errors (RFC 1812 section 4.3.2.8): full at first, one more each 1/per_second. Times in nanoseconds.
struct Bucket {
  std::uint64_t per_second = 1;
  std::uint64_t capacity = 1;
  std::uint64_t now = 0;

  [[nodiscard]] bool empty() const { return refilled() == 0; }
  void take() {
    const std::uint64_t tokens = refilled();
    const std::uint64_t interval = 1'000'000'000 / per_second;
    if (tokens == capacity) {
      since_ = now;
    } else if (tokens != tokens_) {
      since_ += (now - since_) / interval * interval;
    }
    tokens_ = tokens - 1;
  }

 private:
  [[nodiscard]] std::uint64_t refilled() const {
    return std::min(capacity, tokens_ + (now - since_) / (1'000'000'000 / per_second));
  }
  std::uint64_t tokens_ = 0;
  /// When a token was last put in.
  std::uint64_t since_ = 0;
};

/// Which nexthop of the route this flow takes, if that is known.
using KnownPath = std::function<std::optional<AttachmentId>(const RouteEntry& route, const Flow& flow)>;

/// The forwarding function of the gateway, written to be read: one packet in, what becomes of it out. Nothing is fast
/// here. Follow `receive`; docs/life-of-a-packet.md tells the same in words.
class Oracle {
 public:
  Oracle(World& world, KnownPath known_path) : world_(world), known_path_(std::move(known_path)) {}

  /// Limits ICMP errors; empty: there is no limit.
  std::optional<Bucket> bucket;

  /// Takes a packet: replay windows and the counters of the way in move. What is sent counts in `settle`.
  [[nodiscard]] Outcome receive(PortId port, View bytes);
  /// `ending` is what happened. Departures to tunnels have their sequence numbers by then.
  void settle(const Ending& ending);

 private:
  struct Inside {
    Bytes bytes;
    IpPacket ip;
    AttachmentId ingress;
    bool from_host = false;
    const InboundSa* sa = nullptr;
  };
  enum class Answer : std::uint8_t { kTimeExceeded, kNetUnreachable, kHostUnreachable, kRejected, kTooBig };

  // The way in: receive.cpp
  void from_uplink(const Port& port, View frame, Outcome& outcome);
  void from_host(AttachmentId attachment, const Port& port, View packet, Outcome& outcome);
  void vxlan(const Port& port, const IpAddress& source, const IpAddress& destination, std::uint8_t outer_class,
             std::uint16_t udp_port, View bytes, Outcome& outcome);
  void arp(const VpcEntry& vpc, View frame, Outcome& outcome);
  void esp(const IpAddress& source, const IpAddress& destination, std::uint8_t outer_class,
           std::optional<std::uint16_t> udp_source_port, View bytes, Outcome& outcome);

  // The decision and the way out: forward.cpp
  void route(Inside packet, Outcome& outcome) const;
  void leave(Inside packet, AttachmentId egress, Ending& ending) const;
  void punt(const Inside& packet, AttachmentId attachment, Ending& ending) const;
  /// Where a packet to `inner_destination` goes from `egress`; a name if it cannot.
  [[nodiscard]] std::optional<forward::Drop> find_exit(AttachmentId egress, const IpAddress& inner_destination,
                                                       Departure& departure) const;
  [[nodiscard]] bool port_missing(PortId id, forward::PortKind kind) const;

  // Sizes: fit.cpp
  [[nodiscard]] std::size_t mtu_out(const Departure& exit) const;
  [[nodiscard]] std::size_t mtu_back(AttachmentId ingress) const;
  [[nodiscard]] std::size_t tunnel_mtu(TunnelId id, const OutboundSa& sa, const AdjacencyEntry& neighbor) const;
  void clamp_mss(Inside& packet, AttachmentId egress, std::size_t mtu) const;
  [[nodiscard]] static std::vector<Bytes> fragments(const Bytes& packet, const IpPacket& ip, std::size_t mtu);

  // ICMP errors: icmp_errors.cpp
  void answer(const Inside& packet, Answer why, std::size_t mtu, Ending& ending) const;
  [[nodiscard]] std::vector<IpAddress> our_addresses(const Inside& packet) const;

  World& world_;
  KnownPath known_path_;
};

/// The frame or host packet that `departure` becomes, with packet `which` inside. `number`: for VXLAN the UDP source
/// port, for ESP the sequence number.
[[nodiscard]] Bytes frame_of(const Departure& departure, std::size_t which, std::uint64_t number);
/// Its length.
[[nodiscard]] std::size_t frame_bytes(const Departure& departure);

}  // namespace simplon::oracle
