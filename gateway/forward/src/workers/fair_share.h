// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>

#include "gateway/forward/packet_io.h"
#include "gateway/forward/src/tables/stable_array.h"
#include "gateway/forward/src/tables/table_limits.h"

namespace simplon::forward {

/// How much of a worker each sender may have while more comes than it can carry: the same for all, so that who sends less
/// than that loses next to nothing (max-min fairness). What is above it is left lying before it costs anything.
///
/// Too much comes if something always waits: what counts is the lowest that the receive rings were filled in a turn, since a
/// batch fills a ring for a moment also if the worker is half idle. How much each may have, the level, is found by trying, once a
/// turn: it follows what always waits, and how fast that grows. Before, a turn is watched: rings that empty have only waited
/// for a worker that had no processor. Each sender has a token bucket that fills by the level.
///
/// Threads: the worker's. Memory: a page for each 256 attachments that something came from meanwhile; the kernel gives it at the
/// first packet.
class FairShare {
 public:
  /// Nanoseconds. Chosen by us: in this time rings of 2048 do not fill up by a quarter unless half a million packets a second too many come.
  static constexpr std::uint64_t kTurn = 1'000'000;

  FairShare() : senders_(kMaxAttachments) {}

  /// For each burst: `fill` is the highest that PacketIo::fill says of the worker's inputs, `now` in nanoseconds of a clock that
  /// does not go back. True: ask `admit` about each packet of it.
  [[nodiscard]] bool look(unsigned fill, std::uint64_t now) noexcept {
    if (!on_ && fill < PacketIo::kFull * 5 / 8) [[likely]] return false;
    return look_closer(fill, now);
  }
  /// The worker has nothing to do.
  void ran_dry() noexcept { dry_ = true; }
  /// `sender`: slot of an attachment; 0 for all who are unknown. False: it has had its share.
  [[nodiscard]] bool admit(std::uint32_t sender, std::size_t bytes) noexcept;

 private:
  /// Zeros: has sent nothing yet.
  struct Sender {
    std::uint64_t last;   ///< When something came from it.
    std::int64_t credit;  ///< Costs times nanoseconds of a turn.
  };

  [[gnu::cold, gnu::noinline]] bool look_closer(unsigned fill, std::uint64_t now) noexcept;
  void begin_turn(unsigned fill) noexcept;
  void end_turn(unsigned fill) noexcept;

  bool on_ = false;
  bool dry_ = false;         ///< In this turn.
  unsigned first_fill_ = 0;  ///< Of this turn,
  unsigned lowest_fill_ = 0;
  unsigned lowest_before_ = 0;  ///< and of the one before.
  std::uint64_t now_ = 0;
  std::uint64_t since_ = 0;
  std::uint64_t turn_began_ = 0;
  std::uint64_t usual_burst_ = 0;  ///< Nanoseconds from one to the next.
  std::uint64_t last_refused_ = 0;
  std::int64_t carried_ = 0;      ///< In this turn.
  std::int64_t capacity_ = 0;     ///< A turn, when nobody was refused yet.
  std::int64_t senders_now_ = 0;  ///< Who sent in this turn,
  std::int64_t active_ = 0;       ///< and lately.
  std::int64_t level_ = 0;        ///< A turn; 0: not known yet.
  StableArray<Sender> senders_;
};

}  // namespace simplon::forward
