// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bgp/speaker.h"
#include "gateway/ipc/table_model.h"
#include "platform/base/ids.h"
#include "platform/net/ip_prefix.h"

namespace simplon::control {

/// Where a route comes from. Local and connected ones are preferred in this order; then the shorter distance is, and of the same
/// distance the static one. Of several for one prefix the first that resolves is forwarded on, and the next one with another exit
/// is its backup.
enum class RouteSource : std::uint8_t {
  kLocal,      ///< an address of ours
  kConnected,  ///< inside link of a tunnel, link of a circuit, prefix of a VPC
  kStatic,
  kBgp,
};

[[nodiscard]] std::string_view to_string(RouteSource source) noexcept;

/// Of a learned route; what FRR gives those of eBGP. It does not tell, so it is that of all.
inline constexpr std::uint8_t kBgpDistance = 20;

/// Longest ECMP set the forwarder takes, backups included.
inline constexpr std::size_t kMaxNextHops = 64;

/// A route that the configuration asks for.
struct ConfiguredRoute {
  IpPrefix prefix;
  RouteSource source = RouteSource::kConnected;
  /// Unset: the attachment cannot carry traffic, `problem` says why.
  std::optional<ipc::AttachmentRef> attachment;
  /// Name of the tunnel, circuit or VPC as the operator wrote it.
  std::string attachment_name;
  std::string problem;
  /// Of a static route: the router on a circuit.
  std::optional<IpAddress> gateway{};
  /// Of a static route: those of the shortest distance are used together, those of the next stand by.
  std::uint8_t distance = 0;
  friend bool operator==(const ConfiguredRoute&, const ConfiguredRoute&) = default;
};

/// What the configuration says about the routes of one domain.
struct DomainLayout {
  struct Port {
    ipc::AttachmentRef attachment;
    std::string name;
    friend bool operator==(const Port&, const Port&) = default;
  };

  DomainId id;
  std::string name;
  /// Host ports by interface name ("tun3"): how nexthops of learned routes are recognized.
  std::map<std::string, Port, std::less<>> ports;
  std::vector<ConfiguredRoute> routes;
  friend bool operator==(const DomainLayout&, const DomainLayout&) = default;
};

/// One route as an operator looks at it.
struct RouteView {
  struct Hop {
    std::optional<IpAddress> gateway;
    std::string interface;
    std::optional<ipc::AttachmentRef> attachment;
    std::string attachment_name;
    std::uint16_t weight = 1;
    /// Why this nexthop is not used; empty if it resolves.
    std::string problem;
  };

  IpPrefix prefix;
  RouteSource source = RouteSource::kConnected;
  std::vector<Hop> hops;
  /// 0 of local and connected ones.
  std::uint8_t distance = 0;
  /// At least one nexthop leads to an attachment.
  bool resolved = false;
  /// This is the route of its prefix that is forwarded on.
  bool selected = false;
  /// It stands by for the selected one: the forwarder has it, and goes over to it by itself.
  bool backup = false;
  /// Why it is not resolved or not selected; empty otherwise.
  std::string reason;
};

/// Which routes an operator looks at.
struct RouteQuery {
  /// Those inside this prefix, and those that cover it; unset: all.
  std::optional<IpPrefix> overlapping;
  /// At most so many, the first ones.
  std::size_t limit = std::numeric_limits<std::size_t>::max();
};

struct RouteList {
  /// Ordered by prefix, then preference.
  std::vector<RouteView> routes;
  /// So many there are; more than listed if the limit was reached.
  std::size_t total = 0;
};

/// All routes of one domain (the RIB), resolved or not, and which of them is forwarded on.
///
/// A learned route that changes costs a look-up of its prefix, whatever else is there. Pure: no sockets, no time.
/// Threads: none.
class DomainRoutes {
 public:
  /// Replaces what the configuration says. Learned routes stay and are resolved against the new ports. False if that changes
  /// nothing: `resolve` answers as before.
  bool configure(DomainLayout layout);
  /// The domain is not configured any more: nothing resolves. Learned routes stay, for a revert.
  void unconfigure();
  /// Returns the prefixes for which `resolve` may answer differently now.
  std::vector<IpPrefix> learn(const bgp::RouteChanges& changes);

  /// The route that is forwarded on, or nothing.
  [[nodiscard]] std::optional<ipc::Route> resolve(const IpPrefix& prefix) const;
  /// All that are forwarded on.
  [[nodiscard]] std::vector<ipc::Route> resolve_all() const;

  /// Cost: a walk over the keys of all routes; only what is listed is made.
  [[nodiscard]] RouteList view(const RouteQuery& query) const;
  [[nodiscard]] std::vector<IpPrefix> learned_prefixes() const;
  [[nodiscard]] const DomainLayout& layout() const noexcept { return layout_; }

 private:
  /// Routes of one prefix that are used together.
  struct Tier {
    RouteSource source = RouteSource::kLocal;
    std::uint8_t distance = 0;
    std::vector<ipc::NextHop> hops;
  };

  /// Those that resolve, most preferred first.
  [[nodiscard]] std::vector<Tier> tiers_of(const std::vector<ConfiguredRoute>& routes, const bgp::LearnedRoute* learned) const;
  [[nodiscard]] std::optional<ipc::Route> resolve_tiers(const IpPrefix& prefix, std::vector<Tier> tiers) const;
  [[nodiscard]] std::vector<ipc::NextHop> hops_of(const bgp::LearnedRoute& route) const;
  [[nodiscard]] std::optional<ipc::Route> resolve_learned(const bgp::LearnedRoute& route) const;
  [[nodiscard]] RouteView::Hop resolve_hop(const bgp::RouteNextHop& nexthop) const;
  [[nodiscard]] std::vector<RouteView> views_of(const IpPrefix& prefix) const;

  bool configured_ = false;
  DomainLayout layout_;
  /// Most preferred first for each prefix.
  std::map<IpPrefix, std::vector<ConfiguredRoute>> by_prefix_;
  std::unordered_map<IpPrefix, bgp::LearnedRoute> learned_;
};

}  // namespace simplon::control
