// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/policy_list.h"

#include <algorithm>
#include <tuple>

namespace simplon::forwarder {

void PolicyList::add(const ipc::sa::Policy& policy, std::uint64_t session) {
  auto& users = policies_[{policy.tunnel, policy.direction, policy.source, policy.destination}];
  const auto same = std::find_if(users.begin(), users.end(), [&](const User& user) {
    return user.spi == policy.spi && user.reqid == policy.reqid && user.priority == policy.priority;
  });
  if (same != users.end()) {
    same->session = session;
    return;
  }
  users.push_back({policy.spi, policy.reqid, policy.priority, session, next_age_++});
}

void PolicyList::remove(const ipc::sa::Policy& policy) {
  const auto found = policies_.find({policy.tunnel, policy.direction, policy.source, policy.destination});
  if (found == policies_.end()) return;
  auto& users = found->second;
  const auto user = std::find_if(users.begin(), users.end(), [&](const User& candidate) {
    return candidate.spi == policy.spi && candidate.reqid == policy.reqid && candidate.priority == policy.priority;
  });
  if (user == users.end()) return;
  users.erase(user);
  if (users.empty()) policies_.erase(found);
}

std::vector<Spi> PolicyList::outbound(TunnelId tunnel, std::uint64_t session) const {
  std::vector<const User*> candidates;
  // Keys are sorted by tunnel first.
  for (auto it = policies_.lower_bound(Key{tunnel, ipc::sa::Direction::kIn, {}, {}});
       it != policies_.end() && it->first.tunnel == tunnel; ++it) {
    if (it->first.direction != ipc::sa::Direction::kOut) continue;
    for (const User& user : it->second) {
      if (user.spi.value() != 0) candidates.push_back(&user);
    }
  }
  std::sort(candidates.begin(), candidates.end(), [session](const User* a, const User* b) {
    return std::tuple(a->session != session, a->priority, ~a->age) < std::tuple(b->session != session, b->priority, ~b->age);
  });
  std::vector<Spi> spis;
  for (const User* user : candidates) {
    if (std::find(spis.begin(), spis.end(), user->spi) == spis.end()) spis.push_back(user->spi);
  }
  return spis;
}

void PolicyList::forget_stale(TunnelId tunnel, std::uint64_t session) {
  auto it = policies_.lower_bound(Key{tunnel, ipc::sa::Direction::kIn, {}, {}});
  while (it != policies_.end() && it->first.tunnel == tunnel) {
    std::erase_if(it->second, [session](const User& user) { return user.session != session; });
    it = it->second.empty() ? policies_.erase(it) : std::next(it);
  }
}

std::vector<PolicyList::Use> PolicyList::uses() const {
  std::vector<std::pair<std::uint64_t, Use>> aged;
  for (const auto& [key, users] : policies_) {
    for (const User& user : users) {
      aged.push_back({user.age,
                      {{key.direction, key.tunnel, user.reqid, user.priority, user.spi, key.source, key.destination},
                       user.session}});
    }
  }
  std::sort(aged.begin(), aged.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Use> all;
  for (auto& [age, use] : aged) all.push_back(std::move(use));
  return all;
}

}  // namespace simplon::forwarder
