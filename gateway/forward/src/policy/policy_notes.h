// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "gateway/forward/policy_objects.h"
#include "gateway/forward/src/policy/acl.h"
#include "gateway/forward/src/policy/nat.h"

namespace simplon::forward {

/// What `police` decided about one packet, and by what. Values, as in a Sighting. Only packets that somebody looks at have any.
struct PolicyNotes {
  enum class Rate : std::uint8_t { kNoLimit, kConforms, kExceeds };
  enum class List : std::uint8_t {
    kNotAsked,
    kMissing,     ///< There is none of that name.
    kAsked,       ///< `decision` is about the packet.
    kConnection,  ///< It passes with its connection; `decision` is about the first packet of that, as the list is now.
  };
  /// One attachment's part.
  struct Side {
    std::uint32_t slot = 0;  ///< 0: it was not come to.
    Rate rate = Rate::kNoLimit;
    RateEntry limit;
    List list = List::kNotAsked;
    AclDecision decision;
    std::uint32_t acl = 0;  ///< Slot.
    std::uint32_t revision = 0;
  };
  /// Of the attachment it came from, and of that it leaves through.
  std::array<Side, 2> sides;
  /// It was only described: limits were looked at, not used.
  bool described = false;

  enum class Tracked : std::uint8_t { kNotAsked, kNone, kExisting, kNew };
  Tracked connection = Tracked::kNotAsked;
  unsigned direction = 0;
  ConnectionState state = ConnectionState::kOpening;
  /// Of silence from now on, until it is forgotten.
  std::uint32_t seconds = 0;
  std::array<FlowKey, 2> keys;

  enum class Cause : std::uint8_t { kNetmapIn, kConnection, kDestination, kSource, kFirstFragment, kNetmapOut };
  struct Translation {
    Cause cause = Cause::kConnection;
    /// Places in the domain's NatEntry; kNoPlace: none.
    std::array<std::uint16_t, 2> rules{kNoPlace, kNoPlace};
    Ipv4Ends before;
    Ipv4Ends after;
  };
  std::uint32_t domain = 0;
  std::uint8_t translated = 0;
  /// In the order in which they came.
  std::array<Translation, 4> translations;

  void add(const Translation& translation) noexcept {
    if (translated < translations.size()) translations[translated++] = translation;
  }
};

}  // namespace simplon::forward
