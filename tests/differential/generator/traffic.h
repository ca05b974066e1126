// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <deque>
#include <map>
#include <optional>

#include "tests/differential/generator/compose.h"
#include "tests/differential/generator/random.h"
#include "tests/differential/scenario.h"

namespace simplon::differential {

/// Packets that hosts, sites, kernels, attackers and broken equipment send to the gateway of `world`. About 45 of 100
/// come in VXLAN, 35 in ESP, 15 from host ports and 5 are noise; most are what they should be, the rest differs from
/// that in one place: a field, a bit, a length, an identity.
///
/// Payloads carry the tag of the tenant that sends them, except where the underlay itself lies about that (flipped bits
/// in headers outside the tenant's packet, or a compute host that serves both tenants): no gateway could tell.
class Traffic {
 public:
  explicit Traffic(Random& random) : random_(random) {}

  /// 1 to 64 packets.
  [[nodiscard]] Burst burst(const oracle::World& world);

 private:
  [[nodiscard]] Input packet(const oracle::World& world);
  [[nodiscard]] std::optional<Input> from_compute_host(const oracle::World& world);
  [[nodiscard]] std::optional<Input> from_site(const oracle::World& world);
  [[nodiscard]] std::optional<Input> from_kernel(const oracle::World& world);
  [[nodiscard]] Input noise(const oracle::World& world);
  [[nodiscard]] oracle::Bytes arp(const oracle::World& world, const oracle::VpcEntry& vpc);

  /// An IP packet of the tenant, with its tag.
  [[nodiscard]] oracle::Bytes inner(const oracle::World& world, std::optional<DomainId> tag, DomainId domain,
                                    const IpAddress& source);
  [[nodiscard]] oracle::Bytes transport(const oracle::World& world, IpFields& fields, oracle::View payload);
  void spoil(oracle::Bytes& packet);
  [[nodiscard]] IpAddress destination(const oracle::World& world, DomainId domain, bool v4);
  [[nodiscard]] IpAddress anywhere(bool v4);
  [[nodiscard]] oracle::Bytes payload(std::optional<DomainId> tag);
  [[nodiscard]] oracle::Bytes ipv4_options();
  void extension_headers(IpFields& fields);
  /// Around `payload` on an uplink: the outer IP header and Ethernet.
  [[nodiscard]] Input frame(const oracle::World& world, IpFields outer, oracle::View payload, bool honest);
  [[nodiscard]] std::uint8_t traffic_class();
  [[nodiscard]] MacAddress any_mac();

  Random& random_;
  /// How many fragments the burst may still need.
  std::size_t fragments_left_ = 0;
  std::size_t least_mtu_ = 0;
  /// What sites sent: the next sequence number, and some packets for replay.
  struct Peer {
    std::uint64_t next = 1;
    std::deque<Input> sent;
  };
  std::map<Spi, Peer> peers_;
};

}  // namespace simplon::differential
