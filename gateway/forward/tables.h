// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gateway/forward/asked_neighbors.h"
#include "gateway/forward/counters.h"
#include "gateway/forward/hash_seed.h"
#include "gateway/forward/objects.h"
#include "gateway/forward/policy_objects.h"
#include "gateway/forward/quiescence.h"
#include "gateway/forward/sa.h"
#include "gateway/forward/shortcut.h"
#include "platform/base/result.h"

namespace simplon::forward {

struct TableState;

/// Everything the workers look up: one writer, wait-free readers.
///
/// A write is visible to the workers as soon as its function returns (single atomic stores), routes at the latest with
/// `commit` or before anything is removed that they may have led to. Upserts
/// of what is there unchanged change nothing, so a full resynchronisation disturbs no packet. Counters, sequence numbers
/// and replay windows survive the replacement of the objects they belong to.
///
///     tables.upsert_vpc(...); tables.upsert_route(...);
///     const auto token = tables.commit();
///     ... later: if (tables.applied(token)) acknowledge(generation);
///
/// Threads: everything here is for the one writer thread, except `quiescence` and `state`, which are for the workers.
/// Cost: allocates; never blocks. Errors: kInvalidConfig naming the value, and nothing was changed.
class Tables {
 public:
  /// `seed`: a secret, where there are tenants.
  explicit Tables(unsigned workers = 1, HashSeed seed = {});
  /// All workers are gone by then.
  ~Tables();
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  // Objects. Removing what is not there succeeds.

  Result<void> upsert_domain(DomainId domain);
  void remove_domain(DomainId domain);
  Result<void> upsert_vpc(const VpcEntry& vpc);
  void remove_vpc(Vni vni);
  Result<void> upsert_endpoint(const EndpointEntry& endpoint);
  void remove_endpoint(Vni vni, const IpAddress& address);
  Result<void> upsert_tunnel(const TunnelEntry& tunnel);
  void remove_tunnel(TunnelId id);
  /// Errors also: kConflict if another circuit has the VLAN on that port.
  Result<void> upsert_circuit(const CircuitEntry& circuit);
  void remove_circuit(CircuitId id);
  Result<void> upsert_host_port(const HostPortEntry& host_port);
  void remove_host_port(AttachmentId attachment);
  Result<void> upsert_route(const RouteEntry& route);
  void remove_route(DomainId domain, const IpPrefix& prefix);

  // Policy. A domain in which no attachment has a policy, and without NAT, costs its packets nothing. Counters of rules go
  // on while a rule of that name is there; connections and NAT mappings are not touched by a change of rules.

  Result<void> upsert_acl(const AclEntry& acl);
  void remove_acl(const std::string& name);
  Result<void> upsert_policy(const PolicyEntry& policy);
  void remove_policy(AttachmentId attachment);
  Result<void> upsert_nat(const NatEntry& nat);
  void remove_nat(DomainId domain);

  // Ports. A port's PacketIo is destroyed in `commit` or `reclaim`, after the workers let go of it.

  Result<void> upsert_port(const PortEntry& port);
  void remove_port(PortId id);
  /// Whether the link behind an uplink is up; it is, until somebody says otherwise. Routes with another nexthop leave a port without
  /// carrier at once, and come back with it.
  void set_carrier(PortId id, bool carrier);

  // Adjacencies exist while an endpoint or an outbound SA leads to their destination. The listener hears of each
  // destination once when it becomes wanted and once when it no longer is; `set_adjacency` for one that is not wanted
  // is ignored.

  using AdjacencyListener = std::function<void(const IpAddress& destination, bool wanted)>;
  /// Calls back at once for those already wanted.
  void on_adjacency(AdjacencyListener listener);
  Result<void> set_adjacency(const IpAddress& destination, const AdjacencyEntry& adjacency);
  [[nodiscard]] std::vector<IpAddress> wanted_adjacencies() const;

  // Neighbors on circuits. One that a route names as gateway is wanted while there is such a route, whether it is known or not;
  // the listener hears of each once when it becomes wanted and once when it no longer is. Of others the workers say when they
  // have a packet for one that is not known (`take_asked`).

  using NeighborListener = std::function<void(CircuitId circuit, const IpAddress& neighbor, bool wanted)>;
  /// Calls back at once for those already wanted.
  void on_neighbor(NeighborListener listener);
  Result<void> upsert_neighbor(const NeighborEntry& neighbor);
  void remove_neighbor(CircuitId circuit, const IpAddress& address);
  /// Those that packets were dropped for since the last call; a few of them if there are many. Only addresses and circuits
  /// of packets, that is: not trusted.
  [[nodiscard]] std::vector<AskedNeighbor> take_asked();

  // Security associations.

  /// Errors: kConflict if another Sa has the SPI. Installing an installed one again changes nothing.
  Result<void> install_inbound(std::shared_ptr<Sa> sa);
  void remove_inbound(Spi spi);
  /// Packets with this SPI wait for their SA for a moment (EarlyEsp), until it is installed, or `expect_no_longer`.
  void expect_inbound(Spi spi);
  void expect_no_longer(Spi spi);
  [[nodiscard]] std::shared_ptr<Sa> inbound(Spi spi) const;
  /// Packets of the tunnel leave through `sa` from now on; nullptr: the tunnel is down. The tunnel need not exist yet.
  /// Errors: kInvalidConfig if `sa` is of another tunnel or direction.
  Result<void> set_outbound(TunnelId tunnel, std::shared_ptr<Sa> sa);
  [[nodiscard]] std::shared_ptr<Sa> outbound(TunnelId tunnel) const;
  /// New addresses or encapsulation for an installed SA; its runtime goes on.
  Result<void> set_path(Sa& sa, const SaPath& path);

  // Shortcuts.

  /// nullopt: the packet needs the worker.
  [[nodiscard]] std::optional<Shortcut> shortcut(const Shortcut::Question& asked) const;
  /// Called in the middle of a write that shortcuts of `domain` may not survive; of all domains if it is 0. One that changes
  /// nothing calls nobody.
  using ChangeListener = std::function<void(DomainId domain)>;
  void on_change(ChangeListener listener);
  /// Adds what was forwarded by shortcuts to the totals of whoever it concerns, if that is still there.
  void add_traffic(AttachmentId attachment, const TrafficTotals& more);
  void add_traffic(PortId port, const TrafficTotals& more);

  // Grace periods.

  /// Ends a group of writes. `applied(token)`: every worker forwards with them.
  Quiescence::Token commit();
  [[nodiscard]] bool applied(Quiescence::Token token) const noexcept;
  /// Frees what workers let go of, and goes on with unfinished table growth; call it from a timer.
  void reclaim();

  // Reading.

  struct Counts {
    std::uint64_t domains = 0, vpcs = 0, endpoints = 0, tunnels = 0, circuits = 0, neighbors = 0, routes = 0, adjacencies = 0,
                  inbound_sas = 0;
    /// Routes whose packets take backups now, and how often a group of nexthops went over to its backups.
    std::uint64_t routes_on_backup = 0, switches_to_backup = 0;
  };
  [[nodiscard]] Counts counts() const noexcept;
  /// Empty if there is no such attachment.
  [[nodiscard]] std::optional<TrafficTotals> totals(AttachmentId attachment) const;
  [[nodiscard]] std::optional<TrafficTotals> totals(PortId port) const;
  /// Inner IP bytes that fit: through a tunnel now, into a VPC or circuit as configured; 0: unknown (a tunnel without outbound SA or adjacency).
  [[nodiscard]] std::uint16_t inner_mtu(AttachmentId attachment) const;
  [[nodiscard]] std::optional<AdjacencyEntry> adjacency(const IpAddress& destination) const;
  /// As upserted, but for the order of nexthops.
  [[nodiscard]] std::optional<EndpointEntry> endpoint(Vni vni, const IpAddress& address) const;
  [[nodiscard]] std::optional<RouteEntry> route(DomainId domain, const IpPrefix& prefix) const;

  // For traces.

  [[nodiscard]] std::optional<VpcEntry> vpc(Vni vni) const;
  [[nodiscard]] std::optional<TunnelEntry> tunnel(TunnelId id) const;
  [[nodiscard]] std::optional<CircuitEntry> circuit(CircuitId id) const;
  [[nodiscard]] std::optional<HostPortEntry> host_port(AttachmentId attachment) const;
  [[nodiscard]] std::optional<PortEntry> port(PortId id) const;
  /// The uplink with the lowest id.
  [[nodiscard]] std::optional<PortEntry> any_uplink() const;
  /// Longest match; nothing if the domain has no route, or there is no such domain.
  [[nodiscard]] std::optional<RouteEntry> matching_route(DomainId domain, const IpAddress& address) const;
  [[nodiscard]] std::vector<std::shared_ptr<Sa>> inbound_of(TunnelId tunnel) const;
  /// What a slot of the workers' tables stands for, and the reverse; 0: none.
  [[nodiscard]] std::optional<AttachmentId> attachment_at(std::uint32_t slot) const;
  [[nodiscard]] std::uint32_t slot_of(AttachmentId attachment) const;
  /// Of a configured attachment.
  [[nodiscard]] std::optional<DomainId> domain_of(AttachmentId attachment) const;
  /// What stands in a slot of access lists: of a list that is named but not there, the name alone.
  [[nodiscard]] std::optional<AclEntry> acl_at(std::uint32_t slot) const;
  [[nodiscard]] std::optional<NatEntry> nat(DomainId domain) const;
  /// In the order of the rules; empty if there is no such list, or domain with NAT.
  [[nodiscard]] std::vector<RuleCount> acl_counts(const std::string& name) const;
  [[nodiscard]] std::vector<RuleCount> nat_counts(DomainId domain) const;
  /// All of all workers.
  [[nodiscard]] std::uint32_t connections() const noexcept;
  [[nodiscard]] std::uint32_t max_connections() const noexcept;
  /// Those that count against the limit of the attachment.
  [[nodiscard]] std::uint32_t connections_of(AttachmentId attachment) const;
  /// At most `limit`. `now` is the workers' time in seconds.
  [[nodiscard]] std::vector<ConnectionView> list_connections(std::size_t limit, std::uint64_t now) const;

  // For the workers.

  [[nodiscard]] Quiescence& quiescence() noexcept;
  [[nodiscard]] const TableState& state() const noexcept { return *state_; }
  /// For the writer, before workers run.
  [[nodiscard]] TableState& writable_state() noexcept { return *state_; }
  [[nodiscard]] unsigned workers() const noexcept;

 private:
  class Writer;
  std::unique_ptr<TableState> state_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace simplon::forward
