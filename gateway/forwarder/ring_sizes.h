// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "gateway/forward/packet.h"

namespace simplon::forwarder {

/// The rings of one queue of an uplink, in frames. What is received is stocked in advance; what is sent takes frames while it is
/// on its way only.
struct RingSizes {
  std::uint32_t receive;
  std::uint32_t control;
  std::uint32_t transmit;
};

/// The rings of all queues of an uplink together stock the same, up to 32 queues: twice the longest, and 2,048 for control traffic.
[[nodiscard]] constexpr RingSizes ring_sizes(std::uint32_t queues) noexcept {
  // Chosen by us: what arrives while a busy host does not run the worker waits in the fill ring's frames. A ring of 1,024 stays
  // in the cache (a quarter less per packet at 1484 B over veth) but lost packets in pauses of half a second.
  constexpr std::uint32_t kLongest = 2048;
  // Chosen by us: two bursts.
  constexpr std::uint32_t kShortest = 128;
  // Chosen by us: with few queues, some full bursts of updates from each of some neighbors.
  constexpr std::uint32_t kControl = 256;
  constexpr std::uint32_t kControlOfUplink = 2048;
  constexpr std::uint32_t kShortestControl = 32;
  // Chosen by us: data may not use the last places (AfXdpIo::kSparedForUrgent).
  constexpr std::uint32_t kShortestTransmit = 256;
  const std::uint32_t share = std::bit_floor(2 * kLongest / queues);
  return {std::clamp(share, kShortest, kLongest), std::clamp(std::bit_floor(kControlOfUplink / queues), kShortestControl, kControl),
          std::clamp(share, kShortestTransmit, kLongest)};
}

/// How many frames are enough for rings that stock so many: those, and for each worker what it keeps and a ring to send through.
/// The smallest multiple of 1,024.
[[nodiscard]] constexpr std::size_t frames_for(std::size_t stock, unsigned workers) noexcept {
  constexpr std::size_t kOfWorker = 2048 + forward::FramePool::kKept;
  return (stock + workers * kOfWorker + 1023) / 1024 * 1024;
}

}  // namespace simplon::forwarder
