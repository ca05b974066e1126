// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <array>

#include "tests/differential/oracle/ip_packet.h"

// What all ways in have in common.

namespace simplon::oracle {

[[nodiscard]] inline std::array<std::uint8_t, 6> mac_at(View bytes, std::size_t at) {
  std::array<std::uint8_t, 6> mac{};
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 6, mac.begin());
  return mac;
}

/// IEEE 802.1Q clause 9.5: of a customer or a service.
[[nodiscard]] inline bool is_vlan_tag(std::uint16_t type) { return type == 0x8100 || type == 0x88a8; }

/// Some senders (veth, virtio) leave the transport checksum to their network card: only the pseudo header's sum is
/// there.
inline void complete_checksum(Bytes& packet, const IpPacket& ip) {
  if (ip.fragment || (ip.flow.protocol != 6 && ip.flow.protocol != 17)) return;
  const std::size_t field = ip.transport + (ip.flow.protocol == 6 ? 16U : 6U);
  if (field + 2 > packet.size()) return;
  const std::uint16_t partial =
      pseudo_header_sum(ip.flow.source, ip.flow.destination, ip.flow.protocol, packet.size() - ip.transport);
  if (get16(packet, field) != partial) return;
  std::uint16_t complete = internet_checksum(from(packet, ip.transport));
  if (complete == 0 && ip.flow.protocol == 17) complete = 0xffff;  // RFC 768
  put16(packet, field, complete);
}

}  // namespace simplon::oracle
