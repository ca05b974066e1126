// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/diff.h"

#include <algorithm>
#include <map>

#include "gateway/config/src/fields.h"
#include "gateway/config/src/impact_words.h"

namespace simplon::config {
namespace {

class Comparison {
 public:
  Diff take() { return std::move(diff_); }

  /// Appends the changes of one object present on both sides, and what the worst of them does.
  template <class Object>
  void changed(const char* kind, const std::string& name, const Object& from, const Object& to) {
    const Fields before = fields_of(from);
    const Fields after = fields_of(to);
    Reconfigure worst = Reconfigure::kInPlace;
    std::vector<std::string> because;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i].value == after[i].value) continue;
      const Reconfigure cost = cost_of_change(before[i], after[i]);
      diff_.changes.push_back({ChangeKind::kChanged, kind, name, before[i].key, before[i].value, after[i].value, cost});
      if (cost > worst) because.clear();
      worst = std::max(worst, cost);
      if (cost == worst) because.emplace_back(before[i].key);
    }
    if (!because.empty()) impact(kind, name, ChangeKind::kChanged, worst, because);
  }

  void whole(ChangeKind kind_of_change, const char* kind, const std::string& name, const std::string& text) {
    const bool added = kind_of_change == ChangeKind::kAdded;
    const Reconfigure cost = added ? Reconfigure::kInPlace : Reconfigure::kReplace;
    diff_.changes.push_back({kind_of_change, kind, name, {}, added ? "" : text, added ? text : "", cost});
    impact(kind, name, kind_of_change, cost, {});
  }

  /// Matches objects by `name_of`. `inside` compares what is within one of them; a side that has it not is null.
  template <class List, class NameOf, class Inside>
  void lists(const char* kind, const List& from, const List& to, NameOf name_of, Inside inside) {
    std::map<std::string, const typename List::value_type*> before;
    std::map<std::string, const typename List::value_type*> after;
    for (const auto& item : from) before.emplace(name_of(item), &item);
    for (const auto& item : to) after.emplace(name_of(item), &item);
    for (const auto& [name, item] : before) {
      if (!after.contains(name)) whole(ChangeKind::kRemoved, kind, name, describe(*item));
    }
    for (const auto& [name, item] : after) {
      const auto old = before.find(name);
      if (old == before.end()) {
        whole(ChangeKind::kAdded, kind, name, describe(*item));
      } else {
        changed(kind, name, *old->second, *item);
      }
    }
    for (const auto& [name, item] : after) {
      const auto old = before.find(name);
      inside(old == before.end() ? nullptr : old->second, item, name);
    }
    for (const auto& [name, item] : before) {
      if (!after.contains(name)) inside(item, nullptr, name);
    }
  }

 private:
  void impact(const std::string& kind, const std::string& name, ChangeKind change, Reconfigure cost,
              const std::vector<std::string>& because) {
    std::string words = impact_words(kind, change, cost, because);
    if (!words.empty()) diff_.impact.push_back({kind, name, change, cost, std::move(words)});
  }

  Diff diff_;
};

std::string count_of(std::size_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

}  // namespace

std::string_view to_string(Reconfigure reconfigure) noexcept {
  switch (reconfigure) {
    case Reconfigure::kInPlace:
      return "in-place";
    case Reconfigure::kNarrows:
      return "narrows";
    case Reconfigure::kRestartSession:
      return "restart-session";
    case Reconfigure::kReplace:
      return "replace";
  }
  return "replace";
}

std::string_view to_string(ChangeKind kind) noexcept {
  switch (kind) {
    case ChangeKind::kAdded:
      return "added";
    case ChangeKind::kRemoved:
      return "removed";
    case ChangeKind::kChanged:
      return "changed";
  }
  return "changed";
}

std::vector<std::string> compared_fields(std::string_view kind_of_object) {
  std::vector<std::string> keys;
  const auto add = [&](const Fields& fields) {
    for (const auto& field : fields) keys.emplace_back(field.key);
  };
  if (kind_of_object == "tunnel") add(fields_of(TunnelConfig{}));
  if (kind_of_object == "neighbor") add(fields_of(BgpNeighborConfig{}));
  return keys;
}

Diff diff(const GatewayConfig& from, const GatewayConfig& to) {
  Comparison comparison;
  const auto name_of = [](const auto& object) { return object.name; };
  const auto nothing = [](const auto&...) {};

  comparison.changed("gateway", to.name, from, to);
  comparison.lists(
      "uplink", from.uplinks, to.uplinks, [](const UplinkConfig& uplink) { return uplink.interface; }, nothing);

  static const std::vector<BgpNeighborConfig> kNoNeighbors;
  const auto neighbors_of = [](const DomainConfig* domain) -> const std::vector<BgpNeighborConfig>& {
    return domain != nullptr && domain->bgp ? domain->bgp->neighbors : kNoNeighbors;
  };
  comparison.lists("domain", from.domains, to.domains, name_of,
                   [&](const DomainConfig* before, const DomainConfig* after, const std::string& domain) {
                     comparison.lists(
                         "neighbor", neighbors_of(before), neighbors_of(after),
                         [&](const BgpNeighborConfig& neighbor) { return domain + "/" + neighbor.name; }, nothing);
                   });

  static const std::vector<EndpointConfig> kNoEndpoints;
  comparison.lists("vpc", from.vpcs, to.vpcs, name_of,
                   [&](const VpcConfig* before, const VpcConfig* after, const std::string& vpc) {
                     comparison.lists(
                         "endpoint", before != nullptr ? before->endpoints : kNoEndpoints,
                         after != nullptr ? after->endpoints : kNoEndpoints,
                         [&](const EndpointConfig& endpoint) { return vpc + "/" + endpoint.address.to_string(); }, nothing);
                   });

  comparison.lists("tunnel", from.tunnels, to.tunnels, name_of, nothing);
  comparison.lists("acl", from.acls, to.acls, name_of, nothing);
  comparison.lists("circuit", from.circuits, to.circuits, name_of, nothing);
  return comparison.take();
}

std::string Diff::summary() const {
  if (empty()) return "nothing changes";
  const auto count = [&](const char* kind, auto matches) {
    return static_cast<std::size_t>(std::count_if(
        impact.begin(), impact.end(), [&](const Impact& one) { return one.kind_of_object == kind && matches(one); }));
  };
  const auto restarts = [](const Impact& one) {
    return one.kind == ChangeKind::kChanged && one.reconfigure >= Reconfigure::kRestartSession;
  };
  const auto goes = [](const Impact& one) { return one.kind == ChangeKind::kRemoved; };
  const auto comes = [](const Impact& one) { return one.kind == ChangeKind::kAdded; };
  std::vector<std::string> parts;
  const auto part = [&](const char* verb, auto matches) {
    std::vector<std::string> counts;
    const auto add = [&](std::size_t number, const char* one, const char* many) {
      if (number > 0) counts.push_back(count_of(number, one, many));
    };
    add(count("tunnel", matches), "tunnel", "tunnels");
    add(count("circuit", matches), "circuit", "circuits");
    add(count("neighbor", matches), "BGP session", "BGP sessions");
    if (counts.empty()) return;
    const std::string last = counts.back();
    counts.pop_back();
    parts.push_back(verb + comma_separated(counts) + (counts.empty() ? "" : " and ") + last);
  };
  part("opens ", comes);
  part("restarts ", restarts);
  part("closes ", goes);
  if (const auto domains = count("domain", restarts); domains > 0) {
    parts.push_back("resets all BGP sessions of " + count_of(domains, "domain", "domains"));
  }
  if (const auto vpcs = count("vpc", restarts); vpcs > 0) parts.push_back("replaces " + count_of(vpcs, "VPC", "VPCs"));
  if (const auto vpcs = count("vpc", goes); vpcs > 0) parts.push_back("removes " + count_of(vpcs, "VPC", "VPCs"));
  if (const auto gateways = count("gateway", restarts); gateways > 0) parts.push_back("moves our VXLAN address");
  const bool sessions = !parts.empty();
  const auto narrowed = static_cast<std::size_t>(
      std::count_if(impact.begin(), impact.end(), [](const Impact& one) { return one.reconfigure == Reconfigure::kNarrows; }));
  if (narrowed > 0) parts.push_back("lets less pass than before at " + count_of(narrowed, "object", "objects"));
  if (sessions) return comma_separated(parts);
  return count_of(changes.size(), "change", "changes") + ", " + (parts.empty() ? "no session is affected" : comma_separated(parts));
}

}  // namespace simplon::config
