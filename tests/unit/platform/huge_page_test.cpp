// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/base/huge_page.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace simplon {
namespace {

std::size_t past_a_multiple_of(const void* address, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes;
}

/// The first value the kernel gives the mapping under that name, of the one that `address` lies in.
std::string of_mapping(const void* address, const std::string& name) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    const std::size_t dash = line.find('-');
    const std::size_t colon = line.find(':');
    if (dash != std::string::npos && dash < colon) {
      const std::size_t end = line.find(' ');
      inside = wanted >= std::stoull(line.substr(0, dash), nullptr, 16) &&
               wanted < std::stoull(line.substr(dash + 1, end - dash - 1), nullptr, 16);
    } else if (inside && line.substr(0, colon) == name) {
      return line.substr(colon + 1);
    }
  }
  return {};
}

bool mapped(void* page) {
  unsigned char resident = 0;
  return ::mincore(page, 1, &resident) == 0;  // ENOMEM: nothing is mapped there
}

class HugePageBlock : public testing::TestWithParam<std::size_t> {};

TEST_P(HugePageBlock, IsZeroedWritableToItsEndAndAlignedToItsSize) {
  const std::size_t bytes = GetParam();
  // Several at once: the kernel places them side by side, so that some start aligned by chance and some do not.
  std::vector<std::uint8_t*> blocks;
  for (int i = 0; i < 5; ++i) blocks.push_back(map_block(bytes));
  for (std::uint8_t* block : blocks) {
    EXPECT_EQ(past_a_multiple_of(block, bytes), 0U);
    EXPECT_TRUE(std::all_of(block, block + bytes, [](std::uint8_t byte) { return byte == 0; }));
    std::memset(block, 0xa5, bytes);
  }
  for (std::uint8_t* block : blocks) {
    EXPECT_EQ(block[0], 0xa5);
    EXPECT_EQ(block[bytes - 1], 0xa5);
    unmap_block(block, bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, HugePageBlock, testing::Values(std::size_t{4096} << 4, kHugePageBytes, 2 * kHugePageBytes));

TEST(HugePage, ABlockTakesNoMoreAddressesThanItsSizeAndReturnsThem) {
  constexpr std::size_t kBytes = 4 * kHugePageBytes;
  const auto address_space = [] {  // without the heap, which would grow meanwhile
    char text[64] = {};
    const int statm = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    EXPECT_GT(::read(statm, text, sizeof text - 1), 0);
    ::close(statm);
    return std::strtoull(text, nullptr, 10) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  };
  const std::size_t before = address_space();
  std::uint8_t* block = map_block(kBytes);
  EXPECT_EQ(address_space() - before, kBytes);
  EXPECT_TRUE(mapped(block));
  EXPECT_TRUE(mapped(block + kBytes - 4096));
  unmap_block(block, kBytes);
  EXPECT_EQ(address_space(), before);
}

TEST(HugePage, TheStartOfABlockIsFoundFromEachEndOfIt) {
  std::uint8_t* block = map_block(kHugePageBytes);
  EXPECT_EQ(start_of_block<kHugePageBytes>(block), block);
  EXPECT_EQ(start_of_block<kHugePageBytes>(block + 1), block);
  EXPECT_EQ(start_of_block<kHugePageBytes>(block + kHugePageBytes - 1), block);
  unmap_block(block, kHugePageBytes);
}

TEST(HugePage, ABlockIsWantedInHugePagesOnRequestOnly) {
  std::uint8_t* block = map_block(kHugePageBytes);
  const std::string before = of_mapping(block, "VmFlags");
  ASSERT_FALSE(before.empty()) << "this kernel tells no flags of a mapping (CONFIG_PROC_PAGE_MONITOR)";
  EXPECT_EQ(before.find(" hg"), std::string::npos) << before;
  want_huge_pages(block, kHugePageBytes);
  const std::string after = of_mapping(block, "VmFlags");
  const bool available = ::access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) == 0;
  EXPECT_EQ(after.find(" hg") != std::string::npos, available) << after;
  block[0] = 1;  // whatever the kernel gave
  unmap_block(block, kHugePageBytes);
}

TEST(HugePage, AnArrayIsAlignedToALineOrToAHugePage) {
  for (const std::size_t bytes : {std::size_t{8}, std::size_t{4096}, kHugePageBytes - 8, kHugePageBytes, 3 * kHugePageBytes}) {
    auto* array = static_cast<std::uint8_t*>(allocate_array(bytes));
    EXPECT_EQ(past_a_multiple_of(array, bytes < kHugePageBytes ? 64 : kHugePageBytes), 0U) << bytes;
    std::memset(array, 0x5a, bytes);
    EXPECT_EQ(array[bytes - 1], 0x5a);
    release_array(array, bytes);
  }
}

}  // namespace
}  // namespace simplon
