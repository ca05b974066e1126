// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "gateway/forward/src/path/burst.h"

namespace simplon::forward {

// Parts of ip_forward that other stages use too.

/// Addresses and ports as they lie in memory. The same for all packets of a flow.
[[nodiscard]] inline std::uint32_t flow_hash4(std::uint32_t source, std::uint32_t destination, std::uint32_t ports,
                                              std::uint8_t protocol) noexcept {
  const std::uint64_t hash =
      mix((std::uint64_t{source} << 32) | destination, (std::uint64_t{ports} << 8) | protocol);
  return static_cast<std::uint32_t>(hash >> 32);
}

/// Fragments have no ports, so all fragments of a datagram go one way (of IPv6, if no header but the upper layer's follows that of
/// the fragment).
[[nodiscard]] inline std::uint32_t flow_hash(const InnerPacket& inner) noexcept {
  if (inner.family == 4) {
    return flow_hash4(static_cast<std::uint32_t>(inner.source.low), static_cast<std::uint32_t>(inner.destination.low), inner.ports,
                      inner.protocol);
  }
  const std::uint64_t ports = (std::uint64_t{inner.ports} << 8) | inner.protocol;
  const std::uint64_t hash =
      mix(mix(inner.source.low, inner.source.high) ^ inner.destination.low, inner.destination.high ^ ports);
  return static_cast<std::uint32_t>(hash >> 32);
}

/// The key of an IPv4 address in `fib4`, of an IPv6 address in `fib6`.
[[nodiscard]] inline std::uint64_t fib_key4(const AddressWords& address) noexcept {
  return fib_key(byteswap(static_cast<std::uint32_t>(address.low)));
}
[[nodiscard]] inline Uint128 fib_key6(const AddressWords& address) noexcept {
  return (static_cast<Uint128>(byteswap(address.low)) << 64) | byteswap(address.high);
}

/// Where the domain sends packets to the address.
[[nodiscard]] inline RouteValue look_up(const Domain& domain, const AddressWords& address, std::uint8_t family) noexcept {
  return RouteValue(family == 4 ? domain.fib4.lookup(fib_key4(address)) : domain.fib6.lookup(fib_key6(address)));
}

/// The slot that packets of a flow leave through when the route is kGroup and names `group`; 0: the group is gone.
[[nodiscard]] inline std::uint32_t member_for(const TableState& tables, std::uint32_t group, std::uint32_t flow_hash) noexcept {
  const EcmpGroup* found = tables.groups[group].load(std::memory_order_acquire);
  return found == nullptr ? 0 : found->pick(flow_hash);
}

/// The slot that packets of a flow leave through; 0: the route leads to none.
[[nodiscard]] inline std::uint32_t exit_slot(const TableState& tables, RouteValue value, std::uint32_t flow_hash) noexcept {
  if (value.action() == RouteValue::Action::kGroup) return member_for(tables, value.slot(), flow_hash);
  return value.action() == RouteValue::Action::kForward ? value.slot() : 0;
}

/// The slot that a packet of ours to `inner.destination` leaves through; 0: there is no way, or it is to ourselves.
[[nodiscard]] std::uint32_t exit_towards(const TableState& tables, const Domain& domain, const InnerPacket& inner) noexcept;

/// The traffic selectors of the packet's SA hold it: for SAs that do not carry everything.
[[nodiscard]] bool selected(const Transit& packet) noexcept;

/// Sends the packet there: to `resolving` or `to_host`, or drops it.
void send_on(Burst& burst, unsigned number, Transit& packet, RouteValue value) noexcept;

}  // namespace simplon::forward
