// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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

enum class AttachmentKind : std::uint8_t { kVpc = 1, kTunnel = 2, kCircuit = 3 };

/// A VPC by its VNI, a tunnel or a circuit by its id.
struct AttachmentId {
  AttachmentKind kind = AttachmentKind::kVpc;
  std::uint32_t id = 0;

  [[nodiscard]] static constexpr AttachmentId vpc(Vni vni) noexcept { return {AttachmentKind::kVpc, vni.value()}; }
  [[nodiscard]] static constexpr AttachmentId tunnel(TunnelId id) noexcept {
    return {AttachmentKind::kTunnel, id.value()};
  }
  [[nodiscard]] static constexpr AttachmentId circuit(CircuitId id) noexcept {
    return {AttachmentKind::kCircuit, id.value()};
  }
  /// "vpc 5001", "tunnel 7", "circuit 3".
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

/// "Don't fragment" of outer IPv4 headers (RFC 4301 section 8.1). Copied from a packet without the bit, IPv6, it is set.
enum class OuterDf : std::uint8_t { kSet = 0, kClear = 1, kCopy = 2 };

struct TunnelEntry {
  TunnelId id;  ///< Key.
  DomainId domain;
  /// Upper bound of the inner MTU; 0: only the computed one.
  std::uint16_t mtu = 0;
  bool clamp_mss = true;
  OuterDf outer_df = OuterDf::kSet;
  /// IPv4 packets that are too big are cut up also if they must not be.
  bool ignores_df = false;
};

/// A VLAN on an uplink, or one inside another (QinQ), with routers on it.
struct CircuitEntry {
  CircuitId id;  ///< Key. Below 2^24.
  DomainId domain;
  /// The uplink; kNoPort: it is not open, the circuit is down.
  PortId port = kNoPort;
  /// 1 to 4094.
  std::uint16_t vlan = 0;
  /// The tag in front of it; 0: none.
  std::uint16_t outer_vlan = 0;
  /// Type of the outer tag as we send it; both are accepted.
  std::uint16_t outer_type = 0x88a8;
  /// Ours on the circuit: Ethernet source of what we send, unicast destination of what we accept.
  MacAddress mac;
  /// IP bytes.
  std::uint16_t mtu = 1500;
  bool clamp_mss = true;
};

/// A router or host on a circuit that answered.
struct NeighborEntry {
  CircuitId circuit;  ///< Key, with the address.
  IpAddress address;
  MacAddress mac;
};

/// Ties an attachment to the port its kernel interface is.
struct HostPortEntry {
  AttachmentId attachment;  ///< Key.
  PortId port;
  /// Source addresses of ICMP errors, one per family at most is used.
  std::vector<IpAddress> addresses;
  /// Of the kernel's interface; needed if the port carries frames.
  MacAddress mac{};
};

enum class RouteAction : std::uint8_t {
  kForward = 1,
  kLocal = 2,        ///< Our own address: to the host port of the only nexthop.
  kUnreachable = 3,  ///< Drop and answer.
};

struct NextHopEntry {
  AttachmentId attachment;
  std::uint16_t weight = 1;
  /// Circuits only: the neighbor that the packets are sent to; unset: to the neighbor they are for.
  std::optional<IpAddress> gateway{};
  /// Takes packets only while no other nexthop of the route that is none can be sent through.
  bool backup = false;
  friend auto operator<=>(const NextHopEntry&, const NextHopEntry&) noexcept = default;
};

struct RouteEntry {
  DomainId domain;  ///< Key, with the prefix.
  IpPrefix prefix;
  RouteAction action = RouteAction::kForward;
  /// 1 to 64 for kForward (several: ECMP by flow), one of them at least no backup; exactly 1 for kLocal; ignored for kUnreachable.
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
  /// A host port that carries Ethernet frames (TAP), not bare IP packets (TUN).
  bool frames = false;
};

}  // namespace simplon::forward

template <>
struct std::hash<simplon::forward::AttachmentId> {
  std::size_t operator()(const simplon::forward::AttachmentId& id) const noexcept {
    return std::hash<std::uint64_t>{}((std::uint64_t{static_cast<std::uint8_t>(id.kind)} << 32) | id.id);
  }
};
