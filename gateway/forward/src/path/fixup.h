// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <cstring>

#include "gateway/forward/src/path/inner_packet.h"

namespace simplon::forward {

/// Completes a transport checksum that the sender left to its network card: veth and virtio hand such packets over with
/// only the pseudo header's sum in the field, and nothing in the frame says so. A field that equals that sum is taken for
/// partial; a complete checksum does so once in 65536. Only for ports whose owner asked for it.
[[gnu::noinline]] inline void complete_checksum(std::uint8_t* ip, const InnerPacket& packet) noexcept {
  if (packet.fragment) return;
  std::size_t field = 0;
  if (packet.protocol == wire::kProtocolTcp) {
    field = 16;
  } else if (packet.protocol == wire::kProtocolUdp) {
    field = 6;
  } else {
    return;
  }
  if (std::size_t{packet.l4_offset} + field + 2 > packet.length) return;
  const auto l4_bytes = static_cast<std::uint32_t>(packet.length - packet.l4_offset);
  const std::span<const std::uint8_t> addresses =
      packet.family == 4 ? std::span<const std::uint8_t>(ip + 12, 8) : std::span<const std::uint8_t>(ip + 8, 32);
  const std::uint16_t partial = wire::fold(wire::pseudo_header_sum(addresses, packet.protocol, l4_bytes));
  std::uint8_t* at = ip + packet.l4_offset + field;
  std::uint16_t present;
  std::memcpy(&present, at, 2);
  if (present != partial) return;
  std::uint16_t complete = wire::raw(wire::checksum({ip + packet.l4_offset, l4_bytes}));
  if (complete == 0 && packet.protocol == wire::kProtocolUdp) complete = 0xffff;  // RFC 768
  std::memcpy(at, &complete, 2);
}

}  // namespace simplon::forward
