// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ipsec/src/tunnel_state.h"
#include "platform/base/clock.h"

namespace simplon::ipsec {

/// The tunnels that are wanted, each with what is known of it, and those that no longer are until charon has heard of
/// that.
///
/// Owns the keys in them and wipes them. Pointers and references to a tunnel hold until the next `want`. Threads: none.
class WantedTunnels {
 public:
  using ByName = std::map<std::string, Tunnel>;

  WantedTunnels() = default;
  ~WantedTunnels();
  WantedTunnels(const WantedTunnels&) = delete;
  WantedTunnels& operator=(const WantedTunnels&) = delete;

  /// These and no others. The names of those that are new or not as before: what is known of them begins anew.
  std::vector<std::string> want(std::vector<TunnelSpec> wanted, MonoTime now);

  /// nullptr: it is not wanted.
  [[nodiscard]] Tunnel* find(const std::string& name);
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] ByName& by_name() { return tunnels_; }
  [[nodiscard]] ByName::iterator begin() { return tunnels_.begin(); }
  [[nodiscard]] ByName::iterator end() { return tunnels_.end(); }

  /// Taken down by the operator, or no longer.
  void hold(Tunnel& tunnel, bool held);
  [[nodiscard]] std::set<std::string> held() const;
  /// Grows whenever another set of tunnels is held.
  [[nodiscard]] std::uint64_t hold_changes() const { return hold_changes_; }

  /// Another tunnel has the same pair of identities.
  [[nodiscard]] bool shares_identities(const TunnelSpec& spec) const;
  /// Another tunnel to the same identity has another key.
  [[nodiscard]] bool shares_peer_with_another_key(const TunnelSpec& spec) const;

  /// Names of those that charon has yet to forget.
  [[nodiscard]] std::vector<std::string> removed() const;
  /// charon has one that nobody wants, and nobody knows what it was given.
  void add_leftover(const std::string& name);
  /// charon has forgotten it.
  void forget_removed(const std::string& name);

 private:
  void index_identities();

  ByName tunnels_;
  /// With what charon was given.
  std::map<std::string, std::optional<Given>> removed_;
  /// How many of `tunnels_` have a pair of identities.
  std::map<std::pair<std::string, std::string>, std::size_t> identities_;
  /// Marks of the keys of all tunnels to an identity.
  std::map<std::string, std::set<std::size_t>> keys_of_peers_;
  std::uint64_t hold_changes_ = 0;
};

}  // namespace simplon::ipsec
