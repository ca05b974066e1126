// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/policy/fragment_ways.h"

#include "gateway/forward/src/path/burst.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"

namespace simplon::forward {

FragmentWays::Key datagram_of(const Transit& packet, std::uint32_t domain) noexcept {
  const InnerPacket& inner = packet.inner;
  // Pieces of IPv6 may name different headers (RFC 8200 section 4.5).
  const std::uint8_t protocol = inner.family == 4 ? inner.protocol : std::uint8_t{0};
  FragmentWays::Key key;
  key.source = inner.source;
  key.destination = inner.destination;
  key.context = FlowKey::context_of(domain, inner.family, protocol);
  key.ingress = packet.ingress;
  return key;
}

bool identify_fragment(const Burst& burst, const Transit& packet, FragmentWays::Key& key) noexcept {
  key.ingress_use = burst.tables.uses[packet.ingress].load(std::memory_order_acquire);
  if (packet.inner.family == 4) {
    key.id = reinterpret_cast<const wire::Ipv4Header*>(packet.data)->id.host();
    return true;
  }
  // Only extension headers stand in front of `l4_offset`; each is 8 bytes or more.
  bool found = false;
  std::uint8_t next = reinterpret_cast<const wire::Ipv6Header*>(packet.data)->next_header;
  for (std::size_t at = sizeof(wire::Ipv6Header); at + sizeof(wire::Ipv6FragmentHeader) <= packet.inner.l4_offset;) {
    std::size_t bytes = (std::size_t{packet.data[at + 1]} + 1) * 8;
    if (next == wire::kProtocolFragment) {
      key.id = reinterpret_cast<const wire::Ipv6FragmentHeader*>(packet.data + at)->id.host();
      found = true;
      bytes = sizeof(wire::Ipv6FragmentHeader);
    }
    next = packet.data[at];
    at += bytes;
  }
  return found;
}

}  // namespace simplon::forward
