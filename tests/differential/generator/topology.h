// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <vector>

#include "tests/differential/generator/random.h"
#include "tests/differential/oracle/world.h"

namespace simplon::differential {

/// A gateway of some tenants, all different, and what may happen to it. Domains use the same addresses on purpose, VNIs
/// and SPIs differ by one bit, references lead to objects that are not there. No route leads from one domain into
/// another, so that nothing may leave its tenant.
class Topology {
 public:
  explicit Topology(Random& random) : random_(random) {}

  [[nodiscard]] std::vector<oracle::Change> initial();
  /// One operation of the control plane; several writes if it takes several.
  [[nodiscard]] std::vector<oracle::Change> change(const oracle::World& world);

 private:
  using Changes = std::vector<oracle::Change>;

  void add_ports(Changes& changes);
  void add_domain(Changes& changes);
  void add_vpc(Changes& changes, DomainId domain);
  void add_tunnel(Changes& changes, DomainId domain);
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
  [[nodiscard]] IpPrefix tenant_prefix();
  [[nodiscard]] Vni new_vni();
  [[nodiscard]] std::uint16_t mtu();

  Random& random_;
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
