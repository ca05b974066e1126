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
  std::string xdp_forwarding;
  /// Of rx_packets: those it forwarded.
  std::uint64_t xdp_packets = 0;
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
  friend bool operator==(const NeighborStats&, const NeighborStats&) = default;
};

/// received + originated = sent + punted + dropped, exactly.
struct Accounting {
  std::uint64_t received = 0, originated = 0, sent = 0, punted = 0, dropped = 0;
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
  friend bool operator==(const Stats&, const Stats&) = default;
};

}  // namespace simplon::ipc
