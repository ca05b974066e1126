// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <linux/netlink.h>

#include <optional>

#include "platform/netlink/netlink.h"

// Pure: one rtnetlink message whose nlmsg_len was checked against its buffer, to a value. nullopt: not about IP, or malformed.

namespace simplon::netlink {

struct AddressMessage {
  std::uint32_t interface = 0;
  InterfaceAddress address;
};

struct LinkState {
  std::uint32_t interface = 0;
  bool running = false;
};

/// RTM_DELLINK: not running. nullopt also: in the family of a bridge, which tells so what it lets go of.
[[nodiscard]] std::optional<LinkState> parse_link_state(const nlmsghdr& message);
[[nodiscard]] std::optional<Interface> parse_link(const nlmsghdr& message);
[[nodiscard]] std::optional<AddressMessage> parse_address(const nlmsghdr& message);
/// RTM_DELNEIGH gives kFailed.
[[nodiscard]] std::optional<Neighbor> parse_neighbor(const nlmsghdr& message);
[[nodiscard]] std::optional<RouteLookup> parse_route(const nlmsghdr& message);

}  // namespace simplon::netlink
