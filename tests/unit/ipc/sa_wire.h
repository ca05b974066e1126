// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "gateway/ipc/sa_protocol.h"
#include "platform/net/ip_address.h"

// What a plugin sends, for tests and benchmarks that stand in for charon.

namespace simplon::test {

/// A message of the SA protocol: the header, then the bodies one behind another.
template <class... Body>
[[nodiscard]] std::vector<std::uint8_t> sa_message(std::uint16_t type, std::uint32_t sequence, const Body&... body) {
  simplon_sa_header header{SIMPLON_SA_MAGIC, SIMPLON_SA_VERSION, type, 0, sequence};
  header.length = static_cast<std::uint32_t>(sizeof header + (sizeof body + ... + 0));
  std::vector<std::uint8_t> bytes(sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
  ((bytes.insert(bytes.end(), reinterpret_cast<const std::uint8_t*>(&body),
                 reinterpret_cast<const std::uint8_t*>(&body) + sizeof body)),
   ...);
  return bytes;
}

[[nodiscard]] inline simplon_sa_address sa_address(const IpAddress& address) {
  simplon_sa_address to{};
  to.family = address.is_v4() ? 4 : 6;
  std::copy(address.bytes().begin(), address.bytes().end(), to.bytes);
  return to;
}

/// All of IPv4, any protocol, any port.
[[nodiscard]] inline simplon_sa_selector sa_any_ipv4() {
  simplon_sa_selector selector{};
  selector.from.family = selector.to.family = 4;
  std::memset(selector.to.bytes, 0xff, 4);
  selector.port_to = 65535;
  return selector;
}

}  // namespace simplon::test
