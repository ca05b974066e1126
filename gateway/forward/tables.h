// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gateway/forward/counters.h"
#include "gateway/forward/objects.h"
#include "gateway/forward/quiescence.h"
#include "gateway/forward/sa.h"
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
  explicit Tables(unsigned workers = 1);
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
  Result<void> upsert_host_port(const HostPortEntry& host_port);
  void remove_host_port(AttachmentId attachment);
  Result<void> upsert_route(const RouteEntry& route);
  void remove_route(DomainId domain, const IpPrefix& prefix);

  // Ports. A port's PacketIo is destroyed in `commit` or `reclaim`, after the workers let go of it.

  Result<void> upsert_port(const PortEntry& port);
  void remove_port(PortId id);

  // Adjacencies exist while an endpoint or an outbound SA leads to their destination. The listener hears of each
  // destination once when it becomes wanted and once when it no longer is; `set_adjacency` for one that is not wanted
  // is ignored.

  using AdjacencyListener = std::function<void(const IpAddress& destination, bool wanted)>;
  /// Calls back at once for those already wanted.
  void on_adjacency(AdjacencyListener listener);
  Result<void> set_adjacency(const IpAddress& destination, const AdjacencyEntry& adjacency);
  [[nodiscard]] std::vector<IpAddress> wanted_adjacencies() const;

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

  // Grace periods.

  /// Ends a group of writes. `applied(token)`: every worker forwards with them.
  Quiescence::Token commit();
  [[nodiscard]] bool applied(Quiescence::Token token) const noexcept;
  /// Frees what workers let go of, and goes on with unfinished table growth; call it from a timer.
  void reclaim();

  // Reading.

  struct Counts {
    std::uint64_t domains = 0, vpcs = 0, endpoints = 0, tunnels = 0, routes = 0, adjacencies = 0, inbound_sas = 0;
  };
  [[nodiscard]] Counts counts() const noexcept;
  /// Empty if there is no such attachment.
  [[nodiscard]] std::optional<TrafficTotals> totals(AttachmentId attachment) const;
  [[nodiscard]] std::optional<TrafficTotals> totals(PortId port) const;
  /// Inner IP bytes that fit through the attachment now; 0: unknown (a tunnel without outbound SA or adjacency).
  [[nodiscard]] std::uint16_t inner_mtu(AttachmentId attachment) const;
  [[nodiscard]] std::optional<AdjacencyEntry> adjacency(const IpAddress& destination) const;
  /// As upserted, but for the order of nexthops.
  [[nodiscard]] std::optional<EndpointEntry> endpoint(Vni vni, const IpAddress& address) const;
  [[nodiscard]] std::optional<RouteEntry> route(DomainId domain, const IpPrefix& prefix) const;

  // For the workers.

  [[nodiscard]] Quiescence& quiescence() noexcept;
  [[nodiscard]] const TableState& state() const noexcept { return *state_; }
  [[nodiscard]] unsigned workers() const noexcept;

 private:
  class Writer;
  std::unique_ptr<TableState> state_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace simplon::forward
