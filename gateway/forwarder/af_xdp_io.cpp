// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/af_xdp_io.h"

#include <algorithm>
#include <array>

namespace simplon::forwarder {
namespace {

constexpr std::size_t kChunk = 64;
// In copy mode one wake-up sends at most 32 packets; this bounds what a link that takes nothing can cost.
constexpr int kMaxWakeups = 8;

}  // namespace

AfXdpIo::AfXdpIo(forward::FramePool& pool, forward::PortId port, std::vector<std::shared_ptr<UplinkQueue>> receives,
                 std::shared_ptr<UplinkQueue> sends)
    : pool_(pool), port_(port), receives_(std::move(receives)), sends_(std::move(sends)) {}

std::size_t AfXdpIo::take(std::span<const xdp::FrameRef> refs, std::span<forward::Packet> burst) const noexcept {
  for (std::size_t i = 0; i < refs.size(); ++i) {
    burst[i] = {pool_.at(refs[i].offset), static_cast<std::uint16_t>(refs[i].length), port_};
  }
  return refs.size();
}

std::size_t AfXdpIo::receive(std::span<forward::Packet> burst) noexcept {
  std::size_t total = 0;
  std::array<xdp::FrameRef, kChunk> refs;
  // A different queue is first each time, so that a busy one cannot starve the others.
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    const std::size_t room = std::min(burst.size(), kControlTurn) - total;
    UplinkQueue& queue = *receives_[(next_ + i) % receives_.size()];
    const std::size_t got = queue.socket().receive_control(std::span(refs).first(room));
    total += take(std::span(refs).first(got), burst.subspan(total));
  }
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    UplinkQueue& queue = *receives_[(next_ + i) % receives_.size()];
    push_what_waits(queue);
    const std::size_t room = std::min(burst.size() - total, kChunk);
    if (room > 0) {
      const std::size_t got = queue.socket().receive(std::span(refs).first(room));
      total += take(std::span(refs).first(got), burst.subspan(total));
    }
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
      const std::uint8_t* frame = pool_.allocate();
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
  while (total < packets.size()) {
    const std::size_t count = std::min(packets.size() - total, kChunk);
    for (std::size_t i = 0; i < count; ++i) {
      refs[i] = {pool_.offset_of(packets[total + i].data), packets[total + i].length};
    }
    const std::size_t took = socket.transmit(std::span(refs).first(count), spared);
    total += took;
    if (took < count) {
      if (pushed) break;
      push(socket);
      pushed = true;
    }
  }
  return total;
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
