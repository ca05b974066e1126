// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/memory_io.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace simplon::forward {

bool MemoryIo::inject(PortId port, std::span<const std::uint8_t> bytes, std::size_t headroom) {
  const std::size_t end = headroom + bytes.size();
  if (end > kSlotBytes) return false;
  std::uint8_t* frame = end > kFrameBytes ? pool_.allocate_slot() : pool_.allocate();
  if (frame == nullptr) return false;
  if (!bytes.empty()) std::memcpy(frame + headroom, bytes.data(), bytes.size());
  waiting_.push_back({frame + headroom, static_cast<std::uint16_t>(bytes.size()), port});
  return true;
}

std::vector<MemoryIo::Sent> MemoryIo::take_sent() { return std::exchange(sent_, {}); }

std::size_t MemoryIo::receive(std::span<Packet> burst) noexcept {
  const std::size_t count = std::min(burst.size(), waiting_.size());
  std::copy_n(waiting_.begin(), count, burst.begin());
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
  urgent_ = std::min(first_urgent_, count);
  return count;
}

std::size_t MemoryIo::transmit(std::span<const Packet> packets) noexcept {
  const std::size_t count = std::min(packets.size(), accept_);
  for (const Packet& packet : packets.first(count)) {
    sent_.push_back({packet.port, {packet.data, packet.data + packet.length}});
    pool_.release(packet.data);
  }
  if (accept_ != ~std::size_t{0}) accept_ -= count;
  return count;
}

}  // namespace simplon::forward
