// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/pcapng_count.h"

namespace simplon::cli {
namespace {

// Given by the format; the limit is ours, and far above what simplond writes.
constexpr std::uint32_t kEnhancedPacket = 6;
constexpr std::uint32_t kStatistics = 5;
constexpr std::uint16_t kStatisticsDropped = 5;
constexpr std::size_t kSmallestBlock = 12;
constexpr std::size_t kLargestBlock = std::size_t{1} << 20;

std::uint64_t number(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

}  // namespace

void PcapngCount::look(std::string_view block) {
  const auto type = number(block, 0, 4);
  if (type == kEnhancedPacket) ++packets_;
  if (type != kStatistics) return;
  // Behind interface and time stand the options, in front of the second length.
  for (std::size_t at = 20; at + 4 <= block.size() - 4;) {
    const auto code = number(block, at, 2);
    const auto size = static_cast<std::size_t>(number(block, at + 2, 2));
    if (code == kStatisticsDropped && size == 8 && at + 12 <= block.size() - 4) lost_ = number(block, at + 4, 8);
    at += 4 + (size + 3) / 4 * 4;
  }
}

void PcapngCount::add(std::string_view bytes) {
  if (broken_) return;
  pending_ += bytes;
  std::size_t at = 0;
  while (pending_.size() - at >= kSmallestBlock) {
    const auto size = static_cast<std::size_t>(number(pending_, at + 4, 4));
    broken_ = size < kSmallestBlock || size > kLargestBlock;
    if (broken_ || pending_.size() - at < size) break;
    look(std::string_view(pending_).substr(at, size));
    at += size;
  }
  pending_.erase(0, at);
  if (broken_) pending_.clear();
}

}  // namespace simplon::cli
