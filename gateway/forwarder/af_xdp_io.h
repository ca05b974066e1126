// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "gateway/forward/packet_io.h"
#include "gateway/forwarder/backlog.h"
#include "gateway/forwarder/uplink_queue.h"

namespace simplon::forwarder {

/// An uplink as one worker sees it: the receive queues that are its own, and the one that it sends through, which is one of those
/// unless it has none.
///
/// Control traffic (platform/xdp/control.bpf.h) comes first, but at most kControlTurn packets of each `receive`: data that looks
/// like it cannot take more than its share. What the kernel sends through host ports may use the last kSparedForUrgent places of
/// the transmit ring, data may not.
///
/// Frames: the fill rings are stocked from the pool by the worker itself, at its first `receive`.
///
/// A packet that came in several pieces is put together in a slot (packet.h), one copy, so that the stages see contiguous bytes;
/// a packet in a slot leaves in as many pieces as it has frames, all of them or none. Through a socket that has no multi-buffer
/// mode it leaves from a frame, where it fits: that uplink's MTU saw to it.
class AfXdpIo final : public forward::PacketIo {
 public:
  static constexpr std::size_t kControlTurn = 16;
  static constexpr std::uint32_t kSparedForUrgent = 64;

  AfXdpIo(forward::FramePool& pool, forward::PortId port, std::vector<std::shared_ptr<UplinkQueue>> receives,
          std::shared_ptr<UplinkQueue> sends);

  [[nodiscard]] std::size_t receive(std::span<forward::Packet> burst) noexcept override;
  [[nodiscard]] std::size_t transmit(std::span<const forward::Packet> packets) noexcept override;
  [[nodiscard]] std::size_t transmit_urgent(std::span<const forward::Packet> packets) noexcept override;
  void flush() noexcept override;

  /// Fills the fill rings, as the first `receive` does. While no worker uses the pool.
  void stock() noexcept;
  /// What waits there is received before anything else, and nothing of the uplink until it is finished. Before the first
  /// `receive`.
  void receive_first(std::shared_ptr<Backlog> backlog) { backlog_ = std::move(backlog); }

  /// Descriptors that become readable when packets arrive.
  [[nodiscard]] std::vector<int> descriptors() const;

 private:
  [[nodiscard]] std::size_t take(std::span<const xdp::FrameRef> refs, std::span<forward::Packet> burst) noexcept;
  [[nodiscard]] std::uint8_t* gather(std::span<const xdp::FrameRef> pieces, std::size_t& length) noexcept;
  [[nodiscard]] bool can_leave(const forward::Packet& packet) const noexcept;
  [[gnu::cold]] std::size_t send_from_slot(const forward::Packet& packet, std::uint32_t spared) noexcept;
  [[nodiscard]] std::size_t send(std::span<const forward::Packet> packets, std::uint32_t spared) noexcept;
  [[gnu::cold]] std::size_t receive_backlog(std::span<forward::Packet> burst) noexcept;
  void restock(xdp::XskSocket& socket) noexcept;
  void reap(xdp::XskSocket& socket) noexcept;
  void push(xdp::XskSocket& socket) noexcept;
  void push_what_waits(UplinkQueue& queue) noexcept;

  forward::FramePool& pool_;
  forward::PortId port_;
  std::vector<std::shared_ptr<UplinkQueue>> receives_;
  std::shared_ptr<UplinkQueue> sends_;
  std::size_t next_ = 0;
  std::shared_ptr<Backlog> backlog_;
};

}  // namespace simplon::forwarder
