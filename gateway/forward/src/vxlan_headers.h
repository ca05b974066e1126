// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "platform/wire/ethernet.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"
#include "platform/wire/vxlan.h"

namespace simplon::forward {

/// All headers in front of the inner packet, outermost first (RFC 7348 section 5).
template <class Ip>
struct VxlanHeaders {
  wire::EthernetHeader ethernet;
  Ip ip;
  wire::UdpHeader udp;
  wire::VxlanHeader vxlan;
  wire::EthernetHeader inner;
};
using VxlanHeaders4 = VxlanHeaders<wire::Ipv4Header>;
using VxlanHeaders6 = VxlanHeaders<wire::Ipv6Header>;
static_assert(sizeof(VxlanHeaders4) == 64);
static_assert(sizeof(VxlanHeaders6) == 84);

}  // namespace simplon::forward
