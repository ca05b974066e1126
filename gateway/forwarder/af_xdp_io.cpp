// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/af_xdp_io.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace simplon::forwarder {
namespace {

constexpr std::size_t kChunk = 64;
// In copy mode one wake-up sends at most 32 packets; this bounds what a link that takes nothing can cost.
constexpr int kMaxWakeups = 8;
static_assert(xdp::XskSocket::kMostPieces <= kChunk);

}  // namespace

AfXdpIo::AfXdpIo(forward::FramePool& pool, forward::PortId port, std::vector<std::shared_ptr<UplinkQueue>> receives,
                 std::shared_ptr<UplinkQueue> sends)
    : pool_(pool), port_(port), receives_(std::move(receives)), sends_(std::move(sends)) {}

std::size_t AfXdpIo::take(std::span<const xdp::FrameRef> refs, std::span<forward::Packet> burst) noexcept {
  std::size_t packets = 0;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    std::uint8_t* data = pool_.at(refs[i].offset);
    std::size_t length = refs[i].length;
    if (refs[i].more) [[unlikely]] {
      const std::size_t first = i;
      while (refs[i].more) ++i;
      data = gather(refs.subspan(first, i + 1 - first), length);
      if (data == nullptr) continue;
    }
    burst[packets++] = {data, static_cast<std::uint16_t>(length), port_};
  }
  return packets;
}

/// The packet in a slot, its frames back in the pool; nullptr if it was lost.
std::uint8_t* AfXdpIo::gather(std::span<const xdp::FrameRef> pieces, std::size_t& length) noexcept {
  length = 0;
  for (const xdp::FrameRef& piece : pieces) length += piece.length;
  std::uint8_t* packet = nullptr;
  if (length > forward::kLongestInSlot) {
    ++unreceived_.too_long;
  } else if (packet = pool_.allocate_slot(); packet == nullptr) {
    ++unreceived_.without_slot;
  } else {
    packet += forward::kSlotHeadroom;
  }
  std::uint8_t* to = packet;
  for (const xdp::FrameRef& piece : pieces) {
    const std::uint8_t* from = pool_.at(piece.offset);
    if (packet != nullptr) {
      std::memcpy(to, from, piece.length);
      to += piece.length;
    }
    pool_.release(from);
  }
  return packet;
}

void AfXdpIo::stock() noexcept {
  for (const auto& queue : receives_) restock(queue->socket());
}

/// Packets that arrive now wait in the rings meanwhile.
std::size_t AfXdpIo::receive_backlog(std::span<forward::Packet> burst) noexcept {
  stock();
  return backlog_->receive(pool_, port_, burst);
}

std::size_t AfXdpIo::receive(std::span<forward::Packet> burst) noexcept {
  if (backlog_ != nullptr && !backlog_->finished()) [[unlikely]] return receive_backlog(burst);
  std::size_t total = 0;
  std::array<xdp::FrameRef, kChunk> refs;
  // A different queue is first each time, so that a busy one cannot starve the others.
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    const std::size_t room = std::min(burst.size(), kControlTurn) - total;
    UplinkQueue& queue = *receives_[(next_ + i) % receives_.size()];
    const std::size_t got = queue.socket().receive_control(refs, room);
    total += take(std::span(refs).first(got), burst.subspan(total));
  }
  urgent_ = total;
  fill_ = 0;
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    UplinkQueue& queue = *receives_[(next_ + i) % receives_.size()];
    push_what_waits(queue);
    const std::size_t room = std::min(burst.size() - total, kChunk);
    if (room > 0) {
      const std::size_t got = queue.socket().receive(refs, room);
      total += take(std::span(refs).first(got), burst.subspan(total));
    }
    // Of a full ring a whole burst has just been taken.
    const std::size_t most = queue.socket().rx_ring() - std::min<std::size_t>(kChunk, queue.socket().rx_ring() / 2);
    fill_ = std::max(fill_, static_cast<unsigned>(std::min<std::size_t>(kFull, queue.socket().waiting() * kFull / most)));
    restock(queue.socket());
  }
  if (receives_.empty()) push_what_waits(*sends_);
  ++next_;
  return total;
}

void AfXdpIo::push_what_waits(UplinkQueue& queue) noexcept {
  std::unique_lock<std::mutex> lock;
  if (queue.try_sending(lock) && queue.socket().in_flight() > 0) push(queue.socket());
}

void AfXdpIo::restock(xdp::XskSocket& socket) noexcept {
  // Not for every packet: ring entries are written a cache line at a time.
  if (socket.fill_space() < kChunk / 2) return;
  std::array<std::uint64_t, kChunk> offsets;
  for (std::size_t space = socket.fill_space(); space > 0;) {
    const std::size_t want = std::min(space, kChunk);
    std::size_t have = 0;
    while (have < want) {
      const std::uint8_t* frame = pool_.allocate_spare();
      if (frame == nullptr) break;
      offsets[have++] = pool_.offset_of(frame);
    }
    const std::size_t took = socket.fill(std::span(offsets).first(have));
    for (std::size_t i = took; i < have; ++i) pool_.release(pool_.at(offsets[i]));
    if (took < want) break;
    space -= took;
  }
  socket.wake_receiver();
}

void AfXdpIo::reap(xdp::XskSocket& socket) noexcept {
  std::array<std::uint64_t, kChunk> done;
  for (;;) {
    const std::size_t count = socket.complete(done);
    for (std::size_t i = 0; i < count; ++i) pool_.release(pool_.at(done[i]));
    if (count < done.size()) return;
  }
}

void AfXdpIo::push(xdp::XskSocket& socket) noexcept {
  for (int i = 0; i < kMaxWakeups; ++i) {
    const std::size_t before = socket.in_flight();
    socket.wake_sender();
    reap(socket);
    if (socket.in_flight() == 0 || socket.in_flight() == before) return;
  }
}

std::size_t AfXdpIo::transmit(std::span<const forward::Packet> packets) noexcept { return send(packets, kSparedForUrgent); }
std::size_t AfXdpIo::transmit_urgent(std::span<const forward::Packet> packets) noexcept { return send(packets, 0); }

std::size_t AfXdpIo::send(std::span<const forward::Packet> packets, std::uint32_t spared) noexcept {
  // One worker sends through one queue: order is kept, and the queues of a NIC are for several senders.
  const auto lock = sends_->sending();
  xdp::XskSocket& socket = sends_->socket();
  std::array<xdp::FrameRef, kChunk> refs;
  std::size_t total = 0;
  bool pushed = false;
  stopped_at_one_ = false;
  while (total < packets.size()) {
    const std::size_t most = std::min(packets.size() - total, kChunk);
    std::size_t count = 0;
    for (; count < most && !pool_.in_slot(packets[total + count].data); ++count) {
      refs[count] = {pool_.offset_of(packets[total + count].data), packets[total + count].length};
    }
    const bool from_slot = count == 0;
    if (from_slot) count = 1;
    if (from_slot && !can_leave(packets[total])) {
      stopped_at_one_ = true;
      break;
    }
    const std::size_t took =
        from_slot ? send_from_slot(packets[total], spared) : socket.transmit(std::span(refs).first(count), spared);
    total += took;
    if (took < count) {
      if (pushed) break;
      push(socket);
      pushed = true;
    }
  }
  return total;
}

/// Whether the socket takes it when there is room in its ring.
bool AfXdpIo::can_leave(const forward::Packet& packet) const noexcept {
  return sends_->socket().multi_buffer() || packet.length + forward::kMinHeadroom <= forward::kFrameBytes;
}

/// Returns 1, or 0 if it was not taken.
std::size_t AfXdpIo::send_from_slot(const forward::Packet& packet, std::uint32_t spared) noexcept {
  xdp::XskSocket& socket = sends_->socket();
  if (!socket.multi_buffer()) {
    std::uint8_t* frame = pool_.allocate();
    stopped_at_one_ = frame == nullptr;
    if (stopped_at_one_) return 0;
    std::memcpy(frame + forward::kMinHeadroom, packet.data, packet.length);
    const xdp::FrameRef copy{pool_.offset_of(frame) + forward::kMinHeadroom, packet.length};
    const bool sent = socket.transmit({&copy, 1}, spared) == 1;
    pool_.release(sent ? packet.data : frame);
    return sent ? 1 : 0;
  }
  std::array<xdp::FrameRef, forward::kSlotFrames> pieces;
  std::size_t count = 0;
  std::uint64_t offset = pool_.offset_of(packet.data);
  for (std::uint32_t left = packet.length; left > 0;) {
    const auto room = static_cast<std::uint32_t>(forward::kFrameBytes - offset % forward::kFrameBytes);
    const std::uint32_t length = std::min(left, room);
    left -= length;
    pieces[count++] = {offset, length, left > 0};
    offset += length;
  }
  // Before they are sent: they may come back at once, to another worker.
  pool_.divide_slot(packet.data, count);
  if (socket.transmit(std::span(pieces).first(count), spared) == count) return 1;
  pool_.divide_slot(packet.data, 1);
  return 0;
}

void AfXdpIo::flush() noexcept {
  const auto lock = sends_->sending();
  if (sends_->socket().in_flight() > 0) push(sends_->socket());
}

std::vector<int> AfXdpIo::descriptors() const {
  std::vector<int> fds;
  for (const auto& queue : receives_) {
    fds.push_back(queue->socket().fd());
    if (queue->socket().control_fd() >= 0) fds.push_back(queue->socket().control_fd());
  }
  return fds;
}

}  // namespace simplon::forwarder
