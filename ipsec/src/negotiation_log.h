// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipsec/vici/message.h"
#include "platform/base/clock.h"

namespace simplon::ipsec {

/// What charon logged about one IKE_SA since its negotiation began.
struct Negotiation {
  bool initiator = true;
  /// Start of the IKE_SA, or of a CHILD_SA that is created later; nothing if no line said it.
  std::optional<MonoTime> started;
  /// Until the first CHILD_SA is there, its creation is part of the IKE_SA's.
  bool first_child = false;
  /// Name of the connection; empty while a responder does not know it yet.
  std::string name;
  /// The peer's address; empty if no line said it yet.
  std::string remote;
  /// Our address, if the latest line refuses the negotiation because charon has no configuration for its addresses; else
  /// empty.
  std::string refused_local;
  std::vector<std::string> lines;
};

/// Sorts charon's log events by IKE_SA, so that each failure can be explained by the lines of its own attempt.
///
/// A responder's first lines have no connection name ("no IKE config found" never has); they carry the peer's
/// address, which is kept. Bounded: kMaxNegotiations IKE_SAs, the oldest forgotten first, kMaxLines lines each.
/// Threads: none.
class NegotiationLog {
 public:
  static constexpr std::size_t kMaxNegotiations = 4096;
  static constexpr std::size_t kMaxLines = 64;

  /// A `log` event. Returns the negotiation it belongs to, or nullptr; valid until the next call.
  const Negotiation* add(const vici::Section& event, MonoTime now);
  /// A CHILD_SA of that IKE_SA came up: returns the start of its negotiation, and forgets the lines.
  std::optional<MonoTime> finish(std::uint32_t unique_id);
  void forget(std::uint32_t unique_id) { negotiations_.erase(unique_id); }
  /// The configuration changed: what was said of earlier attempts does not explain later ones.
  void forget_connection(const std::string& name);
  void clear() { negotiations_.clear(); }
  [[nodiscard]] std::size_t size() const { return negotiations_.size(); }

 private:
  std::map<std::uint32_t, Negotiation> negotiations_;  // unique ids grow
};

}  // namespace simplon::ipsec
