// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>

#include "platform/net/ip_address.h"
#include "platform/net/ip_prefix.h"

namespace simplon::forward {

/// Which inner packets somebody wants to see; what is not given is any. Ports: TCP and UDP, not of fragments.
struct PacketFilter {
  std::optional<IpPrefix> source;
  std::optional<IpPrefix> destination;
  /// Source or destination.
  std::optional<IpPrefix> host;
  std::optional<std::uint8_t> protocol;
  std::optional<std::uint16_t> source_port;
  std::optional<std::uint16_t> destination_port;
  /// Source or destination.
  std::optional<std::uint16_t> port;

  struct Flow {
    IpAddress source;
    IpAddress destination;
    std::uint8_t protocol = 0;
    bool has_ports = false;
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
  };
  [[nodiscard]] bool empty() const noexcept {
    return !source && !destination && !host && !protocol && !source_port && !destination_port && !port;
  }
  [[nodiscard]] bool passes(const Flow& flow) const noexcept {
    if (source && !source->contains(flow.source)) return false;
    if (destination && !destination->contains(flow.destination)) return false;
    if (host && !host->contains(flow.source) && !host->contains(flow.destination)) return false;
    if (protocol && *protocol != flow.protocol) return false;
    if (!source_port && !destination_port && !port) return true;
    if (!flow.has_ports) return false;
    return (!source_port || *source_port == flow.source_port) &&
           (!destination_port || *destination_port == flow.destination_port) &&
           (!port || *port == flow.source_port || *port == flow.destination_port);
  }
};

}  // namespace simplon::forward
