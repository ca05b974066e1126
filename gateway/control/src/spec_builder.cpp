// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/spec_builder.h"

#include <algorithm>
#include <utility>

#include "platform/sys/file.h"

namespace simplon::control {

namespace {

/// Copies and wipes instead of moving: a moved-from short string still holds its characters.
void hand_over(std::string& from, std::string& to) {
  to = from;
  sys::wipe(from);
}

/// Of a BGP neighbor.
Result<std::string> read_password(const std::string& path) {
  auto password = sys::read_secret_file(path);
  if (!password || bgp::is_password(*password)) return password;
  sys::wipe(*password);
  return fail(ErrorCode::kInvalidConfig, path + " has no password that FRR takes",
              "one line of at most 80 printable ASCII characters, without spaces");
}

std::vector<bgp::PrefixRule> build_rules(const std::vector<PrefixRule>& rules) {
  std::vector<bgp::PrefixRule> built;
  built.reserve(rules.size());
  for (const auto& rule : rules) built.push_back({rule.prefix, rule.max_length});
  return built;
}

}  // namespace

TunnelSpecs::~TunnelSpecs() {
  for (auto& spec : specs) sys::wipe(spec.psk);
}

TunnelSpecs build_tunnel_specs(const GatewayConfig& config, const config::IdRegistry& ids) {
  TunnelSpecs built;
  // No reallocation later: it would leave copies of keys behind.
  built.specs.reserve(config.tunnels.size());
  for (const auto& tunnel : config.tunnels) {
    const auto id = ids.tunnel(tunnel.name);
    if (!tunnel.enabled || !id) continue;
    auto secret = sys::read_secret_file(tunnel.psk_file);
    if (!secret) {
      auto error = secret.error();
      error.what = "tunnel " + tunnel.name + ": " + error.what;
      built.problems.emplace(tunnel.name, std::move(error));
    }
    auto& spec = built.specs.emplace_back();
    spec.keep_as_is = !secret.has_value();
    spec.name = tunnel.name;
    spec.id = *id;
    spec.local = tunnel.local;
    spec.remote = tunnel.remote;
    spec.local_id = tunnel.local_id;
    spec.remote_id = tunnel.remote_id;
    if (secret) hand_over(*secret, spec.psk);
    spec.ike_proposals = tunnel.ike_proposals;
    spec.esp_proposals = tunnel.esp_proposals;
    spec.force_udp = tunnel.encapsulation == Encapsulation::kUdp;
    spec.initiate = tunnel.initiate;
    spec.dpd_delay = tunnel.dpd_delay;
    spec.ike_rekey = tunnel.ike_rekey;
    spec.child_rekey = tunnel.child_rekey;
    spec.replay_window = tunnel.replay_window;
  }
  return built;
}

BuiltSpeaker build_speaker_spec(const GatewayConfig& config, const DomainConfig& domain, const std::string& netns_prefix) {
  BuiltSpeaker result;
  bgp::SpeakerSpec& spec = result.spec;
  spec.netns = netns_prefix + domain.name;
  spec.asn = domain.bgp->asn;
  spec.router_id = domain.bgp->router_id;
  for (const auto& vpc : config.vpcs) {
    if (vpc.domain == domain.name)
      spec.originate.insert(spec.originate.end(), vpc.prefixes.begin(), vpc.prefixes.end());
  }
  // What peers see instead of inner addresses has to be reachable too.
  for (const auto& rule : domain.nat) {
    if (rule.outside && rule.type != NatType::kNetmapRemote) spec.originate.push_back(*rule.outside);
  }
  std::sort(spec.originate.begin(), spec.originate.end());
  spec.originate.erase(std::unique(spec.originate.begin(), spec.originate.end()), spec.originate.end());
  spec.neighbors.reserve(domain.bgp->neighbors.size());
  for (const auto& neighbor : domain.bgp->neighbors) {
    auto& built = spec.neighbors.emplace_back();
    built.name = neighbor.name;
    built.address = neighbor.address;
    built.remote_asn = neighbor.remote_asn;
    if (neighbor.password_file) {
      auto password = read_password(*neighbor.password_file);
      built.keep_as_is = !password.has_value();
      if (password) {
        hand_over(*password, built.password);
      } else if (!result.problem) {
        result.problem = make_error(ErrorCode::kInvalidConfig,
                                    "neighbor " + domain.name + "/" + neighbor.name + ": " + password.error().what, password.error().hint);
      }
    }
    built.keepalive = neighbor.keepalive;
    built.hold = neighbor.hold;
    built.bfd = neighbor.bfd;
    built.import = build_rules(neighbor.import);
    built.export_ = build_rules(neighbor.export_);
    built.max_prefixes = neighbor.max_prefixes;
  }
  return result;
}

}  // namespace simplon::control
