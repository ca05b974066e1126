// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "gateway/forward/packet_io.h"
#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {

/// All host ports of a worker: TUN devices behind one epoll descriptor, so that ten thousand silent ones cost nothing.
///
/// Threads: `add` and `remove` are the table writer's, the rest is the worker's. `remove` hands the descriptor back; its
/// caller closes it after a grace period, because the worker may be inside a write.
class TunIo final : public forward::PacketIo {
 public:
  /// Port ids below this can be served.
  static constexpr std::uint32_t kMaxPorts = 65536;

  [[nodiscard]] static Result<std::shared_ptr<TunIo>> create(forward::FramePool& pool);

  [[nodiscard]] Result<void> add(forward::PortId port, sys::UniqueFd tun);
  [[nodiscard]] sys::UniqueFd remove(forward::PortId port);

  [[nodiscard]] std::size_t receive(std::span<forward::Packet> burst) noexcept override;
  [[nodiscard]] std::size_t transmit(std::span<const forward::Packet> packets) noexcept override;

  /// The descriptor of a port, which stays ours; -1 if there is none.
  [[nodiscard]] int device(forward::PortId port) const noexcept {
    return port.value() < kMaxPorts ? tuns_[port.value()].load(std::memory_order_acquire) : -1;
  }
  /// Ports whose device was deleted by somebody since the last call. Any thread.
  [[nodiscard]] std::vector<forward::PortId> take_dead();

  /// Readable when any device has a packet.
  [[nodiscard]] int descriptor() const noexcept { return epoll_.get(); }

 private:
  TunIo(forward::FramePool& pool, sys::UniqueFd epoll);

  forward::FramePool& pool_;
  sys::UniqueFd epoll_;
  /// By port id; -1: none.
  std::unique_ptr<std::atomic<int>[]> tuns_;
  unsigned skipped_ = 0;
  std::mutex dead_mutex_;
  std::vector<forward::PortId> dead_;
};

}  // namespace simplon::forwarder
