// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/forward/packet.h"
#include "gateway/forward/packet_io.h"
#include "platform/base/ids.h"
#include "platform/net/ip_address.h"
#include "platform/net/ip_prefix.h"
#include "platform/net/mac_address.h"

// What the table writer writes. Each entry is complete by itself and replaces what has the same key. References may
// point at objects that do not exist yet; packets that meet such a reference are dropped with a name.

namespace simplon::forward {

enum class AttachmentKind : std::uint8_t { kVpc = 1, kTunnel = 2 };

/// A VPC by its VNI or a tunnel by its id.
struct AttachmentId {
  AttachmentKind kind = AttachmentKind::kVpc;
  std::uint32_t id = 0;

  [[nodiscard]] static constexpr AttachmentId vpc(Vni vni) noexcept { return {AttachmentKind::kVpc, vni.value()}; }
  [[nodiscard]] static constexpr AttachmentId tunnel(TunnelId id) noexcept {
    return {AttachmentKind::kTunnel, id.value()};
  }
  /// "vpc 5001", "tunnel 7".
  [[nodiscard]] std::string to_string() const;
  friend constexpr auto operator<=>(const AttachmentId&, const AttachmentId&) noexcept = default;
};

struct VpcEntry {
  Vni vni;  ///< Key.
  DomainId domain;
  /// Ours: outer source of what we send, outer destination of what we accept.
  IpAddress vtep;
  /// UDP destination port, both directions.
  std::uint16_t udp_port = 4789;
  /// Inner source of what we send, inner destination of what we accept.
  MacAddress gateway_mac;
  /// Inner sources that are accepted.
  std::vector<IpPrefix> prefixes;
  /// Outer sources that are accepted.
  std::vector<IpAddress> accepted_vteps;
  /// Inner IP bytes.
  std::uint16_t mtu = 1450;
};

struct EndpointEntry {
  Vni vni;  ///< Key, with the address.
  IpAddress address;
  MacAddress mac;
  IpAddress vtep;
};

struct TunnelEntry {
  TunnelId id;  ///< Key.
  DomainId domain;
  /// Upper bound of the inner MTU; 0: only the computed one.
  std::uint16_t mtu = 0;
  bool clamp_mss = true;
};

/// Ties an attachment to the port its kernel interface is.
struct HostPortEntry {
  AttachmentId attachment;  ///< Key.
  PortId port;
  /// Source addresses of ICMP errors, one per family at most is used.
  std::vector<IpAddress> addresses;
};

enum class RouteAction : std::uint8_t {
  kForward = 1,
  kLocal = 2,        ///< Our own address: to the host port of the only nexthop.
  kUnreachable = 3,  ///< Drop and answer.
};

struct NextHopEntry {
  AttachmentId attachment;
  std::uint16_t weight = 1;
  friend auto operator<=>(const NextHopEntry&, const NextHopEntry&) noexcept = default;
};

struct RouteEntry {
  DomainId domain;  ///< Key, with the prefix.
  IpPrefix prefix;
  RouteAction action = RouteAction::kForward;
  /// 1 to 64 for kForward (several: ECMP by flow), exactly 1 for kLocal, ignored for kUnreachable.
  std::vector<NextHopEntry> nexthops;
};

/// How to reach an outer destination.
struct AdjacencyEntry {
  bool resolved = false;
  /// An uplink.
  PortId port = kNoPort;
  MacAddress source;
  MacAddress destination;
  /// IP bytes of the outer packet.
  std::uint16_t path_mtu = 1500;
  friend bool operator==(const AdjacencyEntry&, const AdjacencyEntry&) noexcept = default;
};

enum class PortKind : std::uint8_t { kUplink = 1, kHost = 2 };

struct PortEntry {
  PortId id;  ///< Key.
  PortKind kind = PortKind::kUplink;
  /// Frames to other unicast addresses are dropped; zero: not checked. Uplinks only.
  MacAddress mac;
  /// Complete transport checksums that the sender left partial (veth and virtio peers with checksum offload).
  bool fixup = false;
  /// One per worker. Shared by all ports it serves; destroyed when no port has it and no worker can see it.
  std::vector<std::shared_ptr<PacketIo>> queues;
};

}  // namespace simplon::forward

template <>
struct std::hash<simplon::forward::AttachmentId> {
  std::size_t operator()(const simplon::forward::AttachmentId& id) const noexcept {
    return std::hash<std::uint64_t>{}((std::uint64_t{static_cast<std::uint8_t>(id.kind)} << 32) | id.id);
  }
};
