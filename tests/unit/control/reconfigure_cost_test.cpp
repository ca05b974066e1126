// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the preview of a change says it costs (gateway/config/diff.h), against what charon and FRR are told for it.

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "bgp/src/frr_config.h"
#include "bgp/src/frr_config_diff.h"
#include "gateway/config/diff.h"
#include "gateway/control/spec_builder.h"
#include "ipsec/src/charon_messages.h"
#include "tests/unit/control/fakes.h"

namespace simplon::control {
namespace {

using config::Reconfigure;

/// The cost that the preview tells for one field of one object, as far as sessions notice it.
Reconfigure told(const GatewayConfig& from, const GatewayConfig& to, const std::string& kind, const std::string& key) {
  const auto diff = config::diff(from, to);
  EXPECT_EQ(diff.changes.size(), 1U) << key;
  if (diff.changes.empty()) return Reconfigure::kReplace;
  EXPECT_EQ(diff.changes[0].kind_of_object, kind);
  EXPECT_EQ(diff.changes[0].field, key);
  const auto cost = diff.changes[0].reconfigure;
  return cost == Reconfigure::kNarrows ? Reconfigure::kInPlace : cost;
}

/// Each key has its change, and no other.
template <class Object>
void expect_complete(const std::map<std::string, std::function<void(Object&)>>& changes, const std::string& kind) {
  std::vector<std::string> keys;
  for (const auto& [key, change] : changes) keys.push_back(key);
  auto compared = config::compared_fields(kind);
  std::sort(compared.begin(), compared.end());
  EXPECT_EQ(keys, compared) << "every field of a " << kind << " needs a change here";
}

TEST(ReconfigureCost, OfATunnelIsWhatCharonDoes) {
  const TemporaryDirectory directory;
  const auto config = two_domains(directory);
  auto ids = config::IdRegistry::open(directory.path()).value();
  ASSERT_TRUE(ids.assign(config));
  const std::map<std::string, std::function<void(TunnelConfig&)>> changes = {
      {"domain", [](auto& t) { t.domain = "blue"; }},
      {"local", [](auto& t) { t.local = ip("192.0.2.9"); }},
      {"remote", [](auto& t) { t.remote = ip("198.51.100.9"); }},
      {"local-id", [](auto& t) { t.local_id = "other"; }},
      {"remote-id", [](auto& t) { t.remote_id = "other"; }},
      {"psk-file", [&](auto& t) { t.psk_file = directory.secret("other.psk", "another secret, long enough"); }},
      {"ike-proposals", [](auto& t) { t.ike_proposals = {"aes128gcm16-prfsha256-ecp256"}; }},
      {"esp-proposals", [](auto& t) { t.esp_proposals = {"aes128gcm16"}; }},
      {"allow-weak", [](auto& t) { t.allow_weak = true; }},
      {"encapsulation", [](auto& t) { t.encapsulation = Encapsulation::kUdp; }},
      {"initiate", [](auto& t) { t.initiate = !t.initiate; }},
      {"enabled", [](auto& t) { t.enabled = false; }},
      {"dpd-delay", [](auto& t) { t.dpd_delay += std::chrono::seconds(5); }},
      {"ike-rekey", [](auto& t) { t.ike_rekey += std::chrono::seconds(60); }},
      {"child-rekey", [](auto& t) { t.child_rekey += std::chrono::seconds(60); }},
      {"replay-window", [](auto& t) { t.replay_window *= 2; }},
      {"inside", [](auto& t) { t.inside = {inside("169.254.10.5/30")}; }},
      {"mtu", [](auto& t) { t.mtu_bytes = 1300; }},
      {"clamp-mss", [](auto& t) { t.clamp_mss = !t.clamp_mss; }},
      {"outer-df", [](auto& t) { t.outer_df = OuterDf::kCopy; }},
      {"inner-df", [](auto& t) { t.inner_df = InnerDf::kIgnore; }},
      {"policy.acl", [](auto& t) { t.policy.acl = "web"; }},
      {"policy.reverse-path", [](auto& t) { t.policy.reverse_path = ReversePathConfig::kStrict; }},
      {"policy.rate-from", [](auto& t) { t.policy.bits_from = 1'000'000; }},
      {"policy.rate-to", [](auto& t) { t.policy.bits_to = 1'000'000; }},
      {"policy.packets-from", [](auto& t) { t.policy.packets_from = 1000; }},
      {"policy.packets-to", [](auto& t) { t.policy.packets_to = 1000; }},
      {"policy.max-connections", [](auto& t) { t.policy.max_connections /= 2; }},
  };
  expect_complete(changes, "tunnel");
  for (const auto& [key, change] : changes) {
    auto changed = config;
    change(changed.tunnels[0]);
    const auto before = build_tunnel_specs(config, ids);
    const auto after = build_tunnel_specs(changed, ids);
    const auto cost = told(config, changed, "tunnel", key);
    if (cost == Reconfigure::kReplace) continue;  // more than charon is concerned
    const bool closed = after.specs.size() < before.specs.size();
    const bool again = closed || ipsec::can_change(before.specs[0], after.specs[0]) == ipsec::Reconfigure::kReestablish;
    EXPECT_EQ(cost, again ? Reconfigure::kRestartSession : Reconfigure::kInPlace) << key;
  }
}

TEST(ReconfigureCost, OfANeighborIsWhatFrrDoes) {
  const TemporaryDirectory directory;
  const auto config = two_domains(directory);
  const std::map<std::string, std::function<void(BgpNeighborConfig&)>> changes = {
      {"address", [](auto& n) { n.address = ip("169.254.10.3"); }},
      {"asn", [](auto& n) { n.remote_asn = 65099; }},
      {"password-file", [&](auto& n) { n.password_file = directory.secret("bgp.key", "a-password"); }},
      {"keepalive", [](auto& n) { n.keepalive = std::chrono::seconds(5); }},
      {"hold", [](auto& n) { n.hold = std::chrono::seconds(60); }},
      {"bfd", [](auto& n) { n.bfd = !n.bfd; }},
      {"import", [](auto& n) { n.import = {{prefix("10.0.0.0/8"), 16}}; }},
      {"export", [](auto& n) { n.export_ = {{prefix("172.16.0.0/12"), 16}}; }},
      {"max-prefixes", [](auto& n) { n.max_prefixes += 100; }},
  };
  expect_complete(changes, "neighbor");
  const auto rendered = [](const GatewayConfig& gateway) {
    return bgp::render(build_speaker_spec(gateway, gateway.domains[0], "gw-").spec, 2620).bgpd;
  };
  const std::string address = config.domains[0].bgp->neighbors[0].address.to_string();
  for (const auto& [key, change] : changes) {
    auto changed = config;
    change(changed.domains[0].bgp->neighbors[0]);
    const auto difference = bgp::diff_config(rendered(config), rendered(changed)).value();
    const auto says = [&](const std::string& command) {
      return std::any_of(difference.commands.begin(), difference.commands.end(),
                         [&](const auto& one) { return one.starts_with(command); });
    };
    auto done = Reconfigure::kInPlace;
    // bgpd resets the session for these two by itself.
    if (!difference.resets.empty() || says("neighbor " + address + " remote-as") || says("neighbor " + address + " password")) {
      done = Reconfigure::kRestartSession;
    }
    if (std::find(difference.commands.begin(), difference.commands.end(), "no neighbor " + address) != difference.commands.end()) {
      done = Reconfigure::kReplace;
    }
    // A session that is up does not notice a higher limit, and the one that the old limit ended is no session.
    EXPECT_EQ(difference.raised_limits.empty(), key != "max-prefixes") << key;
    EXPECT_EQ(told(config, changed, "neighbor", key), done) << key;
  }
}

}  // namespace
}  // namespace simplon::control
