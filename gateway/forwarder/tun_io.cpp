// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/tun_io.h"

#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace simplon::forwarder {
namespace {

// Where packets start in a frame: room for every encapsulation and for a tag.
constexpr std::size_t kHeadroom = forward::kSlotHeadroom;
constexpr std::size_t kMaxPacket = forward::kFrameBytes - kHeadroom;
// From one device before the next one has its turn.
constexpr int kPerDevice = 16;
// Asking epoll costs a system call: while uplinks are busy it is made at every eighth poll only.
constexpr unsigned kSkip = 8;

}  // namespace

TunDevices::TunDevices(std::vector<sys::UniqueFd> epolls)
    : epolls_(std::move(epolls)), tuns_(std::make_unique<std::atomic<int>[]>(kMaxPorts)) {
  for (std::uint32_t i = 0; i < kMaxPorts; ++i) tuns_[i].store(-1, std::memory_order_relaxed);
}

Result<std::shared_ptr<TunDevices>> TunDevices::create(unsigned workers) {
  std::vector<sys::UniqueFd> epolls;
  for (unsigned i = 0; i < workers; ++i) {
    epolls.emplace_back(::epoll_create1(EPOLL_CLOEXEC));
    if (!epolls.back().valid()) return fail_errno("cannot create an epoll descriptor", errno);
  }
  return std::shared_ptr<TunDevices>(new TunDevices(std::move(epolls)));
}

Result<void> TunDevices::add(forward::PortId port, sys::UniqueFd tun) {
  if (port.value() >= kMaxPorts) {
    return fail(ErrorCode::kExhausted, "more than " + std::to_string(kMaxPorts) + " ports");
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = port.value();
  if (::epoll_ctl(epoll_of(port), EPOLL_CTL_ADD, tun.get(), &event) != 0) {
    return fail_errno("cannot watch a TUN device", errno);
  }
  tuns_[port.value()].store(tun.release(), std::memory_order_release);
  return {};
}

sys::UniqueFd TunDevices::remove(forward::PortId port) {
  if (port.value() >= kMaxPorts) return {};
  sys::UniqueFd tun(tuns_[port.value()].exchange(-1, std::memory_order_acq_rel));
  if (tun.valid()) ::epoll_ctl(epoll_of(port), EPOLL_CTL_DEL, tun.get(), nullptr);
  return tun;
}

std::vector<forward::PortId> TunDevices::take_dead() {
  const std::lock_guard lock(dead_mutex_);
  return std::exchange(dead_, {});
}

void TunDevices::give_up(forward::PortId port) noexcept {
  const int tun = device(port);
  if (tun >= 0) ::epoll_ctl(epoll_of(port), EPOLL_CTL_DEL, tun, nullptr);
  const std::lock_guard lock(dead_mutex_);
  dead_.push_back(port);
}

/// Where the packet lies whose beginning is in `frame`, and the rest, if it has one, in `rest_`; nullptr: nowhere any more.
std::uint8_t* TunIo::fit(std::uint8_t* frame, std::size_t bytes) noexcept {
  if (bytes <= kMaxPacket) [[likely]] return frame + kHeadroom;
  std::uint8_t* slot = nullptr;
  if (bytes > forward::kLongestInSlot) {
    ++unreceived_.too_long;
  } else if (slot = pool_.allocate_slot(); slot == nullptr) {
    ++unreceived_.without_slot;
  } else {
    std::memcpy(slot + kHeadroom, frame + kHeadroom, kMaxPacket);
    std::memcpy(slot + kHeadroom + kMaxPacket, rest_.data(), bytes - kMaxPacket);
    slot += kHeadroom;
  }
  pool_.release(frame);
  return slot;
}

std::size_t TunIo::receive(std::span<forward::Packet> burst) noexcept {
  if (++skipped_ < kSkip) return 0;
  std::array<epoll_event, 64> events;
  const int ready = ::epoll_wait(devices_->descriptor(worker_), events.data(), static_cast<int>(events.size()), 0);
  if (ready <= 0) {
    skipped_ = 0;
    return 0;
  }
  // Something is going on: ask again next time.
  skipped_ = kSkip;
  std::size_t total = 0;
  for (int i = 0; i < ready && total < burst.size(); ++i) {
    const forward::PortId port(events[static_cast<std::size_t>(i)].data.u32);
    const int tun = devices_->device(port);
    if (tun < 0) continue;
    for (int taken = 0; taken < kPerDevice && total < burst.size(); ++taken) {
      std::uint8_t* frame = pool_.allocate();
      const std::array<iovec, 2> parts{{{frame + kHeadroom, kMaxPacket}, {rest_.data(), rest_.size()}}};
      // Without a frame it is taken and lost: left there, it would make every `poll` of the worker return at once.
      const ssize_t got = frame != nullptr ? ::readv(tun, parts.data(), parts.size()) : ::read(tun, rest_.data(), rest_.size());
      if (got <= 0) {
        if (frame != nullptr) pool_.release(frame);
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
          // A device that somebody deleted stays readable for ever: no longer watch it.
          devices_->give_up(port);
        }
        break;
      }
      if (frame == nullptr) {
        ++unreceived_.without_frame;
        continue;
      }
      std::uint8_t* const packet = fit(frame, static_cast<std::size_t>(got));
      if (packet != nullptr) burst[total++] = {packet, static_cast<std::uint16_t>(got), port};
    }
  }
  return total;
}

std::size_t TunIo::transmit(std::span<const forward::Packet> packets) noexcept {
  for (std::size_t i = 0; i < packets.size(); ++i) {
    const forward::Packet& packet = packets[i];
    const int tun = devices_->device(packet.port);
    ssize_t put = -1;
    if (tun >= 0) {
      do {
        put = ::write(tun, packet.data, packet.length);
      } while (put < 0 && errno == EINTR);
    }
    // EIO: the device is down. ENOBUFS, EAGAIN: the kernel has no memory now. EINVAL: not IP.
    if (put < 0) {
      stopped_at_one_ = tun >= 0 && errno == EINVAL;
      return i;
    }
    pool_.release(packet.data);
  }
  return packets.size();
}

}  // namespace simplon::forwarder
