// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

#include "platform/base/strong.h"

namespace simplon {

/// An isolated routing domain; allocated by simplond, stable over restarts, never 0.
using DomainId = Strong<std::uint32_t, struct DomainIdTag>;
/// A tunnel; equals the XFRM interface id (`if_id`) of its CHILD_SAs; stable over restarts, never 0.
using TunnelId = Strong<std::uint32_t, struct TunnelIdTag>;
/// One path of a circuit (a VLAN on an uplink); allocated by simplond, stable over restarts, never 0.
using CircuitId = Strong<std::uint32_t, struct CircuitIdTag>;
/// VXLAN network identifier, 24 bits, 1 to 16777215; identifies a VPC (a bijection).
using Vni = Strong<std::uint32_t, struct VniTag>;
/// Security parameters index in host byte order.
using Spi = Strong<std::uint32_t, struct SpiTag>;
/// Number of a table update; grows; confirmed by the forwarder.
using Generation = Strong<std::uint64_t, struct GenerationTag>;
/// One full synchronisation of the tables by one life of simplond.
using Epoch = Strong<std::uint64_t, struct EpochTag>;

}  // namespace simplon
