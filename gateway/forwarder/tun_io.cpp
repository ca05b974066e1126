// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/tun_io.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace simplon::forwarder {
namespace {

// Where packets start in a frame: room for every encapsulation and for a tag.
constexpr std::size_t kHeadroom = 256;
constexpr std::size_t kMaxPacket = forward::kFrameBytes - kHeadroom;
// From one device before the next one has its turn.
constexpr int kPerDevice = 16;
// Asking epoll costs a system call: while uplinks are busy it is made at every eighth poll only.
constexpr unsigned kSkip = 8;

}  // namespace

TunIo::TunIo(forward::FramePool& pool, sys::UniqueFd epoll)
    : pool_(pool), epoll_(std::move(epoll)), tuns_(std::make_unique<std::atomic<int>[]>(kMaxPorts)) {
  for (std::uint32_t i = 0; i < kMaxPorts; ++i) tuns_[i].store(-1, std::memory_order_relaxed);
}

Result<std::shared_ptr<TunIo>> TunIo::create(forward::FramePool& pool) {
  sys::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return fail_errno("cannot create an epoll descriptor", errno);
  return std::shared_ptr<TunIo>(new TunIo(pool, std::move(epoll)));
}

Result<void> TunIo::add(forward::PortId port, sys::UniqueFd tun) {
  if (port.value() >= kMaxPorts) {
    return fail(ErrorCode::kExhausted, "more than " + std::to_string(kMaxPorts) + " ports");
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = port.value();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, tun.get(), &event) != 0) {
    return fail_errno("cannot watch a TUN device", errno);
  }
  tuns_[port.value()].store(tun.release(), std::memory_order_release);
  return {};
}

sys::UniqueFd TunIo::remove(forward::PortId port) {
  if (port.value() >= kMaxPorts) return {};
  sys::UniqueFd tun(tuns_[port.value()].exchange(-1, std::memory_order_acq_rel));
  if (tun.valid()) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, tun.get(), nullptr);
  return tun;
}

std::size_t TunIo::receive(std::span<forward::Packet> burst) noexcept {
  if (++skipped_ < kSkip) return 0;
  std::array<epoll_event, 64> events;
  const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  if (ready <= 0) {
    skipped_ = 0;
    return 0;
  }
  // Something is going on: ask again next time.
  skipped_ = kSkip;
  std::size_t total = 0;
  for (int i = 0; i < ready && total < burst.size(); ++i) {
    const std::uint32_t port = events[static_cast<std::size_t>(i)].data.u32;
    const int tun = tuns_[port].load(std::memory_order_acquire);
    if (tun < 0) continue;
    for (int taken = 0; taken < kPerDevice && total < burst.size(); ++taken) {
      std::uint8_t* frame = pool_.allocate();
      if (frame == nullptr) return total;
      const ssize_t got = ::read(tun, frame + kHeadroom, kMaxPacket);
      if (got <= 0 || static_cast<std::size_t>(got) > kMaxPacket) {
        pool_.release(frame);
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
          // A device that somebody deleted stays readable for ever: no longer watch it.
          ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, tun, nullptr);
          const std::lock_guard lock(dead_mutex_);
          dead_.push_back(forward::PortId(port));
        }
        break;
      }
      burst[total++] = {frame + kHeadroom, static_cast<std::uint16_t>(got), forward::PortId(port)};
    }
  }
  return total;
}

std::vector<forward::PortId> TunIo::take_dead() {
  const std::lock_guard lock(dead_mutex_);
  return std::exchange(dead_, {});
}

std::size_t TunIo::transmit(std::span<const forward::Packet> packets) noexcept {
  for (std::size_t i = 0; i < packets.size(); ++i) {
    const forward::Packet& packet = packets[i];
    const int tun = packet.port.value() < kMaxPorts ? tuns_[packet.port.value()].load(std::memory_order_acquire) : -1;
    ssize_t put = -1;
    if (tun >= 0) {
      do {
        put = ::write(tun, packet.data, packet.length);
      } while (put < 0 && errno == EINTR);
    }
    // EIO: the device is down. ENOBUFS, EAGAIN: the kernel has no memory now. EINVAL: not IP.
    if (put < 0) return i;
    pool_.release(packet.data);
  }
  return packets.size();
}

}  // namespace simplon::forwarder
