// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gateway/audit/audit_log.h"
#include "platform/base/clock.h"

namespace simplon::audit {

/// Of Event::action.
inline constexpr const char* kDeniedAction = "denied";

/// What the log says of attempts by those who may change nothing: one entry per user and minute, with the number of
/// those that were left out. Whoever may connect may try as often as he likes; an entry costs a signature, three flushes
/// of the disk, and the room of an older one.
///
/// Threads: one. Memory: a few users; attempts by more of them in one minute share an entry.
class Denials {
 public:
  /// The entry for this attempt; nothing if it is counted only.
  [[nodiscard]] std::optional<Event> admit(const std::string& who, std::optional<std::uint32_t> uid,
                                           const std::string& target, MonoTime now);
  /// Entries for what was counted and whose minute is over. To be asked every few seconds.
  [[nodiscard]] std::vector<Event> due(MonoTime now);

 private:
  struct User {
    std::string who;
    /// Of the latest attempt.
    std::string target;
    MonoTime written;
    std::uint64_t left_out = 0;
  };
  /// By uid; without one: all the others.
  std::map<std::optional<std::uint32_t>, User> users_;
};

}  // namespace simplon::audit
