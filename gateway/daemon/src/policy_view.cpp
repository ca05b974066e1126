// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/src/policy_view.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace simplon::daemon {

using nlohmann::json;

namespace {

json count_of(const std::vector<ipc::RuleCount>* counts, const std::string& rule) {
  if (counts == nullptr) return nullptr;
  const auto found =
      std::find_if(counts->begin(), counts->end(), [&](const auto& count) { return count.name == rule; });
  return found == counts->end() ? json(nullptr) : json(found->packets);
}

template <class List, class Matches>
const std::vector<ipc::RuleCount>* counts_of(const List& list, Matches matches) {
  const auto found = std::find_if(list.begin(), list.end(), matches);
  return found == list.end() ? nullptr : &found->rules;
}

json users_of(const GatewayConfig& config, const std::string& acl) {
  json users = json::array();
  for (const auto& vpc : config.vpcs) {
    if (vpc.policy.acl == acl) users.push_back("vpc " + vpc.name);
  }
  for (const auto& tunnel : config.tunnels) {
    if (tunnel.policy.acl == acl) users.push_back("tunnel " + tunnel.name);
  }
  for (const auto& circuit : config.circuits) {
    if (circuit.policy.acl == acl) users.push_back("circuit " + circuit.name);
  }
  return users;
}

/// "vpc red", "tunnel paris"; empty if it is gone.
std::string name_of(const GatewayConfig& config, const config::IdRegistry& ids, const ipc::AttachmentRef& ref) {
  if (ref.kind == ipc::AttachmentKind::kTunnel) {
    return "tunnel " + ids.tunnel_name(TunnelId(ref.id)).value_or(std::to_string(ref.id));
  }
  for (const auto& circuit : config.circuits) {
    const auto id = ids.circuit(circuit.name);
    if (id && ref == ipc::AttachmentRef::circuit(*id)) return "circuit " + circuit.name;
  }
  if (ref.kind != ipc::AttachmentKind::kVpc) return {};
  for (const auto& vpc : config.vpcs) {
    if (vpc.vni.value() == ref.id) return "vpc " + vpc.name;
  }
  return "vpc " + std::to_string(ref.id);
}

std::uint32_t limit_of(const GatewayConfig& config, const config::IdRegistry& ids, const ipc::AttachmentRef& ref) {
  for (const auto& vpc : config.vpcs) {
    if (ref == ipc::AttachmentRef::vpc(vpc.vni)) return vpc.policy.max_connections;
  }
  for (const auto& tunnel : config.tunnels) {
    const auto id = ids.tunnel(tunnel.name);
    if (id && ref == ipc::AttachmentRef::tunnel(*id)) return tunnel.policy.max_connections;
  }
  for (const auto& circuit : config.circuits) {
    const auto id = ids.circuit(circuit.name);
    if (id && ref == ipc::AttachmentRef::circuit(*id)) return circuit.policy.max_connections;
  }
  return 0;
}

const char* state_of(ipc::ConnectionState state) {
  switch (state) {
    case ipc::ConnectionState::kOpening:
      return "opening";
    case ipc::ConnectionState::kOpen:
      return "open";
    case ipc::ConnectionState::kClosing:
      return "closing";
  }
  return "opening";
}

json connection_json(const GatewayConfig& config, const config::IdRegistry& ids, const ipc::ConnectionStats& one) {
  return {{"domain", ids.domain_name(one.domain).value_or("")},
          {"protocol", config::format_protocol(one.protocol)},
          {"state", state_of(one.state)},
          {"source", one.source.to_string()},
          {"source_port", one.source_port},
          {"destination", one.destination.to_string()},
          {"destination_port", one.destination_port},
          {"translated_source", one.translated_source.to_string()},
          {"translated_source_port", one.translated_source_port},
          {"translated_destination", one.translated_destination.to_string()},
          {"translated_destination_port", one.translated_destination_port},
          {"from", name_of(config, ids, one.from)},
          {"to", name_of(config, ids, one.to)},
          {"packets_out", one.packets_out},
          {"packets_back", one.packets_back},
          {"bytes_out", one.bytes_out},
          {"bytes_back", one.bytes_back},
          {"age_seconds", one.age_seconds},
          {"idle_seconds", one.idle_seconds},
          {"expires_in_seconds", one.expires_in_seconds}};
}

}  // namespace

json acls_json(const GatewayConfig& config, const std::optional<ipc::Stats>& stats) {
  json acls = json::array();
  for (const auto& acl : config.acls) {
    const auto* counts =
        stats ? counts_of(stats->acls, [&](const auto& one) { return one.name == acl.name; }) : nullptr;
    json rules = json::array();
    for (const auto& rule : acl.rules) {
      rules.push_back({{"name", rule.name},
                       {"action", rule.allow ? "allow" : "deny"},
                       {"direction", rule.to ? "to" : "from"},
                       {"rule", config::describe_rule(rule)},
                       {"packets", count_of(counts, rule.name)}});
    }
    acls.push_back({{"name", acl.name},
                    {"default", acl.allow_by_default ? "allow" : "deny"},
                    {"used_by", users_of(config, acl.name)},
                    {"programmed", counts != nullptr},
                    {"rules", std::move(rules)}});
  }
  return {{"acls", std::move(acls)}};
}

json nat_json(const GatewayConfig& config, const config::IdRegistry& ids, const std::optional<ipc::Stats>& stats) {
  json domains = json::array();
  for (const auto& domain : config.domains) {
    if (domain.nat.empty()) continue;
    const auto id = ids.domain(domain.name);
    const auto* counts =
        stats && id ? counts_of(stats->nats, [&](const auto& one) { return one.domain == *id; }) : nullptr;
    json rules = json::array();
    for (const auto& rule : domain.nat) {
      rules.push_back({{"name", rule.name},
                       {"type", std::string(config::to_string(rule.type))},
                       {"rule", config::describe_rule(rule)},
                       {"hits", count_of(counts, rule.name)}});
    }
    domains.push_back({{"name", domain.name}, {"programmed", counts != nullptr}, {"rules", std::move(rules)}});
  }
  return {{"domains", std::move(domains)}};
}

json connections_json(const GatewayConfig& config, const config::IdRegistry& ids, const ipc::Stats& stats) {
  json attachments = json::array();
  for (const auto& attachment : stats.attachments) {
    if (attachment.connections == 0) continue;
    attachments.push_back({{"name", name_of(config, ids, attachment.attachment)},
                           {"connections", attachment.connections},
                           {"limit", limit_of(config, ids, attachment.attachment)}});
  }
  json connections = json::array();
  for (const auto& one : stats.connections) connections.push_back(connection_json(config, ids, one));
  return {{"used", stats.connections_used},
          {"most", stats.connections_most},
          {"attachments", std::move(attachments)},
          {"connections", std::move(connections)}};
}

}  // namespace simplon::daemon
