// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>

#include "platform/wire/checksum.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"

namespace simplon::forward {

/// Over IPv6 the UDP checksum is not optional (RFC 8200 section 8.1); a result of zero is sent as all ones.
inline void set_udp6_checksum(const wire::Ipv6Header& ip, std::uint8_t* udp_start, std::size_t udp_length) noexcept {
  auto* udp = reinterpret_cast<wire::UdpHeader*>(udp_start);
  udp->checksum = Be16{};
  const std::uint64_t sum = wire::sum_bytes(
      {udp_start, udp_length},
      wire::pseudo_header_sum({ip.source.data(), 32}, wire::kProtocolUdp, static_cast<std::uint32_t>(udp_length)));
  udp->checksum = wire::finish_checksum(sum);
  if (wire::raw(udp->checksum) == 0) udp->checksum = 0xffff;
}

}  // namespace simplon::forward
