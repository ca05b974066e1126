// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>

#include "gateway/forward/packet.h"

namespace simplon::forward {

struct Burst;
struct Transit;

/// ESP packets that came before the keys of their SA.
///
/// The responder of an IKE exchange may send on a new SA as soon as it has answered, and its first packets overtake our own
/// IKE daemon, which has yet to read the answer and hand the keys over. Their SPI is known by then, because we chose it
/// (Tables::expect_inbound), so they wait here, in order, for at most kPatience instead of being lost. Threads: the worker's.
class EarlyEsp {
 public:
  static constexpr unsigned kCapacity = 512;
  /// Nanoseconds. Chosen by us: an IKE daemon that had just started on a slow, busy machine took 2.2 seconds from the answer to the
  /// keys.
  static constexpr std::uint64_t kPatience = 4'000'000'000;

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// Keeps a packet that starts with an ESP header; false if nobody expects its SPI, or there is no room. An SPI may have four times
  /// as many packets as there are free places, so the last ones are for whoever has few.
  [[nodiscard]] bool keep(const Burst& burst, const Transit& packet) noexcept;
  /// Those whose SA has come go to `esp_in`, those that waited too long are dropped as esp_unknown_spi: as many as a burst
  /// receives. True: more of them are left.
  [[nodiscard]] bool let_go(Burst& burst) noexcept;

 private:
  [[nodiscard]] bool has_share_left(std::uint32_t spi) const noexcept;

  /// What classify found out.
  struct Waiting {
    std::uint8_t* data;
    const std::uint8_t* outer;
    std::uint64_t since;
    std::uint32_t spi;
    PortId port;
    std::uint16_t length;
    std::uint8_t outer_family;
    bool encap;
  };

  unsigned count_ = 0;
  std::array<Waiting, kCapacity> waiting_;
};

}  // namespace simplon::forward
