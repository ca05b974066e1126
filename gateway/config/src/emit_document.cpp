// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>

#include "gateway/config/document.h"
#include "gateway/config/src/object_reader.h"
#include "gateway/config/src/parsed_document.h"

namespace simplon::config {
namespace {

/// True if every reader of YAML takes the word for a plain text: not a number, a truth value, a time or an indicator.
bool is_plain(std::string_view text) {
  if (text.empty() || text.size() > 200) return false;
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool clean = std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '.' || c == '/';
  });
  if (!clean) return false;
  if (text.front() == '/') return true;
  if (is_digit(text.front())) {  // an IPv4 address or prefix: more dots than a number has
    return std::count(text.begin(), text.end(), '.') == 3;
  }
  if (!is_letter(text.front())) return false;
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  for (const char* word : {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}) {
    if (lower == word) return false;
  }
  return true;
}

std::string scalar(const std::string& text) {
  if (is_plain(text)) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      out += "\\x";
      out += kHex[(static_cast<unsigned char>(c) >> 4) & 15];
      out += kHex[static_cast<unsigned char>(c) & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

class Writer {
 public:
  std::string take() { return std::move(text_); }

  /// A list of mappings; each `body` call writes one item's keys.
  template <class List, class Body>
  void list(const char* key, const List& items, Body body) {
    if (items.empty()) return;
    line(std::string(key) + ":");
    indent_ += 2;
    for (const auto& item : items) {
      item_starts_ = true;
      indent_ += 2;
      body(item);
      indent_ -= 2;
    }
    indent_ -= 2;
  }
  template <class Body>
  void map(const char* key, Body body) {
    line(std::string(key) + ":");
    indent_ += 2;
    body();
    indent_ -= 2;
  }
  void text(const char* key, const std::string& value) { line(std::string(key) + ": " + scalar(value)); }
  void number(const char* key, std::uint64_t value) { line(std::string(key) + ": " + std::to_string(value)); }
  void flag(const char* key, bool value) { line(std::string(key) + ": " + (value ? "true" : "false")); }
  void duration(const char* key, std::chrono::seconds value) { line(std::string(key) + ": " + format_duration(value)); }
  template <class List, class Format>
  void flow(const char* key, const List& items, Format format) {
    std::string joined;
    for (const auto& item : items) joined += (joined.empty() ? "" : ", ") + scalar(format(item));
    line(std::string(key) + ": [" + joined + "]");
  }

 private:
  void line(const std::string& content) {
    if (item_starts_) {
      text_ += std::string(indent_ - 2, ' ') + "- " + content + "\n";
      item_starts_ = false;
    } else {
      text_ += std::string(indent_, ' ') + content + "\n";
    }
  }

  std::string text_;
  std::size_t indent_ = 0;
  bool item_starts_ = false;
};

const auto kPrint = [](const auto& value) { return value.to_string(); };
const auto kSame = [](const std::string& value) { return value; };

void emit_neighbor(Writer& out, const BgpNeighborConfig& neighbor) {
  const BgpNeighborConfig defaults;
  out.text("name", neighbor.name);
  out.text("address", neighbor.address.to_string());
  out.number("asn", neighbor.remote_asn);
  if (neighbor.password_file) out.text("password-file", *neighbor.password_file);
  if (neighbor.keepalive != defaults.keepalive) out.duration("keepalive", neighbor.keepalive);
  if (neighbor.hold != defaults.hold) out.duration("hold", neighbor.hold);
  if (neighbor.bfd != defaults.bfd) out.flag("bfd", neighbor.bfd);
  if (!neighbor.import.empty()) out.flow("import", neighbor.import, format_prefix_rule);
  if (!neighbor.export_.empty()) out.flow("export", neighbor.export_, format_prefix_rule);
  if (neighbor.max_prefixes != defaults.max_prefixes) out.number("max-prefixes", neighbor.max_prefixes);
}

std::string protocol_of(const NatRuleConfig& rule) {
  return format_protocol(rule.protocol == 0 ? std::nullopt : std::optional(rule.protocol));
}

void emit_nat_rule(Writer& out, const NatRuleConfig& rule) {
  const NatRuleConfig defaults;
  out.text("name", rule.name);
  out.text("type", std::string(to_string(rule.type)));
  if (!rule.attachment.empty()) out.text("attachment", rule.attachment);
  if (!rule.source.empty()) out.flow("source", rule.source, kPrint);
  if (rule.outside) out.text("outside", rule.outside->to_string());
  if (rule.inside) out.text("inside", rule.inside->to_string());
  if (rule.protocol != 0) out.text("protocol", protocol_of(rule));
  if (rule.outside_port != 0) out.number("outside-port", rule.outside_port);
  if (rule.inside_port != 0) out.number("inside-port", rule.inside_port);
  if (rule.port_blocks != defaults.port_blocks) out.number("port-blocks", rule.port_blocks);
}

void emit_acl_rule(Writer& out, const AclRuleConfig& rule) {
  out.text("name", rule.name);
  out.text("action", rule.allow ? "allow" : "deny");
  out.text("direction", rule.to ? "to" : "from");
  if (rule.protocol) out.text("protocol", format_protocol(rule.protocol));
  if (!rule.source.empty()) out.flow("source", rule.source, kPrint);
  if (!rule.destination.empty()) out.flow("destination", rule.destination, kPrint);
  if (!rule.source_ports.empty()) out.flow("source-ports", rule.source_ports, format_ports);
  if (!rule.ports.empty()) out.flow("ports", rule.ports, format_ports);
  if (!rule.icmp_types.empty()) out.flow("icmp-types", rule.icmp_types, format_ports);
  if (!rule.stateful) out.flag("stateful", false);
}

void emit_policy(Writer& out, const PolicyConfig& policy) {
  const PolicyConfig defaults;
  if (policy == defaults) return;
  out.map("policy", [&] {
    if (!policy.acl.empty()) out.text("acl", policy.acl);
    if (policy.reverse_path != defaults.reverse_path) {
      out.text("reverse-path", std::string(to_string(policy.reverse_path)));
    }
    if (policy.bits_from != 0) out.number("rate-from", policy.bits_from);
    if (policy.bits_to != 0) out.number("rate-to", policy.bits_to);
    if (policy.packets_from != 0) out.number("packets-from", policy.packets_from);
    if (policy.packets_to != 0) out.number("packets-to", policy.packets_to);
    if (policy.max_connections != defaults.max_connections) out.number("max-connections", policy.max_connections);
  });
}

void emit_domain(Writer& out, const DomainConfig& domain) {
  out.text("name", domain.name);
  if (domain.bgp) {
    out.map("bgp", [&] {
      out.number("asn", domain.bgp->asn);
      out.text("router-id", domain.bgp->router_id.to_string());
      out.list("neighbors", domain.bgp->neighbors, [&](const auto& neighbor) { emit_neighbor(out, neighbor); });
    });
  }
  out.list("static-routes", domain.static_routes, [&](const StaticRouteConfig& route) {
    out.text("prefix", route.prefix.to_string());
    out.text("via", route.via);
    if (route.gateway) out.text("gateway", route.gateway->to_string());
    if (route.distance != StaticRouteConfig().distance) out.number("distance", route.distance);
  });
  out.list("nat", domain.nat, [&](const NatRuleConfig& rule) { emit_nat_rule(out, rule); });
}

void emit_vpc(Writer& out, const VpcConfig& vpc) {
  out.text("name", vpc.name);
  out.text("domain", vpc.domain);
  out.number("vni", vpc.vni.value());
  out.flow("prefixes", vpc.prefixes, kPrint);
  if (!vpc.gateway.empty()) out.flow("gateway", vpc.gateway, kPrint);
  if (vpc.gateway_mac != default_gateway_mac(vpc.vni)) out.text("gateway-mac", vpc.gateway_mac.to_string());
  if (vpc.mtu_bytes != VpcConfig().mtu_bytes) out.number("mtu", vpc.mtu_bytes);
  out.list("endpoints", vpc.endpoints, [&](const EndpointConfig& endpoint) {
    out.text("address", endpoint.address.to_string());
    out.text("mac", endpoint.mac.to_string());
    out.text("vtep", endpoint.vtep.to_string());
  });
  emit_policy(out, vpc.policy);
}

void emit_tunnel(Writer& out, const TunnelConfig& tunnel) {
  const TunnelConfig defaults;
  out.text("name", tunnel.name);
  out.text("domain", tunnel.domain);
  out.text("local", tunnel.local.to_string());
  if (tunnel.remote) out.text("remote", tunnel.remote->to_string());
  if (tunnel.local_id != tunnel.local.to_string()) out.text("local-id", tunnel.local_id);
  if (!tunnel.remote_id.empty() && (!tunnel.remote || tunnel.remote_id != tunnel.remote->to_string()))
    out.text("remote-id", tunnel.remote_id);
  out.text("psk-file", tunnel.psk_file);
  if (!tunnel.ike_proposals.empty() && tunnel.ike_proposals != default_ike_proposals())
    out.flow("ike-proposals", tunnel.ike_proposals, kSame);
  if (!tunnel.esp_proposals.empty() && tunnel.esp_proposals != default_esp_proposals())
    out.flow("esp-proposals", tunnel.esp_proposals, kSame);
  if (tunnel.allow_weak != defaults.allow_weak) out.flag("allow-weak", tunnel.allow_weak);
  if (tunnel.encapsulation == Encapsulation::kUdp) out.text("encapsulation", "udp");
  if (tunnel.initiate != defaults.initiate) out.flag("initiate", tunnel.initiate);
  if (tunnel.enabled != defaults.enabled) out.flag("enabled", tunnel.enabled);
  if (tunnel.dpd_delay != defaults.dpd_delay) out.duration("dpd-delay", tunnel.dpd_delay);
  if (tunnel.ike_rekey != defaults.ike_rekey) out.duration("ike-rekey", tunnel.ike_rekey);
  if (tunnel.child_rekey != defaults.child_rekey) out.duration("child-rekey", tunnel.child_rekey);
  if (tunnel.replay_window != defaults.replay_window) out.number("replay-window", tunnel.replay_window);
  if (!tunnel.inside.empty()) out.flow("inside", tunnel.inside, kPrint);
  if (tunnel.mtu_bytes) out.number("mtu", *tunnel.mtu_bytes);
  if (tunnel.clamp_mss != defaults.clamp_mss) out.flag("clamp-mss", tunnel.clamp_mss);
  if (tunnel.outer_df != defaults.outer_df) out.text("outer-df", std::string(to_string(tunnel.outer_df)));
  if (tunnel.inner_df != defaults.inner_df) out.text("inner-df", std::string(to_string(tunnel.inner_df)));
  emit_policy(out, tunnel.policy);
}

void emit_circuit(Writer& out, const CircuitConfig& circuit) {
  const CircuitConfig defaults;
  out.text("name", circuit.name);
  out.text("domain", circuit.domain);
  out.text("uplink", circuit.uplink);
  out.number("vlan", circuit.vlan);
  if (circuit.outer_vlan) out.number("outer-vlan", *circuit.outer_vlan);
  if (circuit.outer_type != defaults.outer_type) out.text("outer-type", "802.1q");
  if (!circuit.addresses.empty()) out.flow("addresses", circuit.addresses, kPrint);
  if (circuit.mtu_bytes != defaults.mtu_bytes) out.number("mtu", circuit.mtu_bytes);
  if (circuit.clamp_mss != defaults.clamp_mss) out.flag("clamp-mss", circuit.clamp_mss);
  if (circuit.enabled != defaults.enabled) out.flag("enabled", circuit.enabled);
  if (circuit.service_key) out.text("service-key", *circuit.service_key);
  if (circuit.path != defaults.path) out.text("path", "secondary");
  emit_policy(out, circuit.policy);
}

}  // namespace

std::string emit_document(const GatewayConfig& config) {
  Writer out;
  out.map("gateway", [&] {
    out.text("name", config.name);
    if (config.vtep) out.text("vtep", config.vtep->to_string());
    if (config.vxlan_port != GatewayConfig().vxlan_port) out.number("vxlan-port", config.vxlan_port);
  });
  out.list("uplinks", config.uplinks, [&](const UplinkConfig& uplink) { out.text("interface", uplink.interface); });
  out.list("domains", config.domains, [&](const DomainConfig& domain) { emit_domain(out, domain); });
  out.list("vpcs", config.vpcs, [&](const VpcConfig& vpc) { emit_vpc(out, vpc); });
  out.list("tunnels", config.tunnels, [&](const TunnelConfig& tunnel) { emit_tunnel(out, tunnel); });
  out.list("circuits", config.circuits, [&](const CircuitConfig& circuit) { emit_circuit(out, circuit); });
  out.list("acls", config.acls, [&](const AclConfig& acl) {
    out.text("name", acl.name);
    if (acl.allow_by_default) out.text("default", "allow");
    out.list("rules", acl.rules, [&](const AclRuleConfig& rule) { emit_acl_rule(out, rule); });
  });
  return out.take();
}

}  // namespace simplon::config
