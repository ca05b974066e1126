// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "gateway/forward/tables.h"
#include "gateway/forwarder/uplinks.h"
#include "gateway/ipc/table_model.h"
#include "gateway/ipc/table_stats.h"
#include "platform/net/ip_address.h"
#include "platform/net/mac_address.h"
#include "platform/netlink/monitor.h"
#include "platform/netlink/netlink.h"
#include "platform/xdp/uplink_program.h"

namespace simplon::forwarder {

/// Circuits: ties each to its uplink, and keeps its neighbors as the kernel of the domain's namespace learns them on the TAP.
/// Threads: the control thread's.
class Circuits {
 public:
  /// The TAP of a circuit has this address from now on.
  using MacChanged = std::function<void(CircuitId circuit, const MacAddress& mac)>;
  /// So many bytes leave through the circuit: its own MTU, and what its uplink has room for.
  using MtuChanged = std::function<void(CircuitId circuit, std::uint16_t mtu_bytes)>;

  /// `underlay`: of the uplinks' namespace.
  Circuits(boost::asio::io_context& io, forward::Tables& tables, const Uplinks& uplinks, netlink::Netlink& underlay,
           xdp::Steering& steering, MacChanged mac_changed, MtuChanged mtu_changed);
  ~Circuits();
  Circuits(const Circuits&) = delete;
  Circuits& operator=(const Circuits&) = delete;

  /// Wanted from now on; `refresh` publishes it.
  void upsert(const ipc::Circuit& circuit);
  void remove(CircuitId id);
  [[nodiscard]] bool empty() const noexcept { return circuits_.empty(); }
  /// Makes tables, steering and TAPs follow circuits and uplinks.
  void refresh();

  /// The TAP of a circuit is there (again). Its neighbors are followed until `unwatch`.
  void watch(CircuitId id, const std::string& netns, const std::string& interface);
  void unwatch(CircuitId id);

  /// Asks for the gateways that became wanted since the last call, and for the neighbors that workers miss.
  void catch_up();
  /// Once a second: asks again for gateways that did not answer, and tries again what failed.
  void retry();

  [[nodiscard]] std::vector<ipc::NeighborStats> stats() const;

 private:
  struct Watch;
  struct Circuit {
    ipc::Circuit wanted;
    forward::CircuitEntry published;
    bool is_published = false;
    std::string error;
  };
  using Gateway = std::pair<CircuitId, IpAddress>;

  [[nodiscard]] forward::CircuitEntry entry_of(const ipc::Circuit& circuit) const;
  void publish(Circuit& circuit, const forward::CircuitEntry& entry);
  void steer();
  void give_mac(CircuitId id, Watch& watch);
  void load(CircuitId id, Watch& watch);
  void on_neighbor(CircuitId id, const netlink::Neighbor& neighbor);
  void forget_neighbors(CircuitId id);
  void ask(CircuitId id, const IpAddress& address);

  boost::asio::io_context& io_;
  forward::Tables& tables_;
  const Uplinks& uplinks_;
  netlink::Netlink& underlay_;
  xdp::Steering& steering_;
  MacChanged mac_changed_;
  MtuChanged mtu_changed_;
  std::map<CircuitId, Circuit> circuits_;
  std::map<CircuitId, std::unique_ptr<Watch>> watches_;
  struct Unwatched {
    std::string netns, interface, error;
  };
  /// TAPs that `watch` failed for; tried again by `retry`.
  std::map<CircuitId, Unwatched> unwatched_;
  /// Uplinks whose frames with VLAN tags arrive as they are; by interface index.
  std::set<std::uint32_t> prepared_;
  std::set<Gateway> gateways_;
  std::vector<Gateway> new_;
  /// Asked for since the last `retry`: bounds what packets can make the kernel do.
  std::set<Gateway> asked_;
  std::map<CircuitId, std::size_t> asked_of_;
};

}  // namespace simplon::forwarder
