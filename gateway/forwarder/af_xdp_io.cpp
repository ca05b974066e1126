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

AfXdpIo::AfXdpIo(forward::FramePool& pool, forward::PortId port, std::vector<std::unique_ptr<xdp::XskSocket>> sockets)
    : pool_(pool), port_(port), sockets_(std::move(sockets)) {}

AfXdpIo::~AfXdpIo() {
  for (auto& socket : sockets_) {
    const auto owned = socket->owned();
    socket.reset();
    for (const std::uint64_t offset : owned) pool_.release_remote(pool_.at(offset));
  }
}

std::size_t AfXdpIo::receive(std::span<forward::Packet> burst) noexcept {
  std::size_t total = 0;
  std::array<xdp::FrameRef, kChunk> refs;
  // A different queue is first each time, so that a busy one cannot starve the others.
  for (std::size_t i = 0; i < sockets_.size(); ++i) {
    xdp::XskSocket& socket = *sockets_[(next_ + i) % sockets_.size()];
    if (socket.in_flight() > 0) push(socket);
    const std::size_t room = std::min(burst.size() - total, kChunk);
    if (room > 0) {
      const std::size_t got = socket.receive(std::span(refs).first(room));
      for (std::size_t k = 0; k < got; ++k) {
        burst[total++] = {pool_.at(refs[k].offset), static_cast<std::uint16_t>(refs[k].length), port_};
      }
    }
    restock(socket);
  }
  ++next_;
  return total;
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
  socket.wake();
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
    socket.wake();
    reap(socket);
    if (socket.in_flight() == 0 || socket.in_flight() == before) return;
  }
}

std::size_t AfXdpIo::transmit(std::span<const forward::Packet> packets) noexcept {
  // One worker sends through one queue: order is kept, and the queues of a NIC are for several senders.
  xdp::XskSocket& socket = *sockets_.front();
  std::array<xdp::FrameRef, kChunk> refs;
  std::size_t total = 0;
  bool pushed = false;
  while (total < packets.size()) {
    const std::size_t count = std::min(packets.size() - total, kChunk);
    for (std::size_t i = 0; i < count; ++i) {
      refs[i] = {pool_.offset_of(packets[total + i].data), packets[total + i].length};
    }
    const std::size_t took = socket.transmit(std::span(refs).first(count));
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
  xdp::XskSocket& socket = *sockets_.front();
  if (socket.in_flight() > 0) push(socket);
}

std::vector<int> AfXdpIo::descriptors() const {
  std::vector<int> fds;
  for (const auto& socket : sockets_) fds.push_back(socket->fd());
  return fds;
}

}  // namespace simplon::forwarder
