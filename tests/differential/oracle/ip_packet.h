// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <optional>

#include "gateway/forward/drop.h"
#include "tests/differential/oracle/bytes.h"

namespace simplon::oracle {

/// What tells flows apart. Ports are 0 where there are none: fragments, protocols without.
struct Flow {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  friend auto operator<=>(const Flow&, const Flow&) = default;
};

/// An IP packet that a router may forward.
struct IpPacket {
  unsigned family = 4;
  Flow flow;
  bool has_ports = false;
  /// IPv4: header length. IPv6: 40.
  std::size_t header_bytes = 0;
  /// Of header and payload, as the header says; the rest is padding.
  std::size_t length = 0;
  /// Where the transport header starts.
  std::size_t transport = 0;
  std::uint8_t hops = 0;
  std::uint8_t traffic_class = 0;
  bool dont_fragment = false;
  bool more_fragments = false;
  /// IPv4: bytes.
  std::size_t fragment_offset = 0;
  bool fragment = false;
  std::uint32_t fragment_id = 0;
  /// Does not begin with a transport header.
  bool later_fragment = false;
  /// IPv6: it ends before its extension headers do, and is not a later fragment.
  bool cut_chain = false;
};

struct ParsedIp {
  /// Why not; empty if `packet` is valid.
  std::optional<forward::Drop> drop;
  IpPacket packet;
};

/// The packet at the start of `bytes`, judged as RFC 1812 section 5.2.2 and RFC 8200 section 3 want it. The version
/// nibble decides by which of them.
[[nodiscard]] ParsedIp parse_ip(View bytes);

/// Calls `see(type, option)` for the options of an IPv4 header in order, without padding; the first malformed one ends
/// it.
template <class See>
void each_option(View header, See&& see) {
  std::size_t at = 20;
  while (at < header.size() && header[at] != 0) {
    if (header[at] == 1) {
      ++at;
      continue;
    }
    if (at + 1 >= header.size() || header[at + 1] < 2 || at + header[at + 1] > header.size()) return;
    see(header[at], header.subspan(at, header[at + 1]));
    at += header[at + 1];
  }
}

/// Fills in the checksum of the IPv4 header at the start of `packet`.
void write_header_checksum(Bytes& packet);

/// DSCP and ECN.
void set_traffic_class(Bytes& packet, std::uint8_t traffic_class);
/// TTL or hop limit, one less.
void take_hop(Bytes& packet);

}  // namespace simplon::oracle
