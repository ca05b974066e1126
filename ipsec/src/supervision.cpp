// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who brings a tunnel up again. Not charon (dpd_action=restart, close_action=start): it restarts each IKE_SA for
// itself, so once both ends have initiated at the same time, every outage doubles the IKE_SAs, and with a peer that
// replaces duplicates it never ends. We restart the tunnel, and only while it has no IKE_SA at all. A tunnel that loses
// its CHILD_SA gets kGrace first: charon recreates a child after a hard expiry by itself.
//
// What looks wrong and is not: SAs are adopted by comparing addresses and the child's name (it holds the tunnel id), so
// a restart of simplond negotiates nothing; a peer's second IKE_SA for the same tunnel is left alone (both work, the
// forwarder uses the newest, and deleting one would make some peers start again).
#include "ipsec/src/supervision.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "ipsec/src/charon_messages.h"
#include "ipsec/src/key_renewal.h"

namespace simplon::ipsec {
namespace {

using std::chrono::milliseconds;

// Chosen by us.
constexpr milliseconds kLastRetry{30000};
constexpr milliseconds kGrace{1500};  // for charon to recreate a child

/// True if the tunnel came up after charon had ended.
bool note_state(Tunnel& tunnel, bool up, MonoTime now) {
  bool outlived = false;
  if (up && !tunnel.up) {
    tunnel.retry = kFirstRetry;
    tunnel.forget_diagnosis();
    outlived = std::exchange(tunnel.outlived, false);
    spdlog::info("tunnel {}: up", tunnel.wanted.name);
  } else if (!up && tunnel.up) {
    tunnel.next_try = now + kFirstRetry;  // the peer may have begun already
    spdlog::warn("tunnel {}: down", tunnel.wanted.name);
  }
  tunnel.up = up;
  return outlived;
}

}  // namespace

Steps look_after(Tunnel& tunnel, const std::vector<ObservedIke>& sas, MonoTime now) {
  Steps steps;
  std::vector<std::uint32_t> childless;
  bool up = false;
  bool negotiating = false;
  for (const ObservedIke& ike : sas) {
    const TunnelState state = state_of(ike);
    if (tunnel.stale || tunnel.held || !fits(ike, tunnel.wanted)) {
      if (!ike.is_ending()) steps.end.push_back(ike.unique_id);
    } else if (state == TunnelState::kUp) {
      up = true;
    } else if (state == TunnelState::kIkeOnly) {
      childless.push_back(ike.unique_id);
    } else if (state == TunnelState::kConnecting) {
      negotiating = true;
    }
  }
  steps.load_again = note_state(tunnel, up, now);
  if (!steps.end.empty()) tunnel.next_try = now;
  if (tunnel.renewal) {
    const auto superseded = follow_renewal(tunnel, sas, now);
    steps.end.insert(steps.end.end(), superseded.begin(), superseded.end());
  }
  if (up && !tunnel.is_renewing()) tunnel.asked = false;
  if (childless.empty() || (up && !tunnel.is_renewing())) {
    tunnel.childless_since.reset();
  } else if (!tunnel.childless_since) {
    tunnel.childless_since = now;
  }
  const bool in_grace = tunnel.childless_since && now - *tunnel.childless_since < kGrace;
  steps.initiate =
      (!up || tunnel.is_renewing()) && !negotiating && !in_grace && tunnel.should_initiate() && now >= tunnel.next_try;
  if (steps.initiate) {
    tunnel.next_try = now + tunnel.retry;
    tunnel.retry = std::min(tunnel.retry * 2, kLastRetry);
    tunnel.childless_since.reset();
    steps.end.insert(steps.end.end(), childless.begin(), childless.end());
  }
  return steps;
}

}  // namespace simplon::ipsec
