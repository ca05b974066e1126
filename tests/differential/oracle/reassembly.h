// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "platform/base/ids.h"
#include "tests/differential/oracle/bytes.h"

namespace simplon::oracle {

/// What lies in an outer IP packet; or in one part of it.
struct OuterPacket {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::uint8_t traffic_class = 0;
  Bytes payload;

  // Of a part.
  std::uint32_t id = 0;
  std::size_t offset = 0;
  bool more = false;
  /// What comes before the payload: IPv4 header, or IPv6 and fragment header.
  std::size_t header_bytes = 0;
};

/// Parts of outer packets that wait for the others (RFC 791 section 3.2, RFC 8200 section 4.5), the oldest packet first.
class Waiting {
 public:
  /// Who may have parts wait here, and whom they count for.
  struct Owner {
    Spi spi;
    bool from_peer = false;
    friend auto operator<=>(const Owner&, const Owner&) = default;
  };
  /// What became of a part.
  struct Taken {
    bool refused = false;
    std::optional<OuterPacket> whole{};
    /// Parts that came before and were given up; those that are in `whole`.
    std::size_t given_up = 0;
    std::size_t joined = 0;
  };

  /// `owner`: of a first part, if it has one. Nanoseconds.
  [[nodiscard]] Taken take(OuterPacket part, std::optional<Owner> owner, std::uint64_t now);
  /// Gives up what has waited too long: how many parts.
  [[nodiscard]] std::size_t forget(std::uint64_t now);
  [[nodiscard]] std::size_t packets() const { return packets_.size(); }

 private:
  struct Partial {
    Owner owner;
    std::uint64_t since = 0;
    std::vector<OuterPacket> parts{};  ///< The first is the one with offset 0.
  };
  [[nodiscard]] std::size_t in_the_way_of(const Owner& owner) const;
  [[nodiscard]] static bool agree(const Partial& packet);
  [[nodiscard]] static bool complete(const Partial& packet);
  [[nodiscard]] static std::optional<OuterPacket> join(const Partial& packet);

  std::vector<Partial> packets_;
};

}  // namespace simplon::oracle
