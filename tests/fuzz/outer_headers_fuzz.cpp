// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every parser of platform/wire on the same bytes: what it returns lies inside them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "platform/wire/arp.h"
#include "platform/wire/checksum.h"
#include "platform/wire/esp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/icmp.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/neighbor_discovery.h"
#include "platform/wire/tcp.h"
#include "platform/wire/udp.h"
#include "platform/wire/vlan.h"
#include "platform/wire/vxlan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace simplon::wire;
  const std::span<const std::uint8_t> bytes(data, size);
  const auto must = [](bool holds) {
    if (!holds) std::abort();
  };
  if (const auto* ethernet = parse_ethernet(bytes)) static_cast<void>(ethernet->type.host());
  if (VlanTags tags; parse_vlan_tags(bytes, tags)) must(sizeof(EthernetHeader) + tags.bytes <= size && tags.bytes <= 8);
  if (const auto* ip = parse_ipv4(bytes)) {
    must(ip->total_length.host() <= size && ip->header_bytes() <= ip->total_length.host());
    static_cast<void>(ipv4_checksum_ok(*ip));
    std::size_t options = 0;
    for_each_ipv4_option(*ip, [&](std::uint8_t, std::span<const std::uint8_t> option) { options += option.size(); });
    must(options <= 40);
  }
  if (const auto* ip = parse_ipv6(bytes)) {
    const std::size_t length = sizeof *ip + ip->payload_length.host();
    must(length <= size);
    const UpperLayer upper = find_upper_layer(bytes.first(length));
    must(upper.offset <= length && upper.offset >= sizeof *ip);
  }
  if (const auto* udp = parse_udp(bytes)) must(udp->length.host() <= size);
  const std::size_t mss = find_mss(bytes);
  must(mss == 0 || mss + 2 <= size);
  if (const auto* vxlan = parse_vxlan(bytes)) must(vxlan->vni() < (1U << 24));
  if (const auto* esp = parse_esp(bytes, 24, 4)) static_cast<void>(esp->spi.host());
  if (const auto* esp = parse_esp(bytes, 48, 16)) static_cast<void>(esp->spi.host());
  const EspPayload payload = parse_esp_payload(bytes);
  must(!payload.padding_ok || payload.length + 2 <= size);
  if (const auto* arp = parse_arp(bytes)) must(arp->hardware_bytes == 6);
  if (const auto asked = parse_neighbor_solicitation(bytes)) {
    must(is_neighbor_solicitation(bytes) && asked->target[0] != 0xff && !(asked->from_unspecified() && asked->source_mac));
    const NeighborAdvertisement answer = neighbor_advertisement(*asked, kAllNodesMac);
    const std::span<const std::uint8_t> made(reinterpret_cast<const std::uint8_t*>(&answer), sizeof answer);
    must(parse_ipv6(made) != nullptr &&
         checksum_ok(made.subspan(sizeof(Ipv6Header)),
                     pseudo_header_sum({answer.ip.source.data(), 32}, kProtocolIcmpv6, answer.ip.payload_length.host())));
  } else {
    static_cast<void>(is_neighbor_solicitation(bytes));
  }
  static_cast<void>(checksum(bytes));
  return 0;
}
