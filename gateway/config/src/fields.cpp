// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/src/fields.h"

#include <algorithm>
#include <limits>

#include "gateway/config/src/object_reader.h"
#include "gateway/config/src/parsed_document.h"

namespace simplon::config {
namespace {

constexpr auto kInPlace = Reconfigure::kInPlace;
constexpr auto kNarrows = Reconfigure::kNarrows;
constexpr auto kRestartSession = Reconfigure::kRestartSession;
constexpr auto kReplace = Reconfigure::kReplace;

const auto kPrint = [](const auto& value) { return value.to_string(); };

template <class List, class Format>
std::vector<std::string> texts_of(const List& items, Format format) {
  std::vector<std::string> texts;
  for (const auto& item : items) texts.push_back(format(item));
  return texts;
}

std::string yes_no(bool value) { return value ? "true" : "false"; }

/// The first that matches decides.
Field list_of(const char* key, std::vector<Term> terms, const char* separator = ", ") {
  std::string value;
  for (const auto& term : terms) value += (value.empty() ? "" : separator) + term.text;
  return {key, std::move(value), kNarrows, std::move(terms), {}};
}

std::vector<std::string> sorted(std::vector<std::string> items) {
  std::sort(items.begin(), items.end());
  return items;
}

/// Whatever their order is, the same passes.
Field set_of(const char* key, const std::vector<std::string>& items) {
  std::vector<Term> terms;
  for (auto& item : sorted(items)) terms.push_back({std::move(item)});
  return {key, comma_separated(items), kNarrows, std::move(terms)};
}

Field limit(const char* key, std::uint64_t most) { return {key, std::to_string(most), kNarrows, {}, most}; }

/// 0 is no limit.
Field rate(const char* key, std::uint64_t most) {
  if (most == 0) return {key, "", kNarrows, {}, std::numeric_limits<std::uint64_t>::max()};
  return limit(key, most);
}

/// The fields of an object, and then those of its policy.
Fields with(const PolicyConfig& policy, Fields fields) {
  const auto mode = policy.reverse_path;
  const std::uint64_t leniency = mode == ReversePathConfig::kOff ? 2 : mode == ReversePathConfig::kLoose ? 1 : 0;
  std::vector<Term> list;
  if (!policy.acl.empty()) list.push_back({policy.acl, false});
  fields.push_back(list_of("policy.acl", std::move(list)));
  fields.push_back({"policy.reverse-path", std::string(to_string(mode)), kNarrows, {}, leniency});
  fields.push_back(rate("policy.rate-from", policy.bits_from));
  fields.push_back(rate("policy.rate-to", policy.bits_to));
  fields.push_back(rate("policy.packets-from", policy.packets_from));
  fields.push_back(rate("policy.packets-to", policy.packets_to));
  fields.push_back(limit("policy.max-connections", policy.max_connections));
  return fields;
}

std::string describe_route(const StaticRouteConfig& route) {
  return route.prefix.to_string() + " via " + (route.gateway ? route.gateway->to_string() + " on " : "") + route.via +
         (route.distance == StaticRouteConfig().distance ? "" : " distance " + std::to_string(route.distance));
}

/// Something of before that let pass is gone, or something stops that did not, or the order of the others is another.
bool fewer_pass(const std::vector<Term>& before, const std::vector<Term>& after) {
  const auto is_in = [](const std::vector<Term>& list, const Term& term) {
    return std::find(list.begin(), list.end(), term) != list.end();
  };
  std::vector<Term> stayed;
  for (const auto& term : before) {
    if (is_in(after, term)) stayed.push_back(term);
    else if (term.lets_pass) return true;
  }
  std::vector<Term> were_there;
  for (const auto& term : after) {
    if (is_in(before, term)) were_there.push_back(term);
    else if (!term.lets_pass) return true;
  }
  return stayed != were_there;
}

}  // namespace

std::string comma_separated(const std::vector<std::string>& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

Reconfigure cost_of_change(const Field& before, const Field& after) {
  if (before.cost != kNarrows) return before.cost;
  const bool less = before.limit ? *after.limit < *before.limit : fewer_pass(before.terms, after.terms);
  return less ? kNarrows : kInPlace;
}

Fields fields_of(const GatewayConfig& config) {
  return {{"name", config.name, kInPlace},
          {"vtep", config.vtep ? config.vtep->to_string() : "", kReplace},
          {"vxlan-port", std::to_string(config.vxlan_port), kReplace}};
}

Fields fields_of(const UplinkConfig&) { return {}; }

Fields fields_of(const BgpNeighborConfig& neighbor) {
  return {{"address", neighbor.address.to_string(), kReplace},
          {"asn", std::to_string(neighbor.remote_asn), kRestartSession},
          {"password-file", neighbor.password_file.value_or(""), kRestartSession},
          {"keepalive", format_duration(neighbor.keepalive), kInPlace},
          {"hold", format_duration(neighbor.hold), kInPlace},
          {"bfd", yes_no(neighbor.bfd), kRestartSession},
          set_of("import", texts_of(neighbor.import, format_prefix_rule)),
          set_of("export", texts_of(neighbor.export_, format_prefix_rule)),
          limit("max-prefixes", neighbor.max_prefixes)};
}

Fields fields_of(const DomainConfig& domain) {
  std::vector<Term> nat;
  for (const auto& rule : domain.nat) nat.push_back({rule.name + ": " + describe_rule(rule)});
  return {{"bgp.asn", domain.bgp ? std::to_string(domain.bgp->asn) : "", kRestartSession},
          {"bgp.router-id", domain.bgp ? domain.bgp->router_id.to_string() : "", kRestartSession},
          set_of("static-routes", sorted(texts_of(domain.static_routes, describe_route))),
          list_of("nat", std::move(nat), "; ")};
}

Fields fields_of(const AclConfig& acl) {
  std::vector<Term> rules;
  for (const auto& rule : acl.rules) rules.push_back({rule.name + ": " + describe_rule(rule), rule.allow});
  return {list_of("default", {{acl.allow_by_default ? "allow" : "deny", acl.allow_by_default}}),
          list_of("rules", std::move(rules), "; ")};
}

Fields fields_of(const EndpointConfig& endpoint) {
  return {{"mac", endpoint.mac.to_string(), kInPlace}, {"vtep", endpoint.vtep.to_string(), kInPlace}};
}

Fields fields_of(const VpcConfig& vpc) {
  return with(vpc.policy, {{"domain", vpc.domain, kReplace},
                           {"vni", std::to_string(vpc.vni.value()), kReplace},
                           set_of("prefixes", texts_of(vpc.prefixes, kPrint)),
                           set_of("gateway", texts_of(vpc.gateway, kPrint)),
                           set_of("gateway-mac", {vpc.gateway_mac.to_string()}),
                           {"mtu", std::to_string(vpc.mtu_bytes), kInPlace}});
}

Fields fields_of(const TunnelConfig& tunnel) {
  return with(tunnel.policy,
              {{"domain", tunnel.domain, kReplace},
               {"local", tunnel.local.to_string(), kRestartSession},
               {"remote", tunnel.remote ? tunnel.remote->to_string() : "any", kRestartSession},
               {"local-id", tunnel.local_id, kRestartSession},
               {"remote-id", tunnel.remote_id, kRestartSession},
               {"psk-file", tunnel.psk_file, kInPlace},
               {"ike-proposals", comma_separated(tunnel.ike_proposals), kRestartSession},
               {"esp-proposals", comma_separated(tunnel.esp_proposals), kRestartSession},
               {"allow-weak", yes_no(tunnel.allow_weak), kInPlace},
               {"encapsulation", tunnel.encapsulation == Encapsulation::kUdp ? "udp" : "auto", kRestartSession},
               {"initiate", yes_no(tunnel.initiate), kInPlace},
               {"enabled", yes_no(tunnel.enabled), kRestartSession},
               {"dpd-delay", format_duration(tunnel.dpd_delay), kInPlace},
               {"ike-rekey", format_duration(tunnel.ike_rekey), kInPlace},
               {"child-rekey", format_duration(tunnel.child_rekey), kInPlace},
               {"replay-window", std::to_string(tunnel.replay_window), kRestartSession},
               set_of("inside", texts_of(tunnel.inside, kPrint)),
               {"mtu", tunnel.mtu_bytes ? std::to_string(*tunnel.mtu_bytes) : "", kInPlace},
               {"clamp-mss", yes_no(tunnel.clamp_mss), kInPlace},
               {"outer-df", std::string(to_string(tunnel.outer_df)), kInPlace},
               {"inner-df", std::string(to_string(tunnel.inner_df)), kInPlace}});
}

Fields fields_of(const CircuitConfig& circuit) {
  return with(circuit.policy,
              {{"domain", circuit.domain, kReplace},
               {"uplink", circuit.uplink, kRestartSession},
               {"vlan", std::to_string(circuit.vlan), kRestartSession},
               {"outer-vlan", circuit.outer_vlan ? std::to_string(*circuit.outer_vlan) : "", kRestartSession},
               {"outer-type", circuit.outer_type == OuterTag::k8021q ? "802.1q" : "802.1ad", kRestartSession},
               {"addresses", comma_separated(texts_of(circuit.addresses, kPrint)), kRestartSession},
               {"mtu", std::to_string(circuit.mtu_bytes), kInPlace},
               {"clamp-mss", yes_no(circuit.clamp_mss), kInPlace},
               {"enabled", yes_no(circuit.enabled), kRestartSession},
               {"service-key", circuit.service_key.value_or(""), kInPlace},
               {"path", circuit.path == CircuitPath::kSecondary ? "secondary" : "primary", kInPlace}});
}

std::string describe(const UplinkConfig& uplink) { return uplink.interface; }

std::string describe(const DomainConfig& domain) {
  return domain.bgp ? "AS " + std::to_string(domain.bgp->asn) : "without BGP";
}

std::string describe(const BgpNeighborConfig& neighbor) {
  return neighbor.address.to_string() + " AS " + std::to_string(neighbor.remote_asn);
}

std::string describe(const VpcConfig& vpc) {
  return "VNI " + std::to_string(vpc.vni.value()) + ", " + comma_separated(texts_of(vpc.prefixes, kPrint));
}

std::string describe(const EndpointConfig& endpoint) {
  return endpoint.mac.to_string() + " behind " + endpoint.vtep.to_string();
}

std::string describe(const TunnelConfig& tunnel) {
  return tunnel.local.to_string() + " to " + (tunnel.remote ? tunnel.remote->to_string() : tunnel.remote_id);
}

std::string describe(const CircuitConfig& circuit) {
  std::string text = "VLAN " + std::to_string(circuit.vlan);
  if (circuit.outer_vlan) text += " in " + std::to_string(*circuit.outer_vlan);
  return text + " on " + circuit.uplink + ", " + comma_separated(texts_of(circuit.addresses, kPrint));
}

std::string describe(const AclConfig& acl) {
  return std::to_string(acl.rules.size()) + (acl.rules.size() == 1 ? " rule" : " rules");
}

}  // namespace simplon::config
