// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <unistd.h>

#include <set>

#include "gateway/forward/packet.h"

namespace simplon::forward {
namespace {

TEST(FramePool, AnotherProcessFindsTheSameFramesAndWhichAreFree) {
  constexpr std::size_t kFrames = 130;
  auto former = FramePool::create(kFrames, FramePool::Memory::kShared);
  ASSERT_TRUE(former) << former.error().message();
  former->at(5 * kFrameBytes)[100] = 42;
  const std::uint64_t in_use[] = {std::uint64_t{1} << 5, 0, 2};  // frames 5 and 129
  auto pool = FramePool::adopt(sys::UniqueFd(::dup(former->descriptor())), kFrames, in_use);
  ASSERT_TRUE(pool) << pool.error().message();
  EXPECT_EQ(pool->at(5 * kFrameBytes)[100], 42);
  EXPECT_EQ(pool->available(), kFrames - 2);
  std::set<std::uint32_t> free;
  while (const std::uint8_t* frame = pool->allocate()) free.insert(pool->index_of(frame));
  EXPECT_EQ(free.size(), kFrames - 2);
  EXPECT_EQ(free.count(5) + free.count(129), 0U);
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
  EXPECT_FALSE(FramePool::adopt(sys::UniqueFd(::dup(former->descriptor())), 65, {}));
  EXPECT_FALSE(FramePool::adopt(sys::UniqueFd(::dup(former->descriptor())), 0, {}));
  EXPECT_FALSE(FramePool::adopt(sys::UniqueFd(), 64, {}));
}

}  // namespace
}  // namespace simplon::forward
