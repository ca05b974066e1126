// SPDX-License-Identifier: GPL-2.0-or-later
//
// What classify and vxlan_decap find out, for the frame that nearly every one is: to us, VXLAN over IPv4 in one piece, from a VTEP and
// an address of the VPC, to its gateway, IPv4 without options. Three passes: whose VNI is it, while what is known of the VPC comes into
// the cache; what does the VPC lead to, likewise; then everything else. A frame that is not taken has not been touched. ESP over IPv4
// goes straight to esp_lookup.
#include <array>
#include <cstddef>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/ecn.h"
#include "gateway/forward/src/path/fixup.h"
#include "gateway/forward/src/path/plain_ipv4.h"
#include "gateway/forward/src/path/stages.h"
#include "gateway/forward/src/path/vxlan_headers.h"
#include "platform/wire/esp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/udp.h"

namespace simplon::forward {
namespace {

/// All in front of the inner packet's payload.
struct PlainFrame {
  VxlanHeaders4 outer;
  wire::Ipv4Header ip;
};
static_assert(sizeof(PlainFrame) == 84);

/// Six bytes, in the lower part of a word.
[[nodiscard]] std::uint64_t word_of(const MacAddress& mac) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, mac.bytes.data(), mac.bytes.size());
  return word;
}

/// To the port, and of the protocol in a whole IPv4 packet without options. Compared by words.
[[nodiscard]] bool is_plain(const VxlanHeaders4& headers, std::uint64_t ours, std::uint8_t protocol) noexcept {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&headers);
  const std::uint32_t type_and_version = load32(bytes + offsetof(VxlanHeaders4, ethernet.type)) & 0x00ffffffU;
  constexpr std::uint32_t kIpv4WithoutOptions = 0x00450008;
  const std::uint32_t fragment_and_protocol = load32(bytes + offsetof(VxlanHeaders4, ip.flags_offset)) & 0xff00ff3fU;
  return ((load64(bytes) ^ ours) << 16) == 0 && type_and_version == kIpv4WithoutOptions &&
         fragment_and_protocol == std::uint32_t{protocol} << 24;
}
[[nodiscard]] bool is_to_esp(const wire::UdpHeader& udp) noexcept {
  return wire::raw(udp.destination_port) == wire::raw(Be16(wire::kPortEspInUdp));
}
[[nodiscard]] bool may_be_vxlan(const VxlanHeaders4& headers, std::uint64_t ours) noexcept {
  return is_plain(headers, ours, wire::kProtocolUdp) && !is_to_esp(headers.udp);
}

/// What classify does with an ESP packet over IPv4, in UDP or not, whose lengths are in order. False: it is something else, and nothing
/// was done.
[[nodiscard]] bool take_esp(Burst& burst, const Packet& frame, std::uint64_t ours) noexcept {
  const auto& headers = *reinterpret_cast<const VxlanHeaders4*>(frame.data);
  constexpr std::size_t kLeast = offsetof(VxlanHeaders4, vxlan) + sizeof(wire::EspHeader);
  if (frame.length < kLeast) return false;
  const std::size_t ip_bytes = headers.ip.total_length.host();
  if (ip_bytes + sizeof headers.ethernet > frame.length || ip_bytes < kLeast - sizeof headers.ethernet) return false;
  std::size_t front = offsetof(VxlanHeaders4, vxlan);
  std::size_t esp_bytes = headers.udp.length.host() - sizeof headers.udp;
  bool encap = true;
  if (is_plain(headers, ours, wire::kProtocolUdp) && is_to_esp(headers.udp)) {
    // A keepalive, IKE on the wrong port, or a length that lies.
    if (headers.udp.length.host() < sizeof headers.udp + sizeof(wire::EspHeader) ||
        headers.udp.length.host() + sizeof headers.ip > ip_bytes || load32(frame.data + front) == 0) {
      return false;
    }
  } else if (is_plain(headers, ours, wire::kProtocolEsp)) {
    front = offsetof(VxlanHeaders4, udp);
    esp_bytes = ip_bytes - sizeof headers.ip;
    encap = false;
  } else {
    return false;
  }
  if (!wire::plain_checksum_ok(headers.ip)) return false;
  const unsigned number = burst.add();
  Transit& packet = burst.packets[number];
  packet.data = frame.data + front;
  packet.length = static_cast<std::uint16_t>(esp_bytes);
  packet.port = frame.port;
  packet.outer = frame.data + offsetof(VxlanHeaders4, ip);
  packet.outer_family = 4;
  packet.encap = encap;
  burst.esp_in.push(number);
  return true;
}

/// A frame that take_esp has not taken, but classify may find to be ESP.
[[nodiscard]] bool may_be_esp(const Packet& frame) noexcept {
  const auto& headers = *reinterpret_cast<const VxlanHeaders4*>(frame.data);
  if (frame.length < offsetof(VxlanHeaders4, udp)) return false;
  // A later fragment does not say what it is of, and may be shorter than any whole packet.
  if (headers.ethernet.type == wire::kEtherTypeIpv4 && headers.ip.is_fragment()) return true;
  if (frame.length < offsetof(VxlanHeaders4, vxlan)) return false;
  if (headers.ethernet.type == wire::kEtherTypeIpv6) {  // an SA that moves, or two SAs of a tunnel
    const auto& headers6 = *reinterpret_cast<const VxlanHeaders6*>(frame.data);
    if (frame.length < offsetof(VxlanHeaders6, vxlan)) return true;
    return headers6.ip.next_header == wire::kProtocolEsp || headers6.ip.next_header == wire::kProtocolFragment ||
           (headers6.ip.next_header == wire::kProtocolUdp && is_to_esp(headers6.udp));
  }
  if (headers.ethernet.type != wire::kEtherTypeIpv4) return false;
  return headers.ip.version_ihl != 0x45 || headers.ip.protocol == wire::kProtocolEsp ||
         (headers.ip.protocol == wire::kProtocolUdp && is_to_esp(headers.udp));
}

/// With options it may be VXLAN all the same.
[[nodiscard]] bool has_options(const Packet& frame) noexcept {
  const auto& headers = *reinterpret_cast<const VxlanHeaders4*>(frame.data);
  return frame.length >= offsetof(VxlanHeaders4, vxlan) && headers.ethernet.type == wire::kEtherTypeIpv4 && headers.ip.version_ihl != 0x45;
}

/// The frame is one that `may_be_vxlan`, of at least sizeof(PlainFrame).
[[nodiscard]] bool admit(const Packet& received, const Attachment& vpc, PlainPacket& packet) noexcept {
  const auto& frame = *reinterpret_cast<const PlainFrame*>(received.data);
  const VxlanHeaders4& outer = frame.outer;
  const wire::Ipv4Header& ip = frame.ip;
  const std::size_t outer_bytes = outer.ip.total_length.host();
  const std::size_t udp_bytes = outer.udp.length.host();
  const std::uint32_t vtep = load32(outer.ip.source.data());
  const std::uint32_t source = load32(ip.source.data());
  constexpr std::uint16_t kIpv4 = wire::raw(Be16(wire::kEtherTypeIpv4));
  constexpr std::size_t kOutside = offsetof(VxlanHeaders4, udp) - offsetof(VxlanHeaders4, ip);
  constexpr std::size_t kInside = sizeof(VxlanHeaders4) - offsetof(VxlanHeaders4, udp);
  if (((plain_outer_words(outer) ^ vpc.plain.outer) | (plain_inner_words(outer) ^ vpc.plain.inner)) != 0 ||
      !outer.vxlan.vni_valid() || wire::raw(outer.inner.type) != kIpv4 || may_carry_congestion(outer.ip.tos) ||
      // Each length lies in the one around it.
      outer_bytes + sizeof outer.ethernet > received.length || udp_bytes + kOutside > outer_bytes ||
      udp_bytes < kInside + sizeof ip || !wire::plain_checksum_ok(outer.ip)) {
    return false;
  }
  if (vtep != vpc.plain.vteps[0] && vtep != vpc.plain.vteps[1] &&
      !vpc.accepted.contains(WireAddress::v4(outer.ip.source.data()))) {
    return false;
  }
  if (!vpc.owns_plainly(source) && !vpc.owns(WireAddress::v4(ip.source.data()))) return false;
  return admit_plain(received.data + sizeof outer, udp_bytes - kInside, vpc, PlainPacket::kNoNumber, packet);
}

/// Whether the sender left its transport checksum to a network card (fixup.h); looked at only on ports whose peers may.
[[nodiscard]] bool is_partial(const PlainPacket& packet) noexcept {
  const auto& ip = *reinterpret_cast<const wire::Ipv4Header*>(packet.data);
  const std::size_t field = ip.protocol == wire::kProtocolTcp ? 16 : 6;
  const std::size_t l4_bytes = packet.length - sizeof ip;
  if ((ip.protocol != wire::kProtocolTcp && ip.protocol != wire::kProtocolUdp) || field + 2 > l4_bytes) return false;
  std::uint16_t present;
  std::memcpy(&present, packet.data + sizeof ip + field, sizeof present);
  return present == wire::fold(std::uint64_t{load32(ip.source.data())} + packet.destination +
                               wire::raw(Be16(std::uint16_t{ip.protocol})) +
                               wire::raw(Be16(static_cast<std::uint16_t>(l4_bytes))));
}

[[gnu::noinline]] void complete(const PlainPacket& packet) noexcept {
  InnerPacket inner;
  inner.take_plain(*reinterpret_cast<const wire::Ipv4Header*>(packet.data));
  complete_checksum(packet.data, inner);
}

/// Whose VNI is it, of each frame; nullptr of what cannot be plain VXLAN. What is known of the VPCs, and what they lead to, is on its way into
/// the cache.
void find_vpcs(const Burst& burst, std::span<const Packet> frames, std::uint64_t ours, const Attachment** vpcs) noexcept {
  const PortId id = frames.front().port;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    vpcs[i] = nullptr;
    const auto& headers = *reinterpret_cast<const VxlanHeaders4*>(frames[i].data);
    if (frames[i].length < sizeof(PlainFrame) || frames[i].port != id || !may_be_vxlan(headers, ours)) continue;
    vpcs[i] = burst.tables.vnis[headers.vxlan.vni()].load(std::memory_order_acquire);
    if (vpcs[i] != nullptr) vpcs[i]->prefetch_arrival();
  }
  const Attachment* before = nullptr;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (vpcs[i] == before || vpcs[i] == nullptr) continue;
    before = vpcs[i];
    __builtin_prefetch(before->counters + burst.worker, 1);
    __builtin_prefetch(before->domain);
  }
}

}  // namespace

void express_in(Burst& burst, std::span<const Packet> frames) noexcept {
  burst.express.takes_esp = true;
  if (frames.empty()) return;
  // All of what one port received; a burst is nearly always that.
  const PortId id = frames.front().port;
  const PortSlot& slot = burst.tables.ports[id.value()];
  const Port* port = slot.object.load(std::memory_order_acquire);
  TrafficCounters* counters = slot.counters.load(std::memory_order_acquire);
  const bool usable = port != nullptr && counters != nullptr && port->entry.kind == PortKind::kUplink && !port->entry.mac.is_zero();
  if (!usable) {
    for (const Packet& frame : frames) burst.take_in(frame);
    return;
  }

  std::array<const Attachment*, Express::kCapacity> vpcs;
  const std::uint64_t ours = word_of(port->entry.mac);
  find_vpcs(burst, frames, ours, vpcs.data());

  Express& express = burst.express;
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  // Whether a plain packet may go before what was left to the stages.
  bool vxlan_in_order = true;
  bool esp_in_order = true;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const Attachment* vpc = vpcs[i];
    if (frames[i].port != id) vxlan_in_order = esp_in_order = false;
    if (vpc == nullptr && esp_in_order && take_esp(burst, frames[i], ours)) {
      ++packets;
      bytes += frames[i].length;
      continue;
    }
    if (vpc == nullptr || !vxlan_in_order) {
      if (vpc == nullptr) {
        if (may_be_esp(frames[i])) esp_in_order = false;
        if (has_options(frames[i])) vxlan_in_order = false;
      }
      burst.take_in(frames[i]);
      continue;
    }
    PlainPacket& packet = express.packets[express.count];
    if (!admit(frames[i], *vpc, packet)) [[unlikely]] {
      // No plain packet's flow has IPv6 in it, or ARP.
      vxlan_in_order = reinterpret_cast<const VxlanHeaders4*>(frames[i].data)->inner.type != Be16(wire::kEtherTypeIpv4);
      burst.take_in(frames[i]);
      continue;
    }
    if (port->entry.fixup && is_partial(packet)) complete(packet);
    ++express.count;
    ++packets;
    bytes += frames[i].length;
    TrafficCounters& count = vpc->counters[burst.worker];
    count.rx_packets.add();
    count.rx_bytes.add(packet.length);
  }
  counters += burst.worker;
  counters->rx_packets.add(packets);
  counters->rx_bytes.add(bytes);
}

}  // namespace simplon::forward
