// SPDX-License-Identifier: GPL-2.0-or-later
//
// Access lists, policies of attachments, and NAT. A list is named before it is there: an attachment that refers to it lets
// nothing pass until then.
#include <algorithm>
#include <string>
#include <utility>

#include "gateway/forward/src/tables/tables_writer.h"

namespace simplon::forward {
namespace {

Unexpected invalid(std::string what) { return fail(ErrorCode::kInvalidConfig, std::move(what)); }

NatRules::Net net_of(const IpPrefix& prefix) {
  const std::uint32_t mask =
      prefix.length() == 0 ? 0U : byteswap(~std::uint32_t{0} << (32 - prefix.length()));
  return {load32(prefix.address().bytes().data()), mask};
}

Result<void> check(const AclEntry& acl) {
  if (acl.name.empty()) return invalid("an access list without a name");
  if (acl.rules.size() > kMaxAclRules) {
    return invalid("access list " + acl.name + " has " + std::to_string(acl.rules.size()) + " rules, " +
                   std::to_string(kMaxAclRules) + " are the most");
  }
  for (const AclRuleEntry& rule : acl.rules) {
    for (const auto* ranges : {&rule.source_ports, &rule.destination_ports}) {
      for (const NumberRange& range : *ranges) {
        if (range.first > range.last) {
          return invalid("access list " + acl.name + ", rule " + rule.name + ": the range " +
                         std::to_string(range.first) + "-" + std::to_string(range.last) + " is empty");
        }
      }
    }
  }
  return {};
}

Result<void> check(const NatRuleEntry& rule) {
  const std::string name = "NAT rule " + rule.name;
  if (!rule.outside.address().is_v4()) return invalid(name + ": " + rule.outside.to_string() + " is not IPv4");
  for (const IpPrefix& source : rule.sources) {
    if (!source.address().is_v4()) return invalid(name + ": " + source.to_string() + " is not IPv4");
  }
  if (rule.kind == NatKind::kSource) return {};
  if (!rule.inside.address().is_v4()) return invalid(name + ": " + rule.inside.to_string() + " is not IPv4");
  if (rule.inside.length() != rule.outside.length()) {
    return invalid(name + ": " + rule.inside.to_string() + " and " + rule.outside.to_string() + " differ in length");
  }
  if (rule.kind != NatKind::kDestination) return {};
  if (rule.inside.length() != 32) return invalid(name + ": " + rule.inside.to_string() + " is not one address");
  if (!rule.protocol && (rule.outside_port != 0 || rule.inside_port != 0)) {
    return invalid(name + ": a port without a protocol");
  }
  return {};
}

std::uint64_t sum(const Counter* counters, unsigned workers) {
  std::uint64_t total = 0;
  for (unsigned i = 0; i < workers; ++i) total += counters[i].read();
  return total;
}

template <class Rules>
std::vector<std::string> names_of(const Rules& rules) {
  std::vector<std::string> names;
  for (const auto& rule : rules) names.push_back(rule.name);
  return names;
}

template <class Rules>
std::vector<RuleCount> counts_of(const Rules& rules, const std::map<std::string, Counter*>& counters, unsigned workers) {
  std::vector<RuleCount> counts;
  for (const auto& rule : rules) counts.push_back({rule.name, sum(counters.at(rule.name), workers)});
  return counts;
}

bool uses_attachment(const NatRuleEntry& rule) { return rule.kind != NatKind::kDestination; }

}  // namespace

// Records.

Tables::Writer::AclRecord* Tables::Writer::acl(const std::string& name) {
  const auto found = acls.find(name);
  if (found != acls.end()) return &found->second;
  const std::uint32_t slot = acl_slots.allocate();
  if (slot == 0) return nullptr;
  AclRecord& record = acls[name];
  record.slot = slot;
  return &record;
}

void Tables::Writer::settle_acl(const std::string& name) {
  const auto found = acls.find(name);
  if (found == acls.end() || found->second.entry || found->second.references > 0) return;
  acl_slots.release(found->second.slot, state.quiescence);
  acls.erase(found);
}

std::uint32_t Tables::Writer::refer_attachment(AttachmentId id) {
  AttachmentRecord* record = attachment(id);
  if (record == nullptr) return 0;
  ++record->references;
  return record->slot;
}

void Tables::Writer::drop_attachment(AttachmentId id) {
  --attachments.at(id).references;
  settle_attachment(id);
}

std::vector<Counter*> Tables::Writer::count_rules(RuleCounters& counters, const std::vector<std::string>& names) {
  RuleCounters kept;
  std::vector<Counter*> in_order;
  for (const std::string& name : names) {
    auto [entry, is_new] = kept.try_emplace(name, nullptr);
    if (is_new) {
      const auto former = counters.find(name);
      entry->second = former != counters.end() ? former->second : new Counter[counter_shares(state.workers)];
    }
    in_order.push_back(entry->second);
  }
  for (const auto& [name, counter] : counters) {
    if (!kept.contains(name)) state.quiescence.retire(counter, [](void* p) { delete[] static_cast<Counter*>(p); });
  }
  counters = std::move(kept);
  return in_order;
}

NatRules Tables::Writer::compile_nat(NatRecord& record) {
  NatRules rules;
  const std::vector<Counter*> hits = count_rules(record.counters, names_of(record.entry.rules));
  for (std::size_t i = 0; i < record.entry.rules.size(); ++i) {
    const NatRuleEntry& rule = record.entry.rules[i];
    const auto place = static_cast<std::uint16_t>(i);
    const std::uint32_t slot = uses_attachment(rule) ? attachments.at(rule.attachment).slot : 0;
    if (rule.kind == NatKind::kSource) {
      NatRules::Source& source = rules.sources.emplace_back();
      source.slot = slot;
      for (const IpPrefix& prefix : rule.sources) source.sources.push_back(net_of(prefix));
      const unsigned bits = std::min(31U, 32 - rule.outside.length());
      source.pool = {rule.outside.address().v4_value(), std::uint32_t{1} << bits, rule.port_blocks};
      source.hits = hits[i];
      source.place = place;
      rules.outside.push_back(net_of(rule.outside));
    } else if (rule.kind == NatKind::kDestination) {
      rules.destinations.push_back({net_of(rule.outside).network, net_of(rule.inside).network, byteswap(rule.outside_port),
                                    byteswap(rule.inside_port), rule.protocol.value_or(0), hits[i], place});
      rules.outside.push_back(net_of(rule.outside));
      if (state.workers > 1) {
        rules.reserved.add(net_of(rule.outside).network, rule.protocol.value_or(0), rule.outside_port);
      }
    } else {
      rules.netmaps.push_back(
          {slot, rule.kind == NatKind::kNetmapRemote, net_of(rule.inside), net_of(rule.outside), hits[i], place});
    }
  }
  return rules;
}

void Tables::Writer::publish_domain_policy(DomainId id) {
  const auto nat = nats.find(id);
  DomainPolicy* fresh = nullptr;
  if (nat != nats.end() || policies_of_domain.contains(id)) {
    fresh = new DomainPolicy;
    fresh->domain = id.value();
    if (nat != nats.end()) fresh->nat = compile_nat(nat->second);
    if (!fresh->nat.sources.empty() || !fresh->nat.destinations.empty()) tracked.insert(id);
    fresh->tracks = tracked.contains(id);
    note_strays(id, *fresh);
  } else {
    tracked.erase(id);
  }
  const DomainPolicy* old = domain(id).object->policy.exchange(fresh, std::memory_order_acq_rel);
  state.quiescence.retire(const_cast<DomainPolicy*>(old));
  changed(id);
}

void Tables::Writer::destroy_policy() {
  for (const auto& [id, record] : policies) {
    delete state.policies[attachments.at(id).slot].load(std::memory_order_relaxed);
    delete record.runtime;
  }
  for (auto& [name, record] : acls) {
    delete state.acls[record.slot].load(std::memory_order_relaxed);
    for (const auto& [rule, counter] : record.counters) delete[] counter;
  }
  for (auto& [id, record] : nats) {
    for (const auto& [rule, counter] : record.counters) delete[] counter;
  }
  for (const auto& [id, record] : domains) delete record.object->policy.load(std::memory_order_relaxed);
}

// Access lists.

Result<void> Tables::upsert_acl(const AclEntry& acl) {
  if (auto good = check(acl); !good) return good;
  Writer::AclRecord* record = writer_->acl(acl.name);
  if (record == nullptr) {
    return full("access lists", kMaxAcls);
  }
  if (record->entry == acl) return {};
  auto counters = writer_->count_rules(record->counters, names_of(acl.rules));
  auto* fresh = new Acl(acl, std::move(counters), ++writer_->acl_revisions);
  record->entry = acl;
  const Acl* old = state_->acls[record->slot].exchange(fresh, std::memory_order_acq_rel);
  state_->quiescence.retire(const_cast<Acl*>(old));
  return {};
}

void Tables::remove_acl(const std::string& name) {
  const auto found = writer_->acls.find(name);
  if (found == writer_->acls.end() || !found->second.entry) return;
  const Acl* old = state_->acls[found->second.slot].exchange(nullptr, std::memory_order_acq_rel);
  state_->quiescence.retire(const_cast<Acl*>(old));
  (void)writer_->count_rules(found->second.counters, {});
  found->second.entry.reset();
  writer_->settle_acl(name);
}

// Policies of attachments.

Result<void> Tables::upsert_policy(const PolicyEntry& policy) {
  const AttachmentId id = policy.attachment;
  if (policy.domain.value() == 0) return invalid("policy of " + id.to_string() + ": domain 0 is not a domain");
  const auto present = writer_->policies.find(id);
  if (present != writer_->policies.end() && present->second.entry == policy) return {};
  Writer::AclRecord* acl = policy.acl.empty() ? nullptr : writer_->acl(policy.acl);
  if (!policy.acl.empty() && acl == nullptr) {
    return full("access lists", kMaxAcls);
  }
  // New references before the old ones go.
  const std::uint32_t slot = writer_->refer_attachment(id);
  if (slot == 0) {
    if (acl != nullptr) writer_->settle_acl(policy.acl);
    return full("attachments", kMaxAttachments);
  }
  if (acl != nullptr) ++acl->references;
  writer_->refer_domain(policy.domain);
  ++writer_->policies_of_domain[policy.domain];
  Writer::PolicyRecord& record = writer_->policies[id];
  const PolicyEntry before = record.entry;
  const bool replaces = record.runtime != nullptr;
  PolicyRuntime* const former = record.runtime;
  // What was sent at one rate is no debt at another: at 100 bit/s a packet takes minutes.
  if (!replaces || policy.from != before.from || policy.to != before.to) record.runtime = new PolicyRuntime(state_->workers);
  record.entry = policy;

  auto* fresh = new AttachmentPolicy;
  fresh->acl = acl == nullptr ? 0 : acl->slot;
  fresh->reverse_path = policy.reverse_path;
  fresh->from = policy.from;
  fresh->to = policy.to;
  fresh->limited_from = policy.from != RateEntry{};
  fresh->limited_to = policy.to != RateEntry{};
  fresh->max_connections = policy.max_connections;
  fresh->runtime = record.runtime;
  const AttachmentPolicy* old = state_->policies[slot].exchange(fresh, std::memory_order_acq_rel);
  state_->quiescence.retire(const_cast<AttachmentPolicy*>(old));
  if (former != record.runtime) state_->quiescence.retire(former);
  const bool starts_tracking = acl != nullptr && writer_->tracked.insert(policy.domain).second;
  if (writer_->policies_of_domain[policy.domain] == 1 || starts_tracking) writer_->publish_domain_policy(policy.domain);
  if (!replaces) return {};
  writer_->drop_attachment(id);
  if (!before.acl.empty()) {
    --writer_->acls.at(before.acl).references;
    writer_->settle_acl(before.acl);
  }
  if (--writer_->policies_of_domain[before.domain] == 0) {
    writer_->policies_of_domain.erase(before.domain);
    writer_->publish_domain_policy(before.domain);
  }
  writer_->drop_domain(before.domain);
  return {};
}

void Tables::remove_policy(AttachmentId attachment) {
  const auto found = writer_->policies.find(attachment);
  if (found == writer_->policies.end()) return;
  const Writer::PolicyRecord record = found->second;
  writer_->policies.erase(found);
  const std::uint32_t slot = writer_->attachments.at(attachment).slot;
  const AttachmentPolicy* old = state_->policies[slot].exchange(nullptr, std::memory_order_acq_rel);
  state_->quiescence.retire(const_cast<AttachmentPolicy*>(old));
  state_->quiescence.retire(record.runtime);
  const DomainId domain = record.entry.domain;
  if (--writer_->policies_of_domain[domain] == 0) {
    writer_->policies_of_domain.erase(domain);
    writer_->publish_domain_policy(domain);
  }
  writer_->drop_domain(domain);
  if (!record.entry.acl.empty()) {
    --writer_->acls.at(record.entry.acl).references;
    writer_->settle_acl(record.entry.acl);
  }
  writer_->drop_attachment(attachment);
}

// NAT.

Result<void> Tables::upsert_nat(const NatEntry& nat) {
  if (nat.domain.value() == 0) return invalid("NAT of domain 0");
  for (const NatRuleEntry& rule : nat.rules) {
    if (auto good = check(rule); !good) return good;
  }
  const auto present = writer_->nats.find(nat.domain);
  if (present != writer_->nats.end() && present->second.entry == nat) return {};
  std::vector<AttachmentId> referred;
  for (const NatRuleEntry& rule : nat.rules) {
    if (!uses_attachment(rule)) continue;
    if (writer_->refer_attachment(rule.attachment) == 0) {
      for (const AttachmentId id : referred) writer_->drop_attachment(id);
      return full("attachments", kMaxAttachments);
    }
    referred.push_back(rule.attachment);
  }
  const bool replaces = present != writer_->nats.end();
  if (!replaces) writer_->refer_domain(nat.domain);
  Writer::NatRecord& record = writer_->nats[nat.domain];
  const NatEntry before = std::exchange(record.entry, nat);
  writer_->publish_domain_policy(nat.domain);
  for (const NatRuleEntry& rule : before.rules) {
    if (uses_attachment(rule)) writer_->drop_attachment(rule.attachment);
  }
  return {};
}

void Tables::remove_nat(DomainId domain) {
  const auto found = writer_->nats.find(domain);
  if (found == writer_->nats.end()) return;
  Writer::NatRecord record = std::move(found->second);
  writer_->nats.erase(found);
  writer_->publish_domain_policy(domain);
  (void)writer_->count_rules(record.counters, {});
  for (const NatRuleEntry& rule : record.entry.rules) {
    if (uses_attachment(rule)) writer_->drop_attachment(rule.attachment);
  }
  writer_->drop_domain(domain);
}

// Reading.

std::vector<RuleCount> Tables::acl_counts(const std::string& name) const {
  const auto found = writer_->acls.find(name);
  if (found == writer_->acls.end() || !found->second.entry) return {};
  return counts_of(found->second.entry->rules, found->second.counters, state_->workers);
}

std::vector<RuleCount> Tables::nat_counts(DomainId domain) const {
  const auto found = writer_->nats.find(domain);
  if (found == writer_->nats.end()) return {};
  return counts_of(found->second.entry.rules, found->second.counters, state_->workers);
}

std::uint32_t Tables::connections() const noexcept {
  std::uint32_t count = 0;
  for (const auto& table : state_->connections) count += table->size();
  return count;
}

std::uint32_t Tables::max_connections() const noexcept {
  std::size_t count = 0;
  for (const auto& table : state_->connections) count += table->capacity();
  return static_cast<std::uint32_t>(count);
}

std::uint32_t Tables::connections_of(AttachmentId attachment) const {
  const Writer::AttachmentRecord* record = writer_->find_attachment(attachment);
  std::uint32_t count = 0;
  for (const auto& table : state_->connections) count += record == nullptr ? 0 : table->of_owner(record->slot);
  return count;
}

std::vector<ConnectionView> Tables::list_connections(std::size_t limit, std::uint64_t now) const {
  std::vector<ConnectionView> views;
  const auto attachment_of = [&](std::uint32_t slot) {
    const auto found = writer_->attachment_of_slot.find(slot);
    return found == writer_->attachment_of_slot.end() ? AttachmentId{} : found->second;
  };
  for (const auto& table : state_->connections) {
    table->for_each([&](const ConnectionTable::Copy& copy) {
      if (views.size() >= limit) return false;
      const FlowKey& first = copy.keys[0];
      const FlowKey out = copy.keys[1].reversed();
      ConnectionView view;
      view.domain = DomainId(first.domain());
      view.protocol = first.protocol();
      view.state = static_cast<ConnectionState>(copy.state);
      view.closing = copy.closing;
      view.source = WireAddress::of(first.source, first.family()).to_ip();
      view.destination = WireAddress::of(first.destination, first.family()).to_ip();
      view.source_port = first.source_port();
      view.destination_port = first.destination_port();
      view.translated_source = WireAddress::of(out.source, first.family()).to_ip();
      view.translated_destination = WireAddress::of(out.destination, first.family()).to_ip();
      view.translated_source_port = out.source_port();
      view.translated_destination_port = out.destination_port();
      view.from = attachment_of(copy.sides[0]);
      view.to = attachment_of(copy.sides[1]);
      view.packets_out = copy.packets[0];
      view.packets_back = copy.packets[1];
      view.bytes_out = copy.bytes[0];
      view.bytes_back = copy.bytes[1];
      const auto seconds = static_cast<std::uint32_t>(now);
      view.age_seconds = seconds - std::min(seconds, copy.made);
      view.idle_seconds = seconds - std::min(seconds, copy.last_seen);
      const std::uint32_t life = ConnectionTable::lifetime(view.protocol, view.state);
      view.expires_in_seconds = life - std::min(life, view.idle_seconds);
      views.push_back(view);
      return true;
    });
  }
  return views;
}

}  // namespace simplon::forward
