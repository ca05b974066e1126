// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/backlog.h"

#include <unistd.h>

#include <cerrno>

#include "platform/sys/tun.h"

namespace simplon::forwarder {
namespace {

// Chosen by us: more than any uplink's, tags included; the kernel redirects nothing longer to a device.
constexpr std::uint32_t kMtu = 9728;
// Where frames start: room for every encapsulation.
constexpr std::size_t kHeadroom = forward::kSlotHeadroom;

}  // namespace

Result<std::unique_ptr<Backlog>> Backlog::open(netlink::Netlink& netlink) {
  auto tap = sys::open_passing_tap("simplon-wait%d");
  if (!tap) return Unexpected(tap.error());
  auto backlog = std::make_unique<Backlog>(std::move(tap->fd));
  const auto link = netlink.interface(tap->interface);
  if (!link) return Unexpected(link.error());
  backlog->index_ = link->index;
  for (const auto& ok : {netlink.set_mtu(link->index, kMtu), netlink.set_queue_length(link->index, kFrames),
                         netlink.set_up(link->index, true)}) {
    if (!ok) return Unexpected(ok.error());
  }
  return backlog;
}

std::size_t Backlog::receive(forward::FramePool& pool, forward::PortId port, std::span<forward::Packet> burst) noexcept {
  for (std::size_t total = 0; total < burst.size(); ++total) {
    std::uint8_t* frame = pool.allocate();
    if (frame == nullptr) return total;
    const ssize_t got = ::read(tap_.get(), frame + kHeadroom, forward::kFrameBytes - kHeadroom);
    if (got <= 0) {
      pool.release(frame);
      if (got == 0 || errno != EINTR) finished_.store(true, std::memory_order_release);
      return total;
    }
    ++received_;
    burst[total] = {frame + kHeadroom, static_cast<std::uint16_t>(got), port};
  }
  return burst.size();
}

}  // namespace simplon::forwarder
