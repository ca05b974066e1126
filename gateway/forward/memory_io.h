// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "gateway/forward/packet_io.h"

namespace simplon::forward {

/// A port in memory: `inject` what it shall receive, `take_sent` what was sent. For tests.
class MemoryIo final : public PacketIo {
 public:
  explicit MemoryIo(FramePool& pool) : pool_(pool) {}

  /// Copies the bytes into a frame of the pool, or a slot if they are too long for one,
  /// at `headroom`. False if the pool is empty or they do not fit.
  bool inject(PortId port, std::span<const std::uint8_t> bytes, std::size_t headroom = 256);

  struct Sent {
    PortId port;
    std::vector<std::uint8_t> bytes;
  };
  [[nodiscard]] std::vector<Sent> take_sent();
  /// From now on `transmit` takes at most this many packets until it is called again.
  void accept_only(std::size_t packets) noexcept { accept_ = packets; }
  /// What `receive` shall say from now on of how full its rings are, and of packets in front that go before others.
  void say(unsigned fill, std::size_t urgent = 0) noexcept {
    fill_ = fill;
    first_urgent_ = urgent;
  }

  [[nodiscard]] std::size_t receive(std::span<Packet> burst) noexcept override;
  [[nodiscard]] std::size_t transmit(std::span<const Packet> packets) noexcept override;

 private:
  FramePool& pool_;
  std::deque<Packet> waiting_;
  std::vector<Sent> sent_;
  std::size_t accept_ = ~std::size_t{0};
  std::size_t first_urgent_ = 0;
};

}  // namespace simplon::forward
