// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "gateway/forward/counters.h"
#include "gateway/forward/src/policy/flow.h"
#include "gateway/forward/src/policy/nat_ports.h"

namespace simplon::forward {

struct Transit;

/// Addresses and ports of an IPv4 packet, as they lie in memory; ports as in FlowKey.
struct Ipv4Ends {
  std::uint32_t source = 0;
  std::uint32_t destination = 0;
  std::uint32_t ports = 0;

  [[nodiscard]] static Ipv4Ends of(const FlowKey& key) noexcept {
    return {static_cast<std::uint32_t>(key.source.low), static_cast<std::uint32_t>(key.destination.low), key.ports};
  }
  [[nodiscard]] Ipv4Ends reversed() const noexcept { return {destination, source, std::rotl(ports, 16)}; }
  friend bool operator==(const Ipv4Ends&, const Ipv4Ends&) noexcept = default;
};

/// Of a packet that describe_flow called kTracked, or of which only the addresses change.
[[nodiscard]] Ipv4Ends ends_of(const Transit& packet) noexcept;

/// Writes other addresses and ports into an IPv4 packet; all checksums over them follow (RFC 1624), a UDP checksum of zero
/// stays. A later fragment has no ports. A packet that describe_flow called kTruncated is not for this.
void rewrite(Transit& packet, const Ipv4Ends& to) noexcept;

/// The same for an ICMP error of IPv4 (RFC 5508 section 4), with addresses of its own and others in the packet it quotes.
/// False: its checksum was wrong, and nothing was done (REQ-3).
[[nodiscard]] bool rewrite_error(Transit& packet, const Ipv4Ends& to, const Ipv4Ends& quoted) noexcept;

/// Of a rule: where in the NatEntry it stands.
inline constexpr std::uint16_t kNoPlace = 0xffff;

/// The NAT rules of a domain, compiled. Addresses and ports as they lie in memory unless said otherwise.
struct NatRules {
  struct Net {
    std::uint32_t network = 0;
    std::uint32_t mask = 0;
    [[nodiscard]] bool contains(std::uint32_t wire) const noexcept { return (wire & mask) == network; }
  };
  struct Source {
    std::uint32_t slot = 0;
    std::vector<Net> sources;
    NatPorts::Pool pool;
    Counter* hits = nullptr;
    std::uint16_t place = kNoPlace;
  };
  struct Destination {
    std::uint32_t outside = 0;
    std::uint32_t inside = 0;
    std::uint16_t outside_port = 0;
    std::uint16_t inside_port = 0;
    std::uint8_t protocol = 0;  ///< 0: all.
    Counter* hits = nullptr;
    std::uint16_t place = kNoPlace;
    /// Where a packet to the outer address and port goes.
    [[nodiscard]] FlowKey apply(FlowKey key) const noexcept {
      key.destination.low = inside;
      if (inside_port != 0) key.ports = (key.ports & 0xffffU) | (std::uint32_t{inside_port} << 16);
      return key;
    }
  };
  struct Netmap {
    std::uint32_t slot = 0;
    bool remote = false;
    Net inside;
    Net outside;
    Counter* hits = nullptr;
    std::uint16_t place = kNoPlace;
    [[nodiscard]] std::uint32_t to_inside(std::uint32_t wire) const noexcept {
      return (wire & ~outside.mask) | inside.network;
    }
    [[nodiscard]] std::uint32_t to_outside(std::uint32_t wire) const noexcept {
      return (wire & ~inside.mask) | outside.network;
    }
  };
  std::vector<Source> sources;
  std::vector<Destination> destinations;
  std::vector<Netmap> netmaps;
  /// What nobody but a translation leads to: pools and published addresses.
  std::vector<Net> outside;
  /// Published ports. With several workers answers to them would look like requests for the service, and be handed over to whoever
  /// has those.
  ReservedPorts reserved;

  /// Of connections that leave through `slot`; nullptr: they are not translated.
  [[nodiscard]] const Source* source(std::uint32_t slot, std::uint32_t address) const noexcept;
  /// For a connection that turns back to where it came from: any rule of its source.
  [[nodiscard]] const Source* hairpin(std::uint32_t address) const noexcept;
  [[nodiscard]] const Destination* destination(const FlowKey& key) const noexcept;
  [[nodiscard]] bool is_outside(std::uint32_t address) const noexcept;
  /// Of some source rule.
  [[nodiscard]] bool is_pool(std::uint32_t address) const noexcept;
  /// A service of the address is published under another one.
  [[nodiscard]] bool publishes(std::uint32_t address) const noexcept;
  /// What the domain calls a host behind the attachment; both as they lie in memory.
  [[nodiscard]] std::uint32_t known_as(std::uint32_t slot, std::uint32_t address) const noexcept;
  /// By the first rule of each kind that matches: from the attachment's addresses to the domain's, or the other way
  /// round.
  void map_in(std::uint32_t slot, Ipv4Ends& ends, unsigned worker) const noexcept;
  void map_out(std::uint32_t slot, Ipv4Ends& ends, unsigned worker) const noexcept;
  /// As `map_in`, but counts nothing.
  [[nodiscard]] Ipv4Ends mapped_in(std::uint32_t slot, Ipv4Ends ends) const noexcept;
  /// The rules by which `map_in` or `map_out` would change them.
  [[nodiscard]] std::array<std::uint16_t, 2> places_in(std::uint32_t slot, Ipv4Ends ends) const noexcept;
  [[nodiscard]] std::array<std::uint16_t, 2> places_out(std::uint32_t slot, Ipv4Ends ends) const noexcept;
};

}  // namespace simplon::forward
