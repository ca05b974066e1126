// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "ipsec/src/negotiation_log.h"
#include "ipsec/src/tunnel_state.h"
#include "ipsec/vici/message.h"
#include "platform/base/clock.h"
#include "platform/net/ip_address.h"

namespace simplon::ipsec {

/// Writes into tunnels what charon's events say of them: how long a negotiation took, who proved a new key, and why a
/// negotiation failed.
///
/// Lifetime: `tunnels` outlives it. Threads: none. Cost: an event looks at the tunnels that it concerns. The attempt of
/// nobody's peer may concern each one at the address it came to, and anybody can send it: those are looked at once per
/// kStrangerPeriod and address.
class NegotiationObserver {
 public:
  /// Chosen by us.
  static constexpr std::chrono::milliseconds kStrangerPeriod{1000};

  explicit NegotiationObserver(std::map<std::string, Tunnel>& tunnels) : tunnels_(tunnels) {}

  /// Tunnels came or went, or have other addresses.
  void index_addresses();
  /// An `ike-updown`, `child-updown` or `log` event. True if an IKE_SA or CHILD_SA of a tunnel came or went.
  bool observe(const std::string& event, const vici::Section& message, MonoTime now);
  /// The configuration changed: what was said of earlier attempts does not explain later ones.
  void forget_connection(const std::string& name) { log_.forget_connection(name); }
  /// Another charon, whose IKE_SAs have numbers of their own.
  void forget_ike_sas() { log_.clear(); }

 private:
  struct AtLocal {
    std::vector<std::string> tunnels;
    MonoTime next_stranger{};
  };

  Tunnel* find(const std::string& name);
  void observe_line(const vici::Section& message, MonoTime now);
  void judge_stranger(const Negotiation& negotiation, MonoTime now);

  std::map<std::string, Tunnel>& tunnels_;
  std::map<IpAddress, AtLocal> by_local_;
  /// Of those that have one.
  std::map<IpAddress, std::vector<std::string>> by_remote_;
  NegotiationLog log_;
};

}  // namespace simplon::ipsec
