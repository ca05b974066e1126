// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/policy/nat_ports.h"

#include <algorithm>
#include <array>
#include <bit>

#include "platform/wire/ip_protocol.h"

namespace simplon::forward {
namespace {

/// Chosen by us: how many addresses of a pool are tried for one connection; and among how many mappings of its source, the newest
/// ones, those that the source has are looked for.
constexpr std::uint32_t kTries = 8;
constexpr unsigned kLooks = 64;

[[nodiscard]] std::uint32_t wire_of(std::uint32_t host) noexcept { return byteswap(host); }
[[nodiscard]] std::uint32_t source_of(const FlowKey& key) noexcept { return static_cast<std::uint32_t>(key.source.low); }

}  // namespace

NatPorts::NatPorts(std::size_t mappings, NatShare share, HashSeed seed)
    : share_(share),
      seed_(seed),
      mappings_(mappings),
      buckets_(std::bit_ceil(mappings)),
      newest_(std::bit_ceil(mappings)),
      addresses_(kAddresses + 1),
      address_buckets_(std::size_t{kAddresses} * 2),
      places_(kDomainShares),
      blocks_(std::size_t{kAddresses} * kBlocks + 1),
      taken_(blocks_.size()) {}

unsigned ReservedPorts::class_of(std::uint8_t protocol) noexcept {
  switch (protocol) {
    case wire::kProtocolTcp:
      return 0;
    case wire::kProtocolUdp:
      return 1;
    case wire::kProtocolIcmp:
      return 2;
    default:
      return kClasses;
  }
}

void ReservedPorts::add(std::uint32_t address, std::uint8_t protocol, std::uint16_t port) {
  Ports& ports = ports_[address];
  for (unsigned kind = 0; kind < kClasses; ++kind) {
    if (protocol != 0 && kind != class_of(protocol)) continue;
    if (port == 0) {
      ports[kind].fill(~std::uint64_t{0});
    } else {
      ports[kind][port / 64] |= std::uint64_t{1} << (port % 64);
    }
  }
}

std::uint32_t NatPorts::number_of(std::uint32_t domain, std::uint32_t address, Share share) noexcept {
  const std::uint64_t key = (std::uint64_t{domain} << 32) | address;
  std::uint32_t& head = address_bucket(key);
  for (std::uint32_t at = head; at != 0; at = addresses_[at].chain) {
    if (addresses_[at].key == key) return at;
  }
  std::uint32_t& places = places_[domain % kDomainShares];
  if (places_left_ == 0 || (share == Share::kFair && places >= 4 * places_left_)) return 0;
  std::uint32_t number = free_address_;
  if (number != 0) {
    free_address_ = addresses_[number].chain;
  } else {
    number = next_address_++;
  }
  ++places;
  --places_left_;
  addresses_[number] = {key, 0, head};
  head = number;
  return number;
}

void NatPorts::settle(std::uint32_t number) noexcept {
  if (addresses_[number].used != 0) return;
  std::uint32_t* link = &address_bucket(addresses_[number].key);
  while (*link != number) link = &addresses_[*link].chain;
  *link = addresses_[number].chain;
  addresses_[number].chain = free_address_;
  free_address_ = number;
  --places_[(addresses_[number].key >> 32) % kDomainShares];
  ++places_left_;
}

void NatPorts::count_taken(std::uint32_t block, unsigned kind) noexcept {
  if (!blocks_[block].is_used()) ++addresses_[(block - 1) / kBlocks + 1].used;
  ++blocks_[block].used[kind];
}

bool NatPorts::take_from(std::uint32_t at, unsigned kind, std::uint64_t random, const std::uint64_t* reserved,
                         unsigned& index) noexcept {
  auto& taken = taken_[at][kind];
  // From a bit of no pattern on (RFC 6056 section 3.3.1), word by word.
  const auto begin = static_cast<unsigned>(random % kBlockPorts);
  for (unsigned i = 0; i <= kWords; ++i) {
    const unsigned word = (begin / 64 + i) % kWords;
    std::uint64_t free = ~taken[word];
    if (reserved != nullptr) free &= ~reserved[word];
    if (i == 0) free &= ~std::uint64_t{0} << (begin % 64);
    if (free == 0) continue;
    const auto bit = static_cast<unsigned>(std::countr_zero(free));
    taken[word] |= std::uint64_t{1} << bit;
    count_taken(at, kind);
    index = word * 64 + bit;
    return true;
  }
  return false;
}

std::uint16_t NatPorts::take_port(const Outside& outside, unsigned kind, std::uint32_t owner,
                                  std::uint16_t blocks_per_owner, std::uint64_t random, std::uint32_t& block) noexcept {
  const std::uint32_t first_block = first_block_of(outside.number);
  unsigned owned = 0;
  std::uint32_t unowned = 0;
  unsigned index = 0;
  static_assert(kFirstPort % 64 == 0 && kBlockPorts % 64 == 0);
  const auto reserved = [&](std::uint32_t at) {
    return outside.reserved == nullptr ? nullptr
                                       : &(*outside.reserved)[kind][kFirstPort / 64 + std::size_t{at - first_block} * kWords];
  };
  const auto port = [&](std::uint32_t at) {
    block = at;
    return static_cast<std::uint16_t>(kFirstPort + (at - first_block) * kBlockPorts + index);
  };
  const auto all_reserved = [&](std::uint32_t at) {
    const std::uint64_t* words = reserved(at);
    return words != nullptr && std::all_of(words, words + kWords, [](std::uint64_t word) { return ~word == 0; });
  };
  for (std::uint32_t at = first_block + share_.worker; at < first_block + kBlocks; at += share_.workers) {
    if (blocks_[at].owner == owner) {
      if (blocks_[at].used[kind] < kBlockPorts && take_from(at, kind, random, reserved(at), index)) return port(at);
      ++owned;
    } else if (blocks_[at].owner == 0 && unowned == 0 && !all_reserved(at)) {
      unowned = at;
    }
  }
  const unsigned most = (blocks_per_owner + share_.workers - 1) / share_.workers;
  if (unowned == 0 || owned >= most) return 0;
  if (!take_from(unowned, kind, random, reserved(unowned), index)) return 0;
  blocks_[unowned].owner = owner;
  return port(unowned);
}

std::uint32_t NatPorts::add(const FlowKey& key, std::uint32_t outside, std::uint16_t outside_port,
                            std::uint32_t block) noexcept {
  std::uint32_t mapping = free_;
  if (mapping != 0) {
    free_ = mappings_[mapping].chain;
  } else if (next_ < mappings_.size()) {
    mapping = next_++;
  } else {
    return 0;
  }
  std::uint32_t& head = bucket(key.context, source_of(key), key.source_port());
  std::uint32_t& newest = newest_of(key.context, source_of(key));
  mappings_[mapping] = {key.context, source_of(key), outside, key.source_port(), outside_port, block, 1, head, 0, newest};
  head = mapping;
  if (newest != 0) mappings_[newest].newer = mapping;
  newest = mapping;
  return mapping;
}

std::uint32_t NatPorts::translate(const FlowKey& key, std::uint32_t owner, const Pool& pool, std::uint32_t address,
                                  const ReservedPorts* reserved) noexcept {
  const Outside outside{address, number_of(key.domain(), address, Share::kFair), reserved == nullptr ? nullptr : reserved->of(address)};
  if (outside.number == 0) return 0;
  const unsigned kind = ReservedPorts::class_of(key.protocol());
  std::uint32_t block = 0;
  const std::uint16_t port = take_port(outside, kind, owner, pool.blocks_per_owner, key.hash(seed_), block);
  if (port != 0) return add(key, address, port, block);
  settle(outside.number);
  return 0;
}

bool NatPorts::is_reserved(const ReservedPorts* reserved, const Mapping& mapping) noexcept {
  const ReservedPorts::Ports* ports = reserved == nullptr ? nullptr : reserved->of(mapping.outside);
  const unsigned kind = ReservedPorts::class_of(static_cast<std::uint8_t>(mapping.context));
  return ports != nullptr && ((*ports)[kind][mapping.outside_port / 64] >> (mapping.outside_port % 64) & 1) != 0;
}

std::uint32_t NatPorts::take(const FlowKey& key, std::uint32_t owner, const Pool& pool,
                             const ReservedPorts* reserved) noexcept {
  const unsigned kind = ReservedPorts::class_of(key.protocol());
  if (kind == kClasses || pool.count == 0) return 0;
  for (std::uint32_t at = bucket(key.context, source_of(key), key.source_port()); at != 0; at = mappings_[at].chain) {
    Mapping& mapping = mappings_[at];
    if (mapping.context == key.context && mapping.source == source_of(key) && mapping.port == key.source_port() &&
        pool.contains(mapping.outside) && !is_reserved(reserved, mapping)) {
      ++mapping.references;
      return at;
    }
  }
  if (free_ == 0 && next_ == mappings_.size()) return 0;  // before a port is taken, and not for each address anew
  // The addresses that the source has, then others, each once.
  std::array<std::uint32_t, kTries> tried{};
  std::uint32_t tries = 0;
  const auto translated = [&](std::uint32_t address) {
    if (std::find(tried.begin(), tried.begin() + tries, address) != tried.begin() + tries) return 0U;
    tried[tries++] = address;
    return translate(key, owner, pool, address, reserved);
  };
  std::uint32_t at = newest_of(key.context, source_of(key));
  for (unsigned looks = 0; at != 0 && looks < kLooks && tries < kTries; ++looks, at = mappings_[at].older) {
    const Mapping& own = mappings_[at];
    if (own.context != key.context || own.source != source_of(key) || !pool.contains(own.outside)) continue;
    if (const std::uint32_t mapping = translated(own.outside); mapping != 0) return mapping;
  }
  const std::uint64_t by_source = mix(key.source.low, key.domain());
  for (std::uint32_t i = 0; i < pool.count && tries < kTries; ++i) {
    const auto offset = static_cast<std::uint32_t>((by_source + i) % pool.count);
    if (const std::uint32_t mapping = translated(wire_of(pool.first + offset)); mapping != 0) return mapping;
  }
  return 0;
}

std::uint32_t NatPorts::adopt(const FlowKey& key, std::uint32_t owner, std::uint32_t outside,
                              std::uint16_t outside_port) noexcept {
  const unsigned kind = ReservedPorts::class_of(key.protocol());
  if (kind == kClasses || worker_of(outside_port, share_.workers) != share_.worker) return 0;
  for (std::uint32_t at = bucket(key.context, source_of(key), key.source_port()); at != 0; at = mappings_[at].chain) {
    Mapping& mapping = mappings_[at];
    if (mapping.context == key.context && mapping.source == source_of(key) && mapping.port == key.source_port() &&
        mapping.outside == outside && mapping.outside_port == outside_port) {
      ++mapping.references;
      return at;
    }
  }
  const std::uint32_t number = number_of(key.domain(), outside, Share::kAny);  // it was fair when it was taken
  if (number == 0) return 0;
  const std::uint32_t block = first_block_of(number) + (outside_port - kFirstPort) / kBlockPorts;
  const unsigned index = (outside_port - kFirstPort) % kBlockPorts;
  const std::uint64_t bit = std::uint64_t{1} << (index % 64);
  const bool others = blocks_[block].owner != 0 && blocks_[block].owner != owner;
  const bool is_free = !others && (taken_[block][kind][index / 64] & bit) == 0;
  const std::uint32_t mapping = is_free ? add(key, outside, outside_port, block) : 0;
  if (mapping == 0) {
    settle(number);
    return 0;
  }
  blocks_[block].owner = owner;
  taken_[block][kind][index / 64] |= bit;
  count_taken(block, kind);
  return mapping;
}

void NatPorts::release(std::uint32_t mapping) noexcept {
  Mapping& gone = mappings_[mapping];
  if (--gone.references > 0) return;
  std::uint32_t* link = &bucket(gone.context, gone.source, gone.port);
  while (*link != mapping) link = &mappings_[*link].chain;
  *link = gone.chain;
  (gone.newer != 0 ? mappings_[gone.newer].older : newest_of(gone.context, gone.source)) = gone.older;
  if (gone.older != 0) mappings_[gone.older].newer = gone.newer;
  const unsigned kind = ReservedPorts::class_of(static_cast<std::uint8_t>(gone.context));
  const unsigned index = (gone.outside_port - kFirstPort) % kBlockPorts;
  Block& block = blocks_[gone.block];
  taken_[gone.block][kind][index / 64] &= ~(std::uint64_t{1} << (index % 64));
  --block.used[kind];
  if (!block.is_used()) {
    block.owner = 0;
    const std::uint32_t number = (gone.block - 1) / kBlocks + 1;
    --addresses_[number].used;
    settle(number);
  }
  gone.chain = free_;
  free_ = mapping;
}

}  // namespace simplon::forward
