// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/policy_model.h"
#include "platform/base/ids.h"
#include "platform/net/ip_address.h"
#include "platform/net/ip_prefix.h"
#include "platform/net/mac_address.h"

// What the operator wants, as one value. Names identify objects; cross references are by name and are resolved by
// `validate`. No secrets live here, only the paths of the files that hold them.

namespace simplon {

/// An underlay interface whose traffic the forwarder takes over (VXLAN and ESP to our addresses).
struct UplinkConfig {
  std::string interface;
  friend bool operator==(const UplinkConfig&, const UplinkConfig&) = default;
};

/// Which prefixes may pass, in order; what no rule permits is denied.
struct PrefixRule {
  IpPrefix prefix;
  /// Longest permitted length of a route inside `prefix`; equal to its length for an exact match.
  std::uint8_t max_length = 0;
  friend bool operator==(const PrefixRule&, const PrefixRule&) = default;
};

struct BgpNeighborConfig {
  std::string name;
  IpAddress address;
  std::uint32_t remote_asn = 0;
  /// File with the TCP-MD5 password (RFC 2385), mode 0600.
  std::optional<std::string> password_file;
  std::chrono::seconds keepalive{10};
  std::chrono::seconds hold{30};
  bool bfd = false;
  /// Routes accepted from and announced to the neighbor; empty means none (default deny).
  std::vector<PrefixRule> import;
  std::vector<PrefixRule> export_;
  std::uint32_t max_prefixes = 1000;
  friend bool operator==(const BgpNeighborConfig&, const BgpNeighborConfig&) = default;
};

struct BgpConfig {
  std::uint32_t asn = 0;
  IpAddress router_id;
  std::vector<BgpNeighborConfig> neighbors;
  friend bool operator==(const BgpConfig&, const BgpConfig&) = default;
};

struct StaticRouteConfig {
  IpPrefix prefix;
  /// Name of a tunnel or circuit of the same domain.
  std::string via;
  /// On a circuit: the router there.
  std::optional<IpAddress> gateway{};
  /// Of several for one prefix the shortest is used, the next stands by; learned routes have 20.
  std::uint8_t distance = 1;
  friend bool operator==(const StaticRouteConfig&, const StaticRouteConfig&) = default;
};

struct DomainConfig {
  std::string name;
  std::optional<BgpConfig> bgp;
  std::vector<StaticRouteConfig> static_routes;
  std::vector<NatRuleConfig> nat{};
  friend bool operator==(const DomainConfig&, const DomainConfig&) = default;
};

struct EndpointConfig {
  IpAddress address;
  MacAddress mac;
  IpAddress vtep;
  friend bool operator==(const EndpointConfig&, const EndpointConfig&) = default;
};

struct VpcConfig {
  std::string name;
  std::string domain;
  Vni vni;
  std::vector<IpPrefix> prefixes;
  /// The vRouter's addresses in the VPC (at most one of each family), inside its prefixes.
  std::vector<InterfaceAddress> gateway;
  MacAddress gateway_mac;
  std::uint16_t mtu_bytes = 1450;
  std::vector<EndpointConfig> endpoints;
  PolicyConfig policy{};
  friend bool operator==(const VpcConfig&, const VpcConfig&) = default;
};

enum class Encapsulation : std::uint8_t {
  kAuto,  ///< raw ESP, or UDP when charon detects a NAT (RFC 7296 section 2.23)
  kUdp,   ///< always ESP-in-UDP (RFC 3948)
};

/// "Don't fragment" of outer IPv4 headers (RFC 4301 section 8.1).
enum class OuterDf : std::uint8_t { kSet, kClear, kCopy };
[[nodiscard]] constexpr std::string_view to_string(OuterDf policy) noexcept {
  return policy == OuterDf::kSet ? "set" : policy == OuterDf::kClear ? "clear" : "copy";
}

/// Of an IPv4 packet that is too big for the tunnel and must not be fragmented.
enum class InnerDf : std::uint8_t {
  kHonor,   ///< its sender is told the MTU (RFC 1191)
  kIgnore,  ///< it is cut up nevertheless, for senders that never hear
};
[[nodiscard]] constexpr std::string_view to_string(InnerDf policy) noexcept {
  return policy == InnerDf::kHonor ? "honor" : "ignore";
}

/// Packets; what the forwarder has for an SA.
inline constexpr std::uint32_t kMaxReplayWindow = 4096;

struct TunnelConfig {
  std::string name;
  std::string domain;
  IpAddress local;
  /// Unset: any peer that authenticates (we only respond).
  std::optional<IpAddress> remote;
  std::string local_id;
  std::string remote_id;
  /// File with the pre-shared key, mode 0600.
  std::string psk_file;
  std::vector<std::string> ike_proposals;
  std::vector<std::string> esp_proposals;
  /// Permits what check_ike_proposal and check_esp_proposal refuse as weak.
  bool allow_weak = false;
  Encapsulation encapsulation = Encapsulation::kAuto;
  bool initiate = true;
  bool enabled = true;
  std::chrono::seconds dpd_delay{10};
  std::chrono::seconds ike_rekey{14400};
  std::chrono::seconds child_rekey{3600};
  std::uint32_t replay_window = 1024;  ///< At most kMaxReplayWindow.
  /// Our addresses inside the tunnel, with the length of the link (169.254.10.1/30); at most one of each family.
  std::vector<InterfaceAddress> inside;
  /// Upper bound for the inner MTU; the computed one applies when it is smaller.
  std::optional<std::uint16_t> mtu_bytes;
  bool clamp_mss = true;
  OuterDf outer_df = OuterDf::kSet;
  InnerDf inner_df = InnerDf::kHonor;
  PolicyConfig policy{};
  friend bool operator==(const TunnelConfig&, const TunnelConfig&) = default;
};

/// Type of the outer tag of what we send.
enum class OuterTag : std::uint8_t {
  k8021ad,  ///< 0x88a8
  k8021q,   ///< 0x8100, as many providers want it
};

enum class CircuitPath : std::uint8_t { kPrimary, kSecondary };

/// One path of a private line: a VLAN on an uplink with the provider's router at the other end. A line with two paths
/// is two of these with one service key.
struct CircuitConfig {
  std::string name;
  std::string domain;
  /// Interface of an uplink.
  std::string uplink;
  std::uint16_t vlan = 0;
  /// The provider's tag in front of it (QinQ).
  std::optional<std::uint16_t> outer_vlan;
  OuterTag outer_type = OuterTag::k8021ad;
  /// Ours on the circuit, with the length of the link (192.168.15.1/30); at most one of each family.
  std::vector<InterfaceAddress> addresses;
  /// IP bytes.
  std::uint16_t mtu_bytes = 1500;
  bool clamp_mss = true;
  bool enabled = true;
  /// What the provider calls the line, a GUID in lower case; not a secret.
  std::optional<std::string> service_key;
  CircuitPath path = CircuitPath::kPrimary;
  PolicyConfig policy{};
  friend bool operator==(const CircuitConfig&, const CircuitConfig&) = default;
};

/// The whole document.
struct GatewayConfig {
  std::string name;
  /// Our VXLAN tunnel end point on the underlay.
  std::optional<IpAddress> vtep;
  std::uint16_t vxlan_port = 4789;
  std::vector<UplinkConfig> uplinks;
  std::vector<DomainConfig> domains;
  std::vector<VpcConfig> vpcs;
  std::vector<TunnelConfig> tunnels;
  std::vector<AclConfig> acls{};
  std::vector<CircuitConfig> circuits{};
  friend bool operator==(const GatewayConfig&, const GatewayConfig&) = default;
};

}  // namespace simplon
