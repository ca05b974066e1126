// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/src/workers/fair_share.h"

#include <algorithm>

namespace simplon::forward {
namespace {

// All chosen by us.

constexpr auto kOneTurn = static_cast<std::int64_t>(FairShare::kTurn);
constexpr int kFull = PacketIo::kFull;
/// Of a packet without its bytes, in bytes: most of what a packet costs does not depend on its length.
constexpr std::int64_t kPacketCost = 1024;
/// A quarter of a small packet in a turn: the least that can be changed by a part in kFull.
constexpr std::int64_t kLeastLevel = kFull;
/// Everybody's, as a part of what the worker carries if it is shared out among all who send. A worker that is busy with refusing
/// alone does not get rid of anything by refusing more.
constexpr std::int64_t kLeastPart = 4;
constexpr std::int64_t kMostLevel = std::int64_t{1} << 36;
/// What a sender that was silent may send at once, in turns of the level.
constexpr std::uint64_t kDepth = 8;
/// What shall always wait, of kFull: so the worker has always something to do, and nobody waits for long.
constexpr int kWanted = kFull / 8;
/// Nanoseconds without a packet refused, after which nobody is watched any more.
constexpr std::uint64_t kPeace = 1'000'000'000;
/// Nanoseconds from one burst to the next, and times what is usual: the worker had no processor.
constexpr std::uint64_t kAway = 2 * FairShare::kTurn;
constexpr std::uint64_t kAwayTimes = 4;

}  // namespace

bool FairShare::look_closer(unsigned fill, std::uint64_t now) noexcept {
  const std::uint64_t gap = now - now_;
  now_ = now;
  if (!on_) {
    on_ = true;
    since_ = last_refused_ = now;
    level_ = capacity_ = active_ = 0;
    usual_burst_ = 0;
    lowest_before_ = fill;
    begin_turn(fill);
    return true;
  }
  const bool away = !dry_ && gap > std::max(kAway, kAwayTimes * usual_burst_);
  if (!dry_) usual_burst_ = (7 * usual_burst_ + std::min(gap, kAwayTimes * kAway)) / 8;
  if (away) {
    lowest_before_ = fill;
    begin_turn(fill);
  } else if (now - turn_began_ >= kTurn) {
    end_turn(fill);
    begin_turn(fill);
  } else {
    lowest_fill_ = std::min(lowest_fill_, fill);
  }
  return on_;
}

void FairShare::begin_turn(unsigned fill) noexcept {
  dry_ = false;
  first_fill_ = lowest_fill_ = fill;
  carried_ = 0;
  senders_now_ = 0;
  turn_began_ = now_;
}

void FairShare::end_turn(unsigned fill) noexcept {
  const auto took = static_cast<std::int64_t>(now_ - turn_began_);
  const int lowest = dry_ ? 0 : static_cast<int>(std::min(lowest_fill_, fill));
  const int growth = lowest - static_cast<int>(lowest_before_);
  active_ = std::max(senders_now_, active_ - active_ / 8);
  const std::int64_t least = std::max(kLeastLevel, capacity_ / (kLeastPart * std::max<std::int64_t>(active_, 1)));
  if (level_ != 0) {
    // Proportional to what is missing, and against what is on its way: the ring is filled by the sum of what was decided before.
    int change = (kWanted - lowest) / 4 - growth;
    if (lowest >= kFull * 3 / 4 && growth >= 0) change = std::min(change, -kFull / 4);
    change = std::clamp(change, -kFull / 2, kFull / 8);
    // A long turn was one in which little came.
    for (std::int64_t left = change > 0 ? std::min<std::int64_t>(took / kOneTurn, kDepth) : 1; left > 0; --left) {
      level_ = std::clamp(level_ + level_ / kFull * change, least, kMostLevel);
    }
  } else if (lowest >= kFull * 3 / 8 && fill >= first_fill_) {
    capacity_ = carried_ * kOneTurn / took;
    level_ = std::max(capacity_, kLeastLevel);
  }
  lowest_before_ = static_cast<unsigned>(lowest);
  if (now_ - last_refused_ >= kPeace) on_ = false;
}

bool FairShare::admit(std::uint32_t sender, std::size_t bytes) noexcept {
  const std::int64_t cost = kPacketCost + static_cast<std::int64_t>(bytes);
  if (level_ != 0) {
    Sender& known = senders_[sender];
    if (known.last < turn_began_) ++senders_now_;
    if (known.last < since_) known = {now_, level_ * kOneTurn};
    const auto passed = static_cast<std::int64_t>(std::min(now_ - known.last, kDepth * kTurn));
    known.last = now_;
    known.credit = std::min(known.credit + passed * level_, static_cast<std::int64_t>(kDepth) * kOneTurn * level_);
    if (known.credit <= 0) {
      last_refused_ = now_;
      return false;
    }
    known.credit -= cost * kOneTurn;
  }
  carried_ += cost;
  return true;
}

}  // namespace simplon::forward
