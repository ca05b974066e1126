// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "gateway/forward/packet_filter.h"
#include "gateway/forward/src/path/inner_packet.h"
#include "platform/wire/endian.h"

namespace simplon::forward {

/// What a PacketFilter compares, of the packet inside.
[[nodiscard]] inline PacketFilter::Flow flow_of(const InnerPacket& inner) noexcept {
  const std::uint32_t ports = byteswap(inner.ports);
  return {inner.source_address().to_ip(),           inner.destination_address().to_ip(),
          inner.protocol,                           inner.has_ports(),
          static_cast<std::uint16_t>(ports >> 16), static_cast<std::uint16_t>(ports)};
}

}  // namespace simplon::forward
