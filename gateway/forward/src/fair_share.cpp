// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/fair_share.h"

#include <algorithm>

namespace simplon::forward {
namespace {

// All chosen by us.

/// Of a packet without its bytes, in bytes: most of what a packet costs does not depend on its length.
constexpr std::int64_t kPacketCost = 1024;
/// Four small packets in a turn are everyone's.
constexpr std::int64_t kLeastLevel = 4 * kPacketCost;
constexpr std::int64_t kMostLevel = std::int64_t{1} << 36;
/// What a sender that was silent may send at once, in turns of the level.
constexpr std::uint64_t kDepth = 8;
/// Of PacketIo::kFull: with so much in the ring the worker has always something to do, and nobody waits for long.
constexpr unsigned kWanted = PacketIo::kFull / 8;
/// Nanoseconds without a packet refused, after which nobody is watched any more.
constexpr std::uint64_t kPeace = 1'000'000'000;
/// Nanoseconds between two bursts, which take some hundred thousand at most: the worker had no processor, or nothing to do.
constexpr std::uint64_t kAway = 2 * FairShare::kTurn;

}  // namespace

bool FairShare::look_closer(unsigned fill, std::uint64_t now) noexcept {
  const bool away = now - now_ > kAway;
  now_ = now;
  if (!on_) {
    on_ = true;
    since_ = last_refused_ = now;
    level_ = 0;
    begin_turn(fill);
  } else if (away) {
    begin_turn(fill);
  } else if (now - turn_began_ >= kTurn) {
    end_turn(fill);
    begin_turn(fill);
  }
  return on_;
}

void FairShare::begin_turn(unsigned fill) noexcept {
  fill_ = fill;
  carried_ = 0;
  turn_began_ = now_;
}

void FairShare::end_turn(unsigned fill) noexcept {
  if (level_ != 0) {
    // Proportional to what is missing, and against what is on its way: the ring is filled by the sum of what was decided before.
    const int missing = static_cast<int>(kWanted) - static_cast<int>(fill);
    const int growth = static_cast<int>(fill) - static_cast<int>(fill_);
    int change = missing / 4 - growth;
    if (fill >= PacketIo::kFull * 3 / 4 && growth >= 0) change = std::min(change, -static_cast<int>(PacketIo::kFull) / 4);
    change = std::clamp(change, -static_cast<int>(PacketIo::kFull) / 2, static_cast<int>(PacketIo::kFull) / 8);
    level_ = std::clamp(level_ + level_ / static_cast<int>(PacketIo::kFull) * change, kLeastLevel, kMostLevel);
  } else if (fill >= PacketIo::kFull / 2 && fill >= fill_) {
    level_ = std::max(carried_ * static_cast<std::int64_t>(kTurn) / static_cast<std::int64_t>(now_ - turn_began_), kLeastLevel);
  }
  if (now_ - last_refused_ >= kPeace) on_ = false;
}

bool FairShare::admit(std::uint32_t sender, std::size_t bytes) noexcept {
  const std::int64_t cost = kPacketCost + static_cast<std::int64_t>(bytes);
  if (level_ != 0) {
    Sender& known = senders_[sender];
    if (known.last < since_) known = {now_, level_};
    const auto passed = static_cast<std::int64_t>(std::min(now_ - known.last, kDepth * kTurn));
    known.last = now_;
    known.credit = std::min(known.credit + passed * level_ / static_cast<std::int64_t>(kTurn), static_cast<std::int64_t>(kDepth) * level_);
    if (known.credit <= 0) {
      last_refused_ = now_;
      return false;
    }
    known.credit -= cost;
  }
  carried_ += cost;
  return true;
}

}  // namespace simplon::forward
