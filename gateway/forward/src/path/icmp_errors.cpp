// SPDX-License-Identifier: GPL-2.0-or-later
//
// ICMP errors (RFC 792, RFC 1812 section 4.3; RFC 4443). An error is made in the frame of the packet it is about: new
// headers in front of as much of it as may be quoted. It goes back out of the attachment the packet came in through, or, if
// that was a circuit, where the sender's address is routed.
#include <algorithm>

#include "gateway/forward/mtu.h"
#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/routing.h"
#include "gateway/forward/src/path/stages.h"
#include "platform/wire/checksum.h"
#include "platform/wire/icmp.h"
#include "platform/wire/ip_protocol.h"

namespace simplon::forward {
namespace {

constexpr std::size_t kMostIpv4Bytes = 576;                    // RFC 1812 section 4.3.2.3
constexpr std::size_t kMostIpv6Bytes = wire::kIpv6MinimumMtu;  // RFC 4443 section 2.4 (c)
constexpr std::uint8_t kInternetworkControl = 0xc0;            // RFC 1812 section 4.3.2.5: precedence 6
constexpr std::uint8_t kTtl = 64;

/// RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e): about no error, no later fragment, nothing that was not sent by
/// one host to one host (such packets did not pass parse_inner).
[[nodiscard]] bool may_answer(const Transit& packet) noexcept {
  const InnerPacket& inner = packet.inner;
  if (inner.later_fragment) return false;
  const std::uint8_t icmp = inner.family == 4 ? wire::kProtocolIcmp : wire::kProtocolIcmpv6;
  if (inner.protocol != icmp) return true;
  if (inner.l4_offset >= inner.length) return false;
  const std::uint8_t type = packet.data[inner.l4_offset];
  return inner.family == 4 ? !wire::is_icmp_error(type) : !wire::is_icmpv6_error(type);
}

/// Ours towards the sender: of the ingress attachment, else any of its domain.
[[nodiscard]] WireAddress error_source(const Burst& burst, const Transit& packet) noexcept {
  const bool v4 = packet.inner.family == 4;
  const auto of_slot = [&](std::uint32_t slot) {
    const HostPort* port = burst.tables.attachments[slot].host_port.load(std::memory_order_acquire);
    return port == nullptr ? WireAddress{} : (v4 ? port->v4 : port->v6);
  };
  const WireAddress own = of_slot(packet.ingress);
  if (own.family != 0) return own;
  const Attachment* ingress = burst.tables.attachments[packet.ingress].object.load(std::memory_order_acquire);
  if (ingress == nullptr) return {};
  const Domain& domain = *ingress->domain;
  const std::uint32_t other = (v4 ? domain.addressed4 : domain.addressed6).load(std::memory_order_acquire);
  return other == 0 ? WireAddress{} : of_slot(other);
}

struct Message {
  std::uint8_t type;
  std::uint8_t code;
  std::uint32_t word;
};

[[nodiscard]] Message message4(const Transit& packet) noexcept {
  using namespace wire;
  switch (packet.answer) {
    case Answer::kTimeExceeded:
      return {kIcmpTimeExceeded, 0, 0};
    case Answer::kTooBig:
      return {kIcmpUnreachable, kIcmpFragmentationNeeded, std::max<std::uint32_t>(packet.mtu, kLeastMtu)};  // RFC 1191 4
    case Answer::kHostUnreachable:
    case Answer::kReject:
      return {kIcmpUnreachable, kIcmpHostUnreachable, 0};
    case Answer::kNone:
    case Answer::kNetUnreachable:
      break;
  }
  return {kIcmpUnreachable, kIcmpNetUnreachable, 0};
}

[[nodiscard]] Message message6(const Transit& packet) noexcept {
  using namespace wire;
  switch (packet.answer) {
    case Answer::kTimeExceeded:
      return {kIcmpv6TimeExceeded, 0, 0};
    case Answer::kTooBig:
      return {kIcmpv6PacketTooBig, 0, std::max<std::uint32_t>(packet.mtu, kIpv6MinimumMtu)};
    case Answer::kHostUnreachable:
      return {kIcmpv6Unreachable, kIcmpv6AddressUnreachable, 0};
    case Answer::kReject:
      return {kIcmpv6Unreachable, kIcmpv6RejectRoute, 0};
    case Answer::kNone:
    case Answer::kNetUnreachable:
      break;
  }
  return {kIcmpv6Unreachable, kIcmpv6NoRoute, 0};
}

void write_icmp(std::uint8_t* at, std::size_t bytes, const Message& message, std::uint64_t pseudo_sum) noexcept {
  auto* icmp = reinterpret_cast<wire::IcmpHeader*>(at);
  icmp->type = message.type;
  icmp->code = message.code;
  icmp->checksum = Be16{};
  icmp->word = message.word;
  icmp->checksum = wire::finish_checksum(wire::sum_bytes({at, bytes}, pseudo_sum));
}

void build4(Transit& packet, const WireAddress& source) noexcept {
  const Message message = message4(packet);
  const std::size_t headers = sizeof(wire::Ipv4Header) + sizeof(wire::IcmpHeader);
  const std::size_t total = std::min<std::size_t>(headers + packet.length, kMostIpv4Bytes);
  std::uint8_t* at = packet.data - headers;
  write_icmp(at + sizeof(wire::Ipv4Header), total - sizeof(wire::Ipv4Header), message, 0);
  auto* ip = reinterpret_cast<wire::Ipv4Header*>(at);
  ip->version_ihl = 0x45;
  ip->tos = kInternetworkControl;
  ip->total_length = static_cast<std::uint16_t>(total);
  ip->id = Be16{};
  ip->flags_offset = wire::kIpv4DontFragment;
  ip->ttl = kTtl;
  ip->protocol = wire::kProtocolIcmp;
  std::memcpy(ip->source.data(), &source.low, 4);
  std::memcpy(ip->destination.data(), &packet.inner.source.low, 4);
  wire::set_ipv4_checksum(*ip);
  packet.data = at;
  packet.length = static_cast<std::uint16_t>(total);
}

void build6(Transit& packet, const WireAddress& source) noexcept {
  const Message message = message6(packet);
  const std::size_t headers = sizeof(wire::Ipv6Header) + sizeof(wire::IcmpHeader);
  const std::size_t total = std::min<std::size_t>(headers + packet.length, kMostIpv6Bytes);
  const std::size_t payload = total - sizeof(wire::Ipv6Header);
  std::uint8_t* at = packet.data - headers;
  auto* ip = reinterpret_cast<wire::Ipv6Header*>(at);
  ip->version_class_flow = (6U << 28) | (std::uint32_t{kInternetworkControl} << 20);
  ip->payload_length = static_cast<std::uint16_t>(payload);
  ip->next_header = wire::kProtocolIcmpv6;
  ip->hop_limit = kTtl;
  std::memcpy(ip->source.data(), &source.low, 16);
  std::memcpy(ip->destination.data(), &packet.inner.source.low, 16);
  write_icmp(at + sizeof *ip, payload, message,
             wire::pseudo_header_sum({ip->source.data(), 32}, wire::kProtocolIcmpv6,
                                     static_cast<std::uint32_t>(payload)));
  packet.data = at;
  packet.length = static_cast<std::uint16_t>(total);
}

/// The error with the address that the domain routes to its destination by: netmap may have another one for it.
[[nodiscard]] InnerPacket as_the_domain_has_it(const Transit& packet, const Domain& domain) noexcept {
  InnerPacket error = packet.inner;
  const DomainPolicy* policy = domain.policy.load(std::memory_order_acquire);
  if (policy == nullptr || error.family != 4) return error;
  error.destination.low = policy->nat.known_as(packet.ingress, static_cast<std::uint32_t>(error.destination.low));
  return error;
}

void answer(Burst& burst, unsigned number, Transit& packet) noexcept {
  const WireAddress source = error_source(burst, packet);
  const std::size_t front = sizeof(wire::Ipv6Header) + sizeof(wire::IcmpHeader);
  if (!may_answer(packet) || source.family == 0 || !burst.has_room(packet, front, 0)) {
    return burst.pool.release(packet.data);
  }
  if (packet.translated) rewrite(packet, burst.originals[number]);  // RFC 5508 section 4.2: its sender knows no other
  const Attachment* ingress = burst.tables.attachments[packet.ingress].object.load(std::memory_order_acquire);
  if (!burst.icmp.take(ingress == nullptr ? 0 : ingress->domain->id, packet.ingress, burst.now_ns)) {
    burst.counters.icmp_suppressed.add();
    return burst.pool.release(packet.data);
  }
  if (packet.inner.family == 4) {
    build4(packet, source);
  } else {
    build6(packet, source);
  }
  if (!parse_inner(packet.bytes(), packet.inner)) return burst.pool.release(packet.data);  // an address of ours that is none
  burst.counters.originated.add();
  packet.originated = true;
  packet.answer = Answer::kNone;
  packet.egress = packet.ingress;
  packet.flow_hash = 0;
  if (!packet.from_host) {
    // Behind a circuit are many neighbors: back to the sender leads the route to it.
    if (ingress != nullptr && ingress->kind == AttachmentKind::kCircuit) {
      packet.egress = exit_towards(burst.tables, *ingress->domain, as_the_domain_has_it(packet, *ingress->domain));
      if (packet.egress == 0) return burst.drop(number, Drop::kNoRoute);
    }
    return burst.resolving.push(number);
  }

  const HostPort* port = burst.tables.attachments[packet.ingress].host_port.load(std::memory_order_acquire);
  if (port == nullptr) return burst.drop(number, Drop::kNoHostPort);
  packet.port = port->port;
  burst.to_host.push(number);
}

}  // namespace

void icmp_errors(Burst& burst) noexcept {
  burst.resolving.clear();
  for (const unsigned number : burst.unanswered) answer(burst, number, burst.packets[number]);
  burst.unanswered.clear();
}

}  // namespace simplon::forward
