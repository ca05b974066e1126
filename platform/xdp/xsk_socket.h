// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::xdp {

/// A packet in the UMEM, or a piece of one: where its bytes begin and how many there are, all in one frame.
struct FrameRef {
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  /// The packet goes on in the next one.
  bool more = false;
};

/// XDP_STATISTICS of one socket, since it was opened; packets but for the last.
struct XskStatistics {
  /// Dropped because nobody took what was in the ring; the second also what found no frame to receive into.
  std::uint64_t rx_ring_full = 0;
  std::uint64_t control_ring_full = 0;
  /// How often the kernel found no frame to receive into: with copies a packet each, in zero-copy an attempt of the driver.
  std::uint64_t fill_ring_empty = 0;
};

/// The AF_XDP socket of a receive queue of an interface, over frame memory that may be shared with other sockets. With a control
/// ring it is a pair of sockets: the second one has a receive ring of its own, for packets that what fills the first one must
/// not push out. Both take frames from one fill ring, which is stocked for both: the first ring is full, and its packets are
/// dropped, before the fill ring is empty.
///
/// Ownership of frames is exact: `fill` and `transmit` give frames to the socket, `receive` and `complete` give them back, and
/// `owned` says which it holds, so that closing it leaks none.
/// Each socket registers the whole memory as its own UMEM instead of joining another's (XDP_SHARED_UMEM): the kernel
/// and libxdp tie a joined UMEM to the life of the first socket, so that the first uplink could never be taken away and
/// given back. The effect is the same: a frame received here is sent there without a copy.
/// Threads: one at a time for receiving (`receive`, `receive_control`, `waiting`, `fill`, `fill_space`, `wake_receiver`) and one at a time
/// for sending (`transmit`, `complete`, `in_flight`, `wake_sender`). Cost: no allocation and no system call but in the two that
/// wake.
class XskSocket {
 public:
  struct Options {
    std::string interface;
    std::uint32_t queue = 0;
    std::span<std::uint8_t> memory;
    std::uint32_t frame_bytes = 4096;
    /// Left free before a received packet, besides the 256 bytes of XDP itself.
    std::uint32_t headroom_bytes = 128;
    std::uint32_t rx_ring = 2048;
    std::uint32_t tx_ring = 2048;
    /// 0: no control ring.
    std::uint32_t control_ring = 0;
    bool try_zero_copy = true;
    /// Packets may be longer than a frame: they come and go in several pieces (XDP_USE_SG).
    bool multi_buffer = false;
  };

  /// What a former process knew of a socket that it handed over.
  struct Handed {
    sys::UniqueFd fd;
    /// Of the control ring, if it had one.
    sys::UniqueFd control;
    bool zero_copy = false;
    /// As of `Owned`.
    std::vector<std::uint64_t> receiving;
    std::vector<std::uint64_t> sending;
  };

  /// Zero-copy first, then copy mode; without a control ring if the kernel gives none (`control_fd`), but never without the multi-buffer mode asked for. EBUSY (a former socket is still being released) is tried again for about one second.
  /// Errors: kInvalidConfig if there is no such queue (or no such socket on this kernel), else kUnavailable, naming interface, queue and reason.
  [[nodiscard]] static Result<std::unique_ptr<XskSocket>> open(const Options& options);
  /// Its queue is free for another socket soon. Only to be destroyed then.
  void close() noexcept;
  /// Whether this kernel has the multi-buffer mode (Linux 6.6).
  [[nodiscard]] static bool kernel_has_multi_buffer();
  /// Goes on with an open socket: `options` are those it was opened with, and `options.memory` is the same memory, mapped
  /// again. What arrived since the former process stopped is in the rings. Errors: kPeer if the rings do not fit what was handed
  /// over; the socket is closed then.
  [[nodiscard]] static Result<std::unique_ptr<XskSocket>> adopt(const Options& options, Handed handed);
  ~XskSocket();
  XskSocket(const XskSocket&) = delete;
  XskSocket& operator=(const XskSocket&) = delete;

  [[nodiscard]] int fd() const noexcept;
  /// -1: there is no control ring.
  [[nodiscard]] int control_fd() const noexcept;
  [[nodiscard]] bool zero_copy() const noexcept;
  [[nodiscard]] bool multi_buffer() const noexcept;

  /// Received packets, oldest first. With several pieces each, at most `packets` of them, and never a part of one: what has no
  /// room in `out` stays for next time, so that must have room for kMostPieces.
  [[nodiscard]] std::size_t receive(std::span<FrameRef> out) noexcept { return receive(out, out.size()); }
  [[nodiscard]] std::size_t receive(std::span<FrameRef> out, std::size_t packets) noexcept;
  [[nodiscard]] std::size_t receive_control(std::span<FrameRef> out) noexcept { return receive_control(out, out.size()); }
  [[nodiscard]] std::size_t receive_control(std::span<FrameRef> out, std::size_t packets) noexcept;
  /// Given by the kernel: a packet has a linear part and at most 17 fragments, each of which may be cut at frames' ends.
  static constexpr std::size_t kMostPieces = 36;
  /// Entries of the receive ring that wait in it, of `rx_ring`.
  [[nodiscard]] std::uint32_t waiting() const noexcept;
  [[nodiscard]] std::uint32_t rx_ring() const noexcept;
  /// How many frames `fill` would take.
  [[nodiscard]] std::size_t fill_space() noexcept;
  /// Frames to receive into, any offset inside them. Returns how many were taken.
  std::size_t fill(std::span<const std::uint64_t> offsets) noexcept;
  /// Returns how many were taken, from the front, never a part of a packet; `spared` places of the ring stay free.
  [[nodiscard]] std::size_t transmit(std::span<const FrameRef> frames, std::uint32_t spared = 0) noexcept;
  /// Whether `adopt` in another process can work: whether this kernel maps the rings of a bound socket once more (Linux 6.4).
  [[nodiscard]] bool can_be_handed_over() const;
  /// Whether nothing waits in the receive rings. Threads: any.
  [[nodiscard]] bool received_all() const noexcept;
  /// Frames whose transmission has ended.
  [[nodiscard]] std::size_t complete(std::span<std::uint64_t> out) noexcept;
  /// Wake the kernel where it asked for it (XDP_USE_NEED_WAKEUP).
  void wake_receiver() noexcept;
  void wake_sender() noexcept;
  /// Transmitted and not yet completed.
  [[nodiscard]] std::size_t in_flight() const noexcept;

  /// Offsets of all frames the socket owns (in its rings or in the kernel). Nobody receives or sends.
  [[nodiscard]] std::vector<std::uint64_t> owned() const;
  /// The same as bitmaps: bit n is the frame at n * frame_bytes. Good until the next call of another function.
  struct Owned {
    std::span<const std::uint64_t> receiving;
    std::span<const std::uint64_t> sending;
  };
  [[nodiscard]] Owned owned_bits() const noexcept;
  /// Threads: any, while the socket is there. Cost: a system call for each ring.
  [[nodiscard]] Result<XskStatistics> statistics() const;

 private:
  struct Impl;
  explicit XskSocket(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace simplon::xdp
