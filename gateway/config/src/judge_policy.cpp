// SPDX-License-Identifier: GPL-2.0-or-later
//
// How access lists, policies and NAT rules fit together with the rest of the document.
#include <algorithm>
#include <map>
#include <set>

#include "gateway/config/src/judgement.h"
#include "gateway/config/validate.h"

namespace simplon::config {
namespace {

bool has_family(const std::vector<IpPrefix>& prefixes, IpFamily family) {
  return prefixes.empty() || std::any_of(prefixes.begin(), prefixes.end(),
                                         [family](const IpPrefix& prefix) { return prefix.family() == family; });
}

class PolicyJudge : private Judgements {
 public:
  explicit PolicyJudge(const GatewayConfig& config) : config_(config) {}

  std::vector<Judgement> run() {
    for (const auto& acl : config_.acls) acl_names_.push_back(acl.name);
    judge_acls();
    for (std::size_t i = 0; i < config_.vpcs.size(); ++i)
      judge_policy(config_.vpcs[i].policy, at("vpcs", i) + ".policy");
    for (std::size_t i = 0; i < config_.tunnels.size(); ++i) {
      judge_policy(config_.tunnels[i].policy, at("tunnels", i) + ".policy");
    }
    for (std::size_t i = 0; i < config_.circuits.size(); ++i) {
      judge_policy(config_.circuits[i].policy, at("circuits", i) + ".policy");
    }
    for (std::size_t i = 0; i < config_.domains.size(); ++i) judge_nat(config_.domains[i], at("domains", i) + ".nat");
    judge_pools();
    return take();
  }

 private:
  void judge_acls() {
    Names names;
    for (std::size_t i = 0; i < config_.acls.size(); ++i) {
      const AclConfig& acl = config_.acls[i];
      unique(names, acl.name, at("acls", i) + ".name", "access list");
      Names rules;
      for (std::size_t j = 0; j < acl.rules.size(); ++j) {
        const std::string path = at(at("acls", i) + ".rules", j);
        unique(rules, acl.rules[j].name, path + ".name", "rule");
        judge_rule(acl.rules[j], path);
      }
    }
  }

  void judge_rule(const AclRuleConfig& rule, const std::string& path) {
    const bool with_ports = rule.protocol && (*rule.protocol == 6 || *rule.protocol == 17);
    const bool icmp = rule.protocol && (*rule.protocol == 1 || *rule.protocol == 58);
    for (const auto& [key, ranges] : {std::pair("ports", &rule.ports), std::pair("source-ports", &rule.source_ports)}) {
      if (!ranges->empty() && !with_ports) {
        error(path + "." + key, {}, "only TCP and UDP have ports", "add 'protocol: tcp' or 'protocol: udp'");
      }
    }
    if (!rule.icmp_types.empty() && !icmp) {
      error(path + ".icmp-types", {}, "only ICMP has types", "add 'protocol: icmp' or 'protocol: icmpv6'");
    }
    const bool v4 = has_family(rule.source, IpFamily::kV4) && has_family(rule.destination, IpFamily::kV4);
    const bool v6 = has_family(rule.source, IpFamily::kV6) && has_family(rule.destination, IpFamily::kV6);
    if (!v4 && !v6) {
      error(path, rule.name,
            "rule " + quoted(rule.name) + " matches nothing: its source and destination are of different IP versions",
            "a packet has addresses of one version");
    }
  }

  void judge_policy(const PolicyConfig& policy, const std::string& path) {
    if (policy.acl.empty() || std::find(acl_names_.begin(), acl_names_.end(), policy.acl) != acl_names_.end()) return;
    const std::string guess = closest_match(policy.acl, acl_names_);
    auto& judgement = error(path + ".acl", policy.acl, "there is no access list " + quoted(policy.acl),
                            guess.empty() ? "add it to 'acls'" : "did you mean " + quoted(guess) + "?");
    judgement.premise = Judgement::Premise::kPath;
    judgement.premise_path = "acls";
  }

  void judge_nat(const DomainConfig& domain, const std::string& path) {
    Names names;
    for (std::size_t i = 0; i < domain.nat.size(); ++i) {
      const NatRuleConfig& rule = domain.nat[i];
      const std::string where = at(path, i);
      unique(names, rule.name, where + ".name", "NAT rule");
      judge_nat_shape(rule, where);
      judge_attachment(domain, rule, where + ".attachment");
      judge_outside(domain, rule, where + ".outside");
    }
    judge_published(domain, path);
  }

  void judge_nat_shape(const NatRuleConfig& rule, const std::string& path) {
    const auto v4 = [&](const IpPrefix& prefix, const std::string& where) {
      if (prefix.family() == IpFamily::kV4) return;
      error(where, prefix.to_string(), prefix.to_string() + " is not IPv4", "NAT is for IPv4");
    };
    if (rule.outside) v4(*rule.outside, path + ".outside");
    if (rule.inside) v4(*rule.inside, path + ".inside");
    for (std::size_t i = 0; i < rule.source.size(); ++i) v4(rule.source[i], at(path + ".source", i));
    const bool destination = rule.type == NatType::kDestination;
    const bool source = rule.type == NatType::kSource;
    if (!source && !rule.source.empty()) error(path + ".source", {}, "is for type source only");
    if (source && rule.inside)
      error(path + ".inside", rule.inside->to_string(), "is not for type source", "use 'source'");
    if (!source && !rule.inside) error(path + ".inside", {}, "is missing", "the domain's own address or prefix");
    if (!source && rule.inside && rule.outside && rule.inside->length() != rule.outside->length()) {
      error(path + ".inside", rule.inside->to_string(),
            rule.inside->to_string() + " and " + rule.outside->to_string() + " are not of the same length",
            "each address has one on the other side");
    }
    if (destination && rule.outside && rule.outside->length() != 32) {
      error(path + ".outside", rule.outside->to_string(), "is not one address", "use type netmap for whole networks");
    }
    if (!destination && (rule.protocol != 0 || rule.outside_port != 0 || rule.inside_port != 0)) {
      error(path, rule.name, "protocol and ports are for type destination only");
    }
    if (destination && (rule.outside_port != 0 || rule.inside_port != 0) && rule.protocol != 6 && rule.protocol != 17) {
      error(path + ".protocol", {}, "only TCP and UDP have ports", "add 'protocol: tcp' or 'protocol: udp'");
    }
    if (rule.inside_port != 0 && rule.outside_port == 0) {
      error(path + ".outside-port", {}, "is missing: which port is published?");
    }
  }

  void judge_attachment(const DomainConfig& domain, const NatRuleConfig& rule, const std::string& path) {
    if (rule.type == NatType::kDestination) {
      if (!rule.attachment.empty()) {
        error(path, rule.attachment, "is not for type destination",
              "a published address is the same for the whole domain");
      }
      return;
    }
    if (rule.attachment.empty()) {
      error(path, {}, "is missing", "name the tunnel, circuit or VPC through which the translated packets leave");
      return;
    }
    std::vector<std::string> names;
    std::size_t found = 0;
    std::string other;
    const auto look = [&](const std::string& name, const std::string& in) {
      names.push_back(name);
      if (name != rule.attachment) return;
      if (in == domain.name) ++found;
      if (in != domain.name) other = in;
    };
    for (const auto& tunnel : config_.tunnels) look(tunnel.name, tunnel.domain);
    for (const auto& circuit : config_.circuits) look(circuit.name, circuit.domain);
    for (const auto& vpc : config_.vpcs) look(vpc.name, vpc.domain);
    if (found == 1) return;
    if (found > 1) {
      conflict(path, rule.attachment, quoted(rule.attachment) + " is the name of several attachments",
               "give each a name of its own");
    } else if (!other.empty()) {
      conflict(path, rule.attachment, quoted(rule.attachment) + " belongs to domain " + quoted(other),
               "domains are isolated: use one of " + quoted(domain.name));
    } else {
      const std::string guess = closest_match(rule.attachment, names);
      error(path, rule.attachment, "there is no tunnel, circuit or VPC " + quoted(rule.attachment),
            guess.empty() ? "" : "did you mean " + quoted(guess) + "?")
          .premise = Judgement::Premise::kAttachments;
    }
  }

  /// Addresses that a translation answers for cannot be those of VMs as well.
  void judge_outside(const DomainConfig& domain, const NatRuleConfig& rule, const std::string& path) {
    if (!rule.outside || rule.type == NatType::kNetmap || rule.type == NatType::kNetmapRemote) return;
    for (const auto& vpc : config_.vpcs) {
      if (vpc.domain != domain.name) continue;
      for (const IpPrefix& prefix : vpc.prefixes) {
        if (!prefix.overlaps(*rule.outside)) continue;
        conflict(path, rule.outside->to_string(),
                 rule.outside->to_string() + " overlaps " + prefix.to_string() + " of VPC " + quoted(vpc.name),
                 "outer addresses are of their own");
      }
    }
  }

  void judge_published(const DomainConfig& domain, const std::string& path) {
    std::map<std::string, std::string> services;
    for (std::size_t i = 0; i < domain.nat.size(); ++i) {
      const NatRuleConfig& rule = domain.nat[i];
      if (rule.type != NatType::kDestination || !rule.outside) continue;
      const std::string service = rule.outside->address().to_string() + " " +
                                  format_protocol(rule.protocol == 0 ? std::nullopt : std::optional(rule.protocol)) +
                                  (rule.outside_port == 0 ? "" : " port " + std::to_string(rule.outside_port));
      const auto [first, is_new] = services.emplace(service, rule.name);
      if (!is_new) {
        conflict(at(path, i) + ".outside", rule.outside->to_string(),
                 service + " is published by rule " + quoted(first->second) + " already");
      }
    }
  }

  /// Each address once, however many rules of the domain have it. Larger pools are of use as long as not all of it is used.
  void judge_pools() {
    constexpr std::uint64_t kMost = 4096;  // of a worker of the forwarder (NatPorts::kAddresses)
    std::uint64_t total = 0;
    for (const DomainConfig& domain : config_.domains) {
      std::vector<IpPrefix> pools;
      for (const NatRuleConfig& rule : domain.nat) {
        if (rule.type != NatType::kSource || !rule.outside || rule.outside->family() != IpFamily::kV4) continue;
        if (std::any_of(pools.begin(), pools.end(), [&](const IpPrefix& pool) { return pool.contains(*rule.outside); })) continue;
        std::erase_if(pools, [&](const IpPrefix& pool) { return rule.outside->contains(pool); });
        pools.push_back(*rule.outside);
      }
      for (const IpPrefix& pool : pools) total += std::uint64_t{1} << (32 - pool.length());
    }
    if (total <= kMost) return;
    warning("domains", {}, "the pools of all source rules have " + std::to_string(total) + " addresses, of which " +
                               std::to_string(kMost) + " can be in use at a time",
            "beyond, connections are dropped as nat_exhausted: smaller pools say what there is");
  }

  const GatewayConfig& config_;
  std::vector<std::string> acl_names_;
};

}  // namespace

std::vector<Judgement> judge_policies(const GatewayConfig& config) { return PolicyJudge(config).run(); }

}  // namespace simplon::config
