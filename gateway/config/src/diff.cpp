// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/diff.h"

#include <algorithm>
#include <functional>
#include <map>

#include "gateway/config/src/object_reader.h"
#include "gateway/config/src/parsed_document.h"

// Each object is laid out as a list of fields, a field being its key, its value as text and what a change of it costs.
// Two versions of an object are compared field by field; the cost of the object is the worst of its changed fields. The
// cost is stated once, in the layout, and says what the running system does:
//
//   charon   takes timers for the next negotiation; ends, identities, proposals and the replay window need a new one. A key
//            is proven by new SAs beside the old ones.
//   bgpd     takes policy at once (route refresh), timers for the next session; AS numbers, passwords and BFD (with it
//            graceful restart ends, and the other way round) reset the session; a neighbor is known by its address, so
//            another address is another neighbor.
//   domains  are network namespaces, and VNIs are wire identities: an object that changes either is another object.

namespace simplon::config {
namespace {

struct Field {
  const char* key;
  std::string value;
  Reconfigure cost;
};
using Fields = std::vector<Field>;

constexpr auto kInPlace = Reconfigure::kInPlace;
constexpr auto kRestartSession = Reconfigure::kRestartSession;
constexpr auto kReplace = Reconfigure::kReplace;

template <class List, class Format>
std::string join(const List& items, Format format) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + format(item);
  return text;
}
const auto kPrint = [](const auto& value) { return value.to_string(); };
const auto kSame = [](const std::string& value) { return value; };

std::string yes_no(bool value) { return value ? "true" : "false"; }

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
          {"import", join(neighbor.import, format_prefix_rule), kInPlace},
          {"export", join(neighbor.export_, format_prefix_rule), kInPlace},
          {"max-prefixes", std::to_string(neighbor.max_prefixes), kInPlace}};
}

std::string describe_route(const StaticRouteConfig& route) {
  return route.prefix.to_string() + " via " + (route.gateway ? route.gateway->to_string() + " on " : "") + route.via +
         (route.distance == StaticRouteConfig().distance ? "" : " distance " + std::to_string(route.distance));
}

/// "web: allow to tcp any -> any ports 443; ..."
template <class Rules>
std::string join_rules(const Rules& rules) {
  std::string text;
  for (const auto& rule : rules) text += (text.empty() ? "" : "; ") + rule.name + ": " + describe_rule(rule);
  return text;
}

Fields fields_of(const DomainConfig& domain) {
  std::vector<std::string> routes;
  for (const auto& route : domain.static_routes) routes.push_back(describe_route(route));
  std::sort(routes.begin(), routes.end());
  return {{"bgp.asn", domain.bgp ? std::to_string(domain.bgp->asn) : "", kRestartSession},
          {"bgp.router-id", domain.bgp ? domain.bgp->router_id.to_string() : "", kRestartSession},
          {"static-routes", join(routes, kSame), kInPlace},
          {"nat", join_rules(domain.nat), kInPlace}};
}

Fields fields_of(const AclConfig& acl) {
  return {{"default", acl.allow_by_default ? "allow" : "deny", kInPlace}, {"rules", join_rules(acl.rules), kInPlace}};
}

Fields fields_of(const EndpointConfig& endpoint) {
  return {{"mac", endpoint.mac.to_string(), kInPlace}, {"vtep", endpoint.vtep.to_string(), kInPlace}};
}

Fields fields_of(const VpcConfig& vpc) {
  return {{"domain", vpc.domain, kReplace},
          {"vni", std::to_string(vpc.vni.value()), kReplace},
          {"prefixes", join(vpc.prefixes, kPrint), kInPlace},
          {"gateway", join(vpc.gateway, kPrint), kInPlace},
          {"gateway-mac", vpc.gateway_mac.to_string(), kInPlace},
          {"mtu", std::to_string(vpc.mtu_bytes), kInPlace},
          {"policy", describe_policy(vpc.policy), kInPlace}};
}

Fields fields_of(const TunnelConfig& tunnel) {
  return {{"domain", tunnel.domain, kReplace},
          {"local", tunnel.local.to_string(), kRestartSession},
          {"remote", tunnel.remote ? tunnel.remote->to_string() : "any", kRestartSession},
          {"local-id", tunnel.local_id, kRestartSession},
          {"remote-id", tunnel.remote_id, kRestartSession},
          {"psk-file", tunnel.psk_file, kInPlace},
          {"ike-proposals", join(tunnel.ike_proposals, kSame), kRestartSession},
          {"esp-proposals", join(tunnel.esp_proposals, kSame), kRestartSession},
          {"allow-weak", yes_no(tunnel.allow_weak), kInPlace},
          {"encapsulation", tunnel.encapsulation == Encapsulation::kUdp ? "udp" : "auto", kRestartSession},
          {"initiate", yes_no(tunnel.initiate), kInPlace},
          {"enabled", yes_no(tunnel.enabled), kRestartSession},
          {"dpd-delay", format_duration(tunnel.dpd_delay), kInPlace},
          {"ike-rekey", format_duration(tunnel.ike_rekey), kInPlace},
          {"child-rekey", format_duration(tunnel.child_rekey), kInPlace},
          {"replay-window", std::to_string(tunnel.replay_window), kRestartSession},
          {"inside", join(tunnel.inside, kPrint), kInPlace},
          {"mtu", tunnel.mtu_bytes ? std::to_string(*tunnel.mtu_bytes) : "", kInPlace},
          {"clamp-mss", yes_no(tunnel.clamp_mss), kInPlace},
          {"outer-df", std::string(to_string(tunnel.outer_df)), kInPlace},
          {"inner-df", std::string(to_string(tunnel.inner_df)), kInPlace},
          {"policy", describe_policy(tunnel.policy), kInPlace}};
}

Fields fields_of(const CircuitConfig& circuit) {
  return {{"domain", circuit.domain, kReplace},
          {"uplink", circuit.uplink, kRestartSession},
          {"vlan", std::to_string(circuit.vlan), kRestartSession},
          {"outer-vlan", circuit.outer_vlan ? std::to_string(*circuit.outer_vlan) : "", kRestartSession},
          {"outer-type", circuit.outer_type == OuterTag::k8021q ? "802.1q" : "802.1ad", kRestartSession},
          {"addresses", join(circuit.addresses, kPrint), kRestartSession},
          {"mtu", std::to_string(circuit.mtu_bytes), kInPlace},
          {"clamp-mss", yes_no(circuit.clamp_mss), kInPlace},
          {"enabled", yes_no(circuit.enabled), kRestartSession},
          {"service-key", circuit.service_key.value_or(""), kInPlace},
          {"path", circuit.path == CircuitPath::kSecondary ? "secondary" : "primary", kInPlace},
          {"policy", describe_policy(circuit.policy), kInPlace}};
}

/// `because`: the fields that change, joined.
std::string words_in_place(const std::string& because) {
  const std::string key = "new SAs are negotiated with the new key beside those that forward, which stay until then";
  if (because == "psk-file") return "no packet is lost; " + key;
  std::string words = "no packet is lost; " + because + " applies without a new negotiation, or from the next one on";
  if (because.find("psk-file") != std::string::npos) words += "; psk-file: " + key;
  return words;
}

std::string describe_circuit(const CircuitConfig& circuit) {
  std::string text = "VLAN " + std::to_string(circuit.vlan);
  if (circuit.outer_vlan) text += " in " + std::to_string(*circuit.outer_vlan);
  return text + " on " + circuit.uplink + ", " + join(circuit.addresses, kPrint);
}

class Comparison {
 public:
  Diff take() { return std::move(diff_); }

  /// Appends the changes of one object present on both sides. Returns the worst cost and the fields that cause it.
  template <class Object>
  void changed(const char* kind, const std::string& name, const Object& from, const Object& to) {
    const Fields before = fields_of(from);
    const Fields after = fields_of(to);
    Reconfigure worst = kInPlace;
    std::string because;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i].value == after[i].value) continue;
      diff_.changes.push_back(
          {ChangeKind::kChanged, kind, name, before[i].key, before[i].value, after[i].value, before[i].cost});
      if (before[i].cost > worst) {
        worst = before[i].cost;
        because.clear();
      }
      if (before[i].cost == worst) because += (because.empty() ? "" : ", ") + std::string(before[i].key);
    }
    if (!because.empty()) impact(kind, name, ChangeKind::kChanged, worst, because);
  }

  void whole(ChangeKind kind_of_change, const char* kind, const std::string& name, const std::string& text) {
    const bool added = kind_of_change == ChangeKind::kAdded;
    const Reconfigure cost = added ? kInPlace : kReplace;
    diff_.changes.push_back({kind_of_change, kind, name, {}, added ? "" : text, added ? text : "", cost});
    impact(kind, name, kind_of_change, cost, {});
  }

  /// Matches objects by `name_of`; `describe` is the one-line value of an object that comes or goes.
  template <class List, class NameOf, class Describe, class Same>
  void lists(const char* kind, const List& from, const List& to, NameOf name_of, Describe describe, Same same) {
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
      same(old == before.end() ? nullptr : old->second, item, name);
    }
    for (const auto& [name, item] : before) {
      if (!after.contains(name)) same(item, nullptr, name);
    }
  }

 private:
  void impact(const std::string& kind, const std::string& name, ChangeKind change, Reconfigure cost,
              const std::string& because) {
    std::string words;
    if (kind == "tunnel") {
      if (change == ChangeKind::kAdded) words = "a new tunnel is negotiated";
      if (change == ChangeKind::kRemoved) words = "the tunnel is closed, and its routes go";
      if (change == ChangeKind::kChanged && cost == kInPlace) words = words_in_place(because);
      if (cost == kRestartSession)
        words = "IKE is negotiated again because " + because + " changes: traffic stops meanwhile";
      if (change == ChangeKind::kChanged && cost == kReplace)
        words = "the tunnel is closed and made anew because " + because + " changes";
    } else if (kind == "circuit") {
      if (change == ChangeKind::kAdded) words = "a new circuit is opened";
      if (change == ChangeKind::kRemoved) words = "the circuit is closed, and its routes and BGP sessions go";
      if (change == ChangeKind::kChanged && cost == kInPlace) words = "no packet is lost";
      if (cost == kRestartSession)
        words = "traffic and BGP sessions stop until the provider's side agrees, because " + because + " changes";
      if (change == ChangeKind::kChanged && cost == kReplace)
        words = "the circuit is closed and made anew because " + because + " changes";
    } else if (kind == "neighbor") {
      if (change == ChangeKind::kAdded) words = "a new BGP session is opened";
      if (change == ChangeKind::kRemoved) words = "the BGP session is closed, and its routes go";
      if (change == ChangeKind::kChanged && cost == kInPlace)
        words = "the session stays; " + because + " applies without a reset, timers from the next session on";
      if (cost == kRestartSession) words = "the BGP session is reset because " + because + " changes";
      if (change == ChangeKind::kChanged && cost == kReplace)
        words = "the BGP session is closed and another opened because " + because + " changes";
    } else if (kind == "domain") {
      if (change == ChangeKind::kRemoved) words = "the domain goes, with its FRR instance and routes";
      if (change == ChangeKind::kChanged && cost == kRestartSession)
        words = "all BGP sessions of the domain are reset because " + because + " changes";
    } else if (kind == "vpc") {
      if (change == ChangeKind::kRemoved) words = "the VPC goes, with its endpoints and routes";
      if (change == ChangeKind::kChanged && cost == kReplace)
        words = "the VPC is removed and made anew because " + because + " changes";
    } else if (kind == "acl") {
      if (change == ChangeKind::kRemoved) words = "what only it let pass stops";
      if (change == ChangeKind::kChanged)
        words = "open connections that the list no longer allows stop with their next packet";
    } else if (kind == "gateway") {
      if (cost == kReplace)
        words = "compute hosts must use the new " + because + ", until then no overlay traffic passes";
    } else if (kind == "uplink" && change == ChangeKind::kRemoved) {
      words = "nothing is received from it any more";
    }
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
      "uplink", from.uplinks, to.uplinks, [](const UplinkConfig& uplink) { return uplink.interface; },
      [](const UplinkConfig& uplink) { return uplink.interface; }, nothing);

  static const std::vector<BgpNeighborConfig> kNoNeighbors;
  const auto neighbors_of = [](const DomainConfig* domain) -> const std::vector<BgpNeighborConfig>& {
    return domain != nullptr && domain->bgp ? domain->bgp->neighbors : kNoNeighbors;
  };
  comparison.lists(
      "domain", from.domains, to.domains, name_of,
      [](const DomainConfig& domain) { return domain.bgp ? "AS " + std::to_string(domain.bgp->asn) : "without BGP"; },
      [&](const DomainConfig* before, const DomainConfig* after, const std::string& domain) {
        comparison.lists(
            "neighbor", neighbors_of(before), neighbors_of(after),
            [&](const BgpNeighborConfig& neighbor) { return domain + "/" + neighbor.name; },
            [](const BgpNeighborConfig& neighbor) {
              return neighbor.address.to_string() + " AS " + std::to_string(neighbor.remote_asn);
            },
            nothing);
      });

  static const std::vector<EndpointConfig> kNoEndpoints;
  comparison.lists(
      "vpc", from.vpcs, to.vpcs, name_of,
      [](const VpcConfig& vpc) { return "VNI " + std::to_string(vpc.vni.value()) + ", " + join(vpc.prefixes, kPrint); },
      [&](const VpcConfig* before, const VpcConfig* after, const std::string& vpc) {
        comparison.lists(
            "endpoint", before != nullptr ? before->endpoints : kNoEndpoints,
            after != nullptr ? after->endpoints : kNoEndpoints,
            [&](const EndpointConfig& endpoint) { return vpc + "/" + endpoint.address.to_string(); },
            [](const EndpointConfig& endpoint) {
              return endpoint.mac.to_string() + " behind " + endpoint.vtep.to_string();
            },
            nothing);
      });

  comparison.lists(
      "tunnel", from.tunnels, to.tunnels, name_of,
      [](const TunnelConfig& tunnel) {
        return tunnel.local.to_string() + " to " + (tunnel.remote ? tunnel.remote->to_string() : tunnel.remote_id);
      },
      nothing);
  comparison.lists(
      "acl", from.acls, to.acls, name_of,
      [](const AclConfig& acl) { return count_of(acl.rules.size(), "rule", "rules"); }, nothing);
  comparison.lists("circuit", from.circuits, to.circuits, name_of, describe_circuit, nothing);
  return comparison.take();
}

std::string Diff::summary() const {
  if (empty()) return "nothing changes";
  const auto count = [&](const char* kind, auto matches) {
    return static_cast<std::size_t>(std::count_if(
        impact.begin(), impact.end(), [&](const Impact& one) { return one.kind_of_object == kind && matches(one); }));
  };
  const auto restarts = [](const Impact& one) {
    return one.kind == ChangeKind::kChanged && one.reconfigure != Reconfigure::kInPlace;
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
    parts.push_back(verb + join(counts, kSame) + (counts.empty() ? "" : " and ") + last);
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
  if (parts.empty()) return count_of(changes.size(), "change", "changes") + ", no session is affected";
  return join(parts, kSame);
}

}  // namespace simplon::config
