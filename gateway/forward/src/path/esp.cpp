// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP in tunnel mode (RFC 4303), raw or in UDP (RFC 3948), over IPv4 and IPv6. The suites are in platform/crypto.
//
// Inbound: SA by SPI and destination; replay check; open; only then may the window move. Outbound: the sequence number is
// the explicit IV of an AEAD, so a number is never used twice under one key - the counter is part of the Sa and only grows.
// How several workers share an SA is in sa_sharing.h.
//
// An AEAD is sealed or opened between the two halves of its packet. AES-CBC with HMAC is worth its while only for many
// packets side by side: their first halves are done first, then the batch, then their second halves. A flow has one SA and
// an SA one suite, so a flow stays in order.
//
// Of several workers, those without packets help one that has many: then AEADs are batched as well, and the batch is posted
// (esp_posts.h). Numbers and windows stay with the worker that has the packets, so one SA gets more than one worker's
// cryptography and no packet overtakes another.
#include <algorithm>
#include <array>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/ecn.h"
#include "gateway/forward/src/path/plain_ipv4.h"
#include "gateway/forward/src/path/stages.h"
#include "gateway/forward/src/path/udp_checksum.h"
#include "gateway/forward/src/workers/crew.h"
#include "gateway/forward/src/workers/sa_sharing.h"
#include "platform/wire/esp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/udp.h"

namespace simplon::forward {
namespace {

/// How many packets ahead the key material is fetched (chosen by measurement).
constexpr unsigned kLookahead = 3;
/// Heavy bursts without a moment of rest between them, before another worker is woken. Chosen by us: a wake-up costs about as
/// much as three packets.
constexpr unsigned kHeavyBursts = 8;

void prefetch_sa(const Sa* sa) noexcept {
  __builtin_prefetch(sa);
  __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(sa) + 64, 1);
  __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(sa) + 128, 1);
}

void touch(const Sa& sa, const Burst& burst, std::size_t inner_bytes) noexcept {
  Sa::Runtime& runtime = sa.runtime();
  if (burst.several) [[unlikely]] {
    runtime.packets.add_together();
    runtime.bytes.add_together(inner_bytes);
  } else {
    runtime.packets.add();
    runtime.bytes.add(inner_bytes);
  }
  runtime.last_use.store(burst.now_seconds, std::memory_order_relaxed);
}

/// The peer's NAT gave it another address or port: tell control, once (RFC 7296 section 2.23). `packet` is authentic and
/// starts with the ESP header; the UDP header lies in front of it.
void note_mapping(const Transit& packet, const Sa& sa, const CompiledSaPath& path) noexcept {
  const auto* udp = reinterpret_cast<const wire::UdpHeader*>(packet.data - sizeof(wire::UdpHeader));
  const std::uint16_t port = udp->source_port.host();
  const WireAddress source = packet.outer_source();
  if (port == path.source_port && source == path.source) [[likely]] return;
  Sa::Runtime& runtime = sa.runtime();
  if (!open_mailbox(runtime)) return;
  runtime.mapping = {source.to_ip(), port};
  runtime.mailbox.store(Sa::Mailbox::kFull, std::memory_order_release);
}

void refuse_replayed(Burst& burst, unsigned number, const Sa& sa) noexcept {
  count_one(burst, sa.runtime().replayed);
  burst.drop(number, Drop::kEspReplayed);
}

/// The decapsulated packet is one for express_out, which has it now.
[[nodiscard]] bool leave_express(Burst& burst, unsigned number, Transit& packet, std::size_t bytes) noexcept {
  Express& express = burst.express;
  if (!express.takes_esp || express.count == Express::kCapacity || bytes < sizeof(wire::Ipv4Header) || !packet.sa->any_to_any(4) ||
      may_carry_congestion(traffic_class(packet.outer, packet.outer_family))) {
    return false;
  }
  PlainPacket& plain = express.packets[express.count];
  if (!admit_plain(packet.data, bytes, *packet.attachment, static_cast<std::uint16_t>(number), plain)) return false;
  packet.length = plain.length;  // without traffic flow confidentiality padding, RFC 4303 section 2.7
  ++express.count;
  return true;
}

void count_received(const Burst& burst, const Transit& packet) noexcept {
  TrafficCounters& counters = packet.attachment->counters[burst.worker];
  counters.rx_packets.add();
  counters.rx_bytes.add(packet.length);
}

/// The second half: `packet` starts with the ESP header and is authentic.
void opened(Burst& burst, unsigned number, Transit& packet, std::uint64_t sequence, std::uint8_t* plain,
            std::size_t plain_bytes) noexcept {
  const Sa& sa = *packet.sa;
  if (!commit(burst, sa, sequence)) return refuse_replayed(burst, number, sa);
  // Either side decides for itself whether its ESP goes in UDP, unless there is a NAT (RFC 7296 section 2.23).
  if (packet.encap && sa.compiled()->encap) note_mapping(packet, sa, *sa.compiled());
  packet.ingress = sa.tunnel_slot();

  const wire::EspPayload payload = wire::parse_esp_payload({plain, plain_bytes});
  touch(sa, burst, payload.length);
  if (!payload.padding_ok) return burst.drop(number, Drop::kEspPadding);                         // RFC 4303 section 3.4.4
  if (payload.next_header == wire::kProtocolNone) return burst.drop(number, Drop::kEspDummy);  // RFC 4303 section 2.6
  const bool v4 = payload.next_header == wire::kProtocolIpv4;
  if (!v4 && payload.next_header != wire::kProtocolIpv6) return burst.drop(number, Drop::kEspNextHeader);
  packet.data = plain;
  packet.attachment = burst.tables.attachments[packet.ingress].object.load(std::memory_order_acquire);
  if (packet.attachment == nullptr) return burst.drop(number, Drop::kEspNoTunnel);
  __builtin_prefetch(packet.attachment->domain);
  if (v4 && leave_express(burst, number, packet, payload.length)) [[likely]] return count_received(burst, packet);

  packet.length = static_cast<std::uint16_t>(payload.length);
  if (!parse_inner(packet.bytes(), packet.inner)) return burst.drop(number, packet.inner.drop);
  if (packet.inner.family != (v4 ? 4 : 6)) {
    return burst.drop(number, v4 ? Drop::kIpv4Malformed : Drop::kIpv6Malformed);
  }
  packet.length = packet.inner.length;
  if (!carry_congestion(packet, packet.outer, packet.inner.family)) return burst.drop(number, Drop::kEcnNotCapable);
  count_received(burst, packet);
  if (v4) burst.express.takes_esp = false;  // it may be of a flow with plain ones
  burst.inner.push(number);
}

/// False, after the drop, if the window has no place for it (RFC 4303 section 3.4.3).
[[nodiscard]] bool fresh(Burst& burst, unsigned number, const Sa& sa, std::uint64_t sequence) noexcept {
  if (sa.runtime().window.would_accept(sequence)) [[likely]] return true;
  refuse_replayed(burst, number, sa);
  return false;
}

void refuse_forged(Burst& burst, unsigned number, const Sa& sa) noexcept {
  count_one(burst, sa.runtime().failed);
  burst.drop(number, Drop::kEspAuthentication);
}

/// The first half, and the rest of a packet of an AEAD. `layout` is a constant there.
[[gnu::always_inline]] inline void decrypt(Burst& burst, unsigned number, Transit& packet, bool aead,
                                           const crypto::EspLayout& layout) noexcept {
  const Sa& sa = *packet.sa;
  const wire::EspHeader* esp = wire::parse_esp(packet.bytes(), layout.iv_bytes + layout.icv_bytes, layout.alignment);
  if (esp == nullptr) return burst.drop(number, Drop::kEspTruncated);
  const CompiledSaPath* path = sa.compiled();
  if (path == nullptr || path->destination != packet.outer_destination()) {
    return burst.drop(number, Drop::kEspUnknownSpi);
  }

  const std::uint32_t low = esp->sequence.host();
  const std::uint64_t sequence = sa.esn() ? sa.runtime().window.extend(low) : low;
  if (!fresh(burst, number, sa, sequence)) return;
  const std::size_t clear = sizeof(wire::EspHeader) + layout.iv_bytes;
  const std::size_t cipher_bytes = packet.length - clear - layout.icv_bytes;
  if (aead) {
    if (!sa.key().open(packet.data, cipher_bytes, sequence)) return refuse_forged(burst, number, sa);
    return opened(burst, number, packet, sequence, packet.data + clear, cipher_bytes);
  }
  EspJobs& jobs = burst.esp_jobs;
  jobs.waiting[jobs.batch.size()].number = static_cast<std::uint16_t>(number);
  jobs.batch.add(sa.key(), packet.data, cipher_bytes, sequence);
}

/// `together`: with whatever else of the burst can be opened.
[[gnu::always_inline]] inline void decrypt(Burst& burst, unsigned number, Transit& packet, bool together) noexcept {
  if (packet.sa == nullptr) {
    if (burst.early.keep(burst, packet)) return;
    const bool truncated = packet.length < sizeof(wire::EspHeader);
    return burst.drop(number, truncated ? Drop::kEspTruncated : Drop::kEspUnknownSpi);
  }
  const crypto::EspKey& key = packet.sa->key();
  if (!together && key.is_aead()) [[likely]] return decrypt(burst, number, packet, true, crypto::kAeadLayout);
  decrypt(burst, number, packet, false, key.layout());
}

void decrypt_waiting(Burst& burst, bool posted) noexcept {
  EspJobs& jobs = burst.esp_jobs;
  if (posted) {
    burst.crew->esp.run(burst.worker, jobs.batch, EspPosts::Work::kOpen);
  } else {
    jobs.batch.open();
  }
  for (std::size_t i = 0; i < jobs.batch.size(); ++i) {
    const crypto::EspBatch::Item& item = jobs.batch[i];
    const unsigned number = jobs.waiting[i].number;
    Transit& packet = burst.packets[number];
    // Its twin may have been in the same burst.
    if (!fresh(burst, number, *packet.sa, item.sequence)) continue;
    if (!item.authentic) {
      refuse_forged(burst, number, *packet.sa);
    } else {
      opened(burst, number, packet, item.sequence,
             packet.data + sizeof(wire::EspHeader) + item.key->layout().iv_bytes, item.bytes);
    }
  }
  jobs.batch.clear();
}

/// RFC 4301 section 5.1.2.1 for the DSCP and section 8.1 for "don't fragment", RFC 6040 section 4.1 (normal mode) for ECN.
[[nodiscard]] inline OuterMarks outer_marks(const Transit& packet) noexcept {
  const std::uint8_t inner_class = traffic_class(packet.data, packet.inner.family);
  OuterMarks marks;
  marks.traffic_class = static_cast<std::uint8_t>(inner_class & (packet.sa->copy_dscp() ? 0xffU : unsigned{kEcnMask}));
  const OuterDf policy = packet.attachment->outer_df;
  if (policy == OuterDf::kSet) [[likely]] return marks;
  marks.dont_fragment = policy == OuterDf::kCopy &&
                        (packet.inner.family == 6 || reinterpret_cast<const wire::Ipv4Header*>(packet.data)->dont_fragment());
  return marks;
}

/// Puts outer Ethernet, IP and UDP in front of the ESP packet.
void frame(Transit& packet, const CompiledSaPath& path, OuterMarks marks, std::uint16_t id) noexcept {
  const std::size_t esp_bytes = packet.length;
  std::uint8_t* ip_start = packet.data - path.header_bytes;
  const std::size_t ip_bytes = path.ip_bytes;
  const bool v4 = ip_bytes == sizeof(wire::Ipv4Header);
  // Copied in one piece of a length the compiler knows.
  if (path.header_bytes == sizeof(wire::Ipv4Header) + sizeof(wire::UdpHeader)) [[likely]] {
    std::memcpy(ip_start, path.header.data(), sizeof(wire::Ipv4Header) + sizeof(wire::UdpHeader));
  } else if (path.header_bytes == sizeof(wire::Ipv4Header)) {
    std::memcpy(ip_start, path.header.data(), sizeof(wire::Ipv4Header));
  } else {
    std::memcpy(ip_start, path.header.data(), path.header_bytes);
  }
  if (path.adds_udp()) {
    auto* udp = reinterpret_cast<wire::UdpHeader*>(ip_start + ip_bytes);
    udp->length = static_cast<std::uint16_t>(sizeof *udp + esp_bytes);  // checksum zero: RFC 3948 section 2.1
  }
  if (v4) {
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(ip_start);
    ip->tos = marks.traffic_class;
    ip->total_length = static_cast<std::uint16_t>(path.header_bytes + esp_bytes);
    ip->id = id;
    ip->flags_offset = marks.dont_fragment ? wire::kIpv4DontFragment : std::uint16_t{0};
    const Be16 class_word(std::uint16_t{marks.traffic_class});  // the low byte of the first word
    ip->checksum = wire::finish_checksum(path.checksum + wire::raw(class_word) + wire::raw(ip->total_length) +
                                         wire::raw(ip->id) + wire::raw(ip->flags_offset));
  } else {
    auto* ip = reinterpret_cast<wire::Ipv6Header*>(ip_start);
    ip->version_class_flow = (6U << 28) | (std::uint32_t{marks.traffic_class} << 20);
    ip->payload_length = static_cast<std::uint16_t>(path.header_bytes - ip_bytes + esp_bytes);
    if (path.adds_udp()) set_udp6_checksum(*ip, ip_start + ip_bytes, sizeof(wire::UdpHeader) + esp_bytes);
  }
  auto* ethernet = reinterpret_cast<wire::EthernetHeader*>(ip_start - sizeof(wire::EthernetHeader));
  *ethernet = packet.adjacency->ethernet;
  ethernet->type = v4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6;
  packet.data = ip_start - sizeof *ethernet;
  packet.length = static_cast<std::uint16_t>(esp_bytes + path.header_bytes + sizeof *ethernet);
}

/// The second half: `packet` is the sealed ESP packet.
[[gnu::always_inline]] inline void sealed(Burst& burst, unsigned number, Transit& packet, const CompiledSaPath& path, std::size_t inner_bytes,
            OuterMarks marks, std::uint64_t sequence) noexcept {
  touch(*packet.sa, burst, inner_bytes);
  // Where "don't fragment" is not set, packets of one SA differ, and those of SAs that began together.
  frame(packet, path, marks, static_cast<std::uint16_t>(sequence + packet.sa->spi().value()));
  if (TrafficCounters* counters = burst.attachment_counters(packet.egress)) {
    counters->tx_packets.add();
    counters->tx_bytes.add(inner_bytes);
  }
  packet.port = packet.adjacency->port;
  burst.to_uplink.push(number);
}

/// The first half, and the rest of a packet of an AEAD. `layout` is a constant there.
[[gnu::always_inline]] inline void encrypt(Burst& burst, unsigned number, Transit& packet, bool aead,
                                           const crypto::EspLayout& layout) noexcept {
  const Sa& sa = *packet.sa;
  const CompiledSaPath* path = sa.compiled();
  const std::size_t clear = sizeof(wire::EspHeader) + layout.iv_bytes;
  const std::size_t padding = (0 - (packet.length + sizeof(wire::EspTrailer))) & (std::size_t{layout.alignment} - 1);
  const std::size_t back = padding + sizeof(wire::EspTrailer) + layout.icv_bytes;
  const std::size_t front = sizeof(wire::EthernetHeader) + path->header_bytes + clear;
  if (!burst.has_room(packet, front, back) && !burst.make_room(packet, front, back)) [[unlikely]] {
    return burst.drop(number, Drop::kNoHeadroom);
  }
  const std::uint64_t sequence = next_number(burst, number, sa);
  if (sequence == 0) return burst.drop(number, Drop::kEspSequenceExhausted);

  const std::size_t inner_bytes = packet.length;
  const OuterMarks marks = outer_marks(packet);
  std::uint8_t* plain = packet.data;
  std::uint8_t* trailer = plain + inner_bytes;
  for (std::size_t i = 0; i < padding; ++i) trailer[i] = static_cast<std::uint8_t>(i + 1);  // RFC 4303 section 2.4
  trailer[padding] = static_cast<std::uint8_t>(padding);
  trailer[padding + 1] = packet.inner.family == 4 ? wire::kProtocolIpv4 : wire::kProtocolIpv6;
  const std::size_t plain_bytes = inner_bytes + padding + sizeof(wire::EspTrailer);

  packet.data = plain - clear;
  packet.length = static_cast<std::uint16_t>(clear + plain_bytes + layout.icv_bytes);
  auto* esp = reinterpret_cast<wire::EspHeader*>(packet.data);
  esp->spi = sa.spi().value();
  esp->sequence = static_cast<std::uint32_t>(sequence);
  if (aead) {
    sa.key().seal(packet.data, plain_bytes, sequence);
    return sealed(burst, number, packet, *path, inner_bytes, marks, sequence);
  }
  EspJobs& jobs = burst.esp_jobs;
  if (!sa.key().is_aead()) jobs.ivs.write(packet.data + sizeof *esp, layout.iv_bytes);
  jobs.waiting[jobs.batch.size()] = {static_cast<std::uint16_t>(number), static_cast<std::uint16_t>(inner_bytes),
                                     marks, path};
  jobs.batch.add(sa.key(), packet.data, plain_bytes, sequence);
}

[[gnu::always_inline]] inline void encrypt(Burst& burst, unsigned number, Transit& packet, bool together) noexcept {
  const crypto::EspKey& key = packet.sa->key();
  if (!together && key.is_aead()) [[likely]] return encrypt(burst, number, packet, true, crypto::kAeadLayout);
  encrypt(burst, number, packet, false, key.layout());
}

void encrypt_waiting(Burst& burst, bool posted) noexcept {
  EspJobs& jobs = burst.esp_jobs;
  if (posted) {
    burst.crew->esp.run(burst.worker, jobs.batch, EspPosts::Work::kSeal);
  } else {
    jobs.batch.seal();
  }
  for (std::size_t i = 0; i < jobs.batch.size(); ++i) {
    const EspJobs::Waiting& waiting = jobs.waiting[i];
    Transit& packet = burst.packets[waiting.number];
    sealed(burst, waiting.number, packet, *waiting.path, waiting.inner_bytes, waiting.marks, jobs.batch[i].sequence);
  }
  jobs.batch.clear();
}

/// Whether others are to help with the packets of the queue. If nobody has the time, but there is much to do, one is woken
/// and helps with the bursts that follow.
[[nodiscard]] bool worth_posting(Burst& burst, const Burst::Queue& queue) noexcept {
  std::size_t bytes = 0;
  for (const unsigned number : queue) bytes += burst.packets[number].length;
  if (bytes < EspPosts::kWorthIt) return false;
  if (burst.crew->anyone_looks(burst.worker)) return true;
  if (++burst.heavy_bursts == kHeavyBursts) {
    burst.heavy_bursts = 0;
    burst.crew->wake_one_but(burst.worker);
  }
  return false;
}

[[gnu::cold, gnu::noinline]] void decrypt_posted(Burst& burst) noexcept {
  for (const unsigned number : burst.esp_in) decrypt(burst, number, burst.packets[number], true);
  if (burst.esp_jobs.batch.size() != 0) decrypt_waiting(burst, true);
}

[[gnu::cold, gnu::noinline]] void encrypt_posted(Burst& burst) noexcept {
  for (const unsigned number : burst.to_tunnel) encrypt(burst, number, burst.packets[number], true);
  if (burst.esp_jobs.batch.size() != 0) encrypt_waiting(burst, true);
}

}  // namespace

void esp_lookup(Burst& burst) noexcept {
  const auto& directory = burst.tables.inbound;
  const auto spi_of = [](const Transit& packet) {
    return packet.length < sizeof(wire::EspHeader) ? 0U : byteswap(load32(packet.data));
  };
  const unsigned count = burst.esp_in.size();
  std::array<std::uint32_t, Burst::kCapacity> spis;
  std::array<std::uint64_t, Burst::kCapacity> hashes;
  for (unsigned i = 0; i < count; ++i) {
    spis[i] = spi_of(burst.packets[burst.esp_in[i]]);
    hashes[i] = directory.hash(spis[i]);
    directory.prefetch_bucket(hashes[i]);
  }
  for (unsigned i = 0; i < count; ++i) directory.prefetch_node(hashes[i]);
  for (unsigned i = 0; i < count; ++i) {
    Transit& packet = burst.packets[burst.esp_in[i]];
    if (i > 0 && spis[i] == spis[i - 1]) {  // packets come in runs
      packet.sa = burst.packets[burst.esp_in[i - 1]].sa;
      continue;
    }
    const Sa* const* found = directory.find(spis[i], hashes[i]);
    packet.sa = found == nullptr ? nullptr : *found;
    if (packet.sa != nullptr) prefetch_sa(packet.sa);
  }
}

void esp_decrypt(Burst& burst) noexcept {
  if (burst.crew != nullptr && worth_posting(burst, burst.esp_in)) return decrypt_posted(burst);
  const unsigned count = burst.esp_in.size();
  // Of packets in a run what the first has fetched is there.
  const auto next_sa = [&burst](unsigned i) {
    const Sa* sa = burst.packets[burst.esp_in[i]].sa;
    return i > 0 && burst.packets[burst.esp_in[i - 1]].sa == sa ? nullptr : sa;
  };
  const auto prefetch_slot = [&](unsigned i) {
    if (const Sa* sa = next_sa(i)) __builtin_prefetch(&burst.tables.attachments[sa->tunnel_slot()]);
  };
  const auto prefetch_key = [&](unsigned i) {
    const Sa* sa = next_sa(i);
    if (sa == nullptr) return;
    if (const CompiledSaPath* path = sa->compiled()) path->prefetch_arrival();
    sa->key().prefetch(burst.packets[burst.esp_in[i]].length);
    const AttachmentSlot& slot = burst.tables.attachments[sa->tunnel_slot()];
    if (const Attachment* tunnel = slot.object.load(std::memory_order_acquire)) tunnel->prefetch_arrival();
    if (TrafficCounters* counters = slot.counters.load(std::memory_order_acquire)) __builtin_prefetch(counters + burst.worker, 1);
  };
  for (unsigned i = 0; i < std::min(2 * kLookahead, count); ++i) prefetch_slot(i);
  for (unsigned i = 0; i < std::min(kLookahead, count); ++i) prefetch_key(i);
  for (unsigned i = 0; i < count; ++i) {
    if (i + 2 * kLookahead < count) prefetch_slot(i + 2 * kLookahead);
    if (i + kLookahead < count) prefetch_key(i + kLookahead);
    decrypt(burst, burst.esp_in[i], burst.packets[burst.esp_in[i]], false);
  }
  if (burst.esp_jobs.batch.size() != 0) decrypt_waiting(burst, false);
}

void esp_encrypt(Burst& burst) noexcept {
  if (burst.several) burst.numbers = {};
  if (burst.crew != nullptr && worth_posting(burst, burst.to_tunnel)) return encrypt_posted(burst);
  const unsigned count = burst.to_tunnel.size();
  const auto prefetch_key = [&burst](unsigned i) {
    const Transit& packet = burst.packets[burst.to_tunnel[i]];
    if (i > 0 && burst.packets[burst.to_tunnel[i - 1]].sa == packet.sa) return;  // a run
    packet.sa->key().prefetch(packet.length);
  };
  for (unsigned i = 0; i < std::min(kLookahead, count); ++i) prefetch_key(i);
  for (unsigned i = 0; i < count; ++i) {
    if (i + kLookahead < count) prefetch_key(i + kLookahead);
    encrypt(burst, burst.to_tunnel[i], burst.packets[burst.to_tunnel[i]], false);
  }
  if (burst.esp_jobs.batch.size() != 0) encrypt_waiting(burst, false);
}

}  // namespace simplon::forward
