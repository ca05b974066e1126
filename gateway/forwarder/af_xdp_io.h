// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "gateway/forward/packet_io.h"
#include "platform/xdp/xsk_socket.h"

namespace simplon::forwarder {

/// An uplink as the worker sees it: the AF_XDP sockets of all its receive queues.
///
/// Frames: the fill rings are stocked from the pool by the worker itself, at its first `receive`; on destruction (by the
/// table writer) every frame the sockets still own goes back with `release_remote`.
class AfXdpIo final : public forward::PacketIo {
 public:
  AfXdpIo(forward::FramePool& pool, forward::PortId port, std::vector<std::unique_ptr<xdp::XskSocket>> sockets);
  ~AfXdpIo() override;

  [[nodiscard]] std::size_t receive(std::span<forward::Packet> burst) noexcept override;
  [[nodiscard]] std::size_t transmit(std::span<const forward::Packet> packets) noexcept override;
  void flush() noexcept override;

  /// Descriptors that become readable when packets arrive.
  [[nodiscard]] std::vector<int> descriptors() const;
  [[nodiscard]] const std::vector<std::unique_ptr<xdp::XskSocket>>& sockets() const noexcept { return sockets_; }

 private:
  void restock(xdp::XskSocket& socket) noexcept;
  void reap(xdp::XskSocket& socket) noexcept;
  void push(xdp::XskSocket& socket) noexcept;

  forward::FramePool& pool_;
  forward::PortId port_;
  std::vector<std::unique_ptr<xdp::XskSocket>> sockets_;
  std::size_t next_ = 0;
};

}  // namespace simplon::forwarder
