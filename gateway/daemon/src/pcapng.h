// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>

// A capture file as Wireshark's tools read it (draft-ietf-opsawg-pcapng): a section header, an interface block for each
// place packets are seen at, an enhanced packet block for each packet, and statistics at the end. Pure.

namespace simplon::daemon {

class PcapngWriter {
 public:
  /// `software`: of the section header.
  explicit PcapngWriter(std::string software) : software_(std::move(software)) {}

  struct Place {
    /// "tunnel:paris", "eth1".
    std::string name;
    /// Frames with an Ethernet header (LINKTYPE_ETHERNET); else IP packets (LINKTYPE_RAW).
    bool ethernet = false;
    friend auto operator<=>(const Place&, const Place&) = default;
  };
  enum class Direction : std::uint8_t { kUnknown = 0, kIn = 1, kOut = 2 };
  struct Packet {
    std::uint64_t time_ns = 0;
    /// Of the packet; `bytes` may be its beginning only.
    std::uint32_t length = 0;
    std::span<const std::uint8_t> bytes;
    Direction direction = Direction::kUnknown;
    std::string comment;
  };

  /// What a file begins with.
  [[nodiscard]] std::string begin() const;
  /// The packet; in front of it its interface block, if it is the first one there.
  [[nodiscard]] std::string add(const Place& place, const Packet& packet);
  /// What a complete file ends with. `lost`: packets that were seen and are not in it.
  [[nodiscard]] std::string end(std::uint64_t time_ns, std::uint64_t lost) const;

 private:
  struct Interface {
    std::uint32_t id = 0;
    std::uint64_t packets = 0;
  };
  std::string software_;
  std::map<Place, Interface> interfaces_;
};

}  // namespace simplon::daemon
