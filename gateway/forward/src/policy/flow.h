// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <bit>
#include <cstdint>

#include "gateway/forward/hash_seed.h"
#include "gateway/forward/src/path/inner_packet.h"
#include "gateway/forward/src/tables/address_key.h"

namespace simplon::forward {

/// As the other `mix`, but nobody who chooses `a` and `b` can choose the result.
[[nodiscard]] inline std::uint64_t mix(const HashSeed& seed, std::uint64_t a, std::uint64_t b) noexcept {
  return mix(a ^ seed.first, b ^ seed.second);
}

/// What the packets of a connection in one direction have in common.
///
/// `ports` as they lie in memory, the source's in the low half. An ICMP query has its identifier there and 0 as the
/// destination's, a reply the other way round; so the reversed key of a request is the key of its replies, and of nothing
/// that the other side could ask by itself.
struct FlowKey {
  AddressWords source;
  AddressWords destination;
  std::uint64_t context = 0;
  std::uint32_t ports = 0;

  [[nodiscard]] static constexpr std::uint64_t context_of(std::uint32_t domain, std::uint8_t family,
                                                          std::uint8_t protocol) noexcept {
    return (std::uint64_t{domain} << 16) | (std::uint64_t{family} << 8) | protocol;
  }
  [[nodiscard]] std::uint32_t domain() const noexcept { return static_cast<std::uint32_t>(context >> 16); }
  [[nodiscard]] std::uint8_t family() const noexcept { return static_cast<std::uint8_t>(context >> 8); }
  [[nodiscard]] std::uint8_t protocol() const noexcept { return static_cast<std::uint8_t>(context); }
  [[nodiscard]] std::uint16_t source_port() const noexcept { return byteswap(static_cast<std::uint16_t>(ports)); }
  [[nodiscard]] std::uint16_t destination_port() const noexcept {
    return byteswap(static_cast<std::uint16_t>(ports >> 16));
  }
  [[nodiscard]] FlowKey reversed() const noexcept { return {destination, source, context, std::rotl(ports, 16)}; }
  /// Of what is chosen freely, nothing meets anything else before it was mixed with the seed: a host has 64 bits of an IPv6
  /// address to make up for other ports.
  [[nodiscard]] std::uint64_t hash(const HashSeed& seed) const noexcept {
    return mix(mix(seed, source.low, source.high) ^ context, mix(seed, destination.low, destination.high) ^ ports);
  }
  /// The same in every process, for what has to be: which worker has it (shard.h).
  [[nodiscard]] std::uint64_t public_hash() const noexcept { return hash(HashSeed{}); }
  friend bool operator==(const FlowKey&, const FlowKey&) noexcept = default;
};

/// `source` and `destination` words of a port pair in host order.
[[nodiscard]] constexpr std::uint32_t join_ports(std::uint16_t source, std::uint16_t destination) noexcept {
  return static_cast<std::uint32_t>(byteswap(source)) | (static_cast<std::uint32_t>(byteswap(destination)) << 16);
}

enum class FlowKind : std::uint8_t {
  kTracked,        ///< Can be of a connection.
  kIcmpError,      ///< `key` is that of the quoted packet, reversed: the way the error itself goes.
  kLaterFragment,  ///< Without ports: it goes the way of the first one.
  kUntracked,      ///< ICMP that is neither query, reply nor readable error.
  kTruncated,      ///< Its transport header is not whole.
  kCutChain,       ///< IPv6 that ends before its headers do: what is behind them comes later, or never.
};

struct Flow {
  FlowKey key;
  FlowKind kind = FlowKind::kUntracked;
  std::uint8_t tcp_flags = 0;
  /// Of ICMP and ICMPv6.
  std::uint8_t icmp_type = 0;
  /// A request or the first packet of whatever has no requests: what may begin a connection.
  bool begins = false;
};

/// `bytes`: the packet that `inner` describes. Pure; reads nothing behind them.
[[nodiscard]] Flow describe_flow(std::span<const std::uint8_t> bytes, const InnerPacket& inner,
                                 std::uint32_t domain) noexcept;

}  // namespace simplon::forward
