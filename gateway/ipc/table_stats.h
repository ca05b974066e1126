// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/ipc/table_model.h"

// What the forwarder observes, as it is asked (StatsRequest). Never a key.

namespace simplon::ipc {

struct DropCount {
  std::string name;
  std::string reference;
  std::string sentence;
  std::uint64_t packets = 0;
  friend bool operator==(const DropCount&, const DropCount&) = default;
};

struct AttachmentStats {
  AttachmentRef attachment;
  std::uint64_t rx_packets = 0, rx_bytes = 0, tx_packets = 0, tx_bytes = 0, punted = 0, dropped = 0;
  bool host_port_up = false;
  /// Inner IP bytes that fit now; 0 if unknown.
  std::uint16_t mtu = 0;
  /// That count against its limit.
  std::uint32_t connections = 0;
  friend bool operator==(const AttachmentStats&, const AttachmentStats&) = default;
};

struct UplinkStats {
  std::string interface;
  std::string mode;
  std::uint32_t queues = 0;
  bool up = false;
  std::string error;
  std::uint64_t rx_packets = 0, rx_bytes = 0, tx_packets = 0, tx_bytes = 0;
  /// "on", or why the XDP program forwards nothing by itself here.
  std::string xdp_forwarding{};
  /// Of rx_packets: those it forwarded.
  std::uint64_t xdp_packets = 0;
  /// Queues that have a receive ring for control packets apart; fewer than `queues` where the kernel gives none.
  std::uint32_t control_rings = 0;
  /// Packets that the kernel dropped because no worker took what was in the ring; not in rx_packets.
  std::uint64_t rx_ring_full = 0, control_ring_full = 0;
  /// How often it had no frame to receive into.
  std::uint64_t fill_ring_empty = 0;
  friend bool operator==(const UplinkStats&, const UplinkStats&) = default;
};

struct SaStats {
  Spi spi;
  TunnelId tunnel;
  bool inbound = false, active = false, encap = false, esn = false;
  std::string suite;
  IpAddress source, destination;
  std::uint64_t packets = 0, bytes = 0, sequence = 0, replayed = 0, failed = 0, age_seconds = 0;
  friend bool operator==(const SaStats&, const SaStats&) = default;
};

struct NeighborStats {
  IpAddress destination;
  std::string interface;
  MacAddress mac;
  bool resolved = false;
  std::uint16_t mtu = 0;
  /// 0: of the underlay.
  CircuitId circuit{0};
  /// What routers said the path has, and how long it will be believed; 0: none did.
  std::uint16_t learned_mtu = 0;
  std::uint32_t learned_for_seconds = 0;
  friend bool operator==(const NeighborStats&, const NeighborStats&) = default;
};

/// Packets that the rule decided: of a connection, the first only.
struct RuleCount {
  std::string name;
  std::uint64_t packets = 0;
  friend bool operator==(const RuleCount&, const RuleCount&) = default;
};

struct AclStats {
  std::string name;
  std::vector<RuleCount> rules;
  friend bool operator==(const AclStats&, const AclStats&) = default;
};

struct NatStats {
  DomainId domain;
  std::vector<RuleCount> rules;
  friend bool operator==(const NatStats&, const NatStats&) = default;
};

enum class ConnectionState : std::uint8_t { kOpening = 0, kOpen = 1, kClosing = 2 };

/// Ends as the first packet had them, and as it left us.
struct ConnectionStats {
  DomainId domain;
  std::uint8_t protocol = 0;
  ConnectionState state = ConnectionState::kOpening;
  /// TCP, bits: FIN forth, FIN back, RST, open before the RST.
  std::uint8_t closing = 0;
  IpAddress source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  IpAddress translated_source, translated_destination;
  std::uint16_t translated_source_port = 0, translated_destination_port = 0;
  /// Kind kNone: it is gone.
  AttachmentRef from, to;
  std::uint64_t packets_out = 0, packets_back = 0, bytes_out = 0, bytes_back = 0;
  std::uint32_t age_seconds = 0, idle_seconds = 0, expires_in_seconds = 0;
  friend bool operator==(const ConnectionStats&, const ConnectionStats&) = default;
};

/// A thread that forwards.
struct WorkerStats {
  /// It is bound to; nothing: to none.
  std::optional<std::uint32_t> cpu;
  /// Of the last second: how much of a CPU's time it used.
  std::uint32_t busy_percent = 0;
  std::uint64_t received = 0, dropped = 0;
  /// Receive queues that are its own.
  struct Queue {
    std::string interface;
    std::uint32_t queue = 0;
    friend bool operator==(const Queue&, const Queue&) = default;
  };
  std::vector<Queue> queues;
  friend bool operator==(const WorkerStats&, const WorkerStats&) = default;
};

/// received + originated = sent + punted + dropped, exactly.
struct Accounting {
  std::uint64_t received = 0, originated = 0, sent = 0, punted = 0, dropped = 0;
  /// ICMP errors not made, because there were too many; not of the sum.
  std::uint64_t icmp_suppressed = 0;
  friend bool operator==(const Accounting&, const Accounting&) = default;
};

struct Stats {
  std::uint64_t token = 0;
  Generation generation;
  Accounting accounting;
  std::vector<DropCount> drops;
  std::vector<AttachmentStats> attachments;
  std::vector<UplinkStats> uplinks;
  std::vector<SaStats> sas;
  std::vector<NeighborStats> neighbors;
  std::uint64_t routes = 0, endpoints = 0;
  /// Routes whose packets take backups now, and how often some nexthops were left for their backups.
  std::uint64_t routes_on_backup = 0, switches_to_backup = 0;
  std::vector<AclStats> acls;
  std::vector<NatStats> nats;
  std::uint32_t connections_used = 0, connections_most = 0;
  /// As many as were asked for.
  std::vector<ConnectionStats> connections;
  /// worker0 first.
  std::vector<WorkerStats> workers;
  /// ICMP "packet too big" about outer packets, by what became of them.
  std::vector<RuleCount> too_big;
  friend bool operator==(const Stats&, const Stats&) = default;
};

}  // namespace simplon::ipc
