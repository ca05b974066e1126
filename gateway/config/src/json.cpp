// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/json.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "gateway/config/src/parsed_document.h"
#include "platform/base/utc.h"

namespace simplon::config {
namespace {

using nlohmann::json;

template <class List>
json strings(const List& items) {
  json list = json::array();
  for (const auto& item : items) list.push_back(item.to_string());
  return list;
}

json rules(const std::vector<PrefixRule>& items) {
  json list = json::array();
  for (const auto& item : items) list.push_back(format_prefix_rule(item));
  return list;
}

}  // namespace

json to_json(const Issue& issue) {
  json out = {{"code", std::string(to_string(issue.code))},
              {"path", issue.path},
              {"value", issue.value},
              {"what", issue.what},
              {"hint", issue.hint}};
  if (issue.line > 0) out["line"] = issue.line;
  return out;
}

json to_json(const std::vector<Issue>& issues, Severity severity) {
  json list = json::array();
  for (const auto& issue : issues) {
    if (issue.severity == severity) list.push_back(to_json(issue));
  }
  return list;
}

json to_json(const Change& change) {
  return {{"kind", std::string(to_string(change.kind))},
          {"object", change.kind_of_object},
          {"name", change.name},
          {"field", change.field},
          {"old", change.old_value},
          {"new", change.new_value},
          {"reconfigure", std::string(to_string(change.reconfigure))}};
}

json to_json(const Impact& impact) {
  return {{"object", impact.kind_of_object},
          {"name", impact.name},
          {"kind", std::string(to_string(impact.kind))},
          {"reconfigure", std::string(to_string(impact.reconfigure))},
          {"words", impact.words}};
}

json to_json(const Diff& diff) {
  json out = {{"changes", json::array()}, {"impact", json::array()}, {"summary", diff.summary()}};
  for (const auto& change : diff.changes) out["changes"].push_back(to_json(change));
  for (const auto& impact : diff.impact) out["impact"].push_back(to_json(impact));
  return out;
}

json to_json(const Version& version) {
  json out = {{"version", version.number}, {"when", format_utc(version.when)},
          {"who", version.who},        {"comment", version.comment},
          {"hash", version.hash},      {"parent", version.parent}};
  out["uid"] = nullptr;
  if (version.uid) out["uid"] = *version.uid;
  out["outcome"] = std::string(to_string(version.outcome));
  out["outcome_reason"] = version.outcome_reason;
  return out;
}

json to_json(const std::optional<Pending>& pending, std::chrono::system_clock::time_point now) {
  if (!pending) return nullptr;
  const auto left = std::chrono::ceil<std::chrono::seconds>(pending->deadline - now).count();
  json gates = json::array();
  for (const auto& gate : pending->gates) gates.push_back({{"gate", gate}, {"healthy", nullptr}, {"problem", ""}});
  return {{"version", pending->number},
          {"reverts_to", pending->reverts_to},
          {"deadline", format_utc(pending->deadline)},
          {"seconds_left", left < 0 ? 0 : left},
          {"window_seconds", pending->window.count()},
          {"confirm_required", pending->confirm_required},
          {"gates", gates}};
}

json to_json(const TunnelConfig& tunnel) {
  json out = {{"name", tunnel.name},
              {"domain", tunnel.domain},
              {"local", tunnel.local.to_string()},
              {"remote", nullptr},
              {"local-id", tunnel.local_id},
              {"remote-id", tunnel.remote_id},
              {"psk-file", tunnel.psk_file},
              {"ike-proposals", tunnel.ike_proposals},
              {"esp-proposals", tunnel.esp_proposals},
              {"allow-weak", tunnel.allow_weak},
              {"encapsulation", tunnel.encapsulation == Encapsulation::kUdp ? "udp" : "auto"},
              {"initiate", tunnel.initiate},
              {"enabled", tunnel.enabled},
              {"dpd-delay", tunnel.dpd_delay.count()},
              {"ike-rekey", tunnel.ike_rekey.count()},
              {"child-rekey", tunnel.child_rekey.count()},
              {"replay-window", tunnel.replay_window},
              {"inside", strings(tunnel.inside)},
              {"mtu", nullptr},
              {"clamp-mss", tunnel.clamp_mss},
              {"outer-df", to_string(tunnel.outer_df)},
              {"inner-df", to_string(tunnel.inner_df)}};
  if (tunnel.remote) out["remote"] = tunnel.remote->to_string();
  if (tunnel.mtu_bytes) out["mtu"] = *tunnel.mtu_bytes;
  return out;
}

json to_json(const CircuitConfig& circuit) {
  json out = {{"name", circuit.name},
              {"domain", circuit.domain},
              {"uplink", circuit.uplink},
              {"vlan", circuit.vlan},
              {"outer-vlan", nullptr},
              {"outer-type", circuit.outer_type == OuterTag::k8021q ? "802.1q" : "802.1ad"},
              {"addresses", strings(circuit.addresses)},
              {"mtu", circuit.mtu_bytes},
              {"clamp-mss", circuit.clamp_mss},
              {"enabled", circuit.enabled},
              {"service-key", nullptr},
              {"path", circuit.path == CircuitPath::kSecondary ? "secondary" : "primary"}};
  if (circuit.outer_vlan) out["outer-vlan"] = *circuit.outer_vlan;
  if (circuit.service_key) out["service-key"] = *circuit.service_key;
  return out;
}

json to_json(const EndpointConfig& endpoint) {
  return {{"address", endpoint.address.to_string()},
          {"mac", endpoint.mac.to_string()},
          {"vtep", endpoint.vtep.to_string()}};
}

json to_json(const VpcConfig& vpc) {
  json out = {{"name", vpc.name},
              {"domain", vpc.domain},
              {"vni", vpc.vni.value()},
              {"prefixes", strings(vpc.prefixes)},
              {"gateway", strings(vpc.gateway)},
              {"gateway-mac", vpc.gateway_mac.to_string()},
              {"mtu", vpc.mtu_bytes},
              {"endpoints", json::array()}};
  for (const auto& endpoint : vpc.endpoints) out["endpoints"].push_back(to_json(endpoint));
  return out;
}

json to_json(const BgpNeighborConfig& neighbor) {
  json out = {{"name", neighbor.name},
              {"address", neighbor.address.to_string()},
              {"asn", neighbor.remote_asn},
              {"password-file", nullptr},
              {"keepalive", neighbor.keepalive.count()},
              {"hold", neighbor.hold.count()},
              {"bfd", neighbor.bfd},
              {"import", rules(neighbor.import)},
              {"export", rules(neighbor.export_)},
              {"max-prefixes", neighbor.max_prefixes}};
  if (neighbor.password_file) out["password-file"] = *neighbor.password_file;
  return out;
}

json to_json(const BgpConfig& bgp) { return {{"asn", bgp.asn}, {"router-id", bgp.router_id.to_string()}}; }

}  // namespace simplon::config
