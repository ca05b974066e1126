// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "gateway/forward/packet_io.h"
#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {

/// The TUN devices of all host ports, and the TAP devices of those of circuits, which carry frames; both are called TUN here.
/// They lie behind an epoll descriptor for each worker, so that ten thousand silent ones cost nothing. A device is read by one
/// worker and written by any.
///
/// Threads: `add` and `remove` are the table writer's, the rest is the workers'. `remove` hands the descriptor back; its
/// caller closes it after a grace period, because a worker may be inside a write.
class TunDevices {
 public:
  /// Port ids below this can be served.
  static constexpr std::uint32_t kMaxPorts = 65536;

  [[nodiscard]] static Result<std::shared_ptr<TunDevices>> create(unsigned workers);

  [[nodiscard]] Result<void> add(forward::PortId port, sys::UniqueFd tun);
  [[nodiscard]] sys::UniqueFd remove(forward::PortId port);

  /// The descriptor of a port, which stays ours; -1 if there is none.
  [[nodiscard]] int device(forward::PortId port) const noexcept {
    return port.value() < kMaxPorts ? tuns_[port.value()].load(std::memory_order_acquire) : -1;
  }
  /// Ports whose device was deleted by somebody since the last call. Any thread.
  [[nodiscard]] std::vector<forward::PortId> take_dead();
  /// No longer watched; reported by `take_dead`.
  void give_up(forward::PortId port) noexcept;

  /// Readable when a device that the worker reads has a packet or a frame.
  [[nodiscard]] int descriptor(unsigned worker) const noexcept { return epolls_[worker].get(); }

 private:
  explicit TunDevices(std::vector<sys::UniqueFd> epolls);
  [[nodiscard]] int epoll_of(forward::PortId port) const noexcept { return epolls_[port.value() % epolls_.size()].get(); }

  std::vector<sys::UniqueFd> epolls_;
  /// By port id; -1: none.
  std::unique_ptr<std::atomic<int>[]> tuns_;
  std::mutex dead_mutex_;
  std::vector<forward::PortId> dead_;
};

/// All host ports as one worker sees them.
class TunIo final : public forward::PacketIo {
 public:
  TunIo(forward::FramePool& pool, std::shared_ptr<TunDevices> devices, unsigned worker)
      : pool_(pool), devices_(std::move(devices)), worker_(worker) {}

  [[nodiscard]] std::size_t receive(std::span<forward::Packet> burst) noexcept override;
  [[nodiscard]] std::size_t transmit(std::span<const forward::Packet> packets) noexcept override;

 private:
  [[nodiscard]] std::uint8_t* fit(std::uint8_t* frame, std::size_t bytes) noexcept;

  forward::FramePool& pool_;
  /// What a frame has no room for; one byte more than a slot has room for, to know a longer packet.
  std::array<std::uint8_t, forward::kSlotBytes - forward::kFrameBytes + 1> rest_;
  std::shared_ptr<TunDevices> devices_;
  unsigned worker_;
  unsigned skipped_ = 0;
};

}  // namespace simplon::forwarder
