// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>

#include "gateway/forward/src/path/express.h"
#include "gateway/forward/src/path/inner_packet.h"
#include "gateway/forward/src/path/routing.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/tcp.h"

namespace simplon::forward {

/// What flow_hash4 wants of the transport header; false: of a SYN, whose options pmtu looks at, or a TCP header cut off.
[[nodiscard]] inline bool take_ports(const wire::Ipv4Header& ip, std::size_t bytes, std::uint32_t& ports) noexcept {
  ports = 0;
  if (ip.protocol == wire::kProtocolTcp) {
    const auto& tcp = *reinterpret_cast<const wire::TcpHeader*>(&ip + 1);
    if (bytes < sizeof ip + sizeof tcp || (tcp.flags & wire::kTcpSyn) != 0) return false;
  } else if (ip.protocol != wire::kProtocolUdp || bytes < sizeof ip + 4) {
    return true;
  }
  ports = load32(reinterpret_cast<const std::uint8_t*>(&ip + 1));
  return true;
}

/// Describes what was decapsulated, if it is plain (express.h): IPv4 whose header is all there. `available`: bytes from `data` on, at
/// least 20; less may be the packet's. False: nothing was written.
[[nodiscard, gnu::always_inline]] inline bool admit_plain(std::uint8_t* data, std::size_t available, const Attachment& from,
                                                          std::uint16_t number, PlainPacket& packet) noexcept {
  const auto& ip = *reinterpret_cast<const wire::Ipv4Header*>(data);
  const std::size_t bytes = ip.total_length.host();
  const std::uint32_t source = load32(ip.source.data());
  const std::uint32_t destination = load32(ip.destination.data());
  std::uint32_t ports;
  if (!wire::is_plain_ipv4(ip, available) || ip.ttl <= 1 || is_martian4(source) || is_martian4(destination) ||
      !take_ports(ip, bytes, ports)) {
    return false;
  }
  packet = {data, &from, destination, flow_hash4(source, destination, ports, ip.protocol), static_cast<std::uint16_t>(bytes), number, 0};
  return true;
}

}  // namespace simplon::forward
