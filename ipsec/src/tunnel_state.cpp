// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/tunnel_state.h"

#include <functional>
#include <utility>

namespace simplon::ipsec {
namespace {

void explain(const Tunnel& tunnel, const std::string& unavailable, TunnelStatus& status) {
  if (!unavailable.empty()) {
    status.problem = "charon does not answer: " + unavailable;
    status.hint = "systemctl status simplon-charon; the tunnel may well be up";
  } else if (tunnel.load_error) {
    status.problem = tunnel.load_error->what;
    status.hint = "correct the tunnel's configuration and apply it again";
  } else if (tunnel.held) {
    status.problem = "taken down by the operator";
    status.hint = "simplon tunnel up " + tunnel.wanted.name;
  } else if (tunnel.diagnosis) {
    status.problem = tunnel.diagnosis->problem;
    status.hint = tunnel.diagnosis->hint;
  } else if (status.state == TunnelState::kConnecting) {
    status.problem = "negotiation under way";
  } else if (!tunnel.wanted.initiate || !tunnel.wanted.remote) {
    status.problem = "waiting for the peer to initiate";
  } else {
    status.problem = "down, the next attempt follows";
  }
}

}  // namespace

std::size_t key_mark(const std::string& psk) { return std::hash<std::string>{}(psk); }

void Tunnel::forget_diagnosis() {
  diagnosis.reset();
  diagnosis_of_stranger = false;
  warned.clear();
  warned_of_stranger = false;
}

TunnelState state_of(const ObservedIke& ike) {
  if (ike.is_ending()) return TunnelState::kDown;
  if (ike.installed_child() != nullptr) return TunnelState::kUp;
  if (ike.is_established()) return TunnelState::kIkeOnly;
  // Else rekeyed: its children are the new one's.
  return ike.state == "CONNECTING" || ike.state == "CREATED" ? TunnelState::kConnecting : TunnelState::kDown;
}

bool take_diagnosis(Tunnel& tunnel, IkeDiagnosis found, bool stranger) {
  if (tunnel.diagnosis) {
    const IkeFault known = tunnel.diagnosis->fault;
    if (stranger && !tunnel.diagnosis_of_stranger && known != IkeFault::kNoAnswer) return false;
    if (!tunnel.diagnosis_of_stranger && is_explained_by(found.fault, known)) return false;
  }
  const bool news = stranger ? !tunnel.warned_of_stranger : tunnel.warned != found.problem;
  if (stranger) {
    tunnel.warned_of_stranger = true;
  } else {
    tunnel.warned = found.problem;
  }
  tunnel.diagnosis = std::move(found);
  tunnel.diagnosis_of_stranger = stranger;
  return news;
}

TunnelStatus describe(const Tunnel& tunnel, const std::vector<ObservedIke>& sas, const std::string& unavailable) {
  TunnelStatus status;
  status.name = tunnel.wanted.name;
  status.local = tunnel.wanted.local.to_string();
  status.remote = tunnel.wanted.remote ? tunnel.wanted.remote->to_string() : std::string{};
  status.established_in_ms = tunnel.established_in_ms;
  const ObservedIke* shown = nullptr;
  for (const ObservedIke& ike : sas) {
    const TunnelState state = state_of(ike);
    if (shown == nullptr || state > status.state || (state == status.state && ike.age_seconds < shown->age_seconds)) {
      shown = &ike;
      status.state = state;
    }
    for (const ObservedChild& child : ike.children) {
      if (child.status.state != "DELETED") status.children.push_back(child.status);
    }
  }
  if (shown != nullptr) {
    status.ike_state = shown->state;
    status.ike_suite = shown->suite;
    status.ike_age_seconds = shown->age_seconds;
    if (!shown->remote.empty()) status.remote = shown->remote;
  }
  if (status.state != TunnelState::kUp) {
    explain(tunnel, unavailable, status);
  } else if (tunnel.stale || tunnel.is_renewing()) {
    status.outdated = true;
    if (tunnel.is_renewing() && tunnel.diagnosis) {
      status.problem = "up with SAs of the key before, but the new key: " + tunnel.diagnosis->problem;
      status.hint = tunnel.diagnosis->hint;
    }
  }
  return status;
}

IkeAttempt attempt_at(const Tunnel& tunnel, const Negotiation& negotiation) {
  IkeAttempt attempt;
  attempt.initiator = negotiation.initiator;
  attempt.local = tunnel.wanted.local.to_string();
  attempt.remote = tunnel.wanted.remote ? tunnel.wanted.remote->to_string() : negotiation.remote;
  attempt.local_id = tunnel.wanted.local_id;
  attempt.remote_id = tunnel.wanted.remote_id;
  attempt.ike_proposals = ike_proposals(tunnel.wanted);
  attempt.esp_proposals = esp_proposals(tunnel.wanted);
  attempt.lines = negotiation.lines;
  return attempt;
}

}  // namespace simplon::ipsec
