// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/audit/denials.h"

#include <chrono>
#include <utility>

namespace simplon::audit {
namespace {

// Chosen by us.
constexpr auto kBetween = std::chrono::minutes(1);
// A user may have 65,536 uids to try with (user_namespaces(7)).
constexpr std::size_t kMaxUsers = 32;

Event entry(const std::string& who, std::optional<std::uint32_t> uid, const std::string& target,
            std::uint64_t left_out) {
  Event event;
  event.who = who;
  event.uid = uid;
  event.action = kDeniedAction;
  event.outcome = "refused";
  event.subject = target;
  event.detail = "not an administrator";
  if (left_out != 0) event.detail += "; attempts since the entry before: " + std::to_string(left_out);
  return event;
}

}  // namespace

std::optional<Event> Denials::admit(const std::string& who, std::optional<std::uint32_t> uid, const std::string& target,
                                    MonoTime now) {
  auto found = users_.find(uid);
  if (found == users_.end()) {
    const bool room = uid && users_.size() < kMaxUsers;
    if (room || (found = users_.find(std::nullopt)) == users_.end()) {
      users_[room ? uid : std::nullopt] = {room ? who : "other users", target, now, 0};
      return entry(who, uid, target, 0);
    }
  }
  User& user = found->second;
  user.target = target;
  if (now - user.written < kBetween) {
    ++user.left_out;
    return std::nullopt;
  }
  user.written = now;
  return entry(who, uid, target, std::exchange(user.left_out, 0));
}

std::vector<Event> Denials::due(MonoTime now) {
  std::vector<Event> events;
  for (auto at = users_.begin(); at != users_.end();) {
    auto& [uid, user] = *at;
    if (now - user.written < kBetween) {
      ++at;
    } else if (user.left_out == 0) {
      at = users_.erase(at);
    } else {
      events.push_back(entry(user.who, uid, user.target, std::exchange(user.left_out, 0)));
      user.written = now;
      ++at;
    }
  }
  return events;
}

}  // namespace simplon::audit
