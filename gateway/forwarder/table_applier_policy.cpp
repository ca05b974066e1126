// SPDX-License-Identifier: GPL-2.0-or-later
//
// Access lists, policies and NAT: the table protocol's objects as those of the tables.
#include <utility>

#include "gateway/forwarder/attachment_ref.h"
#include "gateway/forwarder/table_applier.h"

namespace simplon::forwarder {
namespace {

std::vector<forward::NumberRange> ranges_of(const std::vector<ipc::NumberRange>& from) {
  std::vector<forward::NumberRange> ranges;
  for (const ipc::NumberRange& range : from) ranges.push_back({range.first, range.last});
  return ranges;
}

forward::AclRuleEntry entry_of(const ipc::AclRule& rule) {
  forward::AclRuleEntry entry;
  entry.name = rule.name;
  entry.allow = rule.allow;
  entry.direction = static_cast<forward::AclDirection>(rule.direction);
  entry.stateful = rule.stateful;
  entry.protocol = rule.protocol;
  entry.sources = rule.sources;
  entry.destinations = rule.destinations;
  entry.source_ports = ranges_of(rule.source_ports);
  entry.destination_ports = ranges_of(rule.destination_ports);
  return entry;
}

forward::NatRuleEntry entry_of(const ipc::NatRule& rule) {
  forward::NatRuleEntry entry;
  entry.name = rule.name;
  entry.kind = static_cast<forward::NatKind>(rule.kind);
  if (rule.kind != ipc::NatKind::kDestination) entry.attachment = attachment_of(rule.attachment);
  entry.sources = rule.sources;
  entry.outside = rule.outside;
  entry.inside = rule.inside;
  if (rule.protocol != 0) entry.protocol = rule.protocol;
  entry.outside_port = rule.outside_port;
  entry.inside_port = rule.inside_port;
  entry.port_blocks = rule.port_blocks;
  return entry;
}

std::vector<ipc::RuleCount> counts_of(const std::vector<forward::RuleCount>& from) {
  std::vector<ipc::RuleCount> counts;
  for (const forward::RuleCount& count : from) counts.push_back({count.name, count.packets});
  return counts;
}

}  // namespace

Result<void> TableApplier::upsert(const ipc::Acl& acl) {
  const auto found = acls_.find(acl.name);
  if (found != acls_.end()) {
    found->second.mark = mark_;
    if (found->second.object == acl) return {};
  }
  forward::AclEntry entry{acl.name, acl.allow_by_default, {}};
  for (const ipc::AclRule& rule : acl.rules) entry.rules.push_back(entry_of(rule));
  if (auto ok = tables_.upsert_acl(entry); !ok) return ok;
  acls_[acl.name] = {acl, mark_};
  return {};
}

void TableApplier::remove(const ipc::Acl& acl) {
  if (acls_.erase(acl.name) != 0) tables_.remove_acl(acl.name);
}

Result<void> TableApplier::upsert(const ipc::Policy& policy) {
  const auto found = policies_.find(policy.attachment);
  if (found != policies_.end()) {
    found->second.mark = mark_;
    if (found->second.object == policy) return {};
  }
  forward::PolicyEntry entry;
  entry.attachment = attachment_of(policy.attachment);
  entry.domain = policy.domain;
  entry.acl = policy.acl;
  entry.reverse_path = static_cast<forward::ReversePath>(policy.reverse_path);
  entry.from = {policy.bits_from, policy.packets_from};
  entry.to = {policy.bits_to, policy.packets_to};
  entry.max_connections = policy.max_connections;
  if (auto ok = tables_.upsert_policy(entry); !ok) return ok;
  policies_[policy.attachment] = {policy, mark_};
  return {};
}

void TableApplier::remove(const ipc::Policy& policy) {
  if (policies_.erase(policy.attachment) != 0) tables_.remove_policy(attachment_of(policy.attachment));
}

Result<void> TableApplier::upsert(const ipc::Nat& nat) {
  const auto found = nats_.find(nat.domain);
  if (found != nats_.end()) {
    found->second.mark = mark_;
    if (found->second.object == nat) return {};
  }
  forward::NatEntry entry{nat.domain, {}};
  for (const ipc::NatRule& rule : nat.rules) entry.rules.push_back(entry_of(rule));
  if (auto ok = tables_.upsert_nat(entry); !ok) return ok;
  nats_[nat.domain] = {nat, mark_};
  return {};
}

void TableApplier::remove(const ipc::Nat& nat) {
  if (nats_.erase(nat.domain) != 0) tables_.remove_nat(nat.domain);
}

std::vector<ipc::AclStats> TableApplier::acl_stats() const {
  std::vector<ipc::AclStats> stats;
  for (const auto& [name, acl] : acls_) stats.push_back({name, counts_of(tables_.acl_counts(name))});
  return stats;
}

std::vector<ipc::NatStats> TableApplier::nat_stats() const {
  std::vector<ipc::NatStats> stats;
  for (const auto& [domain, nat] : nats_) stats.push_back({domain, counts_of(tables_.nat_counts(domain))});
  return stats;
}

}  // namespace simplon::forwarder
