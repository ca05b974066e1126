// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstring>

#include "gateway/forward/src/path/burst.h"
#include "platform/wire/ethernet.h"

namespace simplon::forward {

/// Whom the kernel sees as sender of what did not come in a frame: locally administered, and nobody answers to it.
inline constexpr MacAddress kNobody{{0x02, 0, 0, 0, 0, 0x01}};

/// An Ethernet header in front of an IP packet for a host port that carries frames.
[[gnu::noinline]] inline void put_host_frame(Transit& packet, const HostPort& host_port) noexcept {
  const wire::EthernetHeader header{host_port.mac, kNobody,
                                    Be16(packet.inner.family == 4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6)};
  packet.data -= sizeof header;
  packet.length = static_cast<std::uint16_t>(packet.length + sizeof header);
  std::memcpy(packet.data, &header, sizeof header);
}

/// What classify does with a frame that the kernel sends into a circuit: to `to_uplink` with tags. `slot`: of the circuit; 0: none.
void classify_host_frame(Burst& burst, unsigned number, Transit& packet, std::uint32_t slot) noexcept;

}  // namespace simplon::forward
