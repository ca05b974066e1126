// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "gateway/forward/packet.h"

namespace simplon::forward {

namespace {

/// `memory` -1: private.
Result<std::uint8_t*> map(int memory, std::size_t frames) {
  const int kind = memory < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* base = ::mmap(nullptr, frames * kFrameBytes, PROT_READ | PROT_WRITE, kind, memory, 0);
  if (base == MAP_FAILED) {
    return fail(ErrorCode::kExhausted,
                "cannot map " + std::to_string(frames) + " packet frames: " + std::string(std::strerror(errno)));
  }
  // Fewer TLB misses where the system has transparent huge pages (for shared memory: shmem_enabled "advise"); nothing lost where
  // it has not. Asked for before the first touch, which is what decides.
  static_cast<void>(::madvise(base, frames * kFrameBytes, MADV_HUGEPAGE));
  return static_cast<std::uint8_t*>(base);
}

}  // namespace

Result<FramePool> FramePool::create(std::size_t frames, Memory kind) {
  sys::UniqueFd memory;
  if (kind == Memory::kShared) {
    memory.reset(::memfd_create("simplon-frames", MFD_CLOEXEC));
    if (!memory.valid()) return fail_errno("cannot create memory for packet frames", errno);
    if (::ftruncate(memory.get(), static_cast<off_t>(frames * kFrameBytes)) != 0) {
      return fail_errno("cannot create " + std::to_string(frames) + " packet frames", errno);
    }
  }
  auto base = map(memory.get(), frames);
  if (!base) return Unexpected(base.error());
  // Touched here, so that no packet waits for a page fault.
  for (std::size_t i = 0; i < frames; ++i) static_cast<volatile std::uint8_t*>(*base)[i * kFrameBytes] = 0;
  return FramePool(std::move(memory), *base, frames, {});
}

Result<FramePool> FramePool::adopt(sys::UniqueFd memory, std::size_t frames, std::span<const std::uint64_t> in_use) {
  struct stat info {};
  if (::fstat(memory.get(), &info) != 0 || !S_ISREG(info.st_mode) || frames == 0 ||
      static_cast<std::uint64_t>(info.st_size) != std::uint64_t{frames} * kFrameBytes) {
    return fail(ErrorCode::kPeer, "the packet memory that was handed over does not have " + std::to_string(frames) + " frames");
  }
  auto base = map(memory.get(), frames);
  if (!base) return Unexpected(base.error());
  return FramePool(std::move(memory), *base, frames, in_use);
}

FramePool::FramePool(sys::UniqueFd memory, std::uint8_t* base, std::size_t frames, std::span<const std::uint64_t> in_use)
    : memory_(std::move(memory)), base_(base), frames_(frames) {
  free_.reserve(frames);
  remote_.reserve(frames);
  for (std::size_t i = frames; i > 0; --i) {
    const std::size_t frame = i - 1;
    const bool taken = frame / 64 < in_use.size() && (in_use[frame / 64] >> (frame % 64) & 1) != 0;
    if (!taken) free_.push_back(static_cast<std::uint32_t>(frame));
  }
}

FramePool::FramePool(FramePool&& other) noexcept
    : memory_(std::move(other.memory_)),
      base_(std::exchange(other.base_, nullptr)),
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
