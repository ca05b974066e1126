// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP in tunnel mode with AES-GCM (RFC 4303, RFC 4106), raw or in UDP (RFC 3948), over IPv4 and IPv6.
//
// Inbound: SA by SPI and destination; replay check; open; only then may the window move. Outbound: the sequence number is
// also the explicit IV, so a number is never used twice under one key - the counter is part of the Sa and only grows.
//
//     |<- associated data ->|      |<------------- encrypted ------------->|
//     +------+--------------+------+--------+---------+------------+-------+-----+
//     | SPI  | sequence     |  IV  | packet | padding | pad length | next  | ICV |
//     +------+--------------+------+--------+---------+------------+-------+-----+
//        4     4 (8 with ESN,   8                          1          1      16
//              high half not sent)
#include <algorithm>

#include "gateway/forward/src/burst.h"
#include "gateway/forward/src/ecn.h"
#include "gateway/forward/src/stages.h"
#include "gateway/forward/src/udp_checksum.h"
#include "platform/wire/esp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/udp.h"

namespace simplon::forward {
namespace {

constexpr std::size_t kClearBytes = sizeof(wire::EspHeader) + wire::kEspGcmIvBytes;
/// How many packets ahead the key material is fetched (chosen by measurement).
constexpr unsigned kLookahead = 3;

/// Associated data: SPI and sequence number, all 64 bits of it with ESN (RFC 4106 section 5).
class AssociatedData {
 public:
  AssociatedData(const wire::EspHeader& header, std::uint64_t sequence, bool esn) noexcept : length_(esn ? 12 : 8) {
    std::memcpy(bytes_, &header.spi, 4);
    if (esn) {
      const Be64 whole(sequence);
      std::memcpy(bytes_ + 4, &whole, 8);
    } else {
      std::memcpy(bytes_ + 4, &header.sequence, 4);
    }
  }
  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept { return {bytes_, length_}; }

 private:
  std::uint8_t bytes_[12];
  std::size_t length_;
};

/// Salt and explicit IV (RFC 4106 section 4).
class Nonce {
 public:
  Nonce(std::uint32_t salt, const std::uint8_t* iv) noexcept {
    std::memcpy(bytes_, &salt, 4);
    std::memcpy(bytes_ + 4, iv, wire::kEspGcmIvBytes);
  }
  [[nodiscard]] const std::uint8_t* data() const noexcept { return bytes_; }

 private:
  std::uint8_t bytes_[crypto::kAeadNonceBytes];
};

/// Four lines a turn; fetching some behind the end does no harm.
void prefetch_lines(std::span<const std::uint8_t> memory) noexcept {
  for (std::size_t at = 0; at < memory.size(); at += 4 * 64) {
    __builtin_prefetch(memory.data() + at);
    __builtin_prefetch(memory.data() + at + 64);
    __builtin_prefetch(memory.data() + at + 128);
    __builtin_prefetch(memory.data() + at + 192);
  }
}

void prefetch_sa(const Sa* sa) noexcept {
  __builtin_prefetch(sa);
  __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(sa) + 64, 1);
  __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(sa) + 128, 1);
}

void touch(const Sa& sa, const Burst& burst, std::size_t inner_bytes) noexcept {
  Sa::Runtime& runtime = sa.runtime();
  runtime.packets.add();
  runtime.bytes.add(inner_bytes);
  runtime.last_use.store(burst.now_seconds, std::memory_order_relaxed);
}

[[nodiscard]] WireAddress outer_source(const Transit& packet) noexcept {
  if (packet.outer_family == 4) {
    return WireAddress::v4(reinterpret_cast<const wire::Ipv4Header*>(packet.outer)->source.data());
  }
  return WireAddress::v6(reinterpret_cast<const wire::Ipv6Header*>(packet.outer)->source.data());
}
[[nodiscard]] WireAddress outer_destination(const Transit& packet) noexcept {
  if (packet.outer_family == 4) {
    return WireAddress::v4(reinterpret_cast<const wire::Ipv4Header*>(packet.outer)->destination.data());
  }
  return WireAddress::v6(reinterpret_cast<const wire::Ipv6Header*>(packet.outer)->destination.data());
}

/// The peer's NAT gave it another address or port: tell control, once (RFC 7296 section 2.23). `packet` is authentic and
/// starts with the ESP header; the UDP header lies in front of it.
void note_mapping(const Transit& packet, const Sa& sa, const CompiledSaPath& path) noexcept {
  const auto* udp = reinterpret_cast<const wire::UdpHeader*>(packet.data - sizeof(wire::UdpHeader));
  const std::uint16_t port = udp->source_port.host();
  const WireAddress source = outer_source(packet);
  if (port == path.source_port && source == path.source) [[likely]] return;
  Sa::Runtime& runtime = sa.runtime();
  if (runtime.mapping_full.load(std::memory_order_acquire)) return;
  runtime.mapping = {source.to_ip(), port};
  runtime.mapping_full.store(true, std::memory_order_release);
}

void decrypt(Burst& burst, unsigned number, Transit& packet) noexcept {
  const Sa* sa = packet.sa;
  const wire::EspHeader* esp = wire::parse_esp_gcm(packet.bytes());
  if (esp == nullptr) return burst.drop(number, Drop::kEspTruncated);
  const CompiledSaPath* path = sa == nullptr ? nullptr : sa->compiled();
  if (path == nullptr || path->destination != outer_destination(packet)) {
    return burst.drop(number, Drop::kEspUnknownSpi);
  }
  if (path->encap != packet.encap) return burst.drop(number, Drop::kEspEncapMismatch);

  Sa::Runtime& runtime = sa->runtime();
  const std::uint32_t low = esp->sequence.host();
  const std::uint64_t sequence = sa->esn() ? runtime.window.extend(low) : low;
  if (!runtime.window.would_accept(sequence)) {  // RFC 4303 section 3.4.3
    runtime.replayed.add();
    return burst.drop(number, Drop::kEspReplayed);
  }
  const std::size_t cipher_bytes = packet.length - kClearBytes - wire::kEspGcmIcvBytes;
  std::uint8_t* cipher = packet.data + kClearBytes;
  const AssociatedData associated(*esp, sequence, sa->esn());
  const Nonce nonce(sa->salt(), packet.data + sizeof(wire::EspHeader));
  if (!sa->key().open(nonce.data(), associated.bytes(), {cipher, cipher_bytes}, cipher + cipher_bytes)) {
    runtime.failed.add();
    return burst.drop(number, Drop::kEspAuthentication);
  }
  runtime.window.commit(sequence);
  runtime.sequence.store(runtime.window.top(), std::memory_order_relaxed);
  if (packet.encap) note_mapping(packet, *sa, *path);
  packet.ingress = sa->tunnel_slot();

  const wire::EspPayload payload = wire::parse_esp_payload({cipher, cipher_bytes});
  touch(*sa, burst, payload.length);
  if (!payload.padding_ok) return burst.drop(number, Drop::kEspPadding);                         // RFC 4303 section 3.4.4
  if (payload.next_header == wire::kProtocolNone) return burst.drop(number, Drop::kEspDummy);  // RFC 4303 section 2.6
  const bool v4 = payload.next_header == wire::kProtocolIpv4;
  if (!v4 && payload.next_header != wire::kProtocolIpv6) return burst.drop(number, Drop::kEspNextHeader);
  packet.data = cipher;
  packet.length = static_cast<std::uint16_t>(payload.length);
  packet.attachment = burst.tables.attachments[packet.ingress].object.load(std::memory_order_acquire);
  if (packet.attachment == nullptr) return burst.drop(number, Drop::kEspNoTunnel);

  if (!parse_inner(packet.bytes(), packet.inner)) return burst.drop(number, packet.inner.drop);
  if (packet.inner.family != (v4 ? 4 : 6)) {
    return burst.drop(number, v4 ? Drop::kIpv4Malformed : Drop::kIpv6Malformed);
  }
  packet.length = packet.inner.length;  // without traffic flow confidentiality padding, RFC 4303 section 2.7
  if (!carry_congestion(packet, packet.outer, packet.inner.family)) return burst.drop(number, Drop::kEcnNotCapable);
  if (TrafficCounters* counters = burst.attachment_counters(packet.ingress)) {
    counters->rx_packets.add();
    counters->rx_bytes.add(packet.length);
  }
  burst.inner.push(number);
}

/// Puts outer Ethernet, IP and UDP in front of the ESP packet.
void frame(Transit& packet, const CompiledSaPath& path, std::uint8_t outer_class, std::uint16_t id) noexcept {
  const std::size_t esp_bytes = packet.length;
  std::uint8_t* ip_start = packet.data - path.header_bytes;
  const bool v4 = path.source.family == 4;
  const std::size_t ip_bytes = v4 ? sizeof(wire::Ipv4Header) : sizeof(wire::Ipv6Header);
  std::memcpy(ip_start, path.header.data(), path.header_bytes);
  if (path.encap) {
    auto* udp = reinterpret_cast<wire::UdpHeader*>(ip_start + ip_bytes);
    udp->length = static_cast<std::uint16_t>(sizeof *udp + esp_bytes);  // checksum zero: RFC 3948 section 2.1
  }
  if (v4) {
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(ip_start);
    ip->tos = outer_class;
    ip->total_length = static_cast<std::uint16_t>(path.header_bytes + esp_bytes);
    ip->id = id;
    const Be16 class_word(std::uint16_t{outer_class});  // the low byte of the first word
    ip->checksum = wire::finish_checksum(path.checksum + wire::raw(class_word) + wire::raw(ip->total_length) +
                                         wire::raw(ip->id));
  } else {
    auto* ip = reinterpret_cast<wire::Ipv6Header*>(ip_start);
    ip->version_class_flow = (6U << 28) | (std::uint32_t{outer_class} << 20);
    ip->payload_length = static_cast<std::uint16_t>(path.header_bytes - ip_bytes + esp_bytes);
    if (path.encap) set_udp6_checksum(*ip, ip_start + ip_bytes, sizeof(wire::UdpHeader) + esp_bytes);
  }
  auto* ethernet = reinterpret_cast<wire::EthernetHeader*>(ip_start - sizeof(wire::EthernetHeader));
  *ethernet = packet.adjacency->ethernet;
  ethernet->type = v4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6;
  packet.data = ip_start - sizeof *ethernet;
  packet.length = static_cast<std::uint16_t>(esp_bytes + path.header_bytes + sizeof *ethernet);
}

void encrypt(Burst& burst, unsigned number, Transit& packet) noexcept {
  const Sa& sa = *packet.sa;
  const CompiledSaPath* path = sa.compiled();
  const std::size_t padding = (wire::kEspAlignment - (packet.length + sizeof(wire::EspTrailer)) % wire::kEspAlignment) %
                              wire::kEspAlignment;
  const std::size_t back = padding + sizeof(wire::EspTrailer) + wire::kEspGcmIcvBytes;
  if (!burst.has_room(packet, sizeof(wire::EthernetHeader) + path->header_bytes + kClearBytes, back)) {
    return burst.drop(number, Drop::kNoHeadroom);
  }
  Sa::Runtime& runtime = sa.runtime();
  const std::uint64_t sequence = runtime.sequence.load(std::memory_order_relaxed) + 1;
  // RFC 4303 section 3.3.3: a counter never cycles.
  if (sequence == 0 || (!sa.esn() && sequence > 0xffffffffU)) return burst.drop(number, Drop::kEspSequenceExhausted);
  runtime.sequence.store(sequence, std::memory_order_relaxed);

  const std::size_t inner_bytes = packet.length;
  const std::uint8_t inner_class = traffic_class(packet.data, packet.inner.family);
  std::uint8_t* plain = packet.data;
  std::uint8_t* trailer = plain + inner_bytes;
  for (std::size_t i = 0; i < padding; ++i) trailer[i] = static_cast<std::uint8_t>(i + 1);  // RFC 4303 section 2.4
  trailer[padding] = static_cast<std::uint8_t>(padding);
  trailer[padding + 1] = packet.inner.family == 4 ? wire::kProtocolIpv4 : wire::kProtocolIpv6;
  const std::size_t plain_bytes = inner_bytes + padding + sizeof(wire::EspTrailer);

  packet.data = plain - kClearBytes;
  auto* esp = reinterpret_cast<wire::EspHeader*>(packet.data);
  esp->spi = sa.spi().value();
  esp->sequence = static_cast<std::uint32_t>(sequence);
  const Be64 iv(sequence);  // RFC 4106 section 3.1: a counter is a good IV
  std::memcpy(packet.data + sizeof *esp, &iv, sizeof iv);
  const AssociatedData associated(*esp, sequence, sa.esn());
  const Nonce nonce(sa.salt(), packet.data + sizeof *esp);
  sa.key().seal(nonce.data(), associated.bytes(), {plain, plain_bytes}, plain + plain_bytes);
  packet.length = static_cast<std::uint16_t>(kClearBytes + plain_bytes + wire::kEspGcmIcvBytes);
  touch(sa, burst, inner_bytes);

  // RFC 4301 section 5.1.2.1 for the DSCP, RFC 6040 section 4.1 (normal mode) for ECN.
  const auto outer_class = static_cast<std::uint8_t>(inner_class & (sa.copy_dscp() ? 0xffU : unsigned{kEcnMask}));
  frame(packet, *path, outer_class, static_cast<std::uint16_t>(sequence));
  if (TrafficCounters* counters = burst.attachment_counters(packet.egress)) {
    counters->tx_packets.add();
    counters->tx_bytes.add(inner_bytes);
  }
  packet.port = packet.adjacency->port;
  burst.to_uplink.push(number);
}

}  // namespace

void esp_decrypt(Burst& burst) noexcept {
  const auto& directory = burst.tables.inbound;
  const auto spi_of = [](const Transit& packet) {
    return packet.length < sizeof(wire::EspHeader) ? 0U : byteswap(load32(packet.data));
  };
  for (const unsigned number : burst.esp_in) {
    directory.prefetch_bucket(directory.hash(spi_of(burst.packets[number])));
  }
  for (const unsigned number : burst.esp_in) {
    directory.prefetch_node(directory.hash(spi_of(burst.packets[number])));
  }
  for (const unsigned number : burst.esp_in) {
    Transit& packet = burst.packets[number];
    const Sa* const* found = directory.find(spi_of(packet));
    packet.sa = found == nullptr ? nullptr : *found;
    if (packet.sa != nullptr) prefetch_sa(packet.sa);
  }
  const unsigned count = burst.esp_in.size();
  const auto prefetch_key = [&burst](unsigned i) {
    const Sa* sa = burst.packets[burst.esp_in[i]].sa;
    if (sa == nullptr) return;
    __builtin_prefetch(sa->compiled());
    prefetch_lines(sa->key().hot_memory());
  };
  for (unsigned i = 0; i < std::min(kLookahead, count); ++i) prefetch_key(i);
  for (unsigned i = 0; i < count; ++i) {
    if (i + kLookahead < count) prefetch_key(i + kLookahead);
    decrypt(burst, burst.esp_in[i], burst.packets[burst.esp_in[i]]);
  }
}

void esp_encrypt(Burst& burst) noexcept {
  const unsigned count = burst.to_tunnel.size();
  const auto prefetch_key = [&burst](unsigned i) {
    prefetch_lines(burst.packets[burst.to_tunnel[i]].sa->key().hot_memory());
  };
  for (unsigned i = 0; i < std::min(kLookahead, count); ++i) prefetch_key(i);
  for (unsigned i = 0; i < count; ++i) {
    if (i + kLookahead < count) prefetch_key(i + kLookahead);
    encrypt(burst, burst.to_tunnel[i], burst.packets[burst.to_tunnel[i]]);
  }
}

}  // namespace simplon::forward
