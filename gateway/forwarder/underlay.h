// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gateway/forward/tables.h"
#include "gateway/forwarder/path_mtu.h"
#include "gateway/forwarder/uplinks.h"
#include "gateway/ipc/table_stats.h"
#include "platform/base/clock.h"
#include "platform/net/ip_address.h"
#include "platform/netlink/netlink.h"

namespace simplon::forwarder {

/// Keeps the adjacency of every outer destination in use (VTEPs, IPsec peers) as the kernel has it: route, neighbor, MTU. What routers
/// said of the path lowers the MTU.
/// Threads: the control thread's.
class Underlay {
 public:
  Underlay(forward::Tables& tables, netlink::Netlink& netlink, const Uplinks& uplinks, const Clock& clock);
  Underlay(const Underlay&) = delete;
  Underlay& operator=(const Underlay&) = delete;

  /// Resolves the destinations that became wanted since the last call. `Tables` announces them in the middle of a write,
  /// when it must not be written to.
  void catch_up();
  /// From the monitor.
  void on_neighbor(const netlink::Neighbor& neighbor);
  /// Looks everything up again: after changes of routes, links or uplinks.
  void refresh();
  /// The same in portions: `begin_refresh`, then `refresh_some` until it returns false. Beginning again begins at the first one.
  void begin_refresh();
  bool refresh_some();
  /// Once a second: asks again for neighbors that did not answer, forgets path MTUs that are old.
  void retry();
  /// A router on the path to `destination` told. kNone also if the destination is not in use.
  PathMtu::Change lower_path_mtu(const IpAddress& destination, std::uint16_t bytes);

  [[nodiscard]] std::vector<ipc::NeighborStats> stats() const;

 private:
  struct Destination {
    std::uint32_t interface = 0;
    IpAddress neighbor;
    forward::AdjacencyEntry entry;
    PathMtu mtu;
    bool routed = false;
  };

  void look_up(const IpAddress& address, Destination& destination);
  void publish(const IpAddress& address, Destination& destination, const std::optional<netlink::Neighbor>& neighbor);

  forward::Tables& tables_;
  netlink::Netlink& netlink_;
  const Uplinks& uplinks_;
  const Clock& clock_;
  std::map<IpAddress, Destination> destinations_;
  std::vector<IpAddress> new_;
  /// The next one to be looked up by `refresh_some`; nothing: all were.
  std::optional<IpAddress> next_;
  bool again_ = false;
};

}  // namespace simplon::forwarder
