// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "gateway/forward/counters.h"
#include "gateway/forward/objects.h"
#include "gateway/forward/sa.h"
#include "tests/differential/oracle/esp.h"
#include "tests/differential/oracle/policy_state.h"

// What the gateway knows, as plain maps: the entries that the table writer was given, and the state of the SAs.

namespace simplon::oracle {

using forward::AclEntry;
using forward::AdjacencyEntry;
using forward::AttachmentId;
using forward::CircuitEntry;
using forward::EndpointEntry;
using forward::HostPortEntry;
using forward::NatEntry;
using forward::NeighborEntry;
using forward::PolicyEntry;
using forward::PortId;
using forward::RouteEntry;
using forward::SaSpec;
using forward::TunnelEntry;
using forward::VpcEntry;

struct Port {
  PortId id;
  forward::PortKind kind = forward::PortKind::kUplink;
  MacAddress mac;
  bool fixup = false;
  /// A host port with Ethernet frames (that of a circuit), not bare packets.
  bool frames = false;
};

// One write to the tables. Entries stand for their upserts.

struct PutDomain {
  DomainId domain;
};
struct RemoveDomain {
  DomainId domain;
};
struct RemoveVpc {
  Vni vni;
};
struct RemoveEndpoint {
  Vni vni;
  IpAddress address;
};
struct RemoveTunnel {
  TunnelId id;
};
struct RemoveCircuit {
  CircuitId id;
};
struct RemoveNeighbor {
  CircuitId circuit;
  IpAddress address;
};
struct RemoveAcl {
  std::string name;
};
struct RemovePolicy {
  AttachmentId attachment;
};
struct RemoveNat {
  DomainId domain;
};
struct RemoveHostPort {
  AttachmentId attachment;
};
struct RemoveRoute {
  DomainId domain;
  IpPrefix prefix;
};
struct RemovePort {
  PortId id;
};
struct SetAdjacency {
  IpAddress destination;
  AdjacencyEntry entry;
};
/// `used`: as if this sequence number had been seen.
struct InstallInbound {
  SaSpec spec;
  std::uint64_t used = 0;
};
struct RemoveInbound {
  Spi spi;
};
/// `used`: the last sequence number used.
struct SetOutbound {
  SaSpec spec;
  std::uint64_t used = 0;
};
struct ClearOutbound {
  TunnelId tunnel;
};
struct MoveInbound {
  Spi spi;
  forward::SaPath path;
};
struct MoveOutbound {
  TunnelId tunnel;
  forward::SaPath path;
};
using Change =
    std::variant<PutDomain, RemoveDomain, VpcEntry, RemoveVpc, EndpointEntry, RemoveEndpoint, TunnelEntry, RemoveTunnel,
                 HostPortEntry, RemoveHostPort, RouteEntry, RemoveRoute, Port, RemovePort, SetAdjacency, InstallInbound,
                 RemoveInbound, SetOutbound, ClearOutbound, MoveInbound, MoveOutbound, CircuitEntry, RemoveCircuit,
                 NeighborEntry, RemoveNeighbor, AclEntry, RemoveAcl, PolicyEntry, RemovePolicy, NatEntry, RemoveNat>;

struct Usage {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  std::uint64_t replayed = 0;
  std::uint64_t failed = 0;
};

struct InboundSa {
  explicit InboundSa(const InstallInbound& install);
  SaSpec spec;
  EspCipher cipher;
  SeenNumbers seen;
  /// The highest number before the burst that is under way.
  std::uint64_t settled = 0;
  Usage usage;
  /// Told to the control plane when it asks: the first source that was not the path's (RFC 7296 section 2.23).
  std::optional<forward::SaMapping> mapping;
};

struct OutboundSa {
  explicit OutboundSa(const SetOutbound& set);
  SaSpec spec;
  EspCipher cipher;
  /// The last number used.
  std::uint64_t sequence = 0;
  Usage usage;
};

struct World {
  std::set<DomainId> domains;
  std::map<Vni, VpcEntry> vpcs;
  std::map<std::pair<Vni, IpAddress>, EndpointEntry> endpoints;
  std::map<TunnelId, TunnelEntry> tunnels;
  std::map<AttachmentId, HostPortEntry> host_ports;
  std::map<CircuitId, CircuitEntry> circuits;
  std::map<std::pair<CircuitId, IpAddress>, MacAddress> neighbors;
  /// Whose packets come in on a host port: those of the attachment that was last tied to it.
  std::map<PortId, AttachmentId> tied;
  std::map<DomainId, std::vector<RouteEntry>> routes;
  std::map<PortId, Port> ports;
  /// Only of destinations that an endpoint or outbound SA leads to.
  std::map<IpAddress, AdjacencyEntry> adjacencies;
  std::map<Spi, InboundSa> inbound;
  std::map<TunnelId, OutboundSa> outbound;
  std::map<std::string, AccessList> acls;
  std::map<AttachmentId, PolicyEntry> policies;
  std::map<DomainId, NatEntry> nats;
  PolicyState policy;
  /// What was counted, of attachments that any entry mentions and ports that exist or existed.
  std::map<AttachmentId, forward::TrafficTotals> traffic;
  std::map<PortId, forward::TrafficTotals> port_traffic;

  void apply(const Change& change);

  /// Configured, or mentioned by a route, a host port, an SA or a policy.
  [[nodiscard]] bool mentioned(AttachmentId attachment) const;
  /// The same of a gateway on a circuit, which only routes mention.
  [[nodiscard]] bool mentioned(const Hop& hop) const;
  [[nodiscard]] bool is_uplink(PortId id) const;
  /// Configured; its uplink is there; a tunnel has an outbound SA and its peer is resolved; the gateway on a circuit is known.
  [[nodiscard]] bool is_usable(const Hop& hop) const;
  [[nodiscard]] std::vector<Hop> usable_of(const std::vector<Hop>& hops) const;
  /// The nexthops of a route among which flows are spread: those that are usable, or all if none is.
  [[nodiscard]] std::vector<Hop> taking_part(const RouteEntry& route) const;
  /// A route of the domain names the attachment, or a fragment goes there as the first piece did.
  [[nodiscard]] bool leads_to(DomainId domain, AttachmentId attachment) const;
  [[nodiscard]] bool wanted(const IpAddress& outer_destination) const;
  /// Of a configured attachment.
  [[nodiscard]] std::optional<DomainId> domain_of(AttachmentId attachment) const;
  /// The longest match (RFC 1812 section 5.2.4.3); nullptr if there is none.
  [[nodiscard]] const RouteEntry* route_to(DomainId domain, const IpAddress& destination) const;
  /// The nexthops of a route, each once.
  [[nodiscard]] static std::vector<Hop> hops_of(const std::vector<forward::NextHopEntry>& nexthops);
  /// Some attachment of the domain has a policy, or the domain has NAT.
  [[nodiscard]] bool policed(DomainId domain) const;
  [[nodiscard]] const CircuitEntry* circuit_with(PortId port, std::uint16_t outer_vlan, std::uint16_t vlan) const;
  /// nullptr if it is not known or does not answer.
  [[nodiscard]] const AdjacencyEntry* neighbor(const IpAddress& outer_destination) const;
  [[nodiscard]] forward::TrafficTotals& counts(AttachmentId attachment) { return traffic[attachment]; }
};

[[nodiscard]] bool covers(const IpPrefix& prefix, const IpAddress& address);

}  // namespace simplon::oracle
