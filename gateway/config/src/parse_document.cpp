// SPDX-License-Identifier: GPL-2.0-or-later
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "gateway/config/document.h"
#include "gateway/config/src/object_reader.h"
#include "gateway/config/src/parse_policy.h"
#include "gateway/config/src/parsed_document.h"
#include "gateway/config/validate.h"
#include "platform/base/byte_order_mark.h"
#include "platform/sys/file.h"

// Text becomes a value in two steps that never mix: `parse_to_model` looks at one value at a time (is it there, what
// type, is it an address), `validate` at how the values fit together. A value that could not be read leaves its default
// in the model; its path is remembered as broken, and whatever `validate` has to say about that place is left out, so
// that one mistake of the operator is one finding.

namespace simplon::config {
namespace {

// Chosen by us: beyond these a document is a mistake, or belongs in more than one gateway.
constexpr std::size_t kMaxUplinks = 16;
constexpr std::size_t kMaxDomains = 4096;
constexpr std::size_t kMaxNeighbors = 1000;
constexpr std::size_t kMaxRules = 1000;
constexpr std::size_t kMaxStaticRoutes = 10'000;
constexpr std::size_t kMaxVpcs = 10'000;
constexpr std::size_t kMaxPrefixes = 64;
constexpr std::size_t kMaxEndpoints = 100'000;
constexpr std::size_t kMaxTunnels = 10'000;
constexpr std::size_t kMaxAcls = 10'000;
constexpr std::size_t kMaxNatRules = 1000;
constexpr std::size_t kMaxCircuits = 4000;
constexpr std::size_t kMaxProposals = 16;
constexpr std::size_t kMaxInterfaceAddresses = 2;
// The smallest datagram every host accepts (RFC 791 section 3.1), and what jumbo frames carry.
constexpr std::uint64_t kMinMtuBytes = 576;
constexpr std::uint64_t kMaxMtuBytes = 9000;

using std::chrono::seconds;

Result<std::string> parse_name(const std::string& text) {
  if (is_valid_name(text)) return text;
  return fail(ErrorCode::kInvalidConfig, "'" + text + "' is not a name",
              "a lower-case letter, then up to 30 lower-case letters, digits or '-'");
}

Result<std::string> parse_gateway_name(const std::string& text) { return parse_name(text); }

Result<std::string> parse_interface(const std::string& text) {
  const bool fits = !text.empty() && text.size() <= 15 && text != "." && text != "..";
  const bool clean = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.' || c == '@';
  });
  if (fits && clean) return text;
  return fail(ErrorCode::kInvalidConfig, "'" + text + "' is not an interface name",
              "1 to 15 characters, as in `ip link`");
}

Result<std::string> parse_path(const std::string& text) {
  if (text.starts_with('/')) return text;
  // Without the text: it may be the key itself, and this goes into the audit log.
  return fail(ErrorCode::kInvalidConfig, "this is not an absolute path", "write the key into a file of mode 0600, and here its path from /");
}

Result<Encapsulation> parse_encapsulation(const std::string& text) {
  if (text == "auto") return Encapsulation::kAuto;
  if (text == "udp") return Encapsulation::kUdp;
  return fail(ErrorCode::kInvalidConfig, "unknown encapsulation '" + text + "'", "auto or udp");
}

/// The one of `policies` whose word is `text`.
template <class Policy>
Result<Policy> parse_df(const std::string& text, std::initializer_list<Policy> policies) {
  std::string known;
  for (const Policy policy : policies) {
    if (text == to_string(policy)) return policy;
    known += (known.empty() ? "" : " or ") + std::string(to_string(policy));
  }
  return fail(ErrorCode::kInvalidConfig, "unknown policy '" + text + "' for \"don't fragment\"", known);
}

Result<OuterDf> parse_outer_df(const std::string& text) {
  return parse_df(text, {OuterDf::kSet, OuterDf::kClear, OuterDf::kCopy});
}

Result<InnerDf> parse_inner_df(const std::string& text) { return parse_df(text, {InnerDf::kHonor, InnerDf::kIgnore}); }

template <class Check>
auto checked(Check check) {
  return [check](const std::string& text) -> Result<std::string> {
    if (auto ok = check(text); !ok) return Unexpected(ok.error());
    return text;
  };
}

Result<std::uint32_t> parse_asn(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty() || value > 4294967295U) {
    return fail(ErrorCode::kInvalidConfig, "'" + text + "' is not an AS number", "1 to 4294967294, in plain digits");
  }
  return static_cast<std::uint32_t>(value);
}

void read_neighbor(Findings& findings, const YamlNode& node, const std::string& path, BgpNeighborConfig& ret) {
  ObjectReader reader(findings, node, path, "neighbor");
  const auto set = [](auto& field) { return [&field](auto value) { field = std::move(value); }; };
  const auto append = [](auto& list) { return [&list](auto value) { list.push_back(std::move(value)); }; };
  reader.read_parsed("name", Need::kRequired, parse_name, set(ret.name));
  reader.read_parsed("address", Need::kRequired, IpAddress::parse, set(ret.address));
  reader.read_parsed("asn", Need::kRequired, parse_asn, set(ret.remote_asn));
  reader.read_parsed("password-file", Need::kOptional, parse_path, set(ret.password_file));
  reader.read_duration("keepalive", seconds(1), seconds(21845), ret.keepalive);
  reader.read_duration("hold", seconds(3), seconds(65535), ret.hold);  // RFC 4271 section 4.2: 0 or at least 3 seconds
  reader.read_bool("bfd", ret.bfd);
  reader.read_parsed_list("import", Need::kOptional, kMaxRules, parse_prefix_rule, append(ret.import));
  reader.read_parsed_list("export", Need::kOptional, kMaxRules, parse_prefix_rule, append(ret.export_));
  reader.read_integer("max-prefixes", Need::kOptional, 1, 10'000'000,
                      [&](std::uint64_t value) { ret.max_prefixes = static_cast<std::uint32_t>(value); });
}

void read_bgp(Findings& findings, const YamlNode& node, const std::string& path, BgpConfig& ret) {
  ObjectReader reader(findings, node, path, "bgp");
  reader.read_parsed("asn", Need::kRequired, parse_asn, [&](std::uint32_t value) { ret.asn = value; });
  reader.read_parsed("router-id", Need::kRequired, IpAddress::parse, [&](IpAddress value) { ret.router_id = value; });
  reader.read_list("neighbors", Need::kOptional, kMaxNeighbors, [&](const YamlNode& item, const std::string& at) {
    read_neighbor(findings, item, at, ret.neighbors.emplace_back());
  });
}

void read_static_route(Findings& findings, const YamlNode& node, const std::string& path, StaticRouteConfig& ret) {
  ObjectReader reader(findings, node, path, "static-route");
  reader.read_parsed("prefix", Need::kRequired, IpPrefix::parse, [&](IpPrefix value) { ret.prefix = value; });
  reader.read_parsed("via", Need::kRequired, parse_name, [&](std::string value) { ret.via = std::move(value); });
  reader.read_parsed("gateway", Need::kOptional, IpAddress::parse, [&](IpAddress value) { ret.gateway = value; });
  reader.read_integer("distance", Need::kOptional, 1, 255,
                      [&](std::uint64_t value) { ret.distance = static_cast<std::uint8_t>(value); });
}

void read_domain(Findings& findings, const YamlNode& node, const std::string& path, DomainConfig& ret) {
  ObjectReader reader(findings, node, path, "domain");
  reader.read_parsed("name", Need::kRequired, parse_name, [&](std::string value) { ret.name = std::move(value); });
  if (const YamlNode* bgp = reader.take("bgp", Need::kOptional)) {
    read_bgp(findings, *bgp, reader.path_of("bgp"), ret.bgp.emplace());
  }
  reader.read_list("static-routes", Need::kOptional, kMaxStaticRoutes,
                   [&](const YamlNode& item, const std::string& at) {
                     read_static_route(findings, item, at, ret.static_routes.emplace_back());
                   });
  reader.read_list("nat", Need::kOptional, kMaxNatRules, [&](const YamlNode& item, const std::string& at) {
    read_nat_rule(findings, item, at, ret.nat.emplace_back());
  });
}

void read_endpoint(Findings& findings, const YamlNode& node, const std::string& path, EndpointConfig& ret) {
  ObjectReader reader(findings, node, path, "endpoint");
  reader.read_parsed("address", Need::kRequired, IpAddress::parse, [&](IpAddress value) { ret.address = value; });
  reader.read_parsed("mac", Need::kRequired, MacAddress::parse, [&](MacAddress value) { ret.mac = value; });
  reader.read_parsed("vtep", Need::kRequired, IpAddress::parse, [&](IpAddress value) { ret.vtep = value; });
}

void read_vpc(Findings& findings, const YamlNode& node, const std::string& path, VpcConfig& ret) {
  ObjectReader reader(findings, node, path, "vpc");
  reader.read_parsed("name", Need::kRequired, parse_name, [&](std::string value) { ret.name = std::move(value); });
  reader.read_parsed("domain", Need::kRequired, parse_name, [&](std::string value) { ret.domain = std::move(value); });
  // RFC 7348 section 5: 24 bits; 0 is left out because devices disagree about it.
  reader.read_integer("vni", Need::kRequired, 1, 16777215,
                      [&](std::uint64_t value) { ret.vni = Vni(static_cast<std::uint32_t>(value)); });
  reader.read_parsed_list("prefixes", Need::kRequired, kMaxPrefixes, IpPrefix::parse,
                          [&](IpPrefix value) { ret.prefixes.push_back(value); });
  reader.read_parsed_list("gateway", Need::kOptional, kMaxInterfaceAddresses, InterfaceAddress::parse,
                          [&](InterfaceAddress value) { ret.gateway.push_back(value); });
  ret.gateway_mac = default_gateway_mac(ret.vni);
  reader.read_parsed("gateway-mac", Need::kOptional, MacAddress::parse,
                     [&](MacAddress value) { ret.gateway_mac = value; });
  reader.read_integer("mtu", Need::kOptional, kMinMtuBytes, kMaxMtuBytes,
                      [&](std::uint64_t value) { ret.mtu_bytes = static_cast<std::uint16_t>(value); });
  reader.read_list("endpoints", Need::kOptional, kMaxEndpoints, [&](const YamlNode& item, const std::string& at) {
    read_endpoint(findings, item, at, ret.endpoints.emplace_back());
  });
  if (const YamlNode* policy = reader.take("policy", Need::kOptional)) {
    read_policy(findings, *policy, reader.path_of("policy"), ret.policy);
  }
}

void read_tunnel(Findings& findings, const YamlNode& node, const std::string& path, TunnelConfig& ret) {
  ObjectReader reader(findings, node, path, "tunnel");
  const auto set = [](auto& field) { return [&field](auto value) { field = std::move(value); }; };
  const auto append = [](auto& list) { return [&list](auto value) { list.push_back(std::move(value)); }; };
  reader.read_parsed("name", Need::kRequired, parse_name, set(ret.name));
  reader.read_parsed("domain", Need::kRequired, parse_name, set(ret.domain));
  reader.read_parsed("local", Need::kRequired, IpAddress::parse, set(ret.local));
  reader.read_parsed("remote", Need::kOptional, IpAddress::parse, set(ret.remote));
  reader.read_text("local-id", Need::kOptional, ret.local_id);
  reader.read_text("remote-id", Need::kOptional, ret.remote_id);
  if (ret.local_id.empty()) ret.local_id = ret.local.to_string();
  if (ret.remote_id.empty() && ret.remote) ret.remote_id = ret.remote->to_string();
  reader.read_parsed("psk-file", Need::kRequired, parse_path, set(ret.psk_file));
  reader.read_bool("allow-weak", ret.allow_weak);
  const auto good = [&ret](auto check) {
    return checked([check, allow_weak = ret.allow_weak](const std::string& text) { return check(text, allow_weak); });
  };
  reader.read_parsed_list("ike-proposals", Need::kOptional, kMaxProposals, good(check_ike_proposal),
                          append(ret.ike_proposals));
  if (ret.ike_proposals.empty()) ret.ike_proposals = default_ike_proposals();
  reader.read_parsed_list("esp-proposals", Need::kOptional, kMaxProposals, good(check_esp_proposal),
                          append(ret.esp_proposals));
  if (ret.esp_proposals.empty()) ret.esp_proposals = default_esp_proposals();
  reader.read_parsed("encapsulation", Need::kOptional, parse_encapsulation, set(ret.encapsulation));
  reader.read_bool("initiate", ret.initiate);
  reader.read_bool("enabled", ret.enabled);
  reader.read_duration("dpd-delay", seconds(1), seconds(3600), ret.dpd_delay);
  reader.read_duration("ike-rekey", seconds(60), seconds(7 * 86400), ret.ike_rekey);
  reader.read_duration("child-rekey", seconds(10), seconds(7 * 86400), ret.child_rekey);
  // 0 would switch anti-replay off (RFC 4303 section 3.4.3 asks for at least 32).
  // More was allowed once, and stored: it must still load, and one such tunnel must not stop changes to others.
  constexpr std::uint64_t kAllowedOnce = 65536;
  reader.read_integer("replay-window", Need::kOptional, 32, kAllowedOnce, [&](std::uint64_t value) {
    ret.replay_window = static_cast<std::uint32_t>(std::min<std::uint64_t>(value, kMaxReplayWindow));
    if (value <= kMaxReplayWindow) return;
    findings.add({Severity::kWarning, ErrorCode::kInvalidConfig, reader.path_of("replay-window"), std::to_string(value),
                  std::to_string(value) + " is more than the forwarder has, it is taken for " + std::to_string(kMaxReplayWindow),
                  "write 32 to " + std::to_string(kMaxReplayWindow), node.line});
  });
  reader.read_parsed_list("inside", Need::kOptional, kMaxInterfaceAddresses, InterfaceAddress::parse,
                          append(ret.inside));
  reader.read_integer("mtu", Need::kOptional, kMinMtuBytes, kMaxMtuBytes,
                      [&](std::uint64_t value) { ret.mtu_bytes = static_cast<std::uint16_t>(value); });
  reader.read_bool("clamp-mss", ret.clamp_mss);
  reader.read_parsed("outer-df", Need::kOptional, parse_outer_df, set(ret.outer_df));
  reader.read_parsed("inner-df", Need::kOptional, parse_inner_df, set(ret.inner_df));
  if (const YamlNode* policy = reader.take("policy", Need::kOptional)) {
    read_policy(findings, *policy, reader.path_of("policy"), ret.policy);
  }
}

Result<OuterTag> parse_outer_type(const std::string& text) {
  if (text == "802.1ad") return OuterTag::k8021ad;
  if (text == "802.1q") return OuterTag::k8021q;
  return fail(ErrorCode::kInvalidConfig, "unknown outer tag '" + text + "'", "802.1ad or 802.1q");
}

Result<CircuitPath> parse_circuit_path(const std::string& text) {
  if (text == "primary") return CircuitPath::kPrimary;
  if (text == "secondary") return CircuitPath::kSecondary;
  return fail(ErrorCode::kInvalidConfig, "unknown path '" + text + "'", "primary or secondary");
}

Result<std::string> parse_service_key(const std::string& text) {
  constexpr std::string_view kShape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  std::string key = text;
  bool good = key.size() == kShape.size();
  for (std::size_t i = 0; good && i < key.size(); ++i) {
    if (key[i] >= 'A' && key[i] <= 'F') key[i] = static_cast<char>(key[i] - 'A' + 'a');
    const bool is_digit = (key[i] >= '0' && key[i] <= '9') || (key[i] >= 'a' && key[i] <= 'f');
    good = kShape[i] == '-' ? key[i] == '-' : is_digit;
  }
  if (good) return key;
  return fail(ErrorCode::kInvalidConfig, "'" + text + "' is not a service key",
              "32 hexadecimal digits as in 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d");
}

void read_circuit(Findings& findings, const YamlNode& node, const std::string& path, CircuitConfig& ret) {
  ObjectReader reader(findings, node, path, "circuit");
  const auto set = [](auto& field) { return [&field](auto value) { field = std::move(value); }; };
  reader.read_parsed("name", Need::kRequired, parse_name, set(ret.name));
  reader.read_parsed("domain", Need::kRequired, parse_name, set(ret.domain));
  reader.read_parsed("uplink", Need::kRequired, parse_interface, set(ret.uplink));
  // IEEE 802.1Q clause 9.6: 0 is no VLAN, 4095 is reserved.
  reader.read_integer("vlan", Need::kRequired, 1, 4094,
                      [&](std::uint64_t value) { ret.vlan = static_cast<std::uint16_t>(value); });
  reader.read_integer("outer-vlan", Need::kOptional, 1, 4094,
                      [&](std::uint64_t value) { ret.outer_vlan = static_cast<std::uint16_t>(value); });
  reader.read_parsed("outer-type", Need::kOptional, parse_outer_type, set(ret.outer_type));
  reader.read_parsed_list("addresses", Need::kRequired, kMaxInterfaceAddresses, InterfaceAddress::parse,
                          [&](InterfaceAddress value) { ret.addresses.push_back(value); });
  reader.read_integer("mtu", Need::kOptional, kMinMtuBytes, kMaxMtuBytes,
                      [&](std::uint64_t value) { ret.mtu_bytes = static_cast<std::uint16_t>(value); });
  reader.read_bool("clamp-mss", ret.clamp_mss);
  reader.read_bool("enabled", ret.enabled);
  reader.read_parsed("service-key", Need::kOptional, parse_service_key, set(ret.service_key));
  reader.read_parsed("path", Need::kOptional, parse_circuit_path, set(ret.path));
  if (const YamlNode* policy = reader.take("policy", Need::kOptional)) {
    read_policy(findings, *policy, reader.path_of("policy"), ret.policy);
  }
}

void read_gateway(Findings& findings, const YamlNode& node, GatewayConfig& ret) {
  ObjectReader reader(findings, node, "gateway", "gateway");
  reader.read_parsed("name", Need::kRequired, parse_gateway_name,
                     [&](std::string value) { ret.name = std::move(value); });
  reader.read_parsed("vtep", Need::kOptional, IpAddress::parse, [&](IpAddress value) { ret.vtep = value; });
  reader.read_integer("vxlan-port", Need::kOptional, 1, 65535,
                      [&](std::uint64_t value) { ret.vxlan_port = static_cast<std::uint16_t>(value); });
}

void read_document_node(Findings& findings, const YamlNode& node, GatewayConfig& ret) {
  ObjectReader reader(findings, node, {}, "document");
  if (const YamlNode* gateway = reader.take("gateway", Need::kRequired)) read_gateway(findings, *gateway, ret);
  reader.read_list("uplinks", Need::kOptional, kMaxUplinks, [&](const YamlNode& item, const std::string& at) {
    ObjectReader uplink(findings, item, at, "uplink");
    auto& to = ret.uplinks.emplace_back();
    uplink.read_parsed("interface", Need::kRequired, parse_interface,
                       [&](std::string value) { to.interface = std::move(value); });
  });
  reader.read_list("domains", Need::kOptional, kMaxDomains, [&](const YamlNode& item, const std::string& at) {
    read_domain(findings, item, at, ret.domains.emplace_back());
  });
  reader.read_list("vpcs", Need::kOptional, kMaxVpcs, [&](const YamlNode& item, const std::string& at) {
    read_vpc(findings, item, at, ret.vpcs.emplace_back());
  });
  reader.read_list("tunnels", Need::kOptional, kMaxTunnels, [&](const YamlNode& item, const std::string& at) {
    read_tunnel(findings, item, at, ret.tunnels.emplace_back());
  });
  reader.read_list("acls", Need::kOptional, kMaxAcls, [&](const YamlNode& item, const std::string& at) {
    read_acl(findings, item, at, ret.acls.emplace_back());
  });
  reader.read_list("circuits", Need::kOptional, kMaxCircuits, [&](const YamlNode& item, const std::string& at) {
    read_circuit(findings, item, at, ret.circuits.emplace_back());
  });
}

}  // namespace

const std::map<std::string, std::vector<std::string>>& known_keys() {
  static const std::map<std::string, std::vector<std::string>> kKeys = {
      {"document", {"gateway", "uplinks", "domains", "vpcs", "tunnels", "circuits", "acls"}},
      {"gateway", {"name", "vtep", "vxlan-port"}},
      {"uplink", {"interface"}},
      {"domain", {"name", "bgp", "static-routes", "nat"}},
      {"bgp", {"asn", "router-id", "neighbors"}},
      {"neighbor",
       {"name", "address", "asn", "password-file", "keepalive", "hold", "bfd", "import", "export", "max-prefixes"}},
      {"static-route", {"prefix", "via", "gateway", "distance"}},
      {"vpc", {"name", "domain", "vni", "prefixes", "gateway", "gateway-mac", "mtu", "endpoints", "policy"}},
      {"endpoint", {"address", "mac", "vtep"}},
      {"tunnel",
       {"name",          "domain",        "local",         "remote",        "local-id", "remote-id", "psk-file",
        "ike-proposals", "esp-proposals", "allow-weak",    "encapsulation", "initiate", "enabled",   "dpd-delay",
        "ike-rekey",     "child-rekey",   "replay-window", "inside",        "mtu",      "clamp-mss", "outer-df",
        "inner-df",      "policy"}},
      {"circuit",
       {"name", "domain", "uplink", "vlan", "outer-vlan", "outer-type", "addresses", "mtu", "clamp-mss", "enabled",
        "service-key", "path", "policy"}},
      {"acl", {"name", "default", "rules"}},
      {"acl-rule",
       {"name", "action", "direction", "protocol", "source", "destination", "source-ports", "ports", "icmp-types",
        "stateful"}},
      {"policy", {"acl", "reverse-path", "rate-from", "rate-to", "packets-from", "packets-to", "max-connections"}},
      {"nat-rule",
       {"name", "type", "attachment", "source", "outside", "inside", "protocol", "outside-port", "inside-port",
        "port-blocks"}},
  };
  return kKeys;
}

const std::vector<std::string>& default_ike_proposals() {
  static const std::vector<std::string> kProposals = {"aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-ecp256",
                                                      "aes256-sha256-modp2048"};
  return kProposals;
}

const std::vector<std::string>& default_esp_proposals() {
  static const std::vector<std::string> kProposals = {"aes256gcm16-ecp384-esn-noesn", "aes128gcm16-ecp256-esn-noesn",
                                                      "aes256gcm16-esn-noesn"};
  return kProposals;
}

MacAddress default_gateway_mac(Vni vni) noexcept {
  const std::uint32_t value = vni.value();
  return {{0x02, 0x53, 0x4c, static_cast<std::uint8_t>(value >> 16), static_cast<std::uint8_t>(value >> 8),
           static_cast<std::uint8_t>(value)}};
}

Result<PrefixRule> parse_prefix_rule(std::string_view text) {
  const auto space = text.find(' ');
  auto prefix = IpPrefix::parse(text.substr(0, space));
  if (!prefix) return Unexpected(prefix.error());
  PrefixRule rule{*prefix, static_cast<std::uint8_t>(prefix->length())};
  if (space == std::string_view::npos) return rule;
  const std::string_view rest = text.substr(space + 1);
  unsigned length = 0;
  bool understood = rest.starts_with("le ") && rest.size() > 3;
  if (understood) {
    const auto [end, error] = std::from_chars(rest.data() + 3, rest.data() + rest.size(), length);
    understood = error == std::errc{} && end == rest.data() + rest.size();
  }
  if (!understood) {
    return fail(ErrorCode::kInvalidConfig, "'" + std::string(text) + "' is not a prefix rule",
                "write \"10.0.0.0/8\" or \"10.0.0.0/8 le 24\"");
  }
  const unsigned bits = prefix->address().bits();
  if (length < prefix->length() || length > bits) {
    return fail(ErrorCode::kInvalidConfig, "'" + std::string(text) + "' permits nothing",
                "le must be " + std::to_string(prefix->length()) + " to " + std::to_string(bits));
  }
  rule.max_length = static_cast<std::uint8_t>(length);
  return rule;
}

std::string format_prefix_rule(const PrefixRule& rule) {
  std::string text = rule.prefix.to_string();
  if (rule.max_length != rule.prefix.length()) text += " le " + std::to_string(rule.max_length);
  return text;
}

ParsedDocument parse_to_model(std::string_view yaml) {
  ParsedDocument parsed;
  auto tree = parse_yaml(yaml);
  if (!tree) {
    parsed.findings.broken.insert("");
    parsed.findings.add(tree.error());
    return parsed;
  }
  parsed.tree = std::move(*tree);
  if (parsed.tree.kind == YamlNode::Kind::kNull) {
    parsed.findings.error("", parsed.tree, "the document is empty", "the smallest one is \"gateway: {name: NAME}\"");
    return parsed;
  }
  read_document_node(parsed.findings, parsed.tree, parsed.config);
  return parsed;
}

Document parse_document(std::string_view yaml) {
  ParsedDocument parsed = parse_to_model(yaml);
  return {std::move(parsed.config), std::move(parsed.findings.issues)};
}

std::string Issue::message() const {
  std::string text;
  if (line > 0) text += "line " + std::to_string(line) + ": ";
  if (!path.empty()) text += path + ": ";
  text += what;
  if (!hint.empty()) text += " (" + hint + ")";
  return text;
}

bool has_errors(const std::vector<Issue>& issues) noexcept {
  return std::any_of(issues.begin(), issues.end(),
                     [](const Issue& issue) { return issue.severity == Severity::kError; });
}

Error to_error(const std::vector<Issue>& issues) {
  const auto is_error = [](const Issue& issue) { return issue.severity == Severity::kError; };
  const auto first = std::find_if(issues.begin(), issues.end(), is_error);
  if (first == issues.end()) return {ErrorCode::kBug, "no error", {}};
  const auto count = std::count_if(issues.begin(), issues.end(), is_error);
  std::string what = first->path.empty() ? first->what : first->path + ": " + first->what;
  if (count > 1) what = std::to_string(count) + " errors, the first: " + what;
  return {first->code, std::move(what), first->hint};
}

Result<std::string> load_text(const std::string& path) {
  // The descriptor, not /dev/stdin: that cannot be opened when it is a socket.
  auto text = path == "-" ? sys::read_all(STDIN_FILENO, "standard input", kMaxDocumentBytes)
                          : sys::read_file(path, kMaxDocumentBytes);
  if (!text) return fail(ErrorCode::kInvalidConfig, text.error().what, text.error().hint);
  drop_byte_order_mark(*text);
  return text;
}

}  // namespace simplon::config
