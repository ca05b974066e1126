// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>

#include "gateway/forward/packet.h"

namespace simplon::forward {

struct Burst;
struct Transit;

/// One part of an outer IP packet that somebody on the way, or a peer with a narrow path, cut (RFC 791 section 3.2, RFC 8200
/// section 4.5). All in the frame of the packet it came with.
struct OuterFragment {
  std::uint8_t* header = nullptr;
  /// What comes before the data: header and options, or header and fragment header.
  std::uint16_t header_bytes = 0;
  std::uint16_t data_bytes = 0;
  /// Of the data, in the whole packet.
  std::uint16_t offset = 0;
  bool more = false;
  std::uint8_t family = 4;
  std::uint8_t protocol = 0;
  std::uint32_t id = 0;

  [[nodiscard]] std::span<const std::uint8_t> data() const noexcept { return {header + header_bytes, data_bytes}; }
};

/// Puts outer ESP packets together again (RFC 4303 section 3.4.1) that came in fragments.
///
/// Only a first part that names the SPI of an SA of ours opens a place here, without UDP only if it comes from the SA's peer: who
/// does not know one holds no memory. With UDP the peer may have another address by now (RFC 3948); what comes from elsewhere
/// counts as that of another peer. When all places are taken, the oldest of who has most of them is given up, or the new one's own
/// oldest, if it has as many: so whoever floods the gateway with first parts ends his own. The others
/// come in any order after it and are copied behind it, into its frame; that bounds a whole packet to what that frame, or slot, holds.
/// Parts that overlap, or do not agree, end the packet (RFC 5722), and so does a part that is missing for kPatience.
/// A packet that does not become whole counts as outer_fragment, once for each part, and is shown to a watch by its first; parts of
/// one that does, but for one, count as outer_reassembled. Threads: the worker's. No allocation.
class Reassembly {
 public:
  static constexpr unsigned kCapacity = 64;
  /// Nanoseconds. Chosen by us: parts follow each other within a round trip, and a 16-bit identification comes again in a
  /// second at 65,000 packets/s (RFC 4963).
  static constexpr std::uint64_t kPatience = 1'000'000'000;

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// Takes `number` over: keeps it, or drops it. True: it was the last that was missing, and `number` is the whole packet now, as
  /// classify would have found it: `outer` at a header without fragmentation, `data` behind it.
  [[nodiscard]] bool take(Burst& burst, unsigned number, const OuterFragment& fragment) noexcept;
  /// Drops what has waited too long.
  void expire(Burst& burst) noexcept;

 private:
  /// A data unit of fragmentation: 8 bytes.
  static constexpr std::size_t kUnits = kSlotBytes / 8;

  /// An SPI, and whether the part came from where the SA's peer is known to be.
  enum class Owner : std::uint64_t { kNone = 0 };
  [[nodiscard]] static Owner owner_of(const Burst& burst, const OuterFragment& fragment) noexcept;
  [[nodiscard]] unsigned place_to_give_up(Owner owner) const noexcept;

  struct Place {
    OuterFragment first;
    PortId port = kNoPort;
    std::uint64_t since = 0;
    /// Data bytes of the whole packet; 0: its end has not come yet.
    std::size_t total = 0;
    /// Data bytes that are there, and the end of the last of them.
    std::size_t present = 0;
    std::size_t end = 0;
    unsigned parts = 0;
    /// Bit n: a part with ECN codepoint n.
    unsigned ecn = 0;
    std::bitset<kUnits> units;

    void begin(const OuterFragment& fragment, PortId from, std::uint64_t now_ns) noexcept {
      *this = Place{};
      first = fragment;
      port = from;
      since = now_ns;
    }
  };

  [[nodiscard]] unsigned find(const OuterFragment& fragment) const noexcept;
  [[nodiscard]] static bool add(Place& place, const OuterFragment& fragment) noexcept;
  [[nodiscard]] static bool finish(Place& place) noexcept;
  void give_up(Burst& burst, unsigned place) noexcept;
  [[gnu::cold]] static void show(Burst& burst, const Place& place) noexcept;
  void remove(unsigned place) noexcept;

  unsigned count_ = 0;
  /// The oldest come first.
  std::array<Place, kCapacity> places_;
  /// Whose they are.
  std::array<Owner, kCapacity> owners_{};
};

}  // namespace simplon::forward
