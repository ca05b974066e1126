// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "gateway/config/src/judge.h"

namespace simplon::config {

void Judge::judge_tunnels() {
  Names names;
  std::map<std::tuple<IpAddress, std::optional<IpAddress>, std::string, std::string>, std::string> ends;
  for (std::size_t i = 0; i < config_.tunnels.size(); ++i) {
    const auto& tunnel = config_.tunnels[i];
    const std::string path = at("tunnels", i);
    unique(names, tunnel.name, path + ".name", "tunnel");
    reference_domain(tunnel.domain, path + ".domain");
    judge_tunnel_ends(tunnel, path);
    const auto [first, is_new] =
        ends.emplace(std::tuple(tunnel.local, tunnel.remote, tunnel.local_id, tunnel.remote_id), tunnel.name);
    if (!is_new) {
      conflict(path + (tunnel.remote ? ".remote" : ".remote-id"),
               tunnel.remote ? tunnel.remote->to_string() : tunnel.remote_id,
               "tunnel " + quoted(first->second) + " has the same ends and identities",
               "IKE cannot tell them apart: give them different ids");
    }
    secret(tunnel.psk_file, path + ".psk-file");
    judge_proposals(tunnel, path);
    judge_inside(tunnel, path);
  }
  judge_keys();
}

/// A key is found by the peer's identity; among several of one peer, by the pair (ipsec/src/charon_messages.h). charon takes it from
/// whoever negotiates with one of the identities that find it. Only warnings: two files may have the same content.
void Judge::judge_keys() {
  std::map<std::string, const TunnelConfig*> of_ours;
  std::map<std::string, const TunnelConfig*> of_peers;
  for (const auto& tunnel : config_.tunnels) {
    if (tunnel.enabled) of_ours.emplace(tunnel.local_id, &tunnel);
  }
  for (std::size_t i = 0; i < config_.tunnels.size(); ++i) {
    const auto& tunnel = config_.tunnels[i];
    if (!tunnel.enabled) continue;
    const auto warn = [&](const TunnelConfig& other, const std::string& what, const std::string& remedy) {
      warning(at("tunnels", i) + ".psk-file", tunnel.psk_file,
              "tunnel " + quoted(other.name) + " has " + what + " and another key file, " + other.psk_file, remedy);
    };
    const TunnelConfig& first = *of_peers.emplace(tunnel.remote_id, &tunnel).first->second;
    const auto ours = of_ours.find(tunnel.remote_id);
    if (first.psk_file != tunnel.psk_file && first.local_id == tunnel.local_id) {
      warn(first, "the same identities " + quoted(tunnel.local_id) + " and " + quoted(tunnel.remote_id),
           "IKE finds the key by the identities: one file for both, or different ids");
    } else if (first.psk_file != tunnel.psk_file) {
      warn(first, "the same remote-id " + quoted(tunnel.remote_id),
           "who has one of the keys can pass for every peer of the same local-id: one file for both, or different remote-ids");
    } else if (ours != of_ours.end() && ours->second->psk_file != tunnel.psk_file) {
      warn(*ours->second, "the local-id " + quoted(tunnel.remote_id) + ", which is the remote-id of this one,",
           "who has this key can pass for every peer of that local-id: one file for both, or different ids");
    }
  }
}

void Judge::judge_tunnel_ends(const TunnelConfig& tunnel, const std::string& path) {
  if (!is_host_address(tunnel.local)) {
    error(path + ".local", tunnel.local.to_string(), tunnel.local.to_string() + " is not the address of a host");
  }
  if (!tunnel.remote) {
    if (tunnel.remote_id.empty()) {
      error(path + ".remote-id", {}, "is missing: without 'remote' the peer is known by its identity only",
            "add 'remote-id' or 'remote'");
    }
    if (tunnel.initiate) {
      error(path + ".initiate", "true", "a tunnel without 'remote' can only wait for its peer",
            "add 'initiate: false' or 'remote'");
    }
    return;
  }
  const std::string remote = tunnel.remote->to_string();
  if (!is_host_address(*tunnel.remote)) {
    error(path + ".remote", remote, remote + " is not the address of a host");
  } else if (tunnel.remote->family() != tunnel.local.family()) {
    auto& judgement =
        error(path + ".remote", remote,
              "local " + tunnel.local.to_string() + " and remote " + remote + " are not of the same IP version",
              "use two IPv4 or two IPv6 addresses");
    judgement.premise = Judgement::Premise::kPath;
    judgement.premise_path = path + ".local";
  } else if (*tunnel.remote == tunnel.local) {
    error(path + ".remote", remote, "both ends of the tunnel have the address " + remote);
  }
}

void Judge::judge_proposals(const TunnelConfig& tunnel, const std::string& path) {
  const auto judge_list = [&](const std::vector<std::string>& list, const std::string& where, auto check) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (auto ok = check(list[i], tunnel.allow_weak); !ok) {
        error(at(where, i), list[i], ok.error().what, ok.error().hint);
      } else if (std::find(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(i), list[i]) !=
                 list.begin() + static_cast<std::ptrdiff_t>(i)) {
        conflict(at(where, i), list[i], "the proposal " + quoted(list[i]) + " is given twice");
      } else if (auto strong = check(list[i], false); !strong) {
        warning(at(where, i), list[i], strong.error().what, "allow-weak permits it; " + strong.error().hint);
      }
    }
  };
  judge_list(tunnel.ike_proposals, path + ".ike-proposals", check_ike_proposal);
  judge_list(tunnel.esp_proposals, path + ".esp-proposals", check_esp_proposal);
}

void Judge::judge_inside(const TunnelConfig& tunnel, const std::string& path) {
  one_of_each_family(tunnel.inside, path + ".inside");
  for (std::size_t i = 0; i < tunnel.inside.size(); ++i) {
    const auto& inside = tunnel.inside[i];
    const std::string where = at(path + ".inside", i);
    if (!is_host_address(inside.address) || is_network_or_broadcast(inside.address, inside.length)) {
      error(where, inside.to_string(), inside.to_string() + " is not the address of a host");
    }
    if (inside.address.is_v6() && tunnel.mtu_bytes && *tunnel.mtu_bytes < 1280) {
      error(path + ".mtu", std::to_string(*tunnel.mtu_bytes), "is too small for IPv6",
            "at least 1280 (RFC 8200 section 5)");
    }
    claims_[tunnel.domain].push_back(
        {inside.network(), where, "the inside link of tunnel " + quoted(tunnel.name), false});
  }
}

}  // namespace simplon::config
