// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

#include "gateway/forward/src/policy/flow.h"
#include "gateway/forward/src/tables/stable_array.h"
#include "gateway/forward/src/tables/table_limits.h"

namespace simplon::forward {

/// Whose ports are whose: see NatPorts.
struct NatShare {
  unsigned worker = 0;
  unsigned workers = 1;
};

/// Outer ports that clients do not get, because they are published. Addresses as they lie in memory.
class ReservedPorts {
 public:
  /// Of TCP, UDP and ICMP, which have ports of their own: a bit each.
  static constexpr unsigned kClasses = 3;
  using Words = std::array<std::uint64_t, 65536 / 64>;
  using Ports = std::array<Words, kClasses>;

  /// `kClasses`: the protocol has no ports that could be translated.
  [[nodiscard]] static unsigned class_of(std::uint8_t protocol) noexcept;
  /// `protocol` 0: of all; `port` (host order) 0: all.
  void add(std::uint32_t address, std::uint8_t protocol, std::uint16_t port);
  /// nullptr: none.
  [[nodiscard]] const Ports* of(std::uint32_t address) const noexcept {
    const auto found = ports_.find(address);
    return found == ports_.end() ? nullptr : &found->second;
  }

 private:
  std::unordered_map<std::uint32_t, Ports> ports_;
};

/// Which address and port stand for which inner ones (source NAT).
///
/// A mapping depends on the inner address and port only, not on who is talked to (RFC 4787 REQ-1), and an inner address
/// keeps its outer one while that has ports (REQ-2). Ports of an outer address are given away in blocks of 512, and a
/// block belongs to one VPC: so one VPC cannot take them all, and who used a port can be told from the block.
///
/// Each of several workers gives only blocks whose number modulo the number of workers is its own: so the port of an answer
/// names the worker that has its connection. Of the blocks that a VPC may have each gives its part, at least one.
///
/// Bounded: everything is preallocated address space. An outer address takes one of 4,096 places while a port of it is in use; a
/// domain may take four times as many as are free, so that the last ones are for whoever has few.
/// Threads: the worker's.
class NatPorts {
 public:
  static constexpr unsigned kBlockPorts = 512;
  static constexpr unsigned kFirstPort = 1024;  // RFC 4787 REQ-3: not the well-known ones
  static constexpr unsigned kBlocks = (65536 - kFirstPort) / kBlockPorts;

  struct Pool {
    std::uint32_t first = 0;  ///< Host order.
    std::uint32_t count = 0;
    std::uint16_t blocks_per_owner = 0;
    [[nodiscard]] bool contains(std::uint32_t wire) const noexcept { return byteswap(wire) - first < count; }
  };
  struct Mapping {
    std::uint64_t context = 0;
    std::uint32_t source = 0;   ///< Bytes as on the wire.
    std::uint32_t outside = 0;  ///< Bytes as on the wire.
    std::uint16_t port = 0;     ///< Inner, host order.
    std::uint16_t outside_port = 0;
    std::uint32_t block = 0;
    std::uint32_t references = 0;
    std::uint32_t chain = 0;
    /// Of the same bucket of sources; 0: none.
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
  };

  explicit NatPorts(std::size_t mappings, NatShare share = {}, HashSeed seed = {});

  /// The worker that gave the port away; `workers` if nobody did.
  [[nodiscard]] static unsigned worker_of(std::uint16_t outside_port, unsigned workers) noexcept {
    return outside_port < kFirstPort ? workers : (outside_port - kFirstPort) / kBlockPorts % workers;
  }

  /// Has it a translation? Then one more reference; else a new one with one reference. 0: no port is left, or the protocol
  /// has none. `owner`: an attachment's slot. `reserved`: what nobody gets; nullptr: nothing.
  [[nodiscard]] std::uint32_t take(const FlowKey& key, std::uint32_t owner, const Pool& pool,
                                   const ReservedPorts* reserved = nullptr) noexcept;
  /// As `take`, for a translation that another process made. 0: its port is not free.
  [[nodiscard]] std::uint32_t adopt(const FlowKey& key, std::uint32_t owner, std::uint32_t outside,
                                    std::uint16_t outside_port) noexcept;
  void release(std::uint32_t mapping) noexcept;
  [[nodiscard]] const Mapping& operator[](std::uint32_t mapping) const noexcept { return mappings_[mapping]; }

  /// Can sources of it be translated?
  [[nodiscard]] static bool translates(std::uint8_t protocol) noexcept {
    return ReservedPorts::class_of(protocol) < kClasses;
  }

  /// Outer addresses that can be in use at a time.
  static constexpr std::uint32_t kAddresses = 4096;

 private:
  static constexpr unsigned kClasses = ReservedPorts::kClasses;
  static constexpr unsigned kWords = kBlockPorts / 64;
  /// Five to a cache line: whoever has no port left is refused after a look at all of an address, again and again.
  struct Block {
    std::uint32_t owner;
    std::array<std::uint16_t, kClasses> used;  ///< Ports.
    [[nodiscard]] bool is_used() const noexcept { return (used[0] | used[1] | used[2]) != 0; }
  };
  /// A bit for each port that is used.
  using Taken = std::array<std::array<std::uint64_t, kWords>, kClasses>;
  struct Address {
    std::uint64_t key;  ///< Domain and address.
    std::uint32_t used;  ///< Blocks.
    std::uint32_t chain;
  };
  enum class Share : bool { kAny, kFair };
  /// An outer address as it lies in memory, its number, and what of it nobody gets.
  struct Outside {
    std::uint32_t address = 0;
    std::uint32_t number = 0;
    const ReservedPorts::Ports* reserved = nullptr;
  };

  [[nodiscard]] static std::uint32_t first_block_of(std::uint32_t number) noexcept { return (number - 1) * kBlocks + 1; }
  [[nodiscard]] static bool is_reserved(const ReservedPorts* reserved, const Mapping& mapping) noexcept;
  /// The number of the address, or 0 if there are too many addresses; kFair: or too many of the domain. Whoever takes no port then
  /// settles it.
  [[nodiscard]] std::uint32_t number_of(std::uint32_t domain, std::uint32_t address, Share share) noexcept;
  /// The address gives its place away if no block of it is in use.
  void settle(std::uint32_t number) noexcept;
  /// A port of the address for `owner`; 0: none is left.
  [[nodiscard]] std::uint16_t take_port(const Outside& outside, unsigned kind, std::uint32_t owner,
                                        std::uint16_t blocks_per_owner, std::uint64_t random,
                                        std::uint32_t& block) noexcept;
  /// `reserved`: of the ports of the block; nullptr: none.
  [[nodiscard]] bool take_from(std::uint32_t block, unsigned kind, std::uint64_t random, const std::uint64_t* reserved,
                               unsigned& index) noexcept;
  void count_taken(std::uint32_t block, unsigned kind) noexcept;
  [[nodiscard]] std::uint32_t add(const FlowKey& key, std::uint32_t outside, std::uint16_t outside_port,
                                  std::uint32_t block) noexcept;
  /// A new translation to the address (as on the wire); 0: it has no port left for `owner`.
  [[nodiscard]] std::uint32_t translate(const FlowKey& key, std::uint32_t owner, const Pool& pool, std::uint32_t address,
                                        const ReservedPorts* reserved) noexcept;
  [[nodiscard]] std::uint32_t& newest_of(std::uint64_t context, std::uint32_t source) const noexcept {
    return newest_[mix(seed_, context, source) & (newest_.size() - 1)];
  }
  [[nodiscard]] std::uint32_t& bucket(std::uint64_t context, std::uint32_t source, std::uint16_t port) const noexcept {
    return buckets_[mix(seed_, context, (std::uint64_t{source} << 16) | port) & (buckets_.size() - 1)];
  }

  [[nodiscard]] std::uint32_t& address_bucket(std::uint64_t key) const noexcept {
    return address_buckets_[mix(key, 0) & (address_buckets_.size() - 1)];
  }

  NatShare share_;
  HashSeed seed_;
  StableArray<Mapping> mappings_;
  StableArray<std::uint32_t> buckets_;
  /// By source: the newest mapping.
  StableArray<std::uint32_t> newest_;
  /// By number; those of address n begin at first_block_of(n).
  StableArray<Address> addresses_;
  StableArray<std::uint32_t> address_buckets_;
  /// Of each domain: how many of its addresses have a place.
  StableArray<std::uint32_t> places_;
  StableArray<Block> blocks_;
  StableArray<Taken> taken_;
  std::uint32_t free_ = 0;
  std::uint32_t next_ = 1;
  std::uint32_t free_address_ = 0;
  std::uint32_t next_address_ = 1;
  std::uint32_t places_left_ = kAddresses;
};

}  // namespace simplon::forward
