// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <unistd.h>

#include <set>
#include <vector>

#include "gateway/forward/packet.h"

namespace simplon::forward {
namespace {

TEST(FramePool, AnotherProcessFindsTheSameFramesAndWhichAreFree) {
  constexpr std::size_t kFrames = 130;
  auto former = FramePool::create(kFrames, FramePool::Memory::kShared);
  ASSERT_TRUE(former) << former.error().message();
  former->at(5 * kFrameBytes)[100] = 42;
  const std::uint64_t in_use[] = {std::uint64_t{1} << 5, 0, 2};  // frames 5 and 129
  auto pool = FramePool::adopt(sys::UniqueFd(::dup(former->descriptor())), kFrames);
  ASSERT_TRUE(pool) << pool.error().message();
  EXPECT_EQ(pool->allocate(), nullptr) << "nobody knows yet which are free";
  pool->settle(in_use);
  EXPECT_EQ(pool->at(5 * kFrameBytes)[100], 42);
  EXPECT_EQ(pool->available(), kFrames - 2);
  std::set<std::uint32_t> free;
  while (const std::uint8_t* frame = pool->allocate()) free.insert(pool->index_of(frame));
  EXPECT_EQ(free.size(), kFrames - 2);
  EXPECT_EQ(free.count(5) + free.count(129), 0U);
}

TEST(FramePool, ASlotIsFreeAfterAsManyReleasesAsItHasPieces) {
  auto pool = FramePool::create(16, FramePool::Memory::kPrivate, 2);
  ASSERT_TRUE(pool) << pool.error().message();
  FramePool other = pool->sibling();
  std::uint8_t* slot = pool->allocate_slot();
  ASSERT_NE(slot, nullptr);
  EXPECT_TRUE(pool->in_slot(slot));
  EXPECT_FALSE(pool->in_slot(pool->memory().data() + pool->memory().size() - 1));
  slot[kSlotBytes - 1] = 1;
  EXPECT_EQ(FramePool::headroom({slot + 300, 9000, kNoPort}), 300U);
  EXPECT_EQ(FramePool::tailroom({slot + 300, 9000, kNoPort}), kSlotBytes - 9300);
  EXPECT_EQ(FramePool::tailroom({slot + 300, 3796, kNoPort}), 0U);
  ASSERT_NE(other.allocate_slot(), nullptr);
  EXPECT_EQ(pool->allocate_slot(), nullptr);
  pool->divide_slot(slot + 300, 3);
  other.release(slot + 300);
  pool->release(slot + kFrameBytes);
  EXPECT_EQ(pool->available_slots(), 0U);
  pool->release_remote(slot + 2 * kFrameBytes);
  EXPECT_EQ(pool->available_slots(), 1U);
  EXPECT_EQ(other.allocate_slot(), slot);
  other.release(slot + 300);
  EXPECT_EQ(pool->available_slots(), 1U);
  EXPECT_EQ(pool->memory_with_slots().size(), (16 + 2 * kSlotFrames) * kFrameBytes);
}

TEST(FramePool, AnotherProcessFindsWhichSlotsAreInUse) {
  auto former = FramePool::create(64, FramePool::Memory::kShared, 3);
  ASSERT_TRUE(former) << former.error().message();
  // Two pieces of the second slot are being sent.
  const std::uint64_t in_use[] = {0, 1U << 3 | 1U << 5};
  EXPECT_FALSE(FramePool::adopt(sys::UniqueFd(::dup(former->descriptor())), 64, 2));
  auto pool = FramePool::adopt(sys::UniqueFd(::dup(former->descriptor())), 64, 3);
  ASSERT_TRUE(pool) << pool.error().message();
  pool->settle(in_use);
  EXPECT_EQ(pool->available(), 64U);
  EXPECT_EQ(pool->available_slots(), 2U);
  pool->release(pool->at((64 + 3) * kFrameBytes));
  EXPECT_EQ(pool->available_slots(), 2U);
  pool->release(pool->at((64 + 5) * kFrameBytes));
  EXPECT_EQ(pool->available_slots(), 3U);
}

TEST(FramePool, WhatIsKeptReadyLeavesTheReserve) {
  constexpr std::size_t kFrames = 4096;
  auto pool = FramePool::create(kFrames);
  ASSERT_TRUE(pool);
  std::size_t taken = 0;
  while (pool->allocate_spare() != nullptr) ++taken;
  EXPECT_GE(taken, kFrames - 2 * FramePool::kReserved);
  EXPECT_GE(pool->available(), FramePool::kReserved);
  std::size_t left = 0;
  while (pool->allocate() != nullptr) ++left;
  EXPECT_EQ(taken + left, kFrames);
  pool->release(pool->at(0));
  EXPECT_EQ(pool->allocate_spare(), nullptr);
  EXPECT_NE(pool->allocate(), nullptr);
}

TEST(FramePool, EachWorkerHasItsReserve) {
  constexpr std::size_t kFrames = 4096;
  auto one = FramePool::create(kFrames);
  ASSERT_TRUE(one);
  FramePool two = one->sibling();
  FramePool three = one->sibling();
  std::vector<const std::uint8_t*> kept;
  for (FramePool* pool : {&*one, &two}) {
    while (const std::uint8_t* frame = pool->allocate_spare()) kept.push_back(frame);
  }
  EXPECT_GE(kept.size(), kFrames - 6 * FramePool::kReserved);
  std::size_t left = 0;
  while (three.allocate() != nullptr) ++left;
  EXPECT_GE(left, FramePool::kReserved) << "of the one that kept nothing";
  // What comes back can be kept ready again.
  for (const std::uint8_t* frame : kept) one->release(frame);
  EXPECT_NE(two.allocate_spare(), nullptr);
}

TEST(FramePool, PrivateMemoryHasNoDescriptor) {
  const auto pool = FramePool::create(64);
  ASSERT_TRUE(pool);
  EXPECT_EQ(pool->descriptor(), -1);
  EXPECT_EQ(pool->available(), 64U);
}

TEST(FramePool, AdoptsOnlyMemoryOfTheRightSize) {
  const auto former = FramePool::create(64, FramePool::Memory::kShared);
  ASSERT_TRUE(former);
  EXPECT_FALSE(FramePool::adopt(sys::UniqueFd(::dup(former->descriptor())), 65));
  EXPECT_FALSE(FramePool::adopt(sys::UniqueFd(::dup(former->descriptor())), 0));
  EXPECT_FALSE(FramePool::adopt(sys::UniqueFd(), 64));
}

}  // namespace
}  // namespace simplon::forward
