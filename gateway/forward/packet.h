// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "platform/base/result.h"
#include "platform/base/strong.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forward {

/// An uplink or a host port. Chosen by the owner of `Tables`; small and dense (an array index).
using PortId = Strong<std::uint32_t, struct PortIdTag>;
inline constexpr PortId kNoPort{0xffffffff};

/// Given by the UMEM: AF_XDP chunks are at most one page.
inline constexpr std::size_t kFrameBytes = 4096;
/// Chosen by us: room before a received packet that every PacketIo leaves, enough to replace the smallest
/// encapsulation by the largest (Ethernet + IPv6 + UDP + ESP + IV of AES-CBC is 86 bytes).
inline constexpr std::size_t kMinHeadroom = 128;

/// Bytes of one packet inside one frame of the pool. Headroom and tailroom follow from the frame's borders.
struct Packet {
  std::uint8_t* data = nullptr;
  std::uint16_t length = 0;
  /// Where it was received, or where it is to be sent.
  PortId port = kNoPort;
};

/// All packet memory of one worker: frames of kFrameBytes, page-aligned, in one mapping.
///
/// The mapping can be registered as the UMEM of every AF_XDP socket of the worker, so that a packet received on one
/// uplink is sent on another without a copy. A frame has exactly one owner: the pool, a PacketIo (its rings) or the
/// worker. `receive` hands frames to the worker, `transmit` hands them to the port, which returns them to the pool.
///
/// Threads: the worker's, except `release_remote`.
class FramePool {
 public:
  /// Shared memory has a descriptor, with which another process can go on with it; for huge pages the host has to allow them
  /// in shared memory. Errors: kExhausted if the memory cannot be mapped.
  enum class Memory : std::uint8_t { kPrivate, kShared };
  [[nodiscard]] static Result<FramePool> create(std::size_t frames, Memory memory = Memory::kPrivate);
  /// Goes on with the memory of a former process. `in_use` has a bit for each frame that is not free (frame n is bit n).
  /// Errors: kPeer if `memory` does not hold exactly `frames` frames.
  [[nodiscard]] static Result<FramePool> adopt(sys::UniqueFd memory, std::size_t frames, std::span<const std::uint64_t> in_use);
  FramePool(FramePool&& other) noexcept;
  FramePool& operator=(FramePool&&) = delete;
  ~FramePool();

  /// The whole mapping, for xsk_umem__create.
  [[nodiscard]] std::span<std::uint8_t> memory() const noexcept { return {base_, frames_ * kFrameBytes}; }
  /// Of shared memory; -1 for private.
  [[nodiscard]] int descriptor() const noexcept { return memory_.get(); }
  [[nodiscard]] std::size_t frames() const noexcept { return frames_; }
  [[nodiscard]] std::size_t available() const noexcept { return free_.size(); }

  /// First byte of a free frame, or nullptr. Never allocates memory.
  [[nodiscard]] std::uint8_t* allocate() noexcept {
    if (remote_waiting_.load(std::memory_order_relaxed)) collect_remote();
    if (free_.empty()) return nullptr;
    const std::uint32_t index = free_.back();
    free_.pop_back();
    return base_ + std::size_t{index} * kFrameBytes;
  }
  /// `inside`: any byte of the frame.
  void release(const std::uint8_t* inside) noexcept { free_.push_back(index_of(inside)); }
  /// As `release`, from another thread (a socket being destroyed by the control thread).
  void release_remote(const std::uint8_t* inside) noexcept;

  [[nodiscard]] std::uint32_t index_of(const std::uint8_t* inside) const noexcept {
    return static_cast<std::uint32_t>(static_cast<std::size_t>(inside - base_) / kFrameBytes);
  }
  [[nodiscard]] std::uint8_t* frame_of(const std::uint8_t* inside) const noexcept {
    return base_ + std::size_t{index_of(inside)} * kFrameBytes;
  }
  /// Offset in the mapping: the `addr` of an AF_XDP descriptor.
  [[nodiscard]] std::uint64_t offset_of(const std::uint8_t* inside) const noexcept {
    return static_cast<std::uint64_t>(inside - base_);
  }
  [[nodiscard]] std::uint8_t* at(std::uint64_t offset) const noexcept { return base_ + offset; }
  [[nodiscard]] static std::size_t headroom(const Packet& packet) noexcept {
    return reinterpret_cast<std::uintptr_t>(packet.data) % kFrameBytes;
  }
  [[nodiscard]] static std::size_t tailroom(const Packet& packet) noexcept {
    return kFrameBytes - headroom(packet) - packet.length;
  }

 private:
  FramePool(sys::UniqueFd memory, std::uint8_t* base, std::size_t frames, std::span<const std::uint64_t> in_use);
  void collect_remote() noexcept;

  sys::UniqueFd memory_;
  std::uint8_t* base_ = nullptr;
  std::size_t frames_ = 0;
  std::vector<std::uint32_t> free_;
  std::mutex remote_mutex_;
  std::vector<std::uint32_t> remote_;
  std::atomic<bool> remote_waiting_{false};
};

}  // namespace simplon::forward
