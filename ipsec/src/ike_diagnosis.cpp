// SPDX-License-Identifier: GPL-2.0-or-later
// Rules in order of how much they know: local trouble, then the responder's own words, then what an initiator is told,
// silence last. The first rule that matches wins. The patterns are charon 5.9.8's log lines at level 1; each is in
// the table of tests/unit/ipsec/ike_diagnosis_test.cpp with a line that charon really wrote.
#include "ipsec/ike_diagnosis.h"

#include <algorithm>
#include <string_view>

namespace simplon::ipsec {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

/// What follows `prefix` in `line`; empty if it is not there.
std::string_view after(std::string_view line, std::string_view prefix) {
  const std::size_t at = line.find(prefix);
  return at == std::string_view::npos ? std::string_view{} : line.substr(at + prefix.size());
}

std::string join(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text.empty() ? "(default)" : text;
}

class Attempt {
 public:
  explicit Attempt(const IkeAttempt& attempt) : attempt_(attempt) {}

  /// The last line with all the parts, or nullptr.
  [[nodiscard]] const std::string* line(std::string_view part, std::string_view other = {}) const {
    for (auto at = attempt_.lines.rbegin(); at != attempt_.lines.rend(); ++at) {
      if (contains(*at, part) && contains(*at, other)) return &*at;
    }
    return nullptr;
  }
  [[nodiscard]] std::string rest(std::string_view prefix, std::string_view other = {}) const {
    const std::string* found = line(prefix, other);
    return found == nullptr ? std::string{} : std::string(after(*found, prefix));
  }
  [[nodiscard]] std::string peer() const { return attempt_.remote.empty() ? "the peer" : attempt_.remote; }
  [[nodiscard]] const IkeAttempt& facts() const { return attempt_; }

 private:
  const IkeAttempt& attempt_;
};

using Found = std::optional<IkeDiagnosis>;

Found local_trouble(const Attempt& attempt) {
  const IkeAttempt& facts = attempt.facts();
  if (attempt.line("no SPI: simplon-forwarder does not answer") != nullptr ||
      attempt.line(" refused: simplon-forwarder does not answer") != nullptr) {
    return IkeDiagnosis{IkeFault::kForwarderAway, "charon cannot reach simplon-forwarder, so no SA can be installed",
                        "check that simplon-forwarder runs"};
  }
  if (const std::string* line = attempt.line("SA ", " refused: ")) {
    return IkeDiagnosis{IkeFault::kForwarderRefused, "the SA was negotiated but not installed: " + *line,
                        "use esp-proposals that `simplon config check` accepts, like aes256gcm16 or aes256-sha256"};
  }
  if (attempt.line("unable to install", "IPsec SA (SAD) in kernel") != nullptr) {
    return IkeDiagnosis{IkeFault::kForwarderRefused, "the SA was negotiated but could not be installed",
                        "charon's log says why (journalctl -u simplon-charon, lines with KNL)"};
  }
  if (attempt.line("no shared key found for") != nullptr) {
    return IkeDiagnosis{
        IkeFault::kMissingKey,
        "we have no pre-shared key for '" + facts.local_id + "' and the identity the peer presents " +
            attempt.rest("no shared key found for"),
        "compare the remote identity '" + facts.remote_id + "' with what the peer is configured to present"};
  }
  if (!facts.send_error.empty()) {
    return IkeDiagnosis{IkeFault::kNoRoute, "our kernel cannot send to " + attempt.peer() + ": " + facts.send_error,
                        "check the route (ip route get " + attempt.peer() + ") and that " + facts.local +
                            " is an address of this gateway"};
  }
  return {};
}

Found certificate(const Attempt& attempt) {
  for (const std::string_view sign :
       {"certificate invalid", "certificate expired", "certificate was revoked", "no issuer certificate found",
        "no trusted RSA public key found", "no trusted ECDSA public key found", "certificate is not trusted"}) {
    if (const std::string* line = attempt.line(sign)) {
      return IkeDiagnosis{IkeFault::kCertificate, "certificate rejected: " + *line,
                          "check the validity and the issuer of both ends' certificates, and both clocks"};
    }
  }
  return {};
}

Found responder_words(const Attempt& attempt) {
  const IkeAttempt& facts = attempt.facts();
  if (attempt.line("received proposals unacceptable") != nullptr) {
    return IkeDiagnosis{IkeFault::kIkeProposal,
                        "phase 1 (IKE) crypto differs: " + attempt.peer() + " offers " +
                            attempt.rest("received proposals: ", "IKE:") + ", we accept only " +
                            attempt.rest("configured proposals: ", "IKE:"),
                        "add a common suite to ike-proposals on one end"};
  }
  if (std::string pair = attempt.rest("no IKE config found for "); !pair.empty()) {
    pair.resize(std::min(pair.size(), pair.find(',')));
    return IkeDiagnosis{IkeFault::kUnknownPeer,
                        "a peer negotiates between " + pair + " (ours...theirs), and no tunnel has these addresses",
                        "correct 'local' or 'remote' of the tunnel"};
  }
  if (attempt.line("but MAC mismatched") != nullptr) {
    return IkeDiagnosis{IkeFault::kPreSharedKey,
                        "authentication failed: pre-shared keys differ; " + attempt.peer() + " presents identity '" +
                            facts.remote_id + "' with another key than ours",
                        "put the same key into both ends' files; look for a trailing newline or space"};
  }
  if (attempt.line("no matching peer config found") != nullptr) {
    // looking for peer configs matching 192.0.2.2[b]...192.0.2.1[a]
    const std::string who = attempt.rest("looking for peer configs matching ");
    return IkeDiagnosis{IkeFault::kIdentity,
                        "authentication failed: identities differ; the peer asked for " +
                            (who.empty() ? "an identity pair" : who) + " (ours...theirs), this tunnel is '" +
                            facts.local_id + "'...'" + facts.remote_id + "'",
                        "make the identities of both ends agree: its local identity is our remote identity"};
  }
  if (attempt.line("no acceptable proposal found") != nullptr) {
    const std::string theirs = attempt.rest("received proposals: ", "ESP:");
    const std::string ours = attempt.rest("configured proposals: ", "ESP:");
    if (!theirs.empty()) {
      return IkeDiagnosis{IkeFault::kChildProposal,
                          "phase 1 is fine, phase 2 (ESP) crypto differs: " + attempt.peer() + " offers " + theirs +
                              ", we accept only " + ours,
                          "add a common suite to esp-proposals on one end"};
    }
  }
  if (const std::string* line = attempt.line("traffic selectors ", " unacceptable")) {
    return IkeDiagnosis{IkeFault::kTrafficSelectors,
                        "traffic selectors disagree: the peer asked for " +
                            line->substr(line->find("traffic selectors ") + 18) + " and we serve 0.0.0.0/0 and ::/0",
                        "make the peer's tunnel route-based (0.0.0.0/0 on both sides)"};
  }
  return {};
}

Found initiator_told(const Attempt& attempt) {
  const IkeAttempt& facts = attempt.facts();
  if (attempt.line("received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built") != nullptr) {
    return IkeDiagnosis{
        IkeFault::kChildProposal,
        "phase 1 is fine, phase 2 (ESP) crypto differs: " + attempt.peer() + " accepts none of our ESP proposals " +
            join(facts.esp_proposals),
        "compare esp-proposals with the peer's; perfect forward secrecy (a group such as -ecp384) counts"};
  }
  if (attempt.line("received TS_UNACCEPTABLE notify") != nullptr) {
    return IkeDiagnosis{IkeFault::kTrafficSelectors,
                        "phase 1 is fine, traffic selectors disagree: we want 0.0.0.0/0 and ::/0 on both sides, " +
                            attempt.peer() + " serves others",
                        "make the peer's tunnel route-based (0.0.0.0/0 on both sides)"};
  }
  if (attempt.line("constraint check failed: identity ") != nullptr) {
    return IkeDiagnosis{IkeFault::kPeerIdentity,
                        "the peer is not who we expect: " + attempt.rest("constraint check failed: "),
                        "set remote-id to what the peer presents, or its local identity to '" + facts.remote_id + "'"};
  }
  if (attempt.line("received AUTHENTICATION_FAILED notify error") != nullptr) {
    return IkeDiagnosis{IkeFault::kRefusedAuth,
                        attempt.peer() +
                            " refused our authentication: the pre-shared keys differ, or it has no "
                            "connection of its '" +
                            facts.remote_id + "' with our '" + facts.local_id +
                            "' (it only says AUTHENTICATION_FAILED)",
                        "compare the keys and the identities; the peer's log says 'MAC mismatched' for the key and 'no "
                        "matching peer config found' for the identity"};
  }
  if (attempt.line("received NO_PROPOSAL_CHOSEN notify error") != nullptr) {
    return IkeDiagnosis{IkeFault::kRefusedInit,
                        attempt.peer() + " refused the first message: it accepts none of our IKE proposals " +
                            join(facts.ike_proposals) + ", or does not know our address " + facts.local +
                            " (it says NO_PROPOSAL_CHOSEN for both)",
                        "compare ike-proposals; the peer's log says 'no IKE config found' when it is the address"};
  }
  return {};
}

Found silence(const Attempt& attempt) {
  // What came after the last answer counts: a lost packet that was sent again successfully is no failure.
  const auto& lines = attempt.facts().lines;
  bool waiting = false;
  bool gave_up = false;
  bool after_init = false;
  for (const std::string& line : lines) {
    if (contains(line, "parsed ") && contains(line, " response ")) {
      waiting = gave_up = false;
      after_init = contains(line, "IKE_SA_INIT") && !contains(line, "N(COOKIE)");
    } else if (contains(line, "retransmit ") && contains(line, " of request with message ID")) {
      waiting = true;
    } else if (contains(line, "peer not responding") || contains(line, "giving up after")) {
      waiting = gave_up = true;
    }
  }
  if (!waiting) return {};
  const std::string so_far = gave_up ? "no answer" : "no answer so far";
  if (after_init) {
    return IkeDiagnosis{IkeFault::kNoAnswer, so_far + " from " + attempt.peer() + " on UDP 4500 (UDP 500 works)",
                        "permit UDP 4500 and ESP between " + attempt.facts().local + " and the peer"};
  }
  return IkeDiagnosis{IkeFault::kNoAnswer, so_far + " from " + attempt.peer() + " on UDP 500/4500",
                      "check that the peer is up and that UDP 500, UDP 4500 and ESP pass in both directions"};
}

}  // namespace

bool is_explained_by(IkeFault told, IkeFault known) noexcept {
  switch (told) {
    case IkeFault::kRefusedInit:
      return known == IkeFault::kIkeProposal || known == IkeFault::kUnknownPeer;
    case IkeFault::kRefusedAuth:
      return known == IkeFault::kPreSharedKey || known == IkeFault::kIdentity || known == IkeFault::kPeerIdentity;
    default:
      return false;
  }
}

std::optional<IkeDiagnosis> diagnose(const IkeAttempt& attempt) {
  const Attempt facts(attempt);
  for (const auto rule : {local_trouble, certificate, responder_words, initiator_told, silence}) {
    if (Found found = rule(facts)) return found;
  }
  return {};
}

}  // namespace simplon::ipsec
