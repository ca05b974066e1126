// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/path/reassembly.h"

#include <algorithm>
#include <cstring>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/ecn.h"
#include "platform/wire/esp.h"
#include "platform/wire/ethernet.h"
#include "platform/wire/ip_protocol.h"
#include "platform/wire/ipv4.h"
#include "platform/wire/ipv6.h"
#include "platform/wire/udp.h"

namespace simplon::forward {
namespace {

/// Source and destination of the outer header.
std::span<const std::uint8_t> addresses(const OuterFragment& fragment) noexcept {
  return fragment.family == 4 ? std::span<const std::uint8_t>(fragment.header + offsetof(wire::Ipv4Header, source), 8)
                              : std::span<const std::uint8_t>(fragment.header + offsetof(wire::Ipv6Header, source), 32);
}

bool same_packet(const OuterFragment& a, const OuterFragment& b) noexcept {
  return a.id == b.id && a.family == b.family && a.protocol == b.protocol &&
         std::memcmp(addresses(a).data(), addresses(b).data(), addresses(a).size()) == 0;
}

unsigned ecn_of(const OuterFragment& fragment) noexcept {
  // The low bits of the second byte, or of the traffic class, which straddles the first two.
  return fragment.family == 4 ? fragment.header[1] & 3U : (fragment.header[1] >> 4) & 3U;
}

WireAddress source_of(const OuterFragment& fragment) noexcept {
  const std::uint8_t* source = addresses(fragment).data();
  return fragment.family == 4 ? WireAddress::v4(source) : WireAddress::v6(source);
}

}  // namespace

/// kNone: it is not the start of ESP, or of ESP in UDP, for an SA that is ours or expected.
Reassembly::Owner Reassembly::owner_of(const Burst& burst, const OuterFragment& fragment) noexcept {
  std::span<const std::uint8_t> data = fragment.data();
  const bool encap = fragment.protocol == wire::kProtocolUdp;
  if (encap) {
    if (data.size() < sizeof(wire::UdpHeader)) return Owner::kNone;
    const auto* udp = reinterpret_cast<const wire::UdpHeader*>(data.data());
    if (udp->destination_port.host() != wire::kPortEspInUdp) return Owner::kNone;
    data = data.subspan(sizeof *udp);
  } else if (fragment.protocol != wire::kProtocolEsp) {
    return Owner::kNone;
  }
  if (data.size() < sizeof(wire::EspHeader)) return Owner::kNone;
  const std::uint32_t spi = reinterpret_cast<const wire::EspHeader*>(data.data())->spi.host();
  const Sa* const* known = burst.tables.inbound.find(spi);
  if (known == nullptr) return Owner::kNone;
  const CompiledSaPath* path = *known == nullptr ? nullptr : (*known)->compiled();
  const bool from_peer = path != nullptr && path->source == source_of(fragment);
  if (path != nullptr && !encap && !from_peer) return Owner::kNone;
  return static_cast<Owner>((std::uint64_t{from_peer} << 32) | spi);
}

unsigned Reassembly::place_to_give_up(Owner owner) const noexcept {
  std::array<std::int64_t, kCapacity> has{};
  for (unsigned i = 0; i < kCapacity; ++i) has[i] = std::count(owners_.begin(), owners_.end(), owners_[i]);
  const std::int64_t own = std::count(owners_.begin(), owners_.end(), owner);
  const std::int64_t most = *std::max_element(has.begin(), has.end());
  unsigned at = 0;
  while (most > own ? has[at] != most : owners_[at] != owner) ++at;
  return at;
}

bool Reassembly::take(Burst& burst, unsigned number, const OuterFragment& fragment) noexcept {
  Transit& packet = burst.packets[number];
  unsigned at = find(fragment);
  const bool opens = at == count_;
  if (opens) {
    const Owner owner = fragment.offset == 0 ? owner_of(burst, fragment) : Owner::kNone;
    if (owner == Owner::kNone) {
      burst.drop(number, Drop::kOuterFragment);
      return false;
    }
    if (count_ == kCapacity) give_up(burst, place_to_give_up(owner));
    at = count_++;
    owners_[at] = owner;
    places_[at].begin(fragment, packet.port, burst.now_ns);
  }

  Place& place = places_[at];
  const bool fits = add(place, fragment);
  if (!opens) burst.pool.release(packet.data);
  const bool whole = fits && place.present == place.total;
  if (!fits || (whole && !finish(place))) {
    give_up(burst, at);
    return false;
  }
  if (!whole) return false;
  burst.counters.drops[static_cast<std::size_t>(Drop::kOuterReassembled)].add(place.parts - 1);
  packet.outer = place.first.header;
  packet.outer_family = place.first.family;
  packet.data = place.first.header + place.first.header_bytes;
  packet.length = static_cast<std::uint16_t>(place.total);
  remove(at);
  return true;
}

void Reassembly::expire(Burst& burst) noexcept {
  // The oldest come first.
  while (count_ != 0 && burst.now_ns - places_[0].since >= kPatience) give_up(burst, 0);
}

unsigned Reassembly::find(const OuterFragment& fragment) const noexcept {
  unsigned at = 0;
  while (at < count_ && !same_packet(places_[at].first, fragment)) ++at;
  return at;
}

/// Copies the data of a part to where it belongs. False: it does not fit with the others.
bool Reassembly::add(Place& place, const OuterFragment& fragment) noexcept {
  ++place.parts;
  place.ecn |= 1U << ecn_of(fragment);
  const std::size_t end = std::size_t{fragment.offset} + fragment.data_bytes;
  std::uint8_t* const data = place.first.header + place.first.header_bytes;
  const Packet whole{data, static_cast<std::uint16_t>(place.first.data_bytes), kNoPort};
  if (end > place.first.data_bytes + FramePool::tailroom(whole)) return false;
  if (fragment.data_bytes == 0 || (fragment.more && fragment.data_bytes % 8 != 0)) return false;
  if (!fragment.more) {
    if (place.total != 0) return false;
    place.total = end;
  }
  if (end > place.end) place.end = end;
  if (place.total != 0 && place.end > place.total) return false;
  for (std::size_t unit = fragment.offset / 8; unit < (end + 7) / 8; ++unit) {
    if (place.units.test(unit)) return false;
    place.units.set(unit);
  }
  if (fragment.offset != 0) std::memcpy(data + fragment.offset, fragment.header + fragment.header_bytes, fragment.data_bytes);
  place.present += fragment.data_bytes;
  return true;
}

/// Makes the header of the first part that of the whole packet. False: its parts were marked as no sender would (RFC 3168
/// section 5.3).
bool Reassembly::finish(Place& place) noexcept {
  OuterFragment& first = place.first;
  const bool congested = (place.ecn & 1U << kEcnCongestion) != 0;
  if (congested && (place.ecn & 1U << kEcnNotCapable) != 0) return false;
  if (first.family == 4) {
    auto& header = *reinterpret_cast<wire::Ipv4Header*>(first.header);
    if (congested) header.tos |= kEcnCongestion;
    header.total_length = static_cast<std::uint16_t>(first.header_bytes + place.total);
    header.flags_offset = std::uint16_t{0};
    wire::set_ipv4_checksum(header);
    return true;
  }
  // The fragment header goes; what stood before it moves up, so that the packet is still a frame.
  std::uint8_t* const frame = first.header - sizeof(wire::EthernetHeader);
  std::memmove(frame + sizeof(wire::Ipv6FragmentHeader), frame, sizeof(wire::EthernetHeader) + sizeof(wire::Ipv6Header));
  first.header += sizeof(wire::Ipv6FragmentHeader);
  auto& header = *reinterpret_cast<wire::Ipv6Header*>(first.header);
  first.header_bytes = sizeof header;
  if (congested) first.header[1] |= kEcnCongestion << 4;
  header.next_header = first.protocol;
  header.payload_length = static_cast<std::uint16_t>(place.total);
  return true;
}

void Reassembly::give_up(Burst& burst, unsigned place) noexcept {
  if (burst.watch != nullptr) show(burst, places_[place]);
  burst.counters.drops[static_cast<std::size_t>(Drop::kOuterFragment)].add(places_[place].parts);
  burst.pool.release(places_[place].first.header);
  remove(place);
}

/// To who looks: the first part, which is as it came. The others are copied behind it.
void Reassembly::show(Burst& burst, const Place& place) noexcept {
  const unsigned number = burst.add();
  if (number == Burst::kCapacity) return;
  Transit& packet = burst.packets[number];
  packet.outer = place.first.header;
  packet.outer_family = place.first.family;
  packet.data = place.first.header + place.first.header_bytes;
  packet.length = place.first.data_bytes;
  packet.port = place.port;
  burst.watch->dropped(burst, number, Drop::kOuterFragment);
}

void Reassembly::remove(unsigned place) noexcept {
  --count_;
  for (unsigned i = place; i < count_; ++i) {
    places_[i] = places_[i + 1];
    owners_[i] = owners_[i + 1];
  }
}

}  // namespace simplon::forward
