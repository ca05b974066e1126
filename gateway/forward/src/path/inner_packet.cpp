// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/path/inner_packet.h"

#include "platform/wire/ipv6.h"

namespace simplon::forward {
namespace {

/// Unspecified, loopback, multicast, link-local (RFC 4291 sections 2.5.2, 2.5.3, 2.7 and 2.5.6: never forwarded).
[[nodiscard]] inline bool is_martian6(const AddressWords& address) noexcept {
  const auto first = static_cast<std::uint8_t>(address.low);
  const auto second = static_cast<std::uint8_t>(address.low >> 8);
  if (first == 0xff || wire::is_link_local(first, second)) return true;
  constexpr std::uint64_t kLoopbackLow = std::uint64_t{1} << 56;  // ::1, as loaded
  return address.low == 0 && (address.high == 0 || address.high == kLoopbackLow);
}

[[nodiscard]] inline bool has_source_route(const wire::Ipv4Header& header) noexcept {
  bool found = false;
  wire::for_each_ipv4_option(header, [&found](std::uint8_t type, std::span<const std::uint8_t>) {
    found = found || type == wire::kIpv4OptionLooseSourceRoute || type == wire::kIpv4OptionStrictSourceRoute;
  });
  return found;
}

}  // namespace

bool parse_any_inner(std::span<const std::uint8_t> bytes, InnerPacket& packet) noexcept {
  const auto refuse = [&packet](Drop reason) {
    packet.drop = reason;
    return false;
  };
  const auto finish = [&packet, bytes] {
    packet.ports = packet.has_ports() ? load32(bytes.data() + packet.l4_offset) : 0;
    return true;
  };
  if (!bytes.empty() && (bytes[0] >> 4) == 6) {
    const wire::Ipv6Header* header = wire::parse_ipv6(bytes);
    if (header == nullptr) return refuse(Drop::kIpv6Malformed);
    packet.family = 6;
    packet.hops = header->hop_limit;
    packet.length = static_cast<std::uint16_t>(sizeof *header + header->payload_length.host());
    packet.source = AddressWords::v6(header->source.data());
    packet.destination = AddressWords::v6(header->destination.data());
    if (is_martian6(packet.source)) return refuse(Drop::kIpSource);
    if (is_martian6(packet.destination)) return refuse(Drop::kIpDestination);
    const wire::UpperLayer upper = wire::find_upper_layer(bytes.first(packet.length));
    packet.protocol = upper.protocol;
    packet.l4_offset = upper.offset;
    packet.fragment = upper.fragment;
    packet.later_fragment = upper.later_fragment;
    return finish();
  }
  const wire::Ipv4Header* header = wire::parse_ipv4(bytes);
  if (header == nullptr) return refuse(Drop::kIpv4Malformed);
  packet.family = 4;
  packet.hops = header->ttl;
  packet.length = header->total_length.host();
  packet.source = AddressWords::v4(header->source.data());
  packet.destination = AddressWords::v4(header->destination.data());
  if (!wire::ipv4_checksum_ok(*header)) return refuse(Drop::kIpv4Checksum);
  packet.fragment = header->is_fragment();
  packet.later_fragment = header->fragment_offset() != 0;
  // A datagram has at most 65,535 bytes (RFC 791 section 3.1). The offset of a piece of this one would not fit its field.
  if (packet.later_fragment && header->fragment_offset() + packet.length > 65535U) return refuse(Drop::kIpv4Malformed);
  if (header->header_bytes() > sizeof *header && has_source_route(*header)) {
    return refuse(Drop::kIpv4SourceRoute);  // RFC 7126 sections 4.3 and 4.4
  }
  if (is_martian4(static_cast<std::uint32_t>(packet.source.low))) return refuse(Drop::kIpSource);
  if (is_martian4(static_cast<std::uint32_t>(packet.destination.low))) return refuse(Drop::kIpDestination);
  packet.protocol = header->protocol;
  packet.l4_offset = static_cast<std::uint16_t>(header->header_bytes());
  return finish();
}

}  // namespace simplon::forward
