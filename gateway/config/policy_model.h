// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "platform/net/ip_prefix.h"

// What the operator wants to let pass, at what rate and under which addresses. Part of model.h.

namespace simplon {

/// Both ends included.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

/// Empty lists mean any.
struct AclRuleConfig {
  std::string name;
  bool allow = false;
  /// Packets that go to the VPC or site, instead of those that come from it.
  bool to = false;
  std::optional<std::uint8_t> protocol;
  std::vector<IpPrefix> source;
  std::vector<IpPrefix> destination;
  std::vector<PortRange> source_ports;
  std::vector<PortRange> ports;
  std::vector<PortRange> icmp_types;
  /// Of what is allowed, the rest of the connection passes too.
  bool stateful = true;
  friend bool operator==(const AclRuleConfig&, const AclRuleConfig&) = default;
};

/// The first rule that matches decides.
struct AclConfig {
  std::string name;
  bool allow_by_default = false;
  std::vector<AclRuleConfig> rules;
  friend bool operator==(const AclConfig&, const AclConfig&) = default;
};

enum class ReversePathConfig : std::uint8_t { kOff, kLoose, kStrict };

/// Of a VPC or tunnel. Rates: 0 is no limit.
struct PolicyConfig {
  std::string acl;
  ReversePathConfig reverse_path = ReversePathConfig::kOff;
  std::uint64_t bits_from = 0;
  std::uint64_t bits_to = 0;
  std::uint64_t packets_from = 0;
  std::uint64_t packets_to = 0;
  std::uint32_t max_connections = 65536;
  friend bool operator==(const PolicyConfig&, const PolicyConfig&) = default;
};

enum class NatType : std::uint8_t { kSource, kDestination, kNetmap, kNetmapRemote };

struct NatRuleConfig {
  std::string name;
  NatType type = NatType::kSource;
  /// A tunnel or VPC of the domain; not for kDestination.
  std::string attachment;
  std::vector<IpPrefix> source;  ///< kSource; empty: all.
  std::optional<IpPrefix> outside;
  std::optional<IpPrefix> inside;  ///< Not for kSource.
  std::uint8_t protocol = 0;       ///< kDestination; 0: all.
  std::uint16_t outside_port = 0;
  std::uint16_t inside_port = 0;
  std::uint16_t port_blocks = 16;
  friend bool operator==(const NatRuleConfig&, const NatRuleConfig&) = default;
};

namespace config {

/// "any", "tcp", "udp", "icmp", "icmpv6", or the number.
[[nodiscard]] std::string format_protocol(std::optional<std::uint8_t> protocol);
/// "80", "8000-8100"
[[nodiscard]] std::string format_ports(const PortRange& range);
[[nodiscard]] std::string_view to_string(NatType type) noexcept;
[[nodiscard]] std::string_view to_string(ReversePathConfig mode) noexcept;
/// "allow from tcp 10.0.0.0/8 -> any ports 80, 443"
[[nodiscard]] std::string describe_rule(const AclRuleConfig& rule);
[[nodiscard]] std::string describe_rule(const NatRuleConfig& rule);

}  // namespace config

}  // namespace simplon
