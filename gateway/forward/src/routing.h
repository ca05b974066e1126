// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "gateway/forward/src/burst.h"

namespace simplon::forward {

// Parts of ip_forward that other stages use too.

/// Where the domain sends packets to the address.
[[nodiscard]] inline RouteValue look_up(const Domain& domain, const AddressWords& address, std::uint8_t family) noexcept {
  return RouteValue(
      family == 4 ? domain.fib4.lookup(fib_key(byteswap(static_cast<std::uint32_t>(address.low))))
                  : domain.fib6.lookup((static_cast<Uint128>(byteswap(address.low)) << 64) | byteswap(address.high)));
}

/// The slot that a packet of ours to `inner.destination` leaves through; 0: there is no way, or it is to ourselves.
[[nodiscard]] std::uint32_t exit_towards(const TableState& tables, const Domain& domain, const InnerPacket& inner) noexcept;

/// Sends the packet there: to `resolving` or `to_host`, or drops it.
void send_on(Burst& burst, unsigned number, Transit& packet, RouteValue value) noexcept;

}  // namespace simplon::forward
