// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/src/parse_policy.h"

#include <charconv>

#include "gateway/config/validate.h"

namespace simplon::config {
namespace {

// Given by the forwarder, and chosen by us.
constexpr std::size_t kMaxAclRules = 256;
constexpr std::size_t kMaxListed = 64;
constexpr std::uint64_t kMaxRate = 1'000'000'000'000;

Result<std::string> parse_object_name(const std::string& text) {
  if (is_valid_name(text)) return text;
  return fail(ErrorCode::kInvalidConfig, "'" + text + "' is not a name",
              "a lower-case letter, then up to 30 lower-case letters, digits or '-'");
}

Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > most) {
    return fail(ErrorCode::kInvalidConfig, "'" + std::string(text) + "' is not a number from 0 to " + std::to_string(most));
  }
  return value;
}

Result<std::optional<std::uint8_t>> parse_protocol(const std::string& text) {
  using Protocol = std::optional<std::uint8_t>;
  if (text == "any") return Protocol{};
  if (text == "tcp") return Protocol{6};
  if (text == "udp") return Protocol{17};
  if (text == "icmp") return Protocol{1};
  if (text == "icmpv6") return Protocol{58};
  const auto number = parse_number(text, 255);
  if (!number) {
    return fail(ErrorCode::kInvalidConfig, "unknown protocol '" + text + "'",
                "any, tcp, udp, icmp, icmpv6 or a number up to 255");
  }
  return Protocol{static_cast<std::uint8_t>(*number)};
}

Result<PortRange> parse_range(const std::string& text, std::uint64_t most) {
  const std::size_t dash = text.find('-');
  const auto first = parse_number(std::string_view(text).substr(0, dash), most);
  const auto last = dash == std::string::npos ? first : parse_number(std::string_view(text).substr(dash + 1), most);
  if (!first || !last || *first > *last) {
    return fail(ErrorCode::kInvalidConfig, "'" + text + "' is not a range",
                "a number up to " + std::to_string(most) + ", or two of them like 8000-8100");
  }
  return PortRange{static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
}
Result<PortRange> parse_ports(const std::string& text) { return parse_range(text, 65535); }
Result<PortRange> parse_types(const std::string& text) { return parse_range(text, 255); }

Result<bool> parse_action(const std::string& text) {
  if (text == "allow") return true;
  if (text == "deny") return false;
  return fail(ErrorCode::kInvalidConfig, "unknown action '" + text + "'", "allow or deny");
}

Result<bool> parse_direction(const std::string& text) {
  if (text == "to") return true;
  if (text == "from") return false;
  return fail(ErrorCode::kInvalidConfig, "unknown direction '" + text + "'",
              "to (packets that go to the VPC or site) or from (that come from it)");
}

Result<ReversePathConfig> parse_reverse_path(const std::string& text) {
  if (text == "off") return ReversePathConfig::kOff;
  if (text == "loose") return ReversePathConfig::kLoose;
  if (text == "strict") return ReversePathConfig::kStrict;
  return fail(ErrorCode::kInvalidConfig, "unknown reverse-path '" + text + "'", "off, loose or strict");
}

Result<NatType> parse_nat_type(const std::string& text) {
  for (const NatType type : {NatType::kSource, NatType::kDestination, NatType::kNetmap, NatType::kNetmapRemote}) {
    if (text == to_string(type)) return type;
  }
  return fail(ErrorCode::kInvalidConfig, "unknown type '" + text + "'",
              "source, destination, netmap or netmap-remote");
}

/// An address stands for its /32.
Result<IpPrefix> parse_prefix_or_address(const std::string& text) {
  if (text.find('/') != std::string::npos) return IpPrefix::parse(text);
  auto address = IpAddress::parse(text);
  if (!address) return Unexpected(address.error());
  return IpPrefix::host(*address);
}

const auto append = [](auto& list) { return [&list](auto value) { list.push_back(std::move(value)); }; };
const auto set = [](auto& field) { return [&field](auto value) { field = std::move(value); }; };

void read_acl_rule(Findings& findings, const YamlNode& node, const std::string& path, AclRuleConfig& ret) {
  ObjectReader reader(findings, node, path, "acl-rule");
  reader.read_parsed("name", Need::kRequired, parse_object_name, set(ret.name));
  reader.read_parsed("action", Need::kRequired, parse_action, set(ret.allow));
  reader.read_parsed("direction", Need::kRequired, parse_direction, set(ret.to));
  reader.read_parsed("protocol", Need::kOptional, parse_protocol, set(ret.protocol));
  reader.read_parsed_list("source", Need::kOptional, kMaxListed, parse_prefix_or_address, append(ret.source));
  reader.read_parsed_list("destination", Need::kOptional, kMaxListed, parse_prefix_or_address, append(ret.destination));
  reader.read_parsed_list("source-ports", Need::kOptional, kMaxListed, parse_ports, append(ret.source_ports));
  reader.read_parsed_list("ports", Need::kOptional, kMaxListed, parse_ports, append(ret.ports));
  reader.read_parsed_list("icmp-types", Need::kOptional, kMaxListed, parse_types, append(ret.icmp_types));
  reader.read_bool("stateful", ret.stateful);
}

}  // namespace

void read_acl(Findings& findings, const YamlNode& node, const std::string& path, AclConfig& ret) {
  ObjectReader reader(findings, node, path, "acl");
  reader.read_parsed("name", Need::kRequired, parse_object_name, set(ret.name));
  reader.read_parsed("default", Need::kOptional, parse_action, set(ret.allow_by_default));
  reader.read_list("rules", Need::kOptional, kMaxAclRules, [&](const YamlNode& item, const std::string& at) {
    read_acl_rule(findings, item, at, ret.rules.emplace_back());
  });
}

void read_policy(Findings& findings, const YamlNode& node, const std::string& path, PolicyConfig& ret) {
  ObjectReader reader(findings, node, path, "policy");
  const auto rate = [&](const char* key, std::uint64_t& field) {
    reader.read_integer(key, Need::kOptional, 0, kMaxRate, [&](std::uint64_t value) { field = value; });
  };
  reader.read_parsed("acl", Need::kOptional, parse_object_name, set(ret.acl));
  reader.read_parsed("reverse-path", Need::kOptional, parse_reverse_path, set(ret.reverse_path));
  rate("rate-from", ret.bits_from);
  rate("rate-to", ret.bits_to);
  rate("packets-from", ret.packets_from);
  rate("packets-to", ret.packets_to);
  reader.read_integer("max-connections", Need::kOptional, 1, 262'144,
                      [&](std::uint64_t value) { ret.max_connections = static_cast<std::uint32_t>(value); });
}

void read_nat_rule(Findings& findings, const YamlNode& node, const std::string& path, NatRuleConfig& ret) {
  ObjectReader reader(findings, node, path, "nat-rule");
  const auto port = [&](const char* key, std::uint16_t& field) {
    reader.read_integer(key, Need::kOptional, 1, 65535, [&](std::uint64_t value) { field = static_cast<std::uint16_t>(value); });
  };
  reader.read_parsed("name", Need::kRequired, parse_object_name, set(ret.name));
  reader.read_parsed("type", Need::kRequired, parse_nat_type, set(ret.type));
  reader.read_parsed("attachment", Need::kOptional, parse_object_name, set(ret.attachment));
  reader.read_parsed_list("source", Need::kOptional, kMaxListed, parse_prefix_or_address, append(ret.source));
  reader.read_parsed("outside", Need::kRequired, parse_prefix_or_address, set(ret.outside));
  reader.read_parsed("inside", Need::kOptional, parse_prefix_or_address, set(ret.inside));
  reader.read_parsed("protocol", Need::kOptional, parse_protocol,
                     [&](std::optional<std::uint8_t> value) { ret.protocol = value.value_or(0); });
  port("outside-port", ret.outside_port);
  port("inside-port", ret.inside_port);
  reader.read_integer("port-blocks", Need::kOptional, 1, 126,
                      [&](std::uint64_t value) { ret.port_blocks = static_cast<std::uint16_t>(value); });
}

}  // namespace simplon::config
