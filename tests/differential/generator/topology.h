// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/differential/generator/random.h"
#include "tests/differential/oracle/world.h"

namespace simplon::differential {

/// A gateway of some tenants, all different, and what may happen to it. Domains use the same addresses on purpose, VNIs
/// and SPIs differ by one bit, references lead to objects that are not there. In some rounds routes lead from one
/// domain into another.
class Topology {
 public:
  /// `policy`: most domains have some.
  Topology(Random& random, bool policy) : random_(random), policy_(policy) {}

  [[nodiscard]] std::vector<oracle::Change> initial();
  /// One operation of the control plane; several writes if it takes several.
  [[nodiscard]] std::vector<oracle::Change> change(const oracle::World& world);

 private:
  using Changes = std::vector<oracle::Change>;

  void add_ports(Changes& changes);
  void add_domain(Changes& changes);
  void add_vpc(Changes& changes, DomainId domain);
  void add_tunnel(Changes& changes, DomainId domain);
  void add_circuit(Changes& changes, DomainId domain);
  void change_circuit(Changes& changes, const oracle::World& world, CircuitId id, DomainId domain);
  void add_policy(Changes& changes, DomainId domain);
  void add_nat(Changes& changes, DomainId domain);
  void change_policy(Changes& changes, const oracle::World& world);
  void add_routes(Changes& changes, DomainId domain, std::size_t count);
  void add_host_port(Changes& changes, oracle::AttachmentId attachment, DomainId domain);

  [[nodiscard]] oracle::VpcEntry vpc(Vni vni, DomainId domain);
  [[nodiscard]] oracle::EndpointEntry endpoint(const oracle::VpcEntry& vpc);
  [[nodiscard]] oracle::TunnelEntry tunnel(TunnelId id, DomainId domain);
  [[nodiscard]] oracle::RouteEntry route(DomainId domain, const std::vector<oracle::AttachmentId>& attachments);
  [[nodiscard]] oracle::SaSpec sa(TunnelId tunnel, forward::SaDirection direction, forward::SaPath path);
  [[nodiscard]] oracle::SetOutbound outbound(TunnelId tunnel, const forward::SaPath& path);
  [[nodiscard]] oracle::InstallInbound inbound(TunnelId tunnel, const forward::SaPath& path);
  [[nodiscard]] forward::SaPath outbound_path();
  [[nodiscard]] oracle::SetAdjacency adjacency(const IpAddress& destination);
  [[nodiscard]] IpAddress compute_host(DomainId domain, bool v4);
  [[nodiscard]] oracle::CircuitEntry circuit(CircuitId id, DomainId domain);
  [[nodiscard]] oracle::NeighborEntry neighbor(CircuitId id);
  [[nodiscard]] std::optional<IpAddress> gateway(CircuitId id);
  [[nodiscard]] std::optional<IpAddress> gateway_if(oracle::AttachmentId attachment);
  [[nodiscard]] oracle::AclEntry acl(const std::string& name);
  [[nodiscard]] std::string acl_name(DomainId domain);
  [[nodiscard]] oracle::PolicyEntry policy(oracle::AttachmentId attachment, DomainId domain);
  [[nodiscard]] oracle::NatEntry nat(DomainId domain);
  [[nodiscard]] oracle::AttachmentId attachment_of(DomainId domain);
  [[nodiscard]] IpPrefix tenant_prefix();
  [[nodiscard]] IpPrefix tenant_prefix4();
  [[nodiscard]] Vni new_vni();
  [[nodiscard]] std::uint16_t mtu();

  Random& random_;
  bool policy_;
  /// Routes lead from one domain into another.
  bool crossing_ = false;
  /// Domains with policy.
  std::vector<DomainId> policed_;
  /// Lists as they were.
  std::vector<oracle::AclEntry> former_;
  /// Endpoints that were there.
  std::vector<std::pair<DomainId, IpAddress>> hosts_;
  std::map<CircuitId, IpPrefix> networks_;
  std::map<CircuitId, std::vector<IpAddress>> gateways_;
  std::uint32_t next_circuit_ = 1;
  /// Some rounds have paths of 68 bytes and more, most have not.
  bool tiny_mtus_ = false;
  std::vector<DomainId> domains_;
  std::vector<std::pair<oracle::AttachmentId, DomainId>> attachments_;
  std::uint32_t next_port_ = 10;
  std::uint32_t next_tunnel_ = 1;
};

/// An address that `prefix` covers; few different ones, so that they meet again.
[[nodiscard]] IpAddress address_in(Random& random, const IpPrefix& prefix);

}  // namespace simplon::differential
