// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/oracle/reassembly.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace simplon::oracle {
namespace {

constexpr std::size_t kMost = 64;
constexpr std::uint64_t kPatience = 1'000'000'000;
/// Bytes that a frame of the engine has for what comes in; a packet is put together in that of its first part.
constexpr std::size_t kRoom = 4096 - 256;
constexpr std::size_t kEthernet = 14;

std::size_t end_of(const OuterPacket& part) { return part.offset + part.payload.size(); }

}  // namespace

Waiting::Taken Waiting::take(OuterPacket part, std::optional<Owner> owner, std::uint64_t now) {
  Taken taken;
  auto packet = std::find_if(packets_.begin(), packets_.end(), [&part](const Partial& one) {
    const OuterPacket& first = one.parts.front();
    return first.id == part.id && first.protocol == part.protocol && first.source == part.source &&
           first.destination == part.destination;
  });
  if (packet == packets_.end()) {
    taken.refused = part.offset != 0 || !owner;
    if (taken.refused) return taken;
    if (packets_.size() == kMost) {
      const auto loser = packets_.begin() + static_cast<std::ptrdiff_t>(in_the_way_of(*owner));
      taken.given_up += loser->parts.size();
      packets_.erase(loser);
    }
    packet = packets_.insert(packets_.end(), {*owner, now});
  }
  packet->parts.push_back(std::move(part));
  if (agree(*packet) && !complete(*packet)) return taken;
  taken.whole = agree(*packet) ? join(*packet) : std::nullopt;
  taken.refused = !taken.whole;
  (taken.whole ? taken.joined : taken.given_up) += packet->parts.size() - 1;
  packets_.erase(packet);
  return taken;
}

std::size_t Waiting::forget(std::uint64_t now) {
  std::size_t parts = 0;
  std::erase_if(packets_, [&](const Partial& packet) {
    const bool over = now - packet.since >= kPatience;
    if (over) parts += packet.parts.size();
    return over;
  });
  return parts;
}

/// The oldest of who has more than the new one and more than all others, or of the new one itself.
std::size_t Waiting::in_the_way_of(const Owner& owner) const {
  std::map<Owner, std::size_t> has{{owner, 0}};
  for (const Partial& packet : packets_) ++has[packet.owner];
  std::size_t most = 0;
  for (const auto& [name, count] : has) most = std::max(most, count);
  const bool itself = has[owner] == most;
  const auto loser = std::find_if(packets_.begin(), packets_.end(), [&](const Partial& packet) {
    return itself ? packet.owner == owner : has[packet.owner] == most;
  });
  return static_cast<std::size_t>(loser - packets_.begin());
}

/// RFC 5722: parts that overlap end the packet.
bool Waiting::agree(const Partial& packet) {
  const auto& parts = packet.parts;
  const std::size_t room = kRoom - kEthernet - parts.front().header_bytes;
  std::size_t lasts = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const OuterPacket& part = parts[i];
    if (part.payload.empty() || end_of(part) > room) return false;
    if (part.more && part.payload.size() % 8 != 0) return false;
    if (!part.more && ++lasts > 1) return false;
    for (std::size_t k = 0; k < parts.size(); ++k) {
      const OuterPacket& other = parts[k];
      if (!part.more && end_of(other) > end_of(part)) return false;
      if (k != i && part.offset < end_of(other) && other.offset < end_of(part)) return false;
    }
  }
  return true;
}

bool Waiting::complete(const Partial& packet) {
  const auto last = std::find_if(packet.parts.begin(), packet.parts.end(), [](const OuterPacket& part) { return !part.more; });
  if (last == packet.parts.end()) return false;
  const std::size_t present = std::accumulate(packet.parts.begin(), packet.parts.end(), std::size_t{0},
                                              [](std::size_t sum, const OuterPacket& part) { return sum + part.payload.size(); });
  return present == end_of(*last);
}

/// RFC 3168 section 5.3: one part that met congestion speaks for all, unless another says that its sender does not listen.
std::optional<OuterPacket> Waiting::join(const Partial& packet) {
  OuterPacket whole = packet.parts.front();
  bool congested = false;
  bool deaf = false;
  for (const OuterPacket& part : packet.parts) {
    congested |= (part.traffic_class & 3) == 3;
    deaf |= (part.traffic_class & 3) == 0;
    whole.payload.resize(std::max(whole.payload.size(), end_of(part)));
    std::copy(part.payload.begin(), part.payload.end(), whole.payload.begin() + static_cast<std::ptrdiff_t>(part.offset));
  }
  if (congested && deaf) return std::nullopt;
  if (congested) whole.traffic_class |= 3;
  return whole;
}

}  // namespace simplon::oracle
