// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "gateway/forward/packet.h"
#include "platform/base/ids.h"
#include "platform/net/ip_address.h"
#include "platform/net/mac_address.h"

namespace simplon::forward {

/// All that the tables decide about a VXLAN packet that leaves in VXLAN again, for somebody who forwards packets of the
/// same addresses without the worker (the XDP program). It holds until the tables say that something of `domain`
/// changed (Tables::on_change).
///
/// What depends on the packet itself is left to whoever uses it: checksums, lengths, hops, fragments, options, marks of
/// congestion, the MSS of a SYN.
struct Shortcut {
  struct Question {
    PortId port;
    Vni vni;
    IpAddress outer_source;
    IpAddress source;
    IpAddress destination;
  };

  DomainId domain;
  // What the packet must have.
  MacAddress uplink_mac;
  IpAddress vtep;
  std::uint16_t udp_port = 0;
  MacAddress gateway_mac;
  // What becomes of it.
  Vni egress;
  PortId port;
  MacAddress ethernet_destination;
  MacAddress ethernet_source;
  IpAddress outer_source;
  IpAddress outer_destination;
  std::uint16_t egress_udp_port = 0;
  MacAddress inner_destination;
  MacAddress inner_source;
  /// Inner IP bytes that fit.
  std::uint16_t mtu = 0;
};

}  // namespace simplon::forward
