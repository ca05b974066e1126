// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gateway/forward/src/path/vxlan_headers.h"
#include "gateway/forward/src/tables/table_state.h"

namespace simplon::forward {

/// RFC 7348 section 5: from the dynamic range, the same for all packets of a flow.
[[nodiscard]] inline std::uint16_t vxlan_source_port(std::uint32_t flow_hash) noexcept {
  constexpr std::uint32_t kFirst = 49152;
  constexpr std::uint32_t kPorts = 65536 - kFirst;
  static_assert((kPorts & (kPorts - 1)) == 0);
  return static_cast<std::uint16_t>(kFirst + (flow_hash & (kPorts - 1)));
}

/// Puts everything in front of an IPv4 packet into a VPC over IPv4: what the VPC prepared, with the link and whatever differs from
/// packet to packet filled in. Returns where the frame starts.
[[gnu::always_inline]] inline std::uint8_t* put_vxlan4(std::uint8_t* inner, std::uint16_t inner_bytes, std::uint8_t outer_class,
                                                       std::uint32_t flow_hash, const Attachment& vpc,
                                                       const Endpoint& endpoint, const Adjacency& adjacency) noexcept {
  // Nearly all is read before anything is written: the compiler must take a packet's bytes for anything.
  const auto vtep = static_cast<std::uint32_t>(endpoint.vtep.low);
  const MacAddress mac = endpoint.mac;
  const wire::EthernetHeader ethernet = adjacency.ethernet;
  const VxlanTail4 tail = vpc.tail4;
  // Over all that differs from packet to packet; the class is the low byte of the first word.
  const Be16 total_length(static_cast<std::uint16_t>(inner_bytes + sizeof(VxlanHeaders4) - sizeof(wire::EthernetHeader)));
  const Be16 checksum = wire::finish_checksum(std::uint64_t{vpc.checksum4} + wire::raw(Be16(std::uint16_t{outer_class})) +
                                              wire::raw(total_length) + vtep);
  auto& headers = *reinterpret_cast<VxlanHeaders4*>(inner - sizeof(VxlanHeaders4));
  headers.ethernet = ethernet;
  headers.ethernet.type = wire::kEtherTypeIpv4;
  put_vxlan_front4(headers.ip, outer_class, total_length, checksum);
  std::memcpy(headers.ip.source.data(), tail.data(), tail.size());
  std::memcpy(headers.ip.destination.data(), &vtep, sizeof vtep);
  headers.udp.source_port = vxlan_source_port(flow_hash);
  // The UDP checksum is zero: RFC 7348 section 5.
  headers.udp.length = static_cast<std::uint16_t>(sizeof headers - offsetof(VxlanHeaders4, udp) + inner_bytes);
  headers.inner.destination = mac;
  return inner - sizeof headers;
}

}  // namespace simplon::forward
