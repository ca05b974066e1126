// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "gateway/forward/packet.h"
#include "platform/xdp/xsk_socket.h"

namespace simplon::forwarder {

/// A receive queue of an uplink: its socket, and who sends through it.
///
/// One worker receives from it. Where an uplink has fewer queues than there are workers, several send through it, a burst at a
/// time, under a lock: what it costs is one lock for a burst, and the kernel sends from a socket one at a time anyway.
/// Threads: destroyed by the table writer, with no worker any more; every frame the socket still owns goes back then.
class UplinkQueue {
 public:
  UplinkQueue(forward::FramePool& pool, std::unique_ptr<xdp::XskSocket> socket, bool several_send)
      : pool_(pool), socket_(std::move(socket)), several_send_(several_send) {}
  ~UplinkQueue() {
    const auto owned = socket_->owned();
    socket_.reset();
    for (const std::uint64_t offset : owned) pool_.release_remote(pool_.at(offset));
  }
  UplinkQueue(const UplinkQueue&) = delete;
  UplinkQueue& operator=(const UplinkQueue&) = delete;

  [[nodiscard]] xdp::XskSocket& socket() const noexcept { return *socket_; }
  /// For as long as it lives nobody else sends; a lock only where there may be somebody else.
  [[nodiscard]] std::unique_lock<std::mutex> sending() noexcept {
    return several_send_ ? std::unique_lock(sending_) : std::unique_lock<std::mutex>();
  }
  /// Nothing if somebody else is sending, who does then what there is to do.
  [[nodiscard]] bool try_sending(std::unique_lock<std::mutex>& lock) noexcept {
    if (!several_send_) return true;
    lock = std::unique_lock(sending_, std::try_to_lock);
    return lock.owns_lock();
  }

 private:
  forward::FramePool& pool_;
  std::unique_ptr<xdp::XskSocket> socket_;
  bool several_send_;
  std::mutex sending_;
};

}  // namespace simplon::forwarder
