// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/forward/drop.h"
#include "tests/differential/oracle/ip_packet.h"
#include "tests/differential/oracle/reassembly.h"
#include "tests/differential/oracle/world.h"

namespace simplon::oracle {

/// A packet on its way out, before it is put into its tunnel.
struct Departure {
  /// The inner packet (an ARP message or neighbor advertisement, if `answer`). Several: any one of them, which differ in the address of ours that an
  /// ICMP error comes from.
  std::vector<Bytes> packets;
  AttachmentId egress;
  PortId port;
  // Exactly one of these four.
  bool to_host = false;
  const VpcEntry* vpc = nullptr;
  OutboundSa* sa = nullptr;
  const CircuitEntry* circuit = nullptr;

  forward::OuterDf outer_df = forward::OuterDf::kSet;
  /// A part of a datagram that the engine gives an identification, whichever, but the same in all parts: which datagram.
  std::shared_ptr<const bool> identified{};
  const EndpointEntry* endpoint = nullptr;
  const AdjacencyEntry* neighbor = nullptr;
  /// On a circuit: to whom.
  MacAddress to{};
  /// A frame that the kernel wrote, which only gets the circuit's tags.
  bool whole_frame = false;
  /// To who asked for the gateway's MAC address.
  bool answer = false;
  /// Who that is, if it is no endpoint.
  std::shared_ptr<const EndpointEntry> asker;
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

/// What it came in as. A flow stays in order as long as that stays the same; packets of CBC and HMAC are opened many at a time,
/// behind those of an AEAD.
enum class Origin : std::uint8_t { kHost, kVxlan, kEsp, kEspInBatch, kCircuit, kNone };

/// What policy found out about a packet.
struct PolicyVerdict {
  bool seen = false;
  bool known = false;
  unsigned direction = 0;
  bool error = false;
  bool begun = false;
  bool source_nat = false;
  bool destination_nat = false;
  bool netmapped = false;
};

/// What a packet did to parts of outer packets that wait for the others.
struct WaitingParts {
  /// It is one, and waits.
  bool kept = false;
  /// Of those before it: dropped because of it, or because they have waited too long; now one with it.
  std::size_t given_up = 0;
  std::size_t joined = 0;
  /// Packets that are waited for, after it.
  std::size_t packets = 0;
};

/// What became of one received packet.
struct Outcome {
  Origin origin = Origin::kNone;
  std::optional<AttachmentId> ingress;
  Flow flow;
  /// One, unless the route has several nexthops and the flow was not seen before: then one for each of `choices`. An
  /// ICMP error of ours over such a route makes as many of each.
  std::vector<Ending> endings;
  std::vector<Hop> choices;
  /// The engine was free to choose, and its choice is not a permitted one: why.
  std::string complaint;
  PolicyVerdict policy;
  WaitingParts parts;
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
using KnownPath = std::function<std::optional<Hop>(const RouteEntry& route, const Flow& flow)>;

/// What an access list says.
struct ListVerdict {
  bool pass = true;
  bool stateful = false;
  std::uint64_t revision = 0;
};

/// What the engine did with the packet that the oracle has in hand, where it may choose.
struct Answers {
  std::function<bool(forward::Drop)> dropped;
  /// The outer address and port of a new connection with source NAT.
  std::function<std::optional<Outside>(const Ends& inside)> translation;
  /// Which nexthop of the route to `destination` a flow from `ingress` takes.
  std::function<std::optional<Hop>(AttachmentId ingress, const IpAddress& destination, const RouteEntry& route,
                                   const Flow& flow)>
      nexthop;
};

/// The forwarding function of the gateway, written to be read: one packet in, what becomes of it out. Nothing is fast
/// here. Follow `receive`; docs/life-of-a-packet.md tells the same in words.
class Oracle {
 public:
  Oracle(World& world, KnownPath known_path, Answers engine)
      : world_(world), known_path_(std::move(known_path)), engine_(std::move(engine)) {}

  /// Limits ICMP errors; empty: there is no limit.
  std::optional<Bucket> bucket;
  /// Nanoseconds.
  std::uint64_t now = 0;
  /// Called in the middle of `receive`: a packet of this kind comes to a domain with policy. `later`: in ESP without an AEAD, in VXLAN
  /// over IPv6, or IPv6: plain packets of IPv4 may overtake it.
  std::function<void(Origin, bool later)> on_origin;
  /// What comes before this packet has to be over.
  std::function<void()> on_guess;

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
    /// As its sender knows it, if it was translated; and the sender as the domain knows it.
    std::shared_ptr<const std::pair<Bytes, IpPacket>> came{};
    IpAddress sender{};
  };
  enum class Answer : std::uint8_t { kTimeExceeded, kNetUnreachable, kHostUnreachable, kRejected, kTooBig };

  // The way in: receive.cpp
  void from_uplink(const Port& port, View frame, Outcome& outcome);
  void from_outer(const Port& port, const OuterPacket& outer, Outcome& outcome);
  void part_of_outer(const Port& port, OuterPacket part, Outcome& outcome);
  /// Of a first part: that of ESP for an SA of ours, from its peer or, with UDP (RFC 3948), from anywhere.
  [[nodiscard]] std::optional<Waiting::Owner> owner_of(const OuterPacket& part) const;
  void from_host(AttachmentId attachment, const Port& port, View packet, Outcome& outcome);
  void vxlan(const Port& port, const IpAddress& source, const IpAddress& destination, std::uint8_t outer_class,
             std::uint16_t udp_port, View bytes, Outcome& outcome);
  void arp(const VpcEntry& vpc, View frame, Outcome& outcome);
  /// Whether the frame, which carries IPv6, is a neighbor solicitation that is not forwarded whatever it says.
  [[nodiscard]] bool is_solicitation(const VpcEntry& vpc, View frame) const;
  void solicitation(const VpcEntry& vpc, const IpAddress& vtep, View frame, Outcome& outcome);
  /// The first of ours in the VPC that a host can have.
  [[nodiscard]] std::optional<IpAddress> gateway_address(const VpcEntry& vpc, bool v4) const;
  /// The endpoint that somebody says it is; nullptr: it is not.
  [[nodiscard]] const EndpointEntry* endpoint_that_is(const VpcEntry& vpc, const IpAddress& address, View mac) const;
  void answer(const VpcEntry& vpc, const EndpointEntry& to, Bytes message, Outcome& outcome, Departure departure);
  void esp(const IpAddress& source, const IpAddress& destination, std::uint8_t outer_class,
           std::optional<std::uint16_t> udp_source_port, View bytes, Outcome& outcome);

  // Circuits: circuit.cpp
  void from_circuit(const Port& port, View frame, Outcome& outcome);
  void from_tap(AttachmentId attachment, View frame, Outcome& outcome) const;
  void hand_to_kernel(const CircuitEntry& circuit, View frame, std::size_t tags, Outcome& outcome);

  // Policy: police.cpp
  struct Passage;
  void police(Inside packet, DomainId domain, Outcome& outcome) const;
  void police_later_fragment(Passage& passage, Outcome& outcome) const;
  [[nodiscard]] std::optional<forward::Drop> begin_connection(Passage& passage, const ListVerdict& from,
                                                              const ListVerdict& to, Outcome& outcome) const;
  [[nodiscard]] Hop policed_hop(const Passage& passage, const RouteEntry& route, Outcome& outcome) const;
  [[nodiscard]] std::optional<Outside> outside_of(const Passage& passage, const forward::NatRuleEntry& rule,
                                                  AttachmentId owner, Outcome& outcome) const;

  // The decision and the way out: forward.cpp
  void route(Inside packet, Outcome& outcome) const;
  /// Where no packet leaves: no route, unreachable, ours, no hop left. False: it goes on to `route`.
  [[nodiscard]] bool ends_here(const Inside& packet, const RouteEntry* route, Outcome& outcome) const;
  void leave(Inside packet, const Hop& hop, Outcome& outcome) const;
  void punt(const Inside& packet, AttachmentId attachment, Ending& ending) const;
  /// Where a packet to `inner_destination` goes from `egress`; a name if it cannot. `forwarded`: the packet, unless it is an answer of ours.
  [[nodiscard]] std::optional<forward::Drop> find_exit(const Hop& hop, const IpAddress& inner_destination, const IpPacket* forwarded,
                                                       Departure& departure) const;
  [[nodiscard]] bool port_missing(PortId id, forward::PortKind kind) const;

  // Sizes: fit.cpp
  [[nodiscard]] std::size_t mtu_out(const Departure& exit) const;
  [[nodiscard]] std::size_t mtu_back(AttachmentId ingress) const;
  [[nodiscard]] std::size_t tunnel_mtu(TunnelId id, const OutboundSa& sa, const AdjacencyEntry& neighbor) const;
  void clamp_mss(Inside& packet, AttachmentId egress, std::size_t mtu) const;
  [[nodiscard]] static std::vector<Bytes> fragments(const Bytes& packet, const IpPacket& ip, std::size_t mtu);

  // ICMP errors: icmp_errors.cpp
  /// `ending` so far goes into `outcome` with the message; several times if the message may go several ways.
  void answer(const Inside& packet, Answer why, std::size_t mtu, Ending ending, Outcome& outcome) const;
  void send_answer(const Hop& hop, const IpAddress& to, Departure exit, Ending& ending) const;
  [[nodiscard]] std::vector<IpAddress> our_addresses(const Inside& packet) const;

  World& world_;
  KnownPath known_path_;
  Answers engine_;
  Waiting waiting_;
};

/// The frame or host packet that `departure` becomes, with packet `which` inside. `number`: for VXLAN the UDP source
/// port, for ESP the sequence number. `seen`: where AES-CBC's IV, which nobody can predict, is taken from. `identification`: of
/// the packet, if it is not its own.
[[nodiscard]] Bytes frame_of(const Departure& departure, std::size_t which, std::uint64_t number, View seen = {},
                             std::optional<std::uint16_t> identification = std::nullopt);
/// The one that the engine gave the packet in `seen`, if it gives such packets one and `seen` opens.
[[nodiscard]] std::optional<std::uint16_t> identification_of(const Departure& departure, std::size_t which, std::uint64_t number, View seen);
/// Its length.
[[nodiscard]] std::size_t frame_bytes(const Departure& departure);

}  // namespace simplon::oracle
