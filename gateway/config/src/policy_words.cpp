// SPDX-License-Identifier: GPL-2.0-or-later
//
// Policy in the words of the document: for changes, for the CLI, and for the document itself.
#include "gateway/config/policy_model.h"

namespace simplon::config {
namespace {

std::string any_of(const std::vector<IpPrefix>& prefixes) {
  std::string text;
  for (const IpPrefix& prefix : prefixes) text += (text.empty() ? "" : ", ") + prefix.to_string();
  return text.empty() ? "any" : text;
}

std::string list_of(const char* key, const std::vector<PortRange>& ranges) {
  std::string text;
  for (const PortRange& range : ranges) text += (text.empty() ? "" : ", ") + format_ports(range);
  return text.empty() ? text : std::string(" ") + key + " " + text;
}

}  // namespace

std::string format_protocol(std::optional<std::uint8_t> protocol) {
  if (!protocol) return "any";
  switch (*protocol) {
    case 1:
      return "icmp";
    case 6:
      return "tcp";
    case 17:
      return "udp";
    case 58:
      return "icmpv6";
    default:
      return std::to_string(*protocol);
  }
}

std::string format_ports(const PortRange& range) {
  std::string text = std::to_string(range.first);
  if (range.last != range.first) text += "-" + std::to_string(range.last);
  return text;
}

std::string_view to_string(NatType type) noexcept {
  switch (type) {
    case NatType::kSource:
      return "source";
    case NatType::kDestination:
      return "destination";
    case NatType::kNetmap:
      return "netmap";
    case NatType::kNetmapRemote:
      return "netmap-remote";
  }
  return "source";
}

std::string_view to_string(ReversePathConfig mode) noexcept {
  switch (mode) {
    case ReversePathConfig::kOff:
      return "off";
    case ReversePathConfig::kLoose:
      return "loose";
    case ReversePathConfig::kStrict:
      return "strict";
  }
  return "off";
}

std::string describe_rule(const AclRuleConfig& rule) {
  std::string text = rule.allow ? "allow" : "deny";
  text += rule.to ? " to" : " from";
  text += " " + format_protocol(rule.protocol) + " " + any_of(rule.source) + " -> " + any_of(rule.destination);
  text += list_of("source-ports", rule.source_ports) + list_of("ports", rule.ports) +
          list_of("icmp-types", rule.icmp_types);
  if (rule.allow && !rule.stateful) text += " stateless";
  return text;
}

std::string describe_rule(const NatRuleConfig& rule) {
  const auto prefix = [](const std::optional<IpPrefix>& one) { return one ? one->to_string() : std::string("?"); };
  const auto port = [](std::uint16_t number) { return number == 0 ? std::string() : " port " + std::to_string(number); };
  std::string text(to_string(rule.type));
  if (!rule.attachment.empty()) text += " at " + rule.attachment;
  switch (rule.type) {
    case NatType::kSource:
      return text + ": " + any_of(rule.source) + " as " + prefix(rule.outside);
    case NatType::kDestination:
      return text + ": " + format_protocol(rule.protocol == 0 ? std::nullopt : std::optional(rule.protocol)) + " " +
             prefix(rule.outside) + port(rule.outside_port) + " to " + prefix(rule.inside) + port(rule.inside_port);
    case NatType::kNetmap:
    case NatType::kNetmapRemote:
      break;
  }
  return text + ": " + prefix(rule.inside) + " as " + prefix(rule.outside);
}

}  // namespace simplon::config
