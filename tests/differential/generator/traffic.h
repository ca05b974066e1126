// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <deque>
#include <map>
#include <optional>

#include "tests/differential/generator/compose.h"
#include "tests/differential/generator/random.h"
#include "tests/differential/scenario.h"

namespace simplon::differential {

/// Packets that hosts, sites, routers, kernels, attackers and broken equipment send to the gateway of `world`. About 40
/// of 100 come in VXLAN, 31 in ESP, 10 on circuits, 14 from host ports and 5 are noise; most are what they should be,
/// the rest differs from that in one place: a field, a bit, a length, an identity.
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
  [[nodiscard]] std::optional<Input> from_circuit(const oracle::World& world);
  [[nodiscard]] Input from_tap(const oracle::World& world, const oracle::HostPortEntry& entry);

  /// A packet that policy has something to say about, and where it comes in.
  struct Wanted {
    oracle::AttachmentId from;
    oracle::Ends ends;
    /// About a packet of the other direction.
    bool error = false;
    bool answer = false;
    /// Sends the rest of a datagram whose first piece went before.
    std::optional<oracle::Bytes> rest;
    forward::ConnectionState state = forward::ConnectionState::kOpening;
  };
  [[nodiscard]] std::optional<Input> of_connection(const oracle::World& world);
  [[nodiscard]] oracle::Bytes cut(oracle::Bytes packet);
  [[nodiscard]] std::optional<Input> send_rest(const oracle::World& world);
  [[nodiscard]] std::optional<Input> scan(const oracle::World& world);
  [[nodiscard]] std::optional<Input> send_wanted(const oracle::World& world, Wanted wanted);
  [[nodiscard]] static oracle::Ends as_the_attachment_has_it(const oracle::World& world,
                                                             oracle::AttachmentId attachment, oracle::Ends ends);
  [[nodiscard]] std::optional<IpAddress> outer_address(const oracle::World& world, DomainId domain);
  [[nodiscard]] std::optional<oracle::Ends> service_at(const oracle::World& world, DomainId domain,
                                                       const IpAddress& destination);
  [[nodiscard]] oracle::Bytes wanted_transport(const oracle::Ends& ends, const IpAddress& source,
                                               const IpAddress& destination, oracle::View payload);
  [[nodiscard]] oracle::Bytes wanted_error(IpFields& fields, oracle::View payload);
  [[nodiscard]] Input noise(const oracle::World& world);
  [[nodiscard]] oracle::Bytes arp(const oracle::World& world, const oracle::VpcEntry& vpc);
  [[nodiscard]] oracle::Bytes solicitation(const oracle::World& world, const oracle::VpcEntry& vpc);

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
  /// A frame with ESP as a narrow path hands it on: its first part, as a rule; the others are sent some time.
  [[nodiscard]] Input in_parts(Input whole);
  [[nodiscard]] std::optional<Input> send_part();
  /// Into how many fragments a packet may be cut on its way out.
  [[nodiscard]] std::size_t most_fragments(std::size_t bytes) const;
  /// Around `payload` on an uplink: the outer IP header and Ethernet.
  [[nodiscard]] Input frame(const oracle::World& world, IpFields outer, oracle::View payload, bool honest);
  [[nodiscard]] std::uint8_t traffic_class();
  [[nodiscard]] MacAddress any_mac();

  Random& random_;
  std::optional<Wanted> wanted_;
  /// Later pieces of datagrams, to be sent some time.
  std::deque<Wanted> rests_;
  /// Parts of outer packets, likewise, with what the whole one may be cut into.
  std::deque<std::pair<Input, std::size_t>> parts_;
  /// Of each round: how many of 100 packets from sites come in parts, and of these the parts that are lost.
  std::optional<std::pair<unsigned, unsigned>> narrow_;
  std::uint32_t scanned_ = 0;
  /// Of each round: some are scanned.
  std::optional<bool> scans_;
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
