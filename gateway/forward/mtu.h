// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>

#include "platform/crypto/esp_suite.h"

// How much fits: pure arithmetic.

namespace simplon::forward {

/// Every link carries IPv4 packets of so many bytes (RFC 791 section 3.2): a smaller MTU is a mistake, or a lie.
inline constexpr std::uint16_t kLeastMtu = 68;

/// The largest inner packet whose ESP packet in tunnel mode fits `path_mtu`; 0 if none does.
/// `outer_ip_bytes`: 20 or 40. `encap`: ESP in UDP (RFC 3948).
[[nodiscard]] constexpr std::size_t esp_inner_mtu(std::size_t path_mtu, std::size_t outer_ip_bytes, bool encap,
                                                  const crypto::EspLayout& layout) noexcept {
  const std::size_t fixed = outer_ip_bytes + (encap ? 8 : 0) + 8 + layout.iv_bytes + layout.icv_bytes;
  if (path_mtu < fixed + layout.alignment) return 0;
  const std::size_t room = (path_mtu - fixed) & ~(std::size_t{layout.alignment} - 1);
  return room - 2;  // pad length and next header
}

/// The largest inner IP packet whose VXLAN packet fits `path_mtu`: outer IP, UDP, VXLAN, inner Ethernet.
[[nodiscard]] constexpr std::size_t vxlan_inner_mtu(std::size_t path_mtu, std::size_t outer_ip_bytes) noexcept {
  const std::size_t fixed = outer_ip_bytes + 8 + 8 + 14;
  return path_mtu > fixed ? path_mtu - fixed : 0;
}

/// The TCP MSS for a packet of `mtu` bytes without options (RFC 9293 section 3.7.1): `ip_bytes` is 20 or 40.
[[nodiscard]] constexpr std::uint16_t tcp_mss(std::size_t mtu, std::size_t ip_bytes) noexcept {
  return mtu > ip_bytes + 20 ? static_cast<std::uint16_t>(mtu - ip_bytes - 20) : std::uint16_t{0};
}

}  // namespace simplon::forward
