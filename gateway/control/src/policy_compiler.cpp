// SPDX-License-Identifier: GPL-2.0-or-later
//
// Only lists that somebody uses are sent, and no policy that says nothing: the forwarder has the same defaults.
#include "gateway/control/src/policy_compiler.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace simplon::control {
namespace {

std::vector<ipc::NumberRange> ranges_of(const std::vector<PortRange>& from) {
  std::vector<ipc::NumberRange> ranges;
  for (const PortRange& range : from) ranges.push_back({range.first, range.last});
  return ranges;
}

ipc::AclRule compile(const AclRuleConfig& rule) {
  ipc::AclRule compiled;
  compiled.name = rule.name;
  compiled.allow = rule.allow;
  compiled.direction = rule.to ? ipc::AclDirection::kTo : ipc::AclDirection::kFrom;
  compiled.stateful = rule.stateful;
  compiled.protocol = rule.protocol;
  compiled.sources = rule.source;
  compiled.destinations = rule.destination;
  compiled.source_ports = ranges_of(rule.source_ports);
  compiled.destination_ports = ranges_of(rule.icmp_types.empty() ? rule.ports : rule.icmp_types);
  return compiled;
}

ipc::Policy compile(const PolicyConfig& policy, ipc::AttachmentRef attachment, DomainId domain) {
  ipc::Policy compiled;
  compiled.attachment = attachment;
  compiled.domain = domain;
  compiled.acl = policy.acl;
  compiled.reverse_path = static_cast<ipc::ReversePath>(policy.reverse_path);
  compiled.bits_from = policy.bits_from;
  compiled.bits_to = policy.bits_to;
  compiled.packets_from = policy.packets_from;
  compiled.packets_to = policy.packets_to;
  compiled.max_connections = policy.max_connections;
  return compiled;
}

std::optional<ipc::AttachmentRef> find_attachment(const AttachmentIndex& attachments, const config::IdRegistry& ids,
                                                  const std::string& domain, const std::string& name) {
  const auto named = attachments.find(name);
  if (named.tunnel != nullptr && named.tunnel->domain == domain) {
    if (const auto id = ids.tunnel(name)) return ipc::AttachmentRef::tunnel(*id);
  }
  if (named.circuit != nullptr && named.circuit->domain == domain) {
    if (const auto id = ids.circuit(name)) return ipc::AttachmentRef::circuit(*id);
  }
  if (named.vpc != nullptr && named.vpc->domain == domain) return ipc::AttachmentRef::vpc(named.vpc->vni);
  return std::nullopt;
}

ipc::NatRule compile(const NatRuleConfig& rule) {
  ipc::NatRule compiled;
  compiled.name = rule.name;
  compiled.kind = static_cast<ipc::NatKind>(static_cast<unsigned>(rule.type) + 1);
  compiled.sources = rule.source;
  compiled.outside = rule.outside.value_or(IpPrefix{});
  compiled.inside = rule.inside.value_or(IpPrefix{});
  compiled.protocol = rule.protocol;
  compiled.outside_port = rule.outside_port;
  compiled.inside_port = rule.inside_port;
  compiled.port_blocks = rule.port_blocks;
  return compiled;
}

}  // namespace

void compile_policies(const GatewayConfig& config, const config::IdRegistry& ids, const AttachmentIndex& attachments,
                      TableSet& tables) {
  std::set<std::string> used;
  for (const auto& domain : config.domains) {
    const auto id = ids.domain(domain.name);
    if (!id || domain.nat.empty()) continue;
    ipc::Nat nat{*id, {}};
    for (const auto& rule : domain.nat) {
      ipc::NatRule compiled = compile(rule);
      if (rule.type != NatType::kDestination) {
        const auto attachment = find_attachment(attachments, ids, domain.name, rule.attachment);
        if (!attachment) continue;
        compiled.attachment = *attachment;
      }
      nat.rules.push_back(std::move(compiled));
    }
    tables.nats[*id] = std::move(nat);
  }
  const auto add = [&](const PolicyConfig& policy, ipc::AttachmentRef attachment, const std::string& domain) {
    const auto id = ids.domain(domain);
    if (!id || policy == PolicyConfig{}) return;
    tables.policies[attachment] = compile(policy, attachment, *id);
    if (!policy.acl.empty()) used.insert(policy.acl);
  };
  for (const auto& vpc : config.vpcs) {
    add(vpc.policy, ipc::AttachmentRef::vpc(vpc.vni), vpc.domain);
  }
  for (const auto& tunnel : config.tunnels) {
    const auto id = ids.tunnel(tunnel.name);
    if (tunnel.enabled && id) add(tunnel.policy, ipc::AttachmentRef::tunnel(*id), tunnel.domain);
  }
  for (const auto& circuit : config.circuits) {
    const auto id = ids.circuit(circuit.name);
    if (circuit.enabled && id) add(circuit.policy, ipc::AttachmentRef::circuit(*id), circuit.domain);
  }
  for (const auto& acl : config.acls) {
    if (!used.contains(acl.name)) continue;
    ipc::Acl compiled{acl.name, acl.allow_by_default, {}};
    for (const auto& rule : acl.rules) compiled.rules.push_back(compile(rule));
    tables.acls[acl.name] = std::move(compiled);
  }
}

}  // namespace simplon::control
