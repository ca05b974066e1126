// SPDX-License-Identifier: GPL-2.0-or-later
//
// What `police` noted, in words: names of lists and rules are those of the tables now, as long as they are still the same.
#include <string>

#include "gateway/forward/src/tables/table_state.h"
#include "gateway/forward/src/watch/explain.h"

namespace simplon::forward {
namespace {

std::string end_words(const IpAddress& address, std::uint16_t port) {
  return address.to_string() + (port == 0 ? "" : " " + std::to_string(port));
}

/// "10.1.0.5 5000 -> 172.16.0.9 53"
std::string ends_words(const FlowKey& key) {
  return end_words(WireAddress::of(key.source, key.family()).to_ip(), key.source_port()) + " -> " +
         end_words(WireAddress::of(key.destination, key.family()).to_ip(), key.destination_port());
}

std::string ends_words(const Ipv4Ends& ends) {
  return ends_words(FlowKey{{ends.source, 0}, {ends.destination, 0}, FlowKey::context_of(0, 4, 0), ends.ports});
}

/// "40 Mbit/s"
std::string bits_words(std::uint64_t bits) {
  for (const auto& [unit, name] : {std::pair{1'000'000'000U, " Gbit/s"}, {1'000'000U, " Mbit/s"}, {1'000U, " kbit/s"}}) {
    if (bits % unit == 0) return std::to_string(bits / unit) + name;
  }
  return std::to_string(bits) + " bit/s";
}

std::string limit_words(const RateEntry& limit) {
  std::string text;
  if (limit.bits_per_second != 0) text = bits_words(limit.bits_per_second);
  if (limit.packets_per_second != 0) {
    text += (text.empty() ? "" : ", ") + std::to_string(limit.packets_per_second) + " packets/s";
  }
  return text;
}

const char* state_word(ConnectionState state) {
  return state == ConnectionState::kOpen ? "open" : state == ConnectionState::kClosing ? "closing" : "opening";
}

class PolicyExplainer {
 public:
  PolicyExplainer(const Tables& tables, const PolicyNotes& notes) : tables_(tables), notes_(notes) {}

  std::vector<TraceFact> facts() {
    connection();
    for (const unsigned i : {0U, 1U}) rate(notes_.sides[i], i == 0 ? "rate-from" : "rate-to");
    for (const unsigned i : {0U, 1U}) list(notes_.sides[i], i == 0 ? "acl-from" : "acl-to");
    for (std::size_t i = 0; i < notes_.translated; ++i) translation(notes_.translations[i]);
    return std::move(facts_);
  }

 private:
  void fact(const char* name, std::string value, std::uint32_t slot = 0) {
    facts_.push_back({name, std::move(value), slot == 0 ? std::nullopt : tables_.attachment_at(slot), {}, {}});
  }

  void connection() {
    if (notes_.connection == PolicyNotes::Tracked::kNotAsked) return;
    if (notes_.connection == PolicyNotes::Tracked::kNone) return fact("connection", "none");
    const FlowKey& first = notes_.keys[0];
    const FlowKey out = notes_.keys[1].reversed();
    std::string text = notes_.connection == PolicyNotes::Tracked::kNew ? "new, " : "existing, ";
    text += std::string(state_word(notes_.state)) + (notes_.direction == 0 ? ", forth: " : ", back: ") + ends_words(first);
    if (!(first == out)) text += ", outside " + ends_words(out);
    fact("connection", text);
    fact("timeout", std::to_string(notes_.seconds) + " s without a packet");
  }

  void rate(const PolicyNotes::Side& side, const char* name) {
    if (side.rate == PolicyNotes::Rate::kNoLimit) return;
    const bool conforms = side.rate == PolicyNotes::Rate::kConforms;
    std::string text = limit_words(side.limit) + (conforms ? ": conforms" : ": exceeded");
    if (notes_.described) text += conforms ? " at the moment" : " at the moment; what is only described passes";
    fact(name, text, side.slot);
  }

  void list(const PolicyNotes::Side& side, const char* name) {
    if (side.list == PolicyNotes::List::kNotAsked) return;
    const auto entry = tables_.acl_at(side.acl);
    std::string text = "list " + (entry ? entry->name : "that is gone");
    if (side.list == PolicyNotes::List::kMissing) return fact(name, text + " was not there: deny", side.slot);
    const AclDecision& decision = side.decision;
    if (decision.rule == AclDecision::kDefault) {
      text += std::string(", no rule matches: ") + (decision.allow ? "allow" : "deny") + " by default";
    } else {
      text += ", rule " + std::to_string(decision.rule + 1);
      const Acl* now = tables_.state().acls[side.acl].load(std::memory_order_acquire);
      const bool same = now != nullptr && now->revision() == side.revision;
      text += same && entry && decision.rule < entry->rules.size() ? " " + entry->rules[decision.rule].name : " of a former version";
      text += decision.allow ? decision.stateful ? ": allow, stateful" : ": allow" : ": deny";
    }
    if (side.list == PolicyNotes::List::kConnection) text += ", as the first packet of the connection";
    fact(name, text, side.slot);
  }

  /// "source rule web", and the pool behind it.
  void translation(const PolicyNotes::Translation& translation) {
    const auto nat = tables_.nat(DomainId(notes_.domain));
    const char* kind = "";
    switch (translation.cause) {
      case PolicyNotes::Cause::kNetmapIn:
      case PolicyNotes::Cause::kNetmapOut:
        kind = "netmap ";
        break;
      case PolicyNotes::Cause::kDestination:
        kind = "destination ";
        break;
      case PolicyNotes::Cause::kSource:
        kind = "source ";
        break;
      case PolicyNotes::Cause::kConnection:
        kind = "its connection";
        break;
      case PolicyNotes::Cause::kFirstFragment:
        kind = "its first fragment";
        break;
    }
    std::string text;
    std::string pool;
    for (const std::uint16_t place : translation.rules) {
      if (place == kNoPlace) continue;
      const NatRuleEntry* rule = nat && place < nat->rules.size() ? &nat->rules[place] : nullptr;
      text += (text.empty() ? "rule " : " and ") + (rule == nullptr ? std::to_string(place + 1) : rule->name);
      if (rule != nullptr && rule->kind == NatKind::kSource) pool = ", pool " + rule->outside.to_string();
    }
    fact("nat", kind + text + ": " + ends_words(translation.before) + " becomes " + ends_words(translation.after) + pool);
  }

  const Tables& tables_;
  const PolicyNotes& notes_;
  std::vector<TraceFact> facts_;
};

}  // namespace

std::vector<TraceFact> explain_policy(const Tables& tables, const PolicyNotes& notes) { return PolicyExplainer(tables, notes).facts(); }

}  // namespace simplon::forward
