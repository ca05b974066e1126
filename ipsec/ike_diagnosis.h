// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace simplon::ipsec {

/// What is known about one attempt to negotiate a tunnel.
struct IkeAttempt {
  /// True if we sent the IKE_SA_INIT request.
  bool initiator = true;
  std::string local;   ///< our address
  std::string remote;  ///< the peer's address, or empty
  std::string local_id;
  std::string remote_id;
  std::vector<std::string> ike_proposals;
  std::vector<std::string> esp_proposals;
  /// Why our kernel cannot send to the peer, or empty. charon logs it without saying which peer it is about.
  std::string send_error;
  /// charon's log lines about it, oldest first, without time, group and thread.
  std::vector<std::string> lines;
};

enum class IkeFault : std::uint8_t {
  kIkeProposal,       ///< responder: the IKE proposals have nothing in common
  kUnknownPeer,       ///< responder: no connection for these addresses
  kRefusedInit,       ///< initiator: one of the two above, the answer does not say which
  kChildProposal,     ///< the ESP proposals have nothing in common
  kTrafficSelectors,  ///< no common traffic selectors
  kPreSharedKey,      ///< responder: the keys differ
  kIdentity,          ///< responder: nobody is configured by that identity
  kRefusedAuth,       ///< initiator: one of the two above, the answer does not say which
  kPeerIdentity,      ///< initiator: the peer is somebody else than expected
  kNoAnswer,          ///< the peer is silent
  kNoRoute,           ///< our kernel cannot send to the peer
  kCertificate,       ///< a certificate was rejected
  kMissingKey,        ///< we have no pre-shared key for these identities
  kForwarderAway,     ///< simplon-forwarder does not answer the plugin
  kForwarderRefused,  ///< simplon-forwarder or the plugin refused the SA
};

struct IkeDiagnosis {
  IkeFault fault = IkeFault::kNoAnswer;
  /// What is wrong, in words an operator can act on, with the values that disagree.
  std::string problem;
  /// What to do next.
  std::string hint;
};

/// Finds why an attempt failed; nothing if its lines do not show a failure.
///
/// Pure. The responder's log names the cause; an initiator is only told one of a few refusals, so that the exchange in
/// which it came has to decide, and where it cannot, both causes are named (NO_PROPOSAL_CHOSEN and
/// AUTHENTICATION_FAILED each stand for two).
[[nodiscard]] std::optional<IkeDiagnosis> diagnose(const IkeAttempt& attempt);

/// True if what an initiator was told is a consequence of a cause that a responder's log named earlier: when both ends
/// initiate by turns, the cause stays.
[[nodiscard]] bool is_explained_by(IkeFault told, IkeFault known) noexcept;

}  // namespace simplon::ipsec
