// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "gateway/forward/objects.h"
#include "gateway/forward/packet.h"
#include "platform/base/ids.h"
#include "platform/net/ip_address.h"
#include "platform/net/mac_address.h"

namespace simplon::forward {

/// All that the tables decide about a packet that comes in VXLAN or on a circuit and leaves in VXLAN or on a circuit, for
/// somebody who forwards packets of the same addresses without the worker (the XDP program). It holds until the tables say
/// that something of `domain` changed (Tables::on_change).
///
/// What depends on the packet itself is left to whoever uses it: checksums, lengths, hops, fragments, options, marks of
/// congestion, the MSS of a SYN; and of what comes on a circuit the source, which may be any that can be forwarded.
struct Shortcut {
  struct Question {
    PortId port;
    // In VXLAN.
    Vni vni{};
    IpAddress outer_source{};
    IpAddress source{};
    // On a circuit: `vlan` is not 0.
    std::uint16_t outer_vlan = 0;
    std::uint16_t vlan = 0;

    IpAddress destination{};
    /// Of several nexthops of the route, by its number in `spread`; 0: not chosen.
    std::uint8_t member = 0;
  };
  /// By EcmpGroup::bucket of the flow hash, which nexthop a packet takes: 1 to kMembers, 0: one that is the worker's affair. The
  /// same as long as the shortcut holds.
  using Spread = std::array<std::uint8_t, 256>;
  static constexpr std::size_t kMembers = 31;

  DomainId domain;
  AttachmentId ingress;
  // What the packet must have; in VXLAN all, on a circuit the first.
  MacAddress ethernet_to;
  IpAddress vtep;
  std::uint16_t udp_port = 0;
  MacAddress gateway_mac;
  /// There are several nexthops, and none was chosen: nothing below is said.
  std::optional<Spread> spread;
  // What becomes of it.
  AttachmentId egress;
  PortId port;
  MacAddress ethernet_destination;
  MacAddress ethernet_source;
  // Into a VPC.
  IpAddress outer_source;
  IpAddress outer_destination;
  std::uint16_t egress_udp_port = 0;
  MacAddress inner_destination;
  MacAddress inner_source;
  // Into a circuit.
  std::uint16_t outer_type = 0;
  std::uint16_t outer_vlan = 0;
  std::uint16_t vlan = 0;
  /// Inner IP bytes that fit.
  std::uint16_t mtu = 0;
};

}  // namespace simplon::forward
