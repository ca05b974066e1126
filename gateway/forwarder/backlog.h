// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "gateway/forward/packet.h"
#include "platform/base/result.h"
#include "platform/netlink/netlink.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {

/// Where frames of an uplink wait in a planned restart when the kernel lets no other process use its sockets (docs/adr/0029): a
/// TAP device, to which its XDP program redirects them. It goes with its descriptor.
class Backlog {
 public:
  /// As many frames as it holds; further ones are lost.
  static constexpr std::uint32_t kFrames = 16384;

  /// Ready to be redirected to. Errors: kUnavailable.
  [[nodiscard]] static Result<std::unique_ptr<Backlog>> open(netlink::Netlink& netlink);
  /// What a former process filled.
  explicit Backlog(sys::UniqueFd tap) : tap_(std::move(tap)) {}

  [[nodiscard]] int fd() const noexcept { return tap_.get(); }
  /// Of the device; 0 if it was handed over.
  [[nodiscard]] std::uint32_t interface_index() const noexcept { return index_; }

  /// Oldest first. Threads: one worker's.
  [[nodiscard]] std::size_t receive(forward::FramePool& pool, forward::PortId port, std::span<forward::Packet> burst) noexcept;
  /// `receive` has come to the end; nothing is added any more. Threads: any.
  [[nodiscard]] bool finished() const noexcept { return finished_.load(std::memory_order_acquire); }
  /// How many `receive` returned. Of a finished one.
  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
  /// Of a finished one: the device goes. Takes the kernel some milliseconds.
  void close() noexcept { tap_.reset(); }

 private:
  sys::UniqueFd tap_;
  std::uint32_t index_ = 0;
  std::uint64_t received_ = 0;
  std::atomic<bool> finished_{false};
};

}  // namespace simplon::forwarder
