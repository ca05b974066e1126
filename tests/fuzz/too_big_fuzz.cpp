// SPDX-License-Identifier: GPL-2.0-or-later
//
// What routers send, or who says he is one. The bytes as they are, and once more with checksums that are right, so that the quote is
// looked at as well: what comes of it is what the bytes say.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "gateway/forwarder/too_big.h"
#include "platform/wire/icmp.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"

namespace {

using namespace simplon;

void must(bool holds) {
  if (!holds) std::abort();
}

void look(std::span<const std::uint8_t> bytes) {
  const auto parsed = forwarder::parse_too_big(bytes);
  const auto* about = std::get_if<forwarder::TooBig>(&parsed);
  if (about == nullptr) return;
  must(about->source.family() == about->destination.family() && about->router.family() == about->source.family());
  must(bytes.size() >= (about->source.is_v4() ? 20U + 8 + 20 + 8 : 40U + 8 + 40 + 8));
  if (const auto* vxlan = std::get_if<forwarder::QuotedVxlan>(&about->content)) must(vxlan->vni.value() < (1U << 24));
  const std::uint16_t plateau = forwarder::plateau_below(about->packet_bytes);
  must(plateau == 0 || plateau < about->packet_bytes);
}

/// A header of the family in front of the message, and its checksum.
std::vector<std::uint8_t> made_whole(std::span<const std::uint8_t> message, bool v4) {
  const std::size_t header = v4 ? sizeof(wire::Ipv4Header) : sizeof(wire::Ipv6Header);
  std::vector<std::uint8_t> packet(header);
  packet.insert(packet.end(), message.begin(), message.end());
  std::uint64_t pseudo = 0;
  if (v4) {
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(packet.data());
    ip->version_ihl = 0x45;
    ip->total_length = static_cast<std::uint16_t>(packet.size());
    ip->protocol = wire::kProtocolIcmp;
    wire::set_ipv4_checksum(*ip);
  } else {
    auto* ip = reinterpret_cast<wire::Ipv6Header*>(packet.data());
    ip->version_class_flow = 6U << 28;
    ip->payload_length = static_cast<std::uint16_t>(message.size());
    ip->next_header = wire::kProtocolIcmpv6;
    pseudo = wire::pseudo_header_sum({ip->source.data(), 32}, wire::kProtocolIcmpv6, static_cast<std::uint32_t>(message.size()));
  }
  auto* icmp = reinterpret_cast<wire::IcmpHeader*>(packet.data() + header);
  icmp->type = v4 ? wire::kIcmpUnreachable : wire::kIcmpv6PacketTooBig;
  icmp->code = v4 ? wire::kIcmpFragmentationNeeded : std::uint8_t{0};
  icmp->checksum = Be16{};
  icmp->checksum = wire::finish_checksum(wire::sum_bytes(std::span(packet).subspan(header), pseudo));
  return packet;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> bytes(data, size);
  look(bytes);
  for (const std::size_t header : {std::size_t{20}, std::size_t{40}}) {
    if (size < header + sizeof(wire::IcmpHeader) || size > 60000) continue;
    look(made_whole(bytes.subspan(header), header == 20));
  }
  return 0;
}
