// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/result.h"
#include "platform/net/ip_address.h"
#include "platform/net/ip_prefix.h"
#include "platform/net/mac_address.h"

namespace simplon::netlink {

struct Interface {
  std::uint32_t index = 0;
  std::string name;
  MacAddress mac;
  std::uint32_t mtu_bytes = 0;
  /// Administratively up and with carrier.
  bool running = false;
  /// By an administrator.
  bool promiscuous = false;
  std::uint32_t rx_queues = 1;
  std::vector<InterfaceAddress> addresses;
};

enum class NeighborState : std::uint8_t {
  kValid,      ///< `mac` may be used (reachable, stale, delay, probe, permanent)
  kResolving,  ///< asked, not answered yet
  kFailed,     ///< nobody answered
};

struct Neighbor {
  std::uint32_t interface = 0;
  IpAddress address;
  MacAddress mac;
  NeighborState state = NeighborState::kFailed;
  /// Valid, but not confirmed for a while: `resolve` makes the kernel confirm it.
  bool stale = false;
  /// Set by an administrator or not needing resolution: never asked for.
  bool fixed = false;
};

enum class RouteKind : std::uint8_t { kUnicast, kLocal, kUnreachable };

/// What the kernel would do with a packet to one destination.
struct RouteLookup {
  RouteKind kind = RouteKind::kUnreachable;
  std::uint32_t interface = 0;
  /// Unset: on link.
  std::optional<IpAddress> gateway;
  std::optional<IpAddress> source;
  /// MTU of the route; 0: that of the interface.
  std::uint32_t mtu_bytes = 0;
  /// `mtu_bytes` is what the kernel learned of the path to the destination.
  bool mtu_learned = false;
};

/// Requests to the kernel of one network namespace. Threads: one. Each call is answered by the kernel at once (it blocks for
/// microseconds). Errors: kUnavailable with the kernel's reason.
class Netlink {
 public:
  /// In our own namespace, or in the named one.
  [[nodiscard]] static Result<std::unique_ptr<Netlink>> open(const std::optional<std::string>& netns = {});
  ~Netlink();
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  /// All, with addresses.
  [[nodiscard]] Result<std::vector<Interface>> interfaces();
  /// Errors: kUnavailable if there is none of that name.
  [[nodiscard]] Result<Interface> interface(const std::string& name);

  /// `destination` as seen from `source`, if given. No route is an answer (kUnreachable), not an error. The MTU is the configured one:
  /// what ICMP messages made the kernel believe of the path is left out.
  [[nodiscard]] Result<RouteLookup> route_to(const IpAddress& destination, const std::optional<IpAddress>& source = {});

  /// nullopt if the kernel does not know it.
  [[nodiscard]] Result<std::optional<Neighbor>> neighbor(std::uint32_t interface, const IpAddress& address);
  /// All of an interface.
  [[nodiscard]] Result<std::vector<Neighbor>> neighbors(std::uint32_t interface);
  /// Makes the kernel resolve (or confirm) a neighbor as if it had a packet for it; the result comes from the monitor.
  /// A fixed neighbor is left alone (NTF_USE would take its permanence away).
  [[nodiscard]] Result<void> resolve(std::uint32_t interface, const IpAddress& address);

  /// What the kernel knows of it is gone, if it knew something.
  [[nodiscard]] Result<void> forget_neighbor(std::uint32_t interface, const IpAddress& address);

  /// Idempotent. IPv6 addresses are usable at once (no duplicate address detection).
  [[nodiscard]] Result<void> add_address(std::uint32_t interface, const InterfaceAddress& address);
  [[nodiscard]] Result<void> delete_address(std::uint32_t interface, const InterfaceAddress& address);
  [[nodiscard]] Result<void> set_up(std::uint32_t interface, bool up);
  /// The card takes in every multicast frame from now on.
  [[nodiscard]] Result<void> take_all_multicast(std::uint32_t interface);
  [[nodiscard]] Result<void> set_mac(std::uint32_t interface, const MacAddress& mac);
  [[nodiscard]] Result<void> set_mtu(std::uint32_t interface, std::uint32_t mtu_bytes);
  /// How many packets its transmit queue holds.
  [[nodiscard]] Result<void> set_queue_length(std::uint32_t interface, std::uint32_t packets);

 private:
  struct Impl;
  explicit Netlink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Gives interface `name` exactly these addresses (link-local ones excepted) and this MTU, and sets it up. What is already
/// right is not touched.
[[nodiscard]] Result<void> configure_interface(Netlink& netlink, const std::string& name,
                                               const std::vector<InterfaceAddress>& addresses, std::uint32_t mtu_bytes);

}  // namespace simplon::netlink
