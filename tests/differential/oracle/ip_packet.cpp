// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/oracle/ip_packet.h"

namespace simplon::oracle {
namespace {

using forward::Drop;

/// Nets that are no host's: "this network", loopback, multicast and class E (RFC 1812 section 5.3.7). 169.254/16 is let
/// through: clouds number the inside of their tunnels with it.
bool no_host4(const IpAddress& address) {
  const std::uint8_t first = address.bytes()[0];
  return first == 0 || first == 127 || first >= 224;
}

/// RFC 4291 sections 2.5.2 (::), 2.5.3 (::1), 2.5.6 (fe80::/10) and 2.7 (ff00::/8).
bool no_host6(const IpAddress& address) {
  const View bytes = address.bytes();
  if (bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80)) return true;
  for (std::size_t i = 0; i < 15; ++i) {
    if (bytes[i] != 0) return false;
  }
  return bytes[15] <= 1;
}

bool asks_for_source_routing(View header) {
  bool found = false;
  each_option(header, [&found](std::uint8_t type, View) { found = found || type == 131 || type == 137; });  // RFC 7126
  return found;
}

void read_ports(View bytes, IpPacket& packet) {
  const bool tcp_or_udp = packet.flow.protocol == 6 || packet.flow.protocol == 17;
  packet.has_ports = tcp_or_udp && !packet.fragment && packet.transport + 4 <= packet.length;
  if (!packet.has_ports) return;
  packet.flow.source_port = get16(bytes, packet.transport);
  packet.flow.destination_port = get16(bytes, packet.transport + 2);
}

ParsedIp parse4(View bytes) {
  ParsedIp parsed;
  IpPacket& packet = parsed.packet;
  const auto refuse = [&parsed](Drop why) {
    parsed.drop = why;
    return parsed;
  };
  if (bytes.size() < 20 || bytes[0] >> 4 != 4) return refuse(Drop::kIpv4Malformed);
  packet.header_bytes = (bytes[0] & 15U) * std::size_t{4};
  packet.length = get16(bytes, 2);
  if (packet.header_bytes < 20 || packet.header_bytes > packet.length || packet.length > bytes.size()) {
    return refuse(Drop::kIpv4Malformed);
  }
  const View header = bytes.first(packet.header_bytes);
  if (ones_sum(header) != 0xffff) return refuse(Drop::kIpv4Checksum);
  const std::uint16_t fragment = get16(bytes, 6);
  packet.fragment_id = get16(bytes, 4);
  packet.dont_fragment = (fragment & 0x4000) != 0;
  packet.more_fragments = (fragment & 0x2000) != 0;
  packet.fragment_offset = (fragment & 0x1fffU) * std::size_t{8};
  packet.fragment = packet.more_fragments || packet.fragment_offset != 0;
  packet.later_fragment = packet.fragment_offset != 0;
  // A datagram has at most 65,535 bytes (RFC 791 section 3.1).
  if (packet.fragment_offset + packet.length > 65535) return refuse(Drop::kIpv4Malformed);
  if (asks_for_source_routing(header)) return refuse(Drop::kIpv4SourceRoute);
  packet.flow.source = address4(bytes, 12);
  packet.flow.destination = address4(bytes, 16);
  if (no_host4(packet.flow.source)) return refuse(Drop::kIpSource);
  if (no_host4(packet.flow.destination)) return refuse(Drop::kIpDestination);
  packet.traffic_class = bytes[1];
  packet.hops = bytes[8];
  packet.flow.protocol = bytes[9];
  packet.transport = packet.header_bytes;
  read_ports(bytes, packet);
  return parsed;
}

/// Extension headers in the order in which they stand (RFC 8200 section 4). A chain that leaves the packet leads
/// nowhere (59, no next header).
void walk_extension_headers(View bytes, IpPacket& packet) {
  std::uint8_t next = bytes[6];
  std::size_t at = 40;
  while (next == 0 || next == 43 || next == 60 || next == 44) {
    const bool is_fragment = next == 44;
    const std::size_t left = packet.length - at;
    const std::size_t size = left < 8 ? 0 : (is_fragment ? 8 : (bytes[at + 1] + std::size_t{1}) * 8);
    if (is_fragment && left >= 8) {
      const std::uint16_t offset_more = get16(bytes, at + 2);
      packet.fragment_id = get32(bytes, at + 4);
      packet.later_fragment = packet.later_fragment || offset_more >> 3 != 0;
      packet.fragment = packet.fragment || offset_more >> 3 != 0 || (offset_more & 1) != 0;
    }
    if (size == 0 || size > left) {
      packet.flow.protocol = 59;
      packet.transport = packet.length;
      packet.cut_chain = !packet.later_fragment;
      return;
    }
    next = bytes[at];
    at += size;
    if (packet.later_fragment) break;  // what follows is not a header
  }
  packet.flow.protocol = next;
  packet.transport = at;
}

ParsedIp parse6(View bytes) {
  ParsedIp parsed;
  IpPacket& packet = parsed.packet;
  packet.family = 6;
  const auto refuse = [&parsed](Drop why) {
    parsed.drop = why;
    return parsed;
  };
  if (bytes.size() < 40) return refuse(Drop::kIpv6Malformed);
  packet.header_bytes = 40;
  packet.length = 40 + std::size_t{get16(bytes, 4)};
  if (packet.length > bytes.size()) return refuse(Drop::kIpv6Malformed);
  packet.flow.source = address6(bytes, 8);
  packet.flow.destination = address6(bytes, 24);
  if (no_host6(packet.flow.source)) return refuse(Drop::kIpSource);
  if (no_host6(packet.flow.destination)) return refuse(Drop::kIpDestination);
  packet.traffic_class = static_cast<std::uint8_t>(get16(bytes, 0) >> 4);
  packet.hops = bytes[7];
  walk_extension_headers(bytes, packet);
  read_ports(bytes, packet);
  return parsed;
}

}  // namespace

ParsedIp parse_ip(View bytes) { return !bytes.empty() && bytes[0] >> 4 == 6 ? parse6(bytes) : parse4(bytes); }

void write_header_checksum(Bytes& packet) {
  put16(packet, 10, 0);
  put16(packet, 10, internet_checksum(View(packet).first((packet[0] & 15U) * std::size_t{4})));
}

void set_traffic_class(Bytes& packet, std::uint8_t traffic_class) {
  if (packet[0] >> 4 == 4) {
    packet[1] = traffic_class;
    write_header_checksum(packet);
  } else {
    put16(packet, 0, std::size_t{6} << 12 | std::size_t{traffic_class} << 4 | (packet[1] & 15U));
  }
}

void take_hop(Bytes& packet) {
  if (packet[0] >> 4 == 4) {
    --packet[8];
    write_header_checksum(packet);
  } else {
    --packet[7];
  }
}

}  // namespace simplon::oracle
