// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/policy/flow.h"

#include "platform/wire/icmp.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/tcp.h"
#include "platform/wire/udp.h"

namespace simplon::forward {
namespace {

constexpr std::size_t kIcmpBytes = sizeof(wire::IcmpHeader);

[[nodiscard]] constexpr std::uint8_t icmp_of(std::uint8_t family) noexcept {
  return family == 4 ? wire::kProtocolIcmp : wire::kProtocolIcmpv6;
}
[[nodiscard]] constexpr bool is_request(std::uint8_t family, std::uint8_t type) noexcept {
  return type == (family == 4 ? wire::kIcmpEcho : wire::kIcmpv6Echo);
}
[[nodiscard]] constexpr bool is_reply(std::uint8_t family, std::uint8_t type) noexcept {
  return type == (family == 4 ? wire::kIcmpEchoReply : wire::kIcmpv6EchoReply);
}

/// The identifier of an echo message, where a key has it. `icmp` has at least 8 bytes.
[[nodiscard]] std::uint32_t echo_ports(const std::uint8_t* icmp, std::uint8_t family) noexcept {
  std::uint16_t id;
  std::memcpy(&id, icmp + 4, 2);
  return is_request(family, icmp[0]) ? std::uint32_t{id} : std::uint32_t{id} << 16;
}

/// Ports of a quoted packet: 8 bytes of its transport header are always there (RFC 792).
[[nodiscard]] bool quoted_ports(std::span<const std::uint8_t> transport, std::uint8_t family, std::uint8_t protocol,
                                std::uint32_t& ports) noexcept {
  if (transport.size() < 8) return false;
  if (protocol == wire::kProtocolTcp || protocol == wire::kProtocolUdp) {
    ports = load32(transport.data());
  } else if (protocol == icmp_of(family)) {
    if (!is_request(family, transport[0]) && !is_reply(family, transport[0])) return false;
    ports = echo_ports(transport.data(), family);
  } else {
    ports = 0;
  }
  return true;
}

[[nodiscard]] bool quoted_key(std::span<const std::uint8_t> quoted, std::uint8_t family, std::uint32_t domain,
                              FlowKey& key) noexcept {
  std::uint8_t protocol = 0;
  std::size_t header_bytes = 0;
  if (family == 4) {
    if (quoted.size() < sizeof(wire::Ipv4Header)) return false;
    const auto* ip = reinterpret_cast<const wire::Ipv4Header*>(quoted.data());
    header_bytes = ip->header_bytes();
    if (ip->version() != 4 || header_bytes < sizeof *ip || header_bytes > quoted.size()) return false;
    if (ip->fragment_offset() != 0) return false;
    protocol = ip->protocol;
    key.source = AddressWords::v4(ip->source.data());
    key.destination = AddressWords::v4(ip->destination.data());
  } else {
    if (quoted.size() < sizeof(wire::Ipv6Header)) return false;
    const auto* ip = reinterpret_cast<const wire::Ipv6Header*>(quoted.data());
    if (ip->version() != 6) return false;
    // RFC 4443 section 2.4: as much of the packet as fits, its extension headers in front.
    const wire::UpperLayer upper = wire::find_upper_layer(quoted);
    if (!upper.whole || upper.later_fragment) return false;
    header_bytes = upper.offset;
    protocol = upper.protocol;
    key.source = AddressWords::v6(ip->source.data());
    key.destination = AddressWords::v6(ip->destination.data());
  }
  key.context = FlowKey::context_of(domain, family, protocol);
  return quoted_ports(quoted.subspan(header_bytes), family, protocol, key.ports);
}

/// An error about a packet of somebody else than the one it goes to is about no connection.
void describe_icmp(std::span<const std::uint8_t> icmp, std::uint8_t family, std::uint32_t domain, Flow& flow) noexcept {
  flow.icmp_type = icmp[0];
  if (is_request(family, icmp[0]) || is_reply(family, icmp[0])) {
    flow.kind = FlowKind::kTracked;
    flow.begins = is_request(family, icmp[0]);
    flow.key.ports = echo_ports(icmp.data(), family);
    return;
  }
  flow.kind = FlowKind::kUntracked;
  const bool is_error = family == 4 ? wire::is_icmp_error(icmp[0]) : wire::is_icmpv6_error(icmp[0]);
  FlowKey quoted;
  if (!is_error || !quoted_key(icmp.subspan(kIcmpBytes), family, domain, quoted)) return;
  if (quoted.source != flow.key.destination) return;
  flow.kind = FlowKind::kIcmpError;
  flow.key = quoted.reversed();
}

}  // namespace

Flow describe_flow(std::span<const std::uint8_t> bytes, const InnerPacket& inner, std::uint32_t domain) noexcept {
  Flow flow;
  flow.key.source = inner.source;
  flow.key.destination = inner.destination;
  flow.key.context = FlowKey::context_of(domain, inner.family, inner.protocol);
  if (inner.later_fragment) {
    flow.kind = FlowKind::kLaterFragment;
    return flow;
  }
  if (inner.protocol == wire::kProtocolNone && inner.family == 6 &&
      !wire::find_upper_layer(bytes.first(inner.length)).whole) {
    flow.kind = FlowKind::kCutChain;  // RFC 7112 section 5
    return flow;
  }
  const std::span<const std::uint8_t> transport = bytes.subspan(inner.l4_offset);
  flow.kind = FlowKind::kTruncated;
  if (inner.protocol == wire::kProtocolTcp) {
    if (transport.size() < sizeof(wire::TcpHeader)) return flow;  // RFC 1858 section 3
    flow.tcp_flags = reinterpret_cast<const wire::TcpHeader*>(transport.data())->flags;
    flow.key.ports = load32(transport.data());
    flow.begins = (flow.tcp_flags & wire::kTcpRst) == 0;
  } else if (inner.protocol == wire::kProtocolUdp) {
    if (transport.size() < sizeof(wire::UdpHeader)) return flow;
    flow.key.ports = load32(transport.data());
    flow.begins = true;
  } else if (inner.protocol == icmp_of(inner.family)) {
    if (transport.size() < kIcmpBytes) return flow;
    describe_icmp(transport, inner.family, domain, flow);
    return flow;
  } else {
    flow.begins = true;
  }
  flow.kind = FlowKind::kTracked;
  return flow;
}

}  // namespace simplon::forward
