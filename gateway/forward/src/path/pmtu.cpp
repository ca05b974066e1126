// SPDX-License-Identifier: GPL-2.0-or-later
//
// Does the packet fit through the tunnel it is about to enter? If not: tell the sender (RFC 1191, RFC 8201), or cut it
// up before it is encapsulated, so that the far end never has to reassemble outer packets. TCP is told of the MTU before
// it matters, by clamping the MSS of SYN segments both ways.
#include <algorithm>
#include <array>

#include "gateway/forward/mtu.h"
#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/path_room.h"
#include "gateway/forward/src/path/stages.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/tcp.h"

namespace simplon::forward {
namespace {

/// Later fragments lie in a frame each, with room for what goes in front of them and behind.
constexpr std::size_t kLongestFragment = kFrameBytes - kMinHeadroom - kSlotTailroom;

/// `kKind`: what all packets of the queue leave through.
template <AttachmentKind kKind>
[[nodiscard]] inline std::uint16_t egress_mtu(const Transit& packet) noexcept {
  const Attachment& attachment = *packet.attachment;
  if constexpr (kKind == AttachmentKind::kTunnel) {
    return tunnel_mtu(attachment, *packet.sa, *packet.sa->compiled(), *packet.adjacency);
  }
  if constexpr (kKind == AttachmentKind::kCircuit) return attachment.mtu;
  return vpc_mtu(attachment, *packet.adjacency, outer_ip_bytes(attachment.vtep));
}

/// Of the attachment the packet came from, for answers to it; only SYN segments ask. 0: unknown.
[[nodiscard]] std::uint16_t ingress_mtu(const Burst& burst, const AttachmentSlot& slot,
                                        const Attachment& attachment) noexcept {
  if (attachment.kind != AttachmentKind::kTunnel) return attachment.mtu;
  const Sa* sa = slot.outbound.load(std::memory_order_acquire);
  if (sa == nullptr) return attachment.mtu;
  const CompiledSaPath* path = sa->compiled();
  const Adjacency* adjacency = burst.tables.adjacencies[path->adjacency].load(std::memory_order_acquire);
  return adjacency == nullptr ? attachment.mtu : tunnel_mtu(attachment, *sa, *path, *adjacency);
}

/// Lowers the MSS of a SYN to what fits both ways (RFC 9293 section 3.7.1).
void clamp_mss(const Burst& burst, Transit& packet) noexcept {
  if (packet.inner.protocol != wire::kProtocolTcp || packet.inner.later_fragment) return;
  const std::span<std::uint8_t> segment = packet.bytes().subspan(packet.inner.l4_offset);
  if (segment.size() < sizeof(wire::TcpHeader)) return;
  auto* tcp = reinterpret_cast<wire::TcpHeader*>(segment.data());
  if ((tcp->flags & wire::kTcpSyn) == 0) return;

  bool clamp = packet.attachment->clamp_mss;
  std::uint16_t mtu = packet.mtu;
  if (packet.ingress != packet.egress && packet.ingress != 0) {
    const AttachmentSlot& slot = burst.tables.attachments[packet.ingress];
    const Attachment* ingress = slot.object.load(std::memory_order_acquire);
    if (ingress != nullptr) {
      clamp = clamp || ingress->clamp_mss;
      const std::uint16_t back = ingress_mtu(burst, slot, *ingress);
      if (back != 0) mtu = std::min(mtu, back);
    }
  }
  const std::size_t at = clamp ? wire::find_mss(segment) : 0;
  const std::uint16_t limit =
      tcp_mss(mtu, packet.inner.family == 4 ? sizeof(wire::Ipv4Header) : sizeof(wire::Ipv6Header));
  if (at == 0 || limit == 0) return;
  Be16 before;
  std::memcpy(&before, segment.data() + at, 2);
  if (before.host() <= limit) return;
  const Be16 after(limit);
  std::memcpy(segment.data() + at, &after, 2);
  // An option may lie at an odd offset; then its bytes stand in two words of the sum, swapped.
  const bool odd = at % 2 != 0;
  const auto in_sum = [odd](Be16 field) { return odd ? Be16(byteswap(field.host())) : field; };
  tcp->checksum = wire::update_checksum(tcp->checksum, in_sum(before), in_sum(after));
}

inline void count_hop(Transit& packet) noexcept {
  if (packet.from_host || packet.originated) return;
  if (packet.inner.family == 4) {
    wire::decrement_ttl(*reinterpret_cast<wire::Ipv4Header*>(packet.data));
  } else {
    --reinterpret_cast<wire::Ipv6Header*>(packet.data)->hop_limit;
  }
}

/// Options that go into every fragment, padded to whole words (RFC 791 section 3.1).
struct CopiedOptions {
  std::uint8_t bytes[40] = {};
  std::size_t length = 0;
};
[[nodiscard]] CopiedOptions copied_options(const wire::Ipv4Header& header) noexcept {
  CopiedOptions copied;
  wire::for_each_ipv4_option(header, [&copied](std::uint8_t type, std::span<const std::uint8_t> option) {
    if ((type & wire::kIpv4OptionCopied) == 0) return;
    std::copy(option.begin(), option.end(), copied.bytes + copied.length);
    copied.length += option.size();
  });
  copied.length = (copied.length + 3) / 4 * 4;  // zero is end of options
  return copied;
}

/// Frames for fragments: all that are wanted, or none. Another worker may take the last ones at any moment.
class FragmentFrames {
 public:
  [[nodiscard]] bool take(FramePool& pool, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
      frames_[i] = pool.allocate();
      if (frames_[i] != nullptr) continue;
      while (i > 0) pool.release(frames_[--i]);
      return false;
    }
    return true;
  }
  [[nodiscard]] std::uint8_t* next() noexcept { return frames_[given_++]; }

 private:
  std::array<std::uint8_t*, Burst::kCapacity> frames_;
  std::size_t given_ = 0;
};

/// Cuts an IPv4 packet up (RFC 791 section 2.3). The first fragment keeps the frame; the others are originated. False: the burst
/// has no numbers left for them, and nothing was done.
[[nodiscard]] bool fragment(Burst& burst, Burst::Queue& out, unsigned number) noexcept {
  Transit& first = burst.packets[number];
  auto* header = reinterpret_cast<wire::Ipv4Header*>(first.data);
  const std::size_t header_bytes = header->header_bytes();
  const CopiedOptions options = copied_options(*header);
  const std::size_t later_header_bytes = sizeof(wire::Ipv4Header) + options.length;
  const std::size_t payload_bytes = first.length - header_bytes;
  const std::size_t first_bytes = (first.mtu - header_bytes) / 8 * 8;
  const std::size_t later_bytes = (std::min<std::size_t>(first.mtu, kLongestFragment) - later_header_bytes) / 8 * 8;
  const std::size_t more = (payload_bytes - first_bytes + later_bytes - 1) / later_bytes;
  if (burst.used + more > Burst::kCapacity) {
    if (burst.used > burst.first_fragment) return false;
    burst.drop(number, Drop::kNoFrame);  // nor would it have them in a further turn
    return true;
  }
  FragmentFrames frames;
  if (!frames.take(burst.pool, more)) {
    burst.drop(number, Drop::kNoFrame);
    return true;
  }
  clamp_mss(burst, first);
  count_hop(first);
  // What must not be fragmented may have any identification, all the same one (RFC 6864 section 4.1).
  if (header->dont_fragment() && !header->is_fragment()) header->id = burst.next_identification();
  const unsigned base_offset = header->fragment_offset();
  const bool was_last = !header->more_fragments();
  out.push(number);
  for (std::size_t at = first_bytes; at < payload_bytes; at += later_bytes) {
    const std::size_t bytes = std::min(later_bytes, payload_bytes - at);
    const unsigned extra = burst.add();
    Transit& later = burst.packets[extra];
    later = first;
    later.originated = true;
    later.data = frames.next() + kMinHeadroom;
    later.length = static_cast<std::uint16_t>(later_header_bytes + bytes);
    later.inner.fragment = true;
    later.inner.later_fragment = true;
    std::memcpy(later.data, first.data, sizeof(wire::Ipv4Header));
    std::memcpy(later.data + sizeof(wire::Ipv4Header), options.bytes, options.length);
    std::memcpy(later.data + later_header_bytes, first.data + header_bytes + at, bytes);
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(later.data);
    ip->version_ihl = static_cast<std::uint8_t>(0x40 | (later_header_bytes / 4));
    ip->total_length = later.length;
    const bool last = was_last && at + bytes == payload_bytes;
    ip->flags_offset =
        static_cast<std::uint16_t>((last ? 0 : wire::kIpv4MoreFragments) | ((base_offset + at) / 8));
    wire::set_ipv4_checksum(*ip);
    burst.counters.originated.add();
    out.push(extra);
  }
  first.length = static_cast<std::uint16_t>(header_bytes + first_bytes);
  first.inner.fragment = true;
  header->total_length = first.length;
  header->flags_offset = static_cast<std::uint16_t>(wire::kIpv4MoreFragments | (base_offset / 8));
  wire::set_ipv4_checksum(*header);
  return true;
}

/// False: it is for a further turn, and nothing was done.
template <AttachmentKind kKind>
[[nodiscard]] bool fit(Burst& burst, Burst::Queue& out, unsigned number) noexcept {
  Transit& packet = burst.packets[number];
  if (packet.inner.family == 0) {  // an answer of gateway_address.h
    out.push(number);
    return true;
  }
  packet.mtu = egress_mtu<kKind>(packet);
  // Only what goes on is changed: an ICMP error quotes the packet as it came.
  if (packet.length <= packet.mtu) [[likely]] {
    clamp_mss(burst, packet);
    count_hop(packet);
    out.push(number);
    return true;
  }
  if (packet.inner.family == 6) {
    burst.drop_with(number, Drop::kPacketTooBig, Answer::kTooBig);
    return true;
  }
  const auto& header = *reinterpret_cast<const wire::Ipv4Header*>(packet.data);
  const bool forbidden = header.dont_fragment() && (packet.originated || !packet.attachment->ignores_df);
  if (forbidden || packet.mtu < kLeastMtu) {  // RFC 1191 section 4
    burst.drop_with(number, Drop::kFragmentationNeeded, Answer::kTooBig);
    return true;
  }
  return fragment(burst, out, number);
}

/// The usual case, in which nothing is to be done but to count the hop; false: nothing was done.
template <AttachmentKind kKind>
[[nodiscard]] bool fits_as_it_is(Transit& packet) noexcept {
  if (packet.inner.family == 0 || packet.inner.protocol == wire::kProtocolTcp) return false;
  packet.mtu = egress_mtu<kKind>(packet);
  if (packet.length > packet.mtu) return false;
  count_hop(packet);
  return true;
}

template <AttachmentKind kKind>
void fit_all(Burst& burst, Burst::Queue& queue, unsigned from) noexcept {
  for (; from < queue.size(); ++from) {
    burst.fetch_ahead(queue, from);
    if (!fits_as_it_is<kKind>(burst.packets[queue[from]])) break;
  }
  if (from == queue.size()) return;
  // Some packet is cut up, answered or looked at more closely: from here on, what goes on is queued anew.
  const Burst::Queue waiting = queue;
  queue.shorten(from);
  for (unsigned i = from; i < waiting.size(); ++i) {
    if (fit<kKind>(burst, queue, waiting[i])) continue;
    for (; i < waiting.size(); ++i) burst.later.push(waiting[i]);  // those behind it may be of its flow
  }
}

}  // namespace

void pmtu(Burst& burst) noexcept {
  fit_all<AttachmentKind::kVpc>(burst, burst.to_vpc, burst.fitted_vpc);
  fit_all<AttachmentKind::kTunnel>(burst, burst.to_tunnel, burst.fitted_tunnel);
  fit_all<AttachmentKind::kCircuit>(burst, burst.to_circuit, burst.fitted_circuit);
  burst.fitted_vpc = burst.to_vpc.size();
  burst.fitted_tunnel = burst.to_tunnel.size();
  burst.fitted_circuit = burst.to_circuit.size();
}

}  // namespace simplon::forward
