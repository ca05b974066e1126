// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/generator/compose.h"

#include <algorithm>

namespace simplon::differential {

using oracle::Bytes;
using oracle::View;

Bytes ip_packet(const IpFields& fields, View payload) {
  Bytes packet;
  packet.reserve(60 + fields.options.size() + payload.size());
  if (fields.source.is_v4()) {
    const std::size_t header = 20 + fields.options.size();
    oracle::add8(packet, 0x40 | (header / 4));
    oracle::add8(packet, fields.traffic_class);
    oracle::add16(packet, header + payload.size());
    oracle::add16(packet, fields.id);
    oracle::add16(packet, fields.flags_offset);
    oracle::add8(packet, fields.hops);
    oracle::add8(packet, fields.protocol);
    oracle::add16(packet, 0);
    oracle::add(packet, fields.source.bytes());
    oracle::add(packet, fields.destination.bytes());
    oracle::add(packet, fields.options);
    oracle::put16(packet, 10, oracle::internet_checksum(packet));
  } else {
    oracle::add32(packet, (6U << 28) | (std::uint32_t{fields.traffic_class} << 20) | fields.id);
    oracle::add16(packet, fields.options.size() + payload.size());
    oracle::add8(packet, fields.options.empty() ? fields.protocol : fields.first_header);
    oracle::add8(packet, fields.hops);
    oracle::add(packet, fields.source.bytes());
    oracle::add(packet, fields.destination.bytes());
    oracle::add(packet, fields.options);
  }
  oracle::add(packet, payload);
  return packet;
}

Bytes udp(const IpAddress& source, const IpAddress& destination, std::uint16_t source_port,
          std::uint16_t destination_port, View payload, UdpChecksum checksum) {
  Bytes datagram;
  datagram.reserve(8 + payload.size());
  oracle::add16(datagram, source_port);
  oracle::add16(datagram, destination_port);
  oracle::add16(datagram, 8 + payload.size());
  oracle::add16(datagram, 0);
  oracle::add(datagram, payload);
  if (checksum == UdpChecksum::kNone) return datagram;
  const std::uint16_t pseudo = oracle::pseudo_header_sum(source, destination, 17, datagram.size());
  const std::uint16_t whole = oracle::internet_checksum(datagram, pseudo);
  oracle::put16(datagram, 6, checksum == UdpChecksum::kPartial ? pseudo : (whole == 0 ? 0xffff : whole));
  return datagram;
}

Bytes tcp(const IpAddress& source, const IpAddress& destination, std::uint16_t source_port,
          std::uint16_t destination_port, std::uint8_t flags, View options, View payload, bool partial) {
  Bytes segment;
  segment.reserve(20 + options.size() + payload.size());
  oracle::add16(segment, source_port);
  oracle::add16(segment, destination_port);
  oracle::add64(segment, 0x0102030405060708);
  oracle::add8(segment, (20 + options.size()) / 4 << 4);
  oracle::add8(segment, flags);
  oracle::add16(segment, 0x1000);
  oracle::add32(segment, 0);
  oracle::add(segment, options);
  oracle::add(segment, payload);
  const std::uint16_t pseudo = oracle::pseudo_header_sum(source, destination, 6, segment.size());
  oracle::put16(segment, 16, partial ? pseudo : oracle::internet_checksum(segment, pseudo));
  return segment;
}

Bytes icmp(const IpAddress& source, const IpAddress& destination, std::uint8_t type, std::uint8_t code, View payload) {
  Bytes message;
  oracle::add8(message, type);
  oracle::add8(message, code);
  oracle::add16(message, 0);
  oracle::add32(message, 0x00010002);
  oracle::add(message, payload);
  const std::uint16_t pseudo =
      source.is_v4() ? std::uint16_t{0} : oracle::pseudo_header_sum(source, destination, 58, message.size());
  oracle::put16(message, 2, oracle::internet_checksum(message, pseudo));
  return message;
}

Bytes ethernet(const MacAddress& destination, const MacAddress& source, std::uint16_t type, View payload) {
  Bytes frame;
  frame.reserve(14 + payload.size());
  oracle::add(frame, destination.bytes);
  oracle::add(frame, source.bytes);
  oracle::add16(frame, type);
  oracle::add(frame, payload);
  return frame;
}

Bytes vxlan(std::uint32_t flags, std::uint32_t vni, View payload) {
  Bytes packet;
  packet.reserve(8 + payload.size());
  oracle::add32(packet, flags);
  oracle::add32(packet, vni);
  oracle::add(packet, payload);
  return packet;
}

void repair_ipv4_checksum(Bytes& bytes, std::size_t at) {
  if (at + 20 > bytes.size()) return;
  const std::size_t header = (bytes[at] & 15U) * std::size_t{4};
  if (header < 20 || at + header > bytes.size()) return;
  oracle::put16(bytes, at + 10, 0);
  oracle::put16(bytes, at + 10, oracle::internet_checksum(View(bytes).subspan(at, header)));
}

}  // namespace simplon::differential
