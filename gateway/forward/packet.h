// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

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

/// A packet that one frame has no room for lies in a slot: some frames in a row, so that its bytes are contiguous all the same.
inline constexpr std::size_t kSlotFrames = 3;
inline constexpr std::size_t kSlotBytes = kSlotFrames * kFrameBytes;
/// Where a received packet begins in a slot, and the room behind the longest: ESP's trailer and ICV are at most 50 bytes.
inline constexpr std::size_t kSlotHeadroom = 256;
inline constexpr std::size_t kSlotTailroom = 128;
inline constexpr std::size_t kLongestInSlot = kSlotBytes - kSlotHeadroom - kSlotTailroom;

/// Bytes of one packet inside one frame of the pool, or a slot. Headroom and tailroom follow from its borders: `data` is always in
/// the first frame of a slot.
struct Packet {
  std::uint8_t* data = nullptr;
  std::uint16_t length = 0;
  /// Where it was received, or where it is to be sent.
  PortId port = kNoPort;
};

/// The free packet memory of a worker: frames of kFrameBytes, page-aligned, in one mapping.
///
/// The mapping can be registered as the UMEM of every AF_XDP socket, so that a packet received on one uplink is sent on
/// another without a copy. A frame has exactly one owner: a pool, a PacketIo (its rings) or a worker. `receive` hands frames
/// to the worker, `transmit` hands them to the port, which returns them to the pool.
///
/// Behind the frames there may be slots, which the pools of all workers share; their memory is not touched before they are used.
///
/// Several workers have a pool each, made by `sibling`, over the same memory. A frame may be released to another of them than
/// the one it came from: each keeps at most kKept, and what is more waits, in portions, for those that have none left.
///
/// Threads: the worker's, except `release_remote`, `available` and `sibling`, which are the control thread's; the last two
/// while the pool is in no use. What is about slots takes a lock.
class FramePool {
 public:
  /// Chosen by us: some bursts; half of it is a portion, for which a lock is taken.
  static constexpr std::size_t kKept = 512;
  /// Chosen by us: two bursts.
  static constexpr std::size_t kReserved = 128;

  /// Shared memory has a descriptor, with which another process can go on with it; for huge pages the host has to allow them
  /// in shared memory.
  enum class Memory : std::uint8_t { kPrivate, kShared };
  /// Errors: kExhausted if the memory cannot be mapped, kUnavailable if there is none to share.
  [[nodiscard]] static Result<FramePool> create(std::size_t frames, Memory memory = Memory::kPrivate,
                                                std::size_t slots = 0);
  /// Goes on with the memory of a former process; nothing is free before `settle`. Errors: kPeer if `memory` does not hold exactly `frames`
  /// frames and `slots` slots.
  [[nodiscard]] static Result<FramePool> adopt(sys::UniqueFd memory, std::size_t frames, std::size_t slots = 0);
  /// `in_use` has a bit for each frame that the former process's sockets own (frame n is bit n), those of slots included: the others are
  /// free. Once, before any is allocated.
  void settle(std::span<const std::uint64_t> in_use) noexcept;
  /// One more pool over the same memory, which lives as long as one of them does.
  [[nodiscard]] FramePool sibling();
  FramePool(FramePool&& other) noexcept;
  FramePool& operator=(FramePool&&) = delete;
  ~FramePool();

  /// The frames, for a socket's UMEM; and with the slots, for one that sends and receives packets in several pieces.
  [[nodiscard]] std::span<std::uint8_t> memory() const noexcept { return {base_, frames() * kFrameBytes}; }
  [[nodiscard]] std::span<std::uint8_t> memory_with_slots() const noexcept { return {base_, all_frames() * kFrameBytes}; }
  /// Of shared memory; -1 for private.
  [[nodiscard]] int descriptor() const noexcept;
  [[nodiscard]] std::size_t frames() const noexcept { return frames_; }
  [[nodiscard]] std::size_t slots() const noexcept;
  /// Those of slots included, which are the last.
  [[nodiscard]] std::size_t all_frames() const noexcept { return frames() + slots() * kSlotFrames; }
  /// Free ones that this pool has, or can have. Other pools may take the latter at any moment.
  [[nodiscard]] std::size_t available() const noexcept;

  /// First byte of a free frame, or nullptr. Never allocates memory.
  [[nodiscard]] std::uint8_t* allocate() noexcept {
    if (count_ == 0 && !fetch()) return nullptr;
    return base_ + std::size_t{free_[--count_]} * kFrameBytes;
  }
  /// The same for what is only kept ready: the last kReserved of a worker are for packets, so that rings that could hold all
  /// frames leave some to what is not received through them.
  [[nodiscard]] std::uint8_t* allocate_spare() noexcept {
    if (count_ <= kReserved && !fetch_spare()) return nullptr;
    return base_ + std::size_t{free_[--count_]} * kFrameBytes;
  }
  /// `inside`: any byte of the frame, or of the slot.
  void release(const std::uint8_t* inside) noexcept {
    const std::uint32_t index = index_of(inside);
    if (index >= frames_) [[unlikely]] return release_slot(index);
    if (count_ == limit_) put_aside();
    free_[count_++] = index;
  }
  /// As `release`, from another thread (a socket being destroyed by the control thread).
  void release_remote(const std::uint8_t* inside) noexcept;

  /// First byte of a free slot, or nullptr.
  [[nodiscard]] std::uint8_t* allocate_slot() noexcept;
  [[nodiscard]] bool in_slot(const std::uint8_t* inside) const noexcept { return index_of(inside) >= frames_; }
  /// From now on it takes so many `release`s until the slot is free: it is sent in as many pieces.
  void divide_slot(const std::uint8_t* inside, std::size_t pieces) noexcept;
  /// Free slots.
  [[nodiscard]] std::size_t available_slots() const noexcept;

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
    const std::size_t end = headroom(packet) + packet.length;
    return (end <= kFrameBytes ? kFrameBytes : kSlotBytes) - end;
  }

 private:
  struct Shared;
  FramePool(std::shared_ptr<Shared> shared, std::size_t limit);
  [[gnu::cold, gnu::noinline]] bool fetch() noexcept;
  [[gnu::cold, gnu::noinline]] bool fetch_spare() noexcept;
  [[gnu::cold, gnu::noinline]] void put_aside() noexcept;
  [[gnu::cold, gnu::noinline]] void release_slot(std::uint32_t index) noexcept;

  std::uint8_t* base_ = nullptr;
  /// Frames from this one on are those of slots.
  std::uint32_t frames_ = 0;
  /// The first `count_` of `limit_`.
  std::unique_ptr<std::uint32_t[]> free_;
  std::size_t count_ = 0;
  std::size_t limit_ = 0;
  std::shared_ptr<Shared> shared_;
};

}  // namespace simplon::forward
