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

/// Stands for a key where the key itself is not kept; in this process only.
[[nodiscard]] std::size_t key_mark(const std::string& psk);
inline constexpr std::size_t kUnknownKey = 0;

/// A key was replaced while the tunnel was up: SAs that were authenticated with the new one are wanted beside the old.
struct Renewal {
  /// Of the key that the old SAs were authenticated with; nothing if it was not the same for all.
  std::optional<std::size_t> old_key;
  /// IKE_SAs that were there when the key was loaded; nothing before the first look.
  std::optional<std::set<std::uint32_t>> before;
  /// IKE_SAs that were authenticated since. Rekeyed ones are not: nobody proves a key by it (RFC 7296 section 1.3.2).
  std::set<std::uint32_t> authenticated;
  /// One of those has its CHILD_SA.
  std::optional<MonoTime> succeeded;
  /// The key before is wanted again. No attempt is made any more; one that is under way and succeeds is the successor.
  bool gone_back = false;
};

/// What charon was given of a tunnel: what its SAs were negotiated with.
struct Given {
  /// Without the key.
  TunnelSpec spec;
  std::size_t key = 0;
  bool keeps_others = false;
  bool key_by_pair = false;
};

/// What charon has of a tunnel at present.
enum class InCharon : std::uint8_t {
  kUnknown,   ///< nobody has asked; all of it is told again
  kLoading,   ///< it is being told what is wanted; whoever wants or tells it something else makes it kUnknown
  kLoaded,    ///< connection and key, as given
  kUnloaded,  ///< no connection
};

/// What the tunnel manager knows of one wanted tunnel.
struct Tunnel {
  TunnelSpec wanted;
  /// Outlives the connection to charon: SAs do.
  std::optional<Given> given;
  InCharon in_charon = InCharon::kUnknown;
  std::optional<Error> load_error;

  /// It was up when charon ended: forwarder and peer go on with SAs that the next charon knows nothing of.
  bool outlived = false;
  /// Taken down by the operator: not in charon until `up`, or another configuration.
  bool held = false;
  /// The operator wants it now: initiated once, whoever else may do it.
  bool asked = false;
  /// What exists does not fit the configuration any more.
  bool stale = false;
  std::optional<Renewal> renewal;
  /// The key whose second copy is in charon (unproven_secret_name); one that nobody knows if an earlier life left it there.
  std::optional<std::size_t> unproven;

  bool up = false;
  std::optional<MonoTime> childless_since;
  MonoTime next_try{};
  std::chrono::milliseconds retry = kFirstRetry;

  std::optional<IkeDiagnosis> diagnosis;
  /// `diagnosis` is drawn from the attempt of nobody's peer: this tunnel's, if its remote address is wrong.
  bool diagnosis_of_stranger = false;
  /// What the log has been told of these failures.
  std::string warned;
  bool warned_of_stranger = false;
  std::optional<std::uint64_t> established_in_ms;

  [[nodiscard]] bool is_renewing() const {
    return renewal && !renewal->succeeded && !renewal->gone_back;
  }
  [[nodiscard]] bool should_initiate() const {
    return (wanted.initiate || asked) && wanted.remote.has_value() && !held &&
           (in_charon == InCharon::kLoaded || wanted.keep_as_is) && !load_error;
  }
  void forget_diagnosis();
};

/// What one IKE_SA is to its tunnel; kDown for one that ends, also while it still has its CHILD_SA.
[[nodiscard]] TunnelState state_of(const ObservedIke& ike);

/// Takes a finding over unless a better one is known. True if the log has not been told of it yet. `stranger`: the attempt was
/// that of nobody's peer, which anybody who can send to us may cause.
[[nodiscard]] bool take_diagnosis(Tunnel& tunnel, IkeDiagnosis found, bool stranger);

/// The tunnel as the operator sees it. `sas` are the IKE_SAs of its name; `unavailable` says why charon could not be
/// asked, or is empty.
[[nodiscard]] TunnelStatus describe(const Tunnel& tunnel, const std::vector<ObservedIke>& sas,
                                    const std::string& unavailable);

/// What `diagnose` needs of a negotiation that concerns this tunnel.
[[nodiscard]] IkeAttempt attempt_at(const Tunnel& tunnel, const Negotiation& negotiation);

}  // namespace simplon::ipsec
