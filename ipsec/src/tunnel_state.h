// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ipsec/ike_diagnosis.h"
#include "ipsec/src/charon_messages.h"
#include "ipsec/src/negotiation_log.h"
#include "ipsec/tunnel_manager.h"
#include "platform/base/clock.h"
#include "platform/base/result.h"

namespace simplon::ipsec {

/// First pause before a tunnel that is down is initiated again; doubled each time. Chosen by us.
inline constexpr std::chrono::milliseconds kFirstRetry{1000};

/// A key was replaced while the tunnel was up: SAs that were authenticated with the new one are wanted beside the old.
struct Renewal {
  /// Of the key that the old SAs were authenticated with.
  std::size_t old_key = 0;
  /// IKE_SAs that were there when the key was loaded; nothing before the first look.
  std::optional<std::set<std::uint32_t>> before;
  /// IKE_SAs that were authenticated since. Rekeyed ones are not: nobody proves a key by it (RFC 7296 section 1.3.2).
  std::set<std::uint32_t> authenticated;
  /// One of those has its CHILD_SA.
  std::optional<MonoTime> succeeded;
};

/// What the tunnel manager knows of one wanted tunnel.
struct Tunnel {
  TunnelSpec wanted;
  /// What charon was given on this connection, without the key.
  std::optional<TunnelSpec> loaded;
  std::size_t loaded_key = 0;
  bool loaded_keeps_others = false;
  std::optional<Error> load_error;

  /// It was up when charon ended: forwarder and peer go on with SAs that the next charon knows nothing of.
  bool outlived = false;
  /// Taken down by the operator: not in charon until `up`, or another configuration.
  bool held = false;
  /// What exists does not fit the configuration any more.
  bool stale = false;
  std::optional<Renewal> renewal;

  bool up = false;
  std::optional<MonoTime> childless_since;
  MonoTime next_try{};
  std::chrono::milliseconds retry = kFirstRetry;

  std::optional<IkeDiagnosis> diagnosis;
  std::optional<std::uint64_t> established_in_ms;

  [[nodiscard]] bool is_renewing() const { return renewal && !renewal->succeeded; }
  [[nodiscard]] bool should_initiate() const {
    return wanted.initiate && wanted.remote.has_value() && !held && (loaded.has_value() || wanted.keep_as_is) && !load_error;
  }
};

/// The tunnel as the operator sees it. `sas` are the IKE_SAs of its name; `unavailable` says why charon could not be
/// asked, or is empty.
[[nodiscard]] TunnelStatus describe(const Tunnel& tunnel, const std::vector<ObservedIke>& sas,
                                    const std::string& unavailable);

/// What `diagnose` needs of a negotiation that concerns this tunnel.
[[nodiscard]] IkeAttempt attempt_at(const Tunnel& tunnel, const Negotiation& negotiation);

}  // namespace simplon::ipsec
