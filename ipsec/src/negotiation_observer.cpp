// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/negotiation_observer.h"

#include <optional>
#include <utility>

#include "ipsec/src/charon_messages.h"
#include "ipsec/src/route_probe.h"
#include "platform/base/log.h"

namespace simplon::ipsec {
namespace {

using std::chrono::milliseconds;

bool wants_diagnosis(const Tunnel& tunnel) { return (!tunnel.up || tunnel.is_renewing()) && !tunnel.held; }

void take(Tunnel& tunnel, const IkeDiagnosis& found, bool stranger) {
  if (take_diagnosis(tunnel, found, stranger)) {
    spdlog::warn("tunnel {}: {} ({})", tunnel.wanted.name, found.problem, found.hint);
  }
}

/// What a negotiation that concerns the tunnel says of why it is down.
void judge(Tunnel& tunnel, const Negotiation& negotiation) {
  if (!wants_diagnosis(tunnel)) return;
  IkeAttempt attempt = attempt_at(tunnel, negotiation);
  auto found = diagnose(attempt);
  if (found && found->fault == IkeFault::kNoAnswer && tunnel.wanted.remote) {
    attempt.send_error = why_unreachable(tunnel.wanted.local, *tunnel.wanted.remote);
    found = diagnose(attempt);
  }
  if (found) take(tunnel, *found, false);
}

}  // namespace

void NegotiationObserver::index_addresses() {
  by_local_.clear();
  by_remote_.clear();
  for (const auto& [name, tunnel] : tunnels_) {
    by_local_[tunnel.wanted.local].tunnels.push_back(name);
    if (tunnel.wanted.remote) by_remote_[*tunnel.wanted.remote].push_back(name);
  }
}

Tunnel* NegotiationObserver::find(const std::string& name) {
  const auto at = tunnels_.find(name);
  return at == tunnels_.end() ? nullptr : &at->second;
}

bool NegotiationObserver::observe(const std::string& event, const vici::Section& message, MonoTime now) {
  if (event == "log") {
    observe_line(message, now);
    return false;
  }
  const auto ike = parse_sa(message);
  if (!ike) return false;
  Tunnel* tunnel = find(ike->name);
  if (event == "child-updown" && message.is_yes("up") && tunnel != nullptr) {
    if (const auto started = log_.finish(ike->unique_id)) {
      tunnel->established_in_ms =
          static_cast<std::uint64_t>(std::chrono::duration_cast<milliseconds>(now - *started).count());
    }
  } else if (event == "ike-updown" && !message.is_yes("up")) {
    log_.forget(ike->unique_id);
  } else if (event == "ike-updown" && tunnel != nullptr && tunnel->renewal) {
    // One that was under way when the key was loaded may have been authenticated with the key before.
    Renewal& renewal = *tunnel->renewal;
    if (!renewal.before || !renewal.before->contains(ike->unique_id)) renewal.authenticated.insert(ike->unique_id);
  }
  return tunnel != nullptr;
}

void NegotiationObserver::observe_line(const vici::Section& message, MonoTime now) {
  const Negotiation* negotiation = log_.add(message, now);
  if (negotiation == nullptr) return;
  if (!negotiation->name.empty()) {
    if (Tunnel* tunnel = find(negotiation->name)) judge(*tunnel, *negotiation);
    return;
  }
  if (const auto remote = IpAddress::parse(negotiation->remote)) {
    if (const auto known = by_remote_.find(*remote); known != by_remote_.end()) {
      for (const std::string& name : known->second) judge(*find(name), *negotiation);
      return;
    }
  }
  judge_stranger(*negotiation, now);
}

/// Nobody's peer: perhaps a tunnel has a wrong remote address.
void NegotiationObserver::judge_stranger(const Negotiation& negotiation, MonoTime now) {
  const auto local = IpAddress::parse(negotiation.refused_local);
  const auto at = local ? by_local_.find(*local) : by_local_.end();
  if (at == by_local_.end() || now < at->second.next_stranger) return;
  at->second.next_stranger = now + kStrangerPeriod;
  // The same for all of them: what it says are the addresses.
  IkeAttempt attempt;
  attempt.initiator = false;
  attempt.lines = {negotiation.lines.back()};
  const auto found = diagnose(attempt);
  if (!found) return;
  for (const std::string& name : at->second.tunnels) {
    if (Tunnel& tunnel = *find(name); wants_diagnosis(tunnel)) take(tunnel, *found, true);
  }
}

}  // namespace simplon::ipsec
