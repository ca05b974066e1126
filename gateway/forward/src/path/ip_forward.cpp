// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a router does with a packet (RFC 1812 section 5.2.1), less what has been done by whoever took it out of its
// tunnel (its header is valid) and what is left to pmtu (the hop is counted when nothing can go wrong any more, so that
// an ICMP error quotes the packet as it came).
#include <array>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/host_frame.h"
#include "gateway/forward/src/path/routing.h"
#include "gateway/forward/src/path/stages.h"

namespace simplon::forward {
namespace {

void punt(Burst& burst, unsigned number, Transit& packet, std::uint32_t slot) noexcept {
  const HostPort* host_port = burst.tables.attachments[slot].host_port.load(std::memory_order_acquire);
  if (host_port == nullptr) return burst.drop(number, Drop::kNoHostPort);
  packet.egress = slot;
  packet.port = host_port->port;
  if (!host_port->mac.is_zero()) put_host_frame(packet, *host_port);
  burst.to_host.push(number);
}

[[gnu::always_inline]] inline void route(Burst& burst, unsigned number, Transit& packet, RouteValue value) noexcept {
  using Action = RouteValue::Action;
  std::uint32_t slot = value.slot();
  if (value.action() != Action::kForward) {
    switch (value.action()) {
      case Action::kNone:
        return burst.drop_with(number, Drop::kNoRoute, Answer::kNetUnreachable);
      case Action::kUnreachable:
        return burst.drop_with(number, Drop::kUnreachable, Answer::kReject);
      case Action::kLocal:
        return punt(burst, number, packet, slot);
      case Action::kGroup:
        slot = member_for(burst.tables, slot, packet.flow_hash);
        if (slot == 0) return burst.drop(number, Drop::kNoAttachment);
        break;
      case Action::kForward:
        break;
    }
  }
  if (packet.inner.hops <= 1) {  // RFC 1812 section 5.3.1
    return burst.drop_with(number, Drop::kTtlExpired, Answer::kTimeExceeded);
  }
  packet.egress = slot;
  __builtin_prefetch(&burst.tables.attachments[slot]);
  burst.resolving.push(number);
}

}  // namespace

bool selected(const Transit& packet) noexcept {
  const std::uint32_t ports = byteswap(packet.inner.ports);
  return packet.sa->selects(packet.inner.source_address().to_ip(), packet.inner.destination_address().to_ip(),
                            packet.inner.protocol, packet.inner.has_ports(), static_cast<std::uint16_t>(ports >> 16),
                            static_cast<std::uint16_t>(ports));
}

void send_on(Burst& burst, unsigned number, Transit& packet, RouteValue value) noexcept {
  route(burst, number, packet, value);
}

void ip_forward(Burst& burst) noexcept {
  std::array<FibQuery<std::uint64_t>, Burst::kCapacity> queries4;
  std::array<FibQuery<Uint128>, Burst::kCapacity> queries6;
  unsigned count4 = 0;
  unsigned count6 = 0;
  for (const unsigned number : burst.inner) {
    Transit& packet = burst.packets[number];
    const Domain& domain = *packet.attachment->domain;
    const AddressWords& destination = packet.inner.destination;
    if (packet.inner.family == 4) {
      queries4[count4++] = {domain.fib4.form(), fib_key4(destination), 0};
    } else {
      queries6[count6++] = {domain.fib6.form(), fib_key6(destination), 0};
    }
  }
  fib_lookup(queries4.data(), count4);
  fib_lookup(queries6.data(), count6);
  const auto* found4 = queries4.data();
  const auto* found6 = queries6.data();
  for (const unsigned number : burst.inner) {
    Transit& packet = burst.packets[number];
    const RouteValue found(packet.inner.family == 4 ? (found4++)->found : (found6++)->found);
    if (packet.sa != nullptr && !packet.sa->any_to_any(packet.inner.family) && !selected(packet)) {  // RFC 4301 section 5.2, step 4
      burst.drop(number, Drop::kEspSelector);
      continue;
    }
    const Domain& domain = *packet.attachment->domain;
    if (!domain.exists.load(std::memory_order_acquire)) {
      burst.drop(number, Drop::kNoDomain);
      continue;
    }
    packet.flow_hash = flow_hash(packet.inner);
    if (domain.policy.load(std::memory_order_acquire) != nullptr) [[unlikely]] {
      burst.policed.push(number);
      continue;
    }
    route(burst, number, packet, found);
  }
}

std::uint32_t exit_towards(const TableState& tables, const Domain& domain, const InnerPacket& inner) noexcept {
  return exit_slot(tables, look_up(domain, inner.destination, inner.family), 0);
}

}  // namespace simplon::forward
