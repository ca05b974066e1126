// SPDX-License-Identifier: GPL-2.0-or-later
//
// What translation does to the bytes of a packet. Checksums are never computed anew from the payload: they change by what
// the changed fields change (RFC 1624), so what was wrong before stays wrong. The exception is an ICMP error, whose
// checksum covers the quoted headers that change inside it: it is checked first (RFC 5508 REQ-3) and made anew.
#include "gateway/forward/src/policy/nat.h"

#include <algorithm>
#include <array>

#include "gateway/forward/src/path/burst.h"
#include "platform/wire/checksum.h"
#include "platform/wire/icmp.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/tcp.h"
#include "platform/wire/udp.h"

namespace simplon::forward {
namespace {

/// By how much a sum changes. Added to the complement of a checksum it gives the complement of the new one.
class Change {
 public:
  void replace32(std::uint32_t before, std::uint32_t after) noexcept { sum_ += std::uint64_t{~before} + after; }
  void replace16(std::uint16_t before, std::uint16_t after) noexcept {
    sum_ += std::uint64_t{static_cast<std::uint16_t>(~before)} + after;
  }
  [[nodiscard]] Be16 apply(Be16 checksum) const noexcept {
    return wire::finish_checksum(sum_ + static_cast<std::uint16_t>(~wire::raw(checksum)));
  }

 private:
  std::uint64_t sum_ = 0;
};

void apply_to_udp(wire::UdpHeader& udp, const Change& change) noexcept {
  if (wire::raw(udp.checksum) == 0) return;  // RFC 768: none
  udp.checksum = change.apply(udp.checksum);
  if (wire::raw(udp.checksum) == 0) udp.checksum = std::uint16_t{0xffff};
}

[[nodiscard]] std::uint16_t echo_id(const std::uint8_t* icmp, std::uint32_t ports) noexcept {
  return static_cast<std::uint16_t>(icmp[0] == wire::kIcmpEcho ? ports : ports >> 16);
}

/// Ports and checksum of a transport header of which `bytes` are there, behind addresses that change by `addresses`.
void rewrite_transport(std::uint8_t* transport, std::size_t bytes, std::uint8_t protocol, const Change& addresses,
                       std::uint32_t ports) noexcept {
  if (bytes < 8) return;
  Change change = addresses;
  if (protocol == wire::kProtocolTcp || protocol == wire::kProtocolUdp) {
    change.replace32(load32(transport), ports);
    std::memcpy(transport, &ports, sizeof ports);
    if (protocol == wire::kProtocolUdp) {
      apply_to_udp(*reinterpret_cast<wire::UdpHeader*>(transport), change);
    } else if (bytes >= offsetof(wire::TcpHeader, urgent)) {  // quoted in an ICMP error there may be less
      auto* tcp = reinterpret_cast<wire::TcpHeader*>(transport);
      tcp->checksum = change.apply(tcp->checksum);
    }
  } else if (protocol == wire::kProtocolDccp || protocol == wire::kProtocolUdpLite) {
    // RFC 4340 section 5.1 and RFC 3828 section 3.1: both have it where UDP does, and ports that nobody translates.
    auto* checksum = reinterpret_cast<Be16*>(transport + offsetof(wire::UdpHeader, checksum));
    *checksum = change.apply(*checksum);
    if (protocol == wire::kProtocolUdpLite && wire::raw(*checksum) == 0) *checksum = std::uint16_t{0xffff};
  } else if (protocol == wire::kProtocolIcmp &&
             (transport[0] == wire::kIcmpEcho || transport[0] == wire::kIcmpEchoReply)) {
    Change only_id;  // ICMP has no pseudo header
    const std::uint16_t after = echo_id(transport, ports);
    std::uint16_t before;
    std::memcpy(&before, transport + 4, sizeof before);
    only_id.replace16(before, after);
    std::memcpy(transport + 4, &after, sizeof after);
    auto* icmp = reinterpret_cast<wire::IcmpHeader*>(transport);
    icmp->checksum = only_id.apply(icmp->checksum);
  }
}

[[nodiscard]] Change rewrite_addresses(wire::Ipv4Header& ip, std::uint32_t source, std::uint32_t destination) noexcept {
  Change change;
  change.replace32(load32(ip.source.data()), source);
  change.replace32(load32(ip.destination.data()), destination);
  std::memcpy(ip.source.data(), &source, sizeof source);
  std::memcpy(ip.destination.data(), &destination, sizeof destination);
  ip.checksum = change.apply(ip.checksum);
  return change;
}

[[nodiscard]] bool any_of(const std::vector<NatRules::Net>& nets, std::uint32_t address) noexcept {
  for (const NatRules::Net& net : nets) {
    if (net.contains(address)) return true;
  }
  return false;
}

}  // namespace

Ipv4Ends ends_of(const Transit& packet) noexcept {
  const InnerPacket& inner = packet.inner;
  Ipv4Ends ends{static_cast<std::uint32_t>(inner.source.low), static_cast<std::uint32_t>(inner.destination.low), 0};
  const std::uint8_t* transport = packet.data + inner.l4_offset;
  if (inner.later_fragment || inner.length - inner.l4_offset < 8) return ends;
  if (inner.protocol == wire::kProtocolTcp || inner.protocol == wire::kProtocolUdp) {
    ends.ports = load32(transport);
  } else if (inner.protocol == wire::kProtocolIcmp &&
             (transport[0] == wire::kIcmpEcho || transport[0] == wire::kIcmpEchoReply)) {
    std::uint16_t id;
    std::memcpy(&id, transport + 4, sizeof id);
    ends.ports = transport[0] == wire::kIcmpEcho ? std::uint32_t{id} : std::uint32_t{id} << 16;
  }
  return ends;
}

void rewrite(Transit& packet, const Ipv4Ends& to) noexcept {
  InnerPacket& inner = packet.inner;
  const Change addresses =
      rewrite_addresses(*reinterpret_cast<wire::Ipv4Header*>(packet.data), to.source, to.destination);
  inner.source.low = to.source;
  inner.destination.low = to.destination;
  if (inner.later_fragment) return;
  rewrite_transport(packet.data + inner.l4_offset, std::size_t{inner.length} - inner.l4_offset, inner.protocol,
                    addresses, to.ports);
  if (inner.has_ports()) inner.ports = to.ports;
}

bool rewrite_error(Transit& packet, const Ipv4Ends& to, const Ipv4Ends& quoted) noexcept {
  const std::span<std::uint8_t> message = packet.bytes().subspan(packet.inner.l4_offset);
  if (!wire::checksum_ok(message)) return false;
  (void)rewrite_addresses(*reinterpret_cast<wire::Ipv4Header*>(packet.data), to.source, to.destination);
  packet.inner.source.low = to.source;
  packet.inner.destination.low = to.destination;
  const std::span<std::uint8_t> inside = message.subspan(sizeof(wire::IcmpHeader));
  auto* ip = reinterpret_cast<wire::Ipv4Header*>(inside.data());
  if (!wire::ipv4_checksum_ok(*ip)) return false;  // RFC 5508 REQ-3 (a)
  const Change addresses = rewrite_addresses(*ip, quoted.source, quoted.destination);
  const std::span<std::uint8_t> transport = inside.subspan(ip->header_bytes());
  rewrite_transport(transport.data(), transport.size(), ip->protocol, addresses, quoted.ports);
  auto* icmp = reinterpret_cast<wire::IcmpHeader*>(message.data());
  icmp->checksum = Be16{};
  icmp->checksum = wire::checksum(message);
  return true;
}

const NatRules::Source* NatRules::source(std::uint32_t slot, std::uint32_t address) const noexcept {
  for (const Source& rule : sources) {
    if (rule.slot == slot && (rule.sources.empty() || any_of(rule.sources, address))) return &rule;
  }
  return nullptr;
}

const NatRules::Source* NatRules::hairpin(std::uint32_t address) const noexcept {
  for (const Source& rule : sources) {
    if (rule.sources.empty() || any_of(rule.sources, address)) return &rule;
  }
  return nullptr;
}

const NatRules::Destination* NatRules::destination(const FlowKey& key) const noexcept {
  const auto address = static_cast<std::uint32_t>(key.destination.low);
  const auto port = static_cast<std::uint16_t>(key.ports >> 16);
  for (const Destination& rule : destinations) {
    if (rule.outside != address || (rule.protocol != 0 && rule.protocol != key.protocol())) continue;
    if (rule.outside_port == 0 || rule.outside_port == port) return &rule;
  }
  return nullptr;
}

bool NatRules::is_outside(std::uint32_t address) const noexcept { return any_of(outside, address); }

bool NatRules::is_pool(std::uint32_t address) const noexcept {
  return std::any_of(sources.begin(), sources.end(), [address](const Source& rule) { return rule.pool.contains(address); });
}

bool NatRules::publishes(std::uint32_t address) const noexcept {
  return std::any_of(destinations.begin(), destinations.end(),
                     [address](const Destination& rule) { return rule.inside == address; });
}

std::uint32_t NatRules::known_as(std::uint32_t slot, std::uint32_t address) const noexcept {
  for (const Netmap& map : netmaps) {
    if (map.slot == slot && map.remote && map.outside.contains(address)) return map.to_inside(address);
  }
  return address;
}

namespace {

/// On the way in, outer addresses become inner ones: the source by a rule about the other side, the destination by one about ours. On
/// the way out it is the other way round.
template <bool kIn, class Hit>
void map_each(const std::vector<NatRules::Netmap>& netmaps, std::uint32_t slot, Ipv4Ends& ends, Hit&& hit) noexcept {
  std::array<bool, 2> mapped{};
  for (const NatRules::Netmap& map : netmaps) {
    std::uint32_t& address = map.remote == kIn ? ends.source : ends.destination;
    if (map.slot != slot || mapped[map.remote ? 1 : 0] || !(kIn ? map.outside : map.inside).contains(address)) continue;
    address = kIn ? map.to_inside(address) : map.to_outside(address);
    mapped[map.remote ? 1 : 0] = true;
    hit(map);
  }
}

}  // namespace

void NatRules::map_in(std::uint32_t slot, Ipv4Ends& ends, unsigned worker) const noexcept {
  map_each<true>(netmaps, slot, ends, [worker](const Netmap& map) { map.hits[worker].add(); });
}

Ipv4Ends NatRules::mapped_in(std::uint32_t slot, Ipv4Ends ends) const noexcept {
  map_each<true>(netmaps, slot, ends, [](const Netmap&) {});
  return ends;
}

void NatRules::map_out(std::uint32_t slot, Ipv4Ends& ends, unsigned worker) const noexcept {
  map_each<false>(netmaps, slot, ends, [worker](const Netmap& map) { map.hits[worker].add(); });
}

std::array<std::uint16_t, 2> NatRules::places_in(std::uint32_t slot, Ipv4Ends ends) const noexcept {
  std::array<std::uint16_t, 2> places{kNoPlace, kNoPlace};
  map_each<true>(netmaps, slot, ends, [&places](const Netmap& map) { places[map.remote ? 1 : 0] = map.place; });
  return places;
}

std::array<std::uint16_t, 2> NatRules::places_out(std::uint32_t slot, Ipv4Ends ends) const noexcept {
  std::array<std::uint16_t, 2> places{kNoPlace, kNoPlace};
  map_each<false>(netmaps, slot, ends, [&places](const Netmap& map) { places[map.remote ? 1 : 0] = map.place; });
  return places;
}

}  // namespace simplon::forward
