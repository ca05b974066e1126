// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/forward/objects.h"

// Policy as the table writer writes it: who may talk to whom, at what rate, and under which addresses. Entries replace what
// has the same key, as in objects.h.

namespace simplon::forward {

/// Both ends included; host order.
struct NumberRange {
  std::uint16_t first = 0;
  std::uint16_t last = 65535;
  friend bool operator==(const NumberRange&, const NumberRange&) = default;
};

/// As seen by the attachment the list is tied to: packets that came from it, or go to it.
enum class AclDirection : std::uint8_t { kFrom = 1, kTo = 2 };

/// An empty list of prefixes, ports or types means any; a prefix matches packets of its family only.
struct AclRuleEntry {
  std::string name;  ///< Unique in its list; counters go on under it.
  bool allow = false;
  AclDirection direction = AclDirection::kFrom;
  /// Of an allowed packet, the rest of its connection passes too, in both directions.
  bool stateful = true;
  std::optional<std::uint8_t> protocol;
  std::vector<IpPrefix> sources;
  std::vector<IpPrefix> destinations;
  std::vector<NumberRange> source_ports;       ///< TCP and UDP.
  std::vector<NumberRange> destination_ports;  ///< TCP and UDP; message types of ICMP and ICMPv6.
  friend bool operator==(const AclRuleEntry&, const AclRuleEntry&) = default;
};

inline constexpr std::size_t kMaxAclRules = 256;

/// The first rule that matches decides.
struct AclEntry {
  std::string name;  ///< Key.
  bool allow_by_default = false;
  std::vector<AclRuleEntry> rules;
  friend bool operator==(const AclEntry&, const AclEntry&) = default;
};

/// Does the source lead back (RFC 3704)? Loose: anywhere; strict: to the attachment the packet came from.
enum class ReversePath : std::uint8_t { kOff = 0, kLoose = 1, kStrict = 2 };

/// 0: no limit. Bits are those of inner IP packets.
struct RateEntry {
  std::uint64_t bits_per_second = 0;
  std::uint64_t packets_per_second = 0;
  friend bool operator==(const RateEntry&, const RateEntry&) = default;
};

/// Also of an attachment without a PolicyEntry.
inline constexpr std::uint32_t kDefaultMaxConnections = 65536;

/// What holds for the packets of one attachment.
struct PolicyEntry {
  AttachmentId attachment;  ///< Key.
  DomainId domain;          ///< The attachment's.
  /// Name of an AclEntry; if there is none of that name, nothing passes. Empty: everything passes.
  std::string acl;
  ReversePath reverse_path = ReversePath::kOff;
  RateEntry from;
  RateEntry to;
  /// That it may have at a time.
  std::uint32_t max_connections = kDefaultMaxConnections;
  friend bool operator==(const PolicyEntry&, const PolicyEntry&) = default;
};

enum class NatKind : std::uint8_t {
  kSource = 1,       ///< Connections that leave through the attachment get an address and port of `outside`.
  kDestination = 2,  ///< Connections to `outside` go to `inside`.
  kNetmap = 3,       ///< One to one, without state: `inside` is seen as `outside` by the attachment.
  kNetmapRemote = 4, ///< One to one: what the attachment calls `outside` is `inside` in the domain.
};

/// IPv4.
struct NatRuleEntry {
  std::string name;  ///< Unique in its domain; counters go on under it.
  NatKind kind = NatKind::kSource;
  AttachmentId attachment;  ///< Not for kDestination.
  std::vector<IpPrefix> sources;  ///< kSource: whose connections; empty: all.
  IpPrefix outside;
  IpPrefix inside;  ///< Not for kSource. kDestination: one address.
  /// kDestination: TCP or UDP with ports; none of them: everything to the address.
  std::optional<std::uint8_t> protocol;
  std::uint16_t outside_port = 0;
  std::uint16_t inside_port = 0;
  /// kSource: blocks of 512 ports that one VPC may take of each address.
  std::uint16_t port_blocks = 16;
  friend bool operator==(const NatRuleEntry&, const NatRuleEntry&) = default;
};

/// The first rule of a kind that matches decides.
struct NatEntry {
  DomainId domain;  ///< Key.
  std::vector<NatRuleEntry> rules;
  friend bool operator==(const NatEntry&, const NatEntry&) = default;
};

/// What a rule decided. Packets of a connection after its first count at the connection.
struct RuleCount {
  std::string name;
  std::uint64_t packets = 0;
};

enum class ConnectionState : std::uint8_t {
  kOpening = 0,  ///< No answer yet, or the TCP handshake is not over.
  kOpen = 1,
  kClosing = 2,  ///< TCP: FIN or RST was seen.
};

/// One line of the connection table.
struct ConnectionView {
  DomainId domain;
  std::uint8_t protocol = 0;
  ConnectionState state = ConnectionState::kOpening;
  /// TCP: what of its end was seen, for a process that goes on with it; bits FIN forth, FIN back, RST, open before the RST.
  std::uint8_t closing = 0;
  /// As its first packet had them; ports are 0 without. ICMP: the identifier is the source's.
  IpAddress source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  /// As its first packet left us.
  IpAddress translated_source, translated_destination;
  std::uint16_t translated_source_port = 0, translated_destination_port = 0;
  AttachmentId from, to;
  std::uint64_t packets_out = 0, packets_back = 0, bytes_out = 0, bytes_back = 0;
  std::uint32_t age_seconds = 0, idle_seconds = 0, expires_in_seconds = 0;
};

}  // namespace simplon::forward
