// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "platform/net/mac_address.h"
#include "tests/differential/oracle/bytes.h"

// Packets from the inside out. Lengths and checksums are right; whoever wants them wrong changes them afterwards.

namespace simplon::differential {

struct IpFields {
  IpAddress source;
  IpAddress destination;  ///< Of the same family.
  std::uint8_t protocol = 17;
  std::uint8_t hops = 64;
  std::uint8_t traffic_class = 0;
  std::uint16_t id = 0;
  /// IPv4 only: flags and fragment offset as they stand in the header.
  std::uint16_t flags_offset = 0;
  /// IPv4: options, in whole words. IPv6: extension headers, each naming the next but the last, which names `protocol`.
  oracle::Bytes options = {};
  /// IPv6: the first of `options`.
  std::uint8_t first_header = 0;
};
[[nodiscard]] oracle::Bytes ip_packet(const IpFields& fields, oracle::View payload);

enum class UdpChecksum : std::uint8_t { kNone, kRight, kPartial };
[[nodiscard]] oracle::Bytes udp(const IpAddress& source, const IpAddress& destination, std::uint16_t source_port,
                                std::uint16_t destination_port, oracle::View payload, UdpChecksum checksum);
/// `options`: in whole words. `partial`: as udp's.
[[nodiscard]] oracle::Bytes tcp(const IpAddress& source, const IpAddress& destination, std::uint16_t source_port,
                                std::uint16_t destination_port, std::uint8_t flags, oracle::View options,
                                oracle::View payload, bool partial);
[[nodiscard]] oracle::Bytes icmp(const IpAddress& source, const IpAddress& destination, std::uint8_t type,
                                 std::uint8_t code, oracle::View payload);
[[nodiscard]] oracle::Bytes ethernet(const MacAddress& destination, const MacAddress& source, std::uint16_t type,
                                     oracle::View payload);
[[nodiscard]] oracle::Bytes vxlan(std::uint32_t flags, std::uint32_t vni, oracle::View payload);

/// Makes the IPv4 header that starts at `at` consistent again after a change, if it lies within `bytes`.
void repair_ipv4_checksum(oracle::Bytes& bytes, std::size_t at);

}  // namespace simplon::differential
