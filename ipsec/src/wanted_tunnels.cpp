// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/wanted_tunnels.h"

#include "ipsec/src/charon_messages.h"
#include "platform/sys/file.h"

namespace simplon::ipsec {
namespace {

/// The key, or whether it can be read: nobody asks for a tunnel to be up by that.
bool differ_in_key_only(const TunnelSpec& one, const TunnelSpec& other) {
  TunnelSpec same = one;
  sys::wipe(same.psk);
  same.psk = other.psk;
  same.keep_as_is = other.keep_as_is;
  const bool equal = same == other;
  sys::wipe(same.psk);
  return equal;
}

}  // namespace

WantedTunnels::~WantedTunnels() {
  for (auto& [name, tunnel] : tunnels_) sys::wipe(tunnel.wanted.psk);
}

std::vector<std::string> WantedTunnels::want(std::vector<TunnelSpec> wanted, MonoTime now) {
  std::set<std::string> names;
  std::vector<std::string> changed;
  for (TunnelSpec& spec : wanted) {
    names.insert(spec.name);
    Tunnel& tunnel = tunnels_[spec.name];
    // Removed a moment ago, and charon may not have heard of it: what it has was negotiated as given then.
    if (auto removed = removed_.extract(spec.name)) tunnel.given = std::move(removed.mapped());
    if (tunnel.wanted != spec) {
      changed.push_back(spec.name);
      hold(tunnel, tunnel.held && differ_in_key_only(tunnel.wanted, spec));
      tunnel.asked = false;
      tunnel.load_error.reset();
      if (tunnel.in_charon == InCharon::kLoading) tunnel.in_charon = InCharon::kUnknown;
      tunnel.forget_diagnosis();
      tunnel.next_try = now;
      tunnel.retry = kFirstRetry;
    }
    sys::wipe(tunnel.wanted.psk);
    tunnel.wanted = std::move(spec);
  }
  for (auto at = tunnels_.begin(); at != tunnels_.end();) {
    if (names.contains(at->first)) {
      ++at;
      continue;
    }
    sys::wipe(at->second.wanted.psk);
    removed_.insert_or_assign(at->first, std::move(at->second.given));
    at = tunnels_.erase(at);
  }
  index_identities();
  return changed;
}

void WantedTunnels::index_identities() {
  identities_.clear();
  keys_of_peers_.clear();
  for (const auto& [name, tunnel] : tunnels_) {
    ++identities_[{tunnel.wanted.local_id, tunnel.wanted.remote_id}];
    if (!tunnel.wanted.keep_as_is) keys_of_peers_[remote_identity(tunnel.wanted)].insert(key_mark(tunnel.wanted.psk));
  }
}

Tunnel* WantedTunnels::find(const std::string& name) {
  const auto at = tunnels_.find(name);
  return at == tunnels_.end() ? nullptr : &at->second;
}

std::vector<std::string> WantedTunnels::names() const {
  std::vector<std::string> all;
  for (const auto& [name, tunnel] : tunnels_) all.push_back(name);
  return all;
}

void WantedTunnels::hold(Tunnel& tunnel, bool held) {
  if (std::exchange(tunnel.held, held) != held) ++hold_changes_;
}

std::set<std::string> WantedTunnels::held() const {
  std::set<std::string> names;
  for (const auto& [name, tunnel] : tunnels_) {
    if (tunnel.held) names.insert(name);
  }
  return names;
}

bool WantedTunnels::shares_identities(const TunnelSpec& spec) const {
  return identities_.at({spec.local_id, spec.remote_id}) > 1;
}

bool WantedTunnels::shares_peer_with_another_key(const TunnelSpec& spec) const {
  const auto keys = keys_of_peers_.find(remote_identity(spec));
  return keys != keys_of_peers_.end() && keys->second.size() > 1;
}

std::vector<std::string> WantedTunnels::removed() const {
  std::vector<std::string> all;
  for (const auto& [name, given] : removed_) all.push_back(name);
  return all;
}

void WantedTunnels::add_leftover(const std::string& name) { removed_.try_emplace(name); }

void WantedTunnels::forget_removed(const std::string& name) { removed_.erase(name); }

}  // namespace simplon::ipsec
