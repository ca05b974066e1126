// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gateway/forward/packet.h"
#include "platform/base/huge_page.h"
#include "platform/base/result.h"

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
  want_huge_pages(base, frames * kFrameBytes);  // of shared memory they come where shmem_enabled says "advise"
  return static_cast<std::uint8_t*>(base);
}

}  // namespace

/// What sibling pools have in common.
struct FramePool::Shared {
  Shared(sys::UniqueFd descriptor, std::uint8_t* mapping, std::size_t frame_count, std::size_t slot_count)
      : memory(std::move(descriptor)), base(mapping), frames(frame_count), pieces(slot_count) {
    spare.reserve(frames);
    free_slots.reserve(slot_count);
  }
  ~Shared() { ::munmap(base, all_frames() * kFrameBytes); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  sys::UniqueFd memory;
  std::uint8_t* base;
  std::size_t frames;
  std::mutex mutex;
  std::size_t pools = 1;
  /// Free, and in no pool. Has room for all.
  std::vector<std::uint32_t> spare;
  std::vector<std::uint32_t> free_slots;
  /// Of each slot, how many releases make it free; 0: it is.
  std::vector<std::uint8_t> pieces;

  [[nodiscard]] std::size_t all_frames() const noexcept { return frames + pieces.size() * kSlotFrames; }
  [[nodiscard]] std::size_t slot_of(std::size_t frame) const noexcept { return (frame - frames) / kSlotFrames; }
  void release_slot(std::size_t frame) noexcept {
    const std::size_t slot = slot_of(frame);
    SIMPLON_CHECK(slot < pieces.size() && pieces[slot] > 0);
    if (--pieces[slot] == 0) free_slots.push_back(static_cast<std::uint32_t>(slot));
  }
};

Result<FramePool> FramePool::create(std::size_t frames, Memory kind, std::size_t slots) {
  sys::UniqueFd memory;
  const std::size_t all = frames + slots * kSlotFrames;
  if (kind == Memory::kShared) {
    memory.reset(::memfd_create("simplon-frames", MFD_CLOEXEC));
    if (!memory.valid()) return fail_errno("cannot create memory for packet frames", errno);
    if (::ftruncate(memory.get(), static_cast<off_t>(all * kFrameBytes)) != 0) {
      return fail_errno("cannot create " + std::to_string(all) + " packet frames", errno);
    }
  }
  auto base = map(memory.get(), all);
  if (!base) return Unexpected(base.error());
  // Touched here, so that no packet waits for a page fault.
  for (std::size_t i = 0; i < frames; ++i) static_cast<volatile std::uint8_t*>(*base)[i * kFrameBytes] = 0;
  auto shared = std::make_shared<Shared>(std::move(memory), *base, frames, slots);
  for (std::size_t i = frames; i > 0; --i) shared->spare.push_back(static_cast<std::uint32_t>(i - 1));
  for (std::size_t i = slots; i > 0; --i) shared->free_slots.push_back(static_cast<std::uint32_t>(i - 1));
  return FramePool(std::move(shared), frames);
}

Result<FramePool> FramePool::adopt(sys::UniqueFd memory, std::size_t frames, std::size_t slots) {
  const std::size_t all = frames + slots * kSlotFrames;
  struct stat info {};
  if (::fstat(memory.get(), &info) != 0 || !S_ISREG(info.st_mode) || frames == 0 ||
      static_cast<std::uint64_t>(info.st_size) != std::uint64_t{all} * kFrameBytes) {
    return fail(ErrorCode::kPeer, "the packet memory that was handed over does not have " + std::to_string(all) + " frames");
  }
  auto base = map(memory.get(), all);
  if (!base) return Unexpected(base.error());
  return FramePool(std::make_shared<Shared>(std::move(memory), *base, frames, slots), frames);
}

void FramePool::settle(std::span<const std::uint64_t> in_use) noexcept {
  const std::scoped_lock lock(shared_->mutex);
  const auto taken = [in_use](std::size_t frame) {
    return frame / 64 < in_use.size() && (in_use[frame / 64] >> (frame % 64) & 1) != 0;
  };
  const std::size_t frames = shared_->frames;
  for (std::size_t frame = frames; frame-- > 0;) {
    if (!taken(frame)) shared_->spare.push_back(static_cast<std::uint32_t>(frame));
  }
  for (std::size_t slot = slots(); slot-- > 0;) {
    for (std::size_t i = 0; i < kSlotFrames; ++i) {
      if (taken(frames + slot * kSlotFrames + i)) ++shared_->pieces[slot];
    }
    if (shared_->pieces[slot] == 0) shared_->free_slots.push_back(static_cast<std::uint32_t>(slot));
  }
}

FramePool::FramePool(std::shared_ptr<Shared> shared, std::size_t limit)
    : base_(shared->base), frames_(static_cast<std::uint32_t>(shared->frames)),
      free_(std::make_unique<std::uint32_t[]>(limit)), limit_(limit), shared_(std::move(shared)) {}

FramePool::FramePool(FramePool&& other) noexcept
    : base_(other.base_),
      frames_(other.frames_),
      free_(std::move(other.free_)),
      count_(std::exchange(other.count_, 0)),
      limit_(std::exchange(other.limit_, 0)),
      shared_(std::move(other.shared_)) {}

FramePool FramePool::sibling() {
  {
    // What one pool alone would keep, is for all now.
    const std::scoped_lock lock(shared_->mutex);
    while (count_ > 0) shared_->spare.push_back(free_[--count_]);
    ++shared_->pools;
  }
  limit_ = std::min(limit_, kKept);
  return FramePool(shared_, limit_);
}

FramePool::~FramePool() {
  if (!shared_) return;
  const std::scoped_lock lock(shared_->mutex);
  while (count_ > 0) shared_->spare.push_back(free_[--count_]);
}

int FramePool::descriptor() const noexcept { return shared_->memory.get(); }
std::size_t FramePool::slots() const noexcept { return shared_->pieces.size(); }

std::size_t FramePool::available() const noexcept {
  const std::scoped_lock lock(shared_->mutex);
  return count_ + shared_->spare.size();
}

void FramePool::release_remote(const std::uint8_t* inside) noexcept {
  const std::scoped_lock lock(shared_->mutex);
  const std::uint32_t index = index_of(inside);
  if (index >= frames_) return shared_->release_slot(index);
  shared_->spare.push_back(index);
}

std::uint8_t* FramePool::allocate_slot() noexcept {
  const std::scoped_lock lock(shared_->mutex);
  if (shared_->free_slots.empty()) return nullptr;
  const std::size_t slot = shared_->free_slots.back();
  shared_->free_slots.pop_back();
  shared_->pieces[slot] = 1;
  return base_ + (frames_ + slot * kSlotFrames) * kFrameBytes;
}

void FramePool::divide_slot(const std::uint8_t* inside, std::size_t pieces) noexcept {
  const std::scoped_lock lock(shared_->mutex);
  shared_->pieces[shared_->slot_of(index_of(inside))] = static_cast<std::uint8_t>(pieces);
}

std::size_t FramePool::available_slots() const noexcept {
  const std::scoped_lock lock(shared_->mutex);
  return shared_->free_slots.size();
}

void FramePool::release_slot(std::uint32_t index) noexcept {
  const std::scoped_lock lock(shared_->mutex);
  shared_->release_slot(index);
}

bool FramePool::fetch() noexcept {
  const std::scoped_lock lock(shared_->mutex);
  // All of them for a pool alone.
  const std::size_t portion = limit_ > kKept ? limit_ : (limit_ + 1) / 2;
  auto& spare = shared_->spare;
  while (count_ < portion && !spare.empty()) {
    free_[count_++] = spare.back();
    spare.pop_back();
  }
  return count_ > 0;
}

bool FramePool::fetch_spare() noexcept {
  const std::scoped_lock lock(shared_->mutex);
  // What the other pools may need stays, too.
  const std::size_t stays = kReserved * shared_->pools;
  const std::size_t portion = limit_ > kKept ? limit_ : std::min(limit_, kReserved + (limit_ + 1) / 2);
  auto& spare = shared_->spare;
  while (count_ < portion && spare.size() > stays) {
    free_[count_++] = spare.back();
    spare.pop_back();
  }
  return count_ > kReserved;
}

void FramePool::put_aside() noexcept {
  const std::scoped_lock lock(shared_->mutex);
  // The coldest, which are the first.
  const std::size_t portion = (limit_ + 1) / 2;
  shared_->spare.insert(shared_->spare.end(), free_.get(), free_.get() + portion);
  std::copy(free_.get() + portion, free_.get() + count_, free_.get());
  count_ -= portion;
}

}  // namespace simplon::forward
