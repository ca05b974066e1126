// SPDX-License-Identifier: GPL-2.0-or-later
//
// IKE proves a new key only when an IKE_SA is authenticated, not by rekeying, so with a wrong one all goes well until
// the next outage. Therefore the tunnel is initiated once more, beside what forwards (charon: reuse_ikesa = no); when the
// successor has its CHILD_SA the old IKE_SAs end. A key that the peer does not accept costs nothing: the old ones stay, it
// is tried again with growing pauses, and going back to the key before needs no negotiation at all.
#include "ipsec/src/key_renewal.h"

#include <chrono>

#include <spdlog/spdlog.h>

namespace simplon::ipsec {
namespace {

// Chosen by us: for packets under way on SAs that have a successor.
constexpr std::chrono::milliseconds kOverlap{2000};

}  // namespace

void renew_key(Tunnel& tunnel, std::size_t key, MonoTime now) {
  const std::optional<std::size_t> old_key = tunnel.is_renewing() ? tunnel.renewal->old_key : tunnel.given->key;
  if (tunnel.is_renewing() && old_key == key) {
    // Nobody was authenticated with the key that goes. An attempt under way may be yet, with the one that comes back.
    tunnel.renewal->gone_back = true;
    tunnel.renewal->authenticated.clear();
    return;
  }
  tunnel.renewal.emplace().old_key = old_key;
  tunnel.next_try = now;
  tunnel.retry = kFirstRetry;
}

void resume_renewal(Tunnel& tunnel, MonoTime now) {
  tunnel.renewal.emplace();
  tunnel.next_try = now;
  tunnel.retry = kFirstRetry;
}

void forget_ike_sas(Renewal& renewal) {
  if (renewal.succeeded) renewal.old_key.reset();
  renewal.before.reset();
  renewal.authenticated.clear();
  renewal.succeeded.reset();
}

std::vector<std::uint32_t> follow_renewal(Tunnel& tunnel, const std::vector<ObservedIke>& sas, MonoTime looked) {
  Renewal& renewal = *tunnel.renewal;
  if (!renewal.before) {
    renewal.before.emplace();
    for (const ObservedIke& ike : sas) {
      renewal.before->insert(ike.unique_id);
      renewal.authenticated.erase(ike.unique_id);
    }
  }
  std::vector<std::uint32_t> old;
  bool under_way = false;
  bool succeeded = false;
  for (const ObservedIke& ike : sas) {
    const TunnelState state = state_of(ike);
    if (state == TunnelState::kDown) continue;
    under_way = under_way || (state != TunnelState::kUp && !renewal.before->contains(ike.unique_id));
    if (renewal.authenticated.contains(ike.unique_id)) {
      succeeded = succeeded || (state == TunnelState::kUp && fits(ike, tunnel.wanted));
    } else if (ike.is_established() || renewal.before->contains(ike.unique_id)) {
      old.push_back(ike.unique_id);
    }
  }
  if (!succeeded) {
    renewal.succeeded.reset();
    // Nothing is left that the new key could be beside, or no attempt to use it.
    if (old.empty() || (renewal.gone_back && !under_way)) tunnel.renewal.reset();
    return {};
  }
  if (!renewal.succeeded) {
    renewal.succeeded = looked;
    tunnel.forget_diagnosis();
    spdlog::info("tunnel {}: up with {}", tunnel.wanted.name,
                 renewal.gone_back ? "new SAs of its old key: an attempt had begun" : "its new key");
  }
  if (looked - *renewal.succeeded < kOverlap) return {};
  tunnel.renewal.reset();
  return old;
}

}  // namespace simplon::ipsec
