// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/mman.h>

#include <cerrno>
#include <string>
#include <utility>

#include "gateway/forward/packet.h"

namespace simplon::forward {

Result<FramePool> FramePool::create(std::size_t frames) {
  void* memory =
      ::mmap(nullptr, frames * kFrameBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    const int errnum = errno;
    Error error = fail_errno("cannot map " + std::to_string(frames) + " packet frames", errnum).value();
    error.code = ErrorCode::kExhausted;
    return tl::make_unexpected(std::move(error));
  }
  // Fewer TLB misses where the system has transparent huge pages; nothing lost where it has not. Asked for before the
  // first touch, which is what decides; touched here, so that no packet waits for a page fault.
  static_cast<void>(::madvise(memory, frames * kFrameBytes, MADV_HUGEPAGE));
  for (std::size_t i = 0; i < frames; ++i) static_cast<volatile std::uint8_t*>(memory)[i * kFrameBytes] = 0;
  return FramePool(static_cast<std::uint8_t*>(memory), frames);
}

FramePool::FramePool(std::uint8_t* base, std::size_t frames) : base_(base), frames_(frames) {
  free_.reserve(frames);
  remote_.reserve(frames);
  for (std::size_t i = frames; i > 0; --i) free_.push_back(static_cast<std::uint32_t>(i - 1));
}

FramePool::FramePool(FramePool&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      frames_(std::exchange(other.frames_, 0)),
      free_(std::move(other.free_)),
      remote_(std::move(other.remote_)),
      remote_waiting_(other.remote_waiting_.load(std::memory_order_relaxed)) {}

FramePool::~FramePool() {
  if (base_ != nullptr) ::munmap(base_, frames_ * kFrameBytes);
}

void FramePool::release_remote(const std::uint8_t* inside) noexcept {
  const std::scoped_lock lock(remote_mutex_);
  remote_.push_back(index_of(inside));
  remote_waiting_.store(true, std::memory_order_relaxed);
}

void FramePool::collect_remote() noexcept {
  const std::scoped_lock lock(remote_mutex_);
  free_.insert(free_.end(), remote_.begin(), remote_.end());
  remote_.clear();
  remote_waiting_.store(false, std::memory_order_relaxed);
}

}  // namespace simplon::forward
