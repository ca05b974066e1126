// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "platform/net/mac_address.h"
#include "platform/wire/checksum.h"
#include "platform/wire/endian.h"
#include "platform/wire/icmp.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv6.h"

namespace simplon::wire {

inline constexpr std::uint8_t kNeighborSolicitation = 135;
inline constexpr std::uint8_t kNeighborAdvertisement = 136;
/// RFC 4861 section 4.4, as bits of the word behind the checksum.
inline constexpr std::uint32_t kNeighborIsRouter = 1U << 31;
inline constexpr std::uint32_t kNeighborSolicited = 1U << 30;
inline constexpr std::uint32_t kNeighborOverride = 1U << 29;

/// RFC 4861 sections 4.3 and 4.4, without options.
struct NeighborMessage {
  IcmpHeader icmp;
  std::array<std::uint8_t, 16> target;
};
/// RFC 4861 section 4.6.1 for Ethernet: one unit of eight bytes.
struct LinkAddressOption {
  std::uint8_t type;
  std::uint8_t units;
  MacAddress mac;
};
inline constexpr std::uint8_t kSourceLinkAddress = 1;
inline constexpr std::uint8_t kTargetLinkAddress = 2;

struct NeighborAdvertisement {
  Ipv6Header ip;
  NeighborMessage message;
  LinkAddressOption target_mac;
};
static_assert(sizeof(NeighborAdvertisement) == 72 && alignof(NeighborAdvertisement) == 1);

/// All nodes of the link (RFC 4291 section 2.7.1) and their Ethernet address (RFC 2464 section 7).
inline constexpr std::array<std::uint8_t, 16> kAllNodes{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
inline constexpr MacAddress kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};

/// RFC 4291 section 2.7.1.
[[nodiscard]] constexpr std::array<std::uint8_t, 16> solicited_node(const std::array<std::uint8_t, 16>& address) noexcept {
  return {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, address[13], address[14], address[15]};
}
/// Of an IPv6 multicast address: RFC 2464 section 7.
[[nodiscard]] constexpr MacAddress multicast_mac(const std::array<std::uint8_t, 16>& group) noexcept {
  return {{0x33, 0x33, group[12], group[13], group[14], group[15]}};
}

/// A valid one: what the answer depends on.
struct NeighborSolicitation {
  std::array<std::uint8_t, 16> source;
  std::array<std::uint8_t, 16> destination;
  std::array<std::uint8_t, 16> target;
  /// From its option.
  std::optional<MacAddress> source_mac;

  /// Duplicate address detection: the asker has no address yet (RFC 4862 section 5.4.2).
  [[nodiscard]] bool from_unspecified() const noexcept { return source == std::array<std::uint8_t, 16>{}; }
};

/// `bytes` starts with an IPv6 packet that may be taken for a neighbor solicitation, valid or not. Behind extension headers it
/// is none: nobody sends it so, and it may not be in fragments (RFC 6980 section 5).
[[nodiscard]] inline bool is_neighbor_solicitation(std::span<const std::uint8_t> bytes) noexcept {
  return bytes.size() > sizeof(Ipv6Header) && (bytes[0] >> 4) == 6 && bytes[offsetof(Ipv6Header, next_header)] == kProtocolIcmpv6 &&
         bytes[sizeof(Ipv6Header)] == kNeighborSolicitation;
}

/// What is asked, if the message passes RFC 4861 section 7.1.1 on Ethernet. Bytes behind the packet are allowed.
[[nodiscard]] inline std::optional<NeighborSolicitation> parse_neighbor_solicitation(
    std::span<const std::uint8_t> bytes) noexcept {
  const Ipv6Header* ip = parse_ipv6(bytes);
  if (ip == nullptr || ip->next_header != kProtocolIcmpv6 || ip->hop_limit != 255) return std::nullopt;
  const std::span<const std::uint8_t> payload = bytes.subspan(sizeof *ip, ip->payload_length.host());
  if (payload.size() < sizeof(NeighborMessage)) return std::nullopt;
  const auto& message = *reinterpret_cast<const NeighborMessage*>(payload.data());
  if (message.icmp.type != kNeighborSolicitation || message.icmp.code != 0 || message.target[0] == 0xff) return std::nullopt;
  const std::uint64_t pseudo = pseudo_header_sum({ip->source.data(), 32}, kProtocolIcmpv6, ip->payload_length.host());
  if (!checksum_ok(payload, pseudo)) return std::nullopt;

  NeighborSolicitation asked{ip->source, ip->destination, message.target, std::nullopt};
  for (std::span<const std::uint8_t> options = payload.subspan(sizeof message); !options.empty();) {
    const std::size_t length = options.size() < 2 ? 0 : std::size_t{options[1]} * 8;
    if (length == 0 || length > options.size()) return std::nullopt;
    if (options[0] == kSourceLinkAddress) {
      const auto& option = *reinterpret_cast<const LinkAddressOption*>(options.data());
      if (length != sizeof option || (asked.source_mac && *asked.source_mac != option.mac)) return std::nullopt;
      asked.source_mac = option.mac;
    }
    options = options.subspan(length);
  }
  if (asked.source[0] == 0xff) return std::nullopt;  // RFC 4291 section 2.7
  if (!asked.from_unspecified()) return asked;
  // The last 24 bits may be any: whoever asks need not mean the group of the target.
  const bool to_solicited = asked.destination == solicited_node(asked.destination);
  if (!to_solicited || asked.source_mac) return std::nullopt;
  return asked;
}

/// The answer that `mac` has the address that was asked for, from a router (RFC 4861 section 7.2.4): to the asker, or to all nodes,
/// if it has no address.
[[nodiscard]] inline NeighborAdvertisement neighbor_advertisement(const NeighborSolicitation& asked, const MacAddress& mac) noexcept {
  const bool to_all = asked.from_unspecified();
  NeighborAdvertisement answer{};
  answer.ip.version_class_flow = 6U << 28;
  answer.ip.payload_length = static_cast<std::uint16_t>(sizeof answer - sizeof answer.ip);
  answer.ip.next_header = kProtocolIcmpv6;
  answer.ip.hop_limit = 255;
  answer.ip.source = asked.target;
  answer.ip.destination = to_all ? kAllNodes : asked.source;
  answer.message.icmp.type = kNeighborAdvertisement;
  answer.message.icmp.word = kNeighborIsRouter | kNeighborOverride | (to_all ? 0U : kNeighborSolicited);
  answer.message.target = asked.target;
  answer.target_mac = {kTargetLinkAddress, 1, mac};
  const std::span<const std::uint8_t> payload(reinterpret_cast<const std::uint8_t*>(&answer.message),
                                              sizeof answer - sizeof answer.ip);
  answer.message.icmp.checksum = finish_checksum(sum_bytes(
      payload, pseudo_header_sum({answer.ip.source.data(), 32}, kProtocolIcmpv6, static_cast<std::uint32_t>(payload.size()))));
  return answer;
}

}  // namespace simplon::wire
