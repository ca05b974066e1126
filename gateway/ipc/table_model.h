// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "platform/base/ids.h"
#include "platform/net/ip_address.h"
#include "platform/net/ip_prefix.h"
#include "platform/net/mac_address.h"

// The objects and operations of the table protocol as plain values; table.fbs has their meaning field by field. Who
// programs the forwarder deals with these only, never with FlatBuffers.

namespace simplon::ipc {

struct Domain {
  DomainId id;
  std::string name;
  friend bool operator==(const Domain&, const Domain&) = default;
};

struct Uplink {
  std::string interface;
  friend bool operator==(const Uplink&, const Uplink&) = default;
};

struct Vpc {
  Vni vni;
  std::string name;
  DomainId domain;
  IpAddress vtep;
  std::uint16_t udp_port = 4789;
  MacAddress gateway_mac;
  std::vector<IpPrefix> prefixes;
  std::vector<IpAddress> accepted_vteps;
  std::uint16_t mtu = 1450;
  friend bool operator==(const Vpc&, const Vpc&) = default;
};

struct Endpoint {
  Vni vni;
  IpAddress address;
  MacAddress mac;
  IpAddress vtep;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

enum class OuterDf : std::uint8_t { kSet = 0, kClear = 1, kCopy = 2 };

struct Tunnel {
  TunnelId id;
  std::string name;
  DomainId domain;
  IpAddress local;
  std::uint16_t mtu = 0;
  bool clamp_mss = true;
  OuterDf outer_df = OuterDf::kSet;
  bool ignores_df = false;
  std::uint64_t negotiation = 0;
  bool closed = false;
  friend bool operator==(const Tunnel&, const Tunnel&) = default;
};

struct Circuit {
  CircuitId id;
  std::string name;
  DomainId domain;
  std::string interface;
  std::uint16_t vlan = 0;
  std::uint16_t outer_vlan = 0;
  std::uint16_t outer_type = 0x88a8;
  std::uint16_t mtu = 1500;
  bool clamp_mss = true;
  friend bool operator==(const Circuit&, const Circuit&) = default;
};

enum class AttachmentKind : std::uint8_t { kNone = 0, kVpc = 1, kTunnel = 2, kCircuit = 3 };

/// Names an attachment: a VNI, a tunnel or a circuit id, by kind.
struct AttachmentRef {
  AttachmentKind kind = AttachmentKind::kNone;
  std::uint32_t id = 0;

  [[nodiscard]] static AttachmentRef vpc(Vni vni) { return {AttachmentKind::kVpc, vni.value()}; }
  [[nodiscard]] static AttachmentRef tunnel(TunnelId tunnel) { return {AttachmentKind::kTunnel, tunnel.value()}; }
  [[nodiscard]] static AttachmentRef circuit(CircuitId circuit) { return {AttachmentKind::kCircuit, circuit.value()}; }
  friend auto operator<=>(const AttachmentRef&, const AttachmentRef&) = default;
};

struct HostPort {
  AttachmentRef attachment;
  std::string interface;
  std::string netns;
  std::vector<InterfaceAddress> addresses;
  std::uint16_t mtu = 1400;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

enum class RouteAction : std::uint8_t { kNone = 0, kForward = 1, kLocal = 2, kUnreachable = 3 };

struct NextHop {
  AttachmentRef attachment;
  std::uint16_t weight = 1;
  std::optional<IpAddress> gateway{};
  /// Only while no other one that is none can be sent through.
  bool backup = false;
  friend auto operator<=>(const NextHop&, const NextHop&) = default;
};

struct Route {
  DomainId domain;
  IpPrefix prefix;
  RouteAction action = RouteAction::kForward;
  /// Backups last.
  std::vector<NextHop> nexthops;
  friend bool operator==(const Route&, const Route&) = default;
};

struct NumberRange {
  std::uint16_t first = 0, last = 65535;
  friend bool operator==(const NumberRange&, const NumberRange&) = default;
};

enum class AclDirection : std::uint8_t { kFrom = 1, kTo = 2 };

struct AclRule {
  std::string name;
  bool allow = false;
  AclDirection direction = AclDirection::kFrom;
  bool stateful = true;
  std::optional<std::uint8_t> protocol;
  std::vector<IpPrefix> sources, destinations;
  std::vector<NumberRange> source_ports, destination_ports;
  friend bool operator==(const AclRule&, const AclRule&) = default;
};

struct Acl {
  std::string name;
  bool allow_by_default = false;
  std::vector<AclRule> rules;
  friend bool operator==(const Acl&, const Acl&) = default;
};

enum class ReversePath : std::uint8_t { kOff = 0, kLoose = 1, kStrict = 2 };

struct Policy {
  AttachmentRef attachment;
  DomainId domain;
  std::string acl;
  ReversePath reverse_path = ReversePath::kOff;
  std::uint64_t bits_from = 0, packets_from = 0, bits_to = 0, packets_to = 0;
  std::uint32_t max_connections = 65536;
  friend bool operator==(const Policy&, const Policy&) = default;
};

enum class NatKind : std::uint8_t { kSource = 1, kDestination = 2, kNetmap = 3, kNetmapRemote = 4 };

struct NatRule {
  std::string name;
  NatKind kind = NatKind::kSource;
  AttachmentRef attachment;
  std::vector<IpPrefix> sources;
  IpPrefix outside, inside;
  std::uint8_t protocol = 0;
  std::uint16_t outside_port = 0, inside_port = 0, port_blocks = 16;
  friend bool operator==(const NatRule&, const NatRule&) = default;
};

struct Nat {
  DomainId domain;
  std::vector<NatRule> rules;
  friend bool operator==(const Nat&, const Nat&) = default;
};

using Object = std::variant<Domain, Uplink, Vpc, Endpoint, Tunnel, HostPort, Route, Circuit, Acl, Policy, Nat>;

/// Upsert of `object`, or its deletion (only its key fields count then).
struct Operation {
  Object object;
  bool delete_it = false;
  friend bool operator==(const Operation&, const Operation&) = default;

  [[nodiscard]] static Operation upsert(Object object) { return {std::move(object), false}; }
  [[nodiscard]] static Operation remove(Object object) { return {std::move(object), true}; }
};

/// The key of `object` in words: "route 10.0.0.0/8 in domain 3". Equal keys give equal text.
[[nodiscard]] std::string key_of(const Object& object);

struct OperationError {
  std::uint32_t index = 0;
  std::string what;
  friend bool operator==(const OperationError&, const OperationError&) = default;
};

struct Ack {
  Generation generation;
  std::vector<OperationError> errors;
  friend bool operator==(const Ack&, const Ack&) = default;
};

}  // namespace simplon::ipc
