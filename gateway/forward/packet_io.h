// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "gateway/forward/packet.h"

namespace simplon::forward {

/// Packets in and out, a burst at a time: an AF_XDP socket, a set of TUN and TAP devices, or memory.
///
/// One PacketIo may serve many ports (all host ports behind one epoll): `Packet::port` says which, both ways. What an
/// uplink receives and sends are Ethernet frames, as does the host port of a circuit (a TAP); that of a VPC or tunnel has bare IP packets.
///
/// Threads: all functions are called by the one worker it was given to. It is destroyed by the
/// table writer after that worker can no longer see it; return frames with `FramePool::release_remote` there.
class PacketIo {
 public:
  PacketIo() = default;
  PacketIo(const PacketIo&) = delete;
  PacketIo& operator=(const PacketIo&) = delete;
  virtual ~PacketIo() = default;

  /// Fills the front of `burst`; returns how many. The frames become the worker's, with at least kMinHeadroom before
  /// `data`. Never blocks; never returns a packet longer than its frame or slot, or on a port it does not serve.
  [[nodiscard]] virtual std::size_t receive(std::span<Packet> burst) noexcept = 0;

  /// Packets that came, but that `receive` could not hand out.
  struct Unreceived {
    /// In several pieces, and no slot was free to put them together in.
    std::uint32_t without_slot = 0;
    /// Longer than a slot.
    std::uint32_t too_long = 0;
    /// No frame was free.
    std::uint32_t without_frame = 0;
  };
  /// Since the last call; the worker counts them as received and dropped.
  [[nodiscard]] Unreceived take_unreceived() noexcept { return std::exchange(unreceived_, {}); }
  [[nodiscard]] bool lost_any() const noexcept {
    return (unreceived_.without_slot | unreceived_.too_long | unreceived_.without_frame) != 0;
  }

  /// Of the last `receive`: how many packets in front of the others go before them, whoever sent them.
  [[nodiscard]] std::size_t urgent() const noexcept { return urgent_; }
  /// What `fill` says of a full ring.
  static constexpr unsigned kFull = 256;
  /// After the last `receive`: how much still waits in the fullest receive ring, from 0 to kFull, which is the most that can.
  [[nodiscard]] unsigned fill() const noexcept { return fill_; }

  /// Takes packets from the front; returns how many. Those frames become the port's; the rest stay the worker's, which
  /// drops them as tx_refused. Never blocks. A packet that was taken counts as sent.
  [[nodiscard]] virtual std::size_t transmit(std::span<const Packet> packets) noexcept = 0;

  /// The same for packets that go before others when there is little room: what the kernel sends through a host port, which is
  /// what keeps routing and neighbors alive.
  [[nodiscard]] virtual std::size_t transmit_urgent(std::span<const Packet> packets) noexcept { return transmit(packets); }

  /// Of the last `transmit` that took fewer than it was given: the packet it stopped at can not be sent, but those behind it may
  /// be. Else nothing more can be sent now.
  [[nodiscard]] bool stopped_at_one() const noexcept { return stopped_at_one_; }

  /// Called once after a burst in which `transmit` was called: kick the kernel, reap completions.
  virtual void flush() noexcept {}

 protected:
  Unreceived unreceived_;
  std::size_t urgent_ = 0;
  unsigned fill_ = 0;
  bool stopped_at_one_ = false;
};

}  // namespace simplon::forward
