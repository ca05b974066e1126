// SPDX-License-Identifier: GPL-2.0-or-later
#include <map>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

namespace simplon::cli {

using nlohmann::json;

Page render_vpcs(const json& reply, Style style) {
  Page page;
  const json& vpcs = list(reply, "vpcs");
  if (vpcs.empty()) {
    page.text = "there are no VPCs\n  hint: simplon vpc add --help\n";
    return page;
  }
  std::string problems;
  Table table({"NAME", "DOMAIN", "VNI", "PREFIXES", "GATEWAY", "ENDPOINTS", "MTU", "IN", "OUT", "DROPPED"}, kIndent);
  for (const auto& vpc : vpcs) {
    const json& config = at(vpc, "config");
    const json& programmed = at(vpc, "programmed");
    table.add({text(vpc, "name"), text(config, "domain"), number_or_dash(vpc, "vni"), joined(config, "prefixes"),
               or_dash(joined(config, "gateway")), std::to_string(list(config, "endpoints").size()),
               number_or_dash(programmed, "mtu"), counter(programmed, "rx_packets"),
               counter(programmed, "tx_packets"), counter(programmed, "dropped")});
    const json& observed = at(vpc, "observed");
    problems += problem_lines("VPC " + text(vpc, "name"), text(observed, "problem"), text(observed, "hint"), style);
    if (programmed.is_null())
      problems += problem_lines("VPC " + text(vpc, "name"), "the forwarder does not know it",
                                "simplon status tells how the forwarder is", style);
  }
  page.degraded = !problems.empty();
  page.text = colored(plural(vpcs.size(), "VPC"), page.degraded ? Mood::kBad : Mood::kGood, style) + "\n" +
              table.render() + problems;
  return page;
}

Page render_vpc(const json& vpc, Style style) {
  Page page;
  const json& config = at(vpc, "config");
  const json& observed = at(vpc, "observed");
  const json& programmed = at(vpc, "programmed");
  page.degraded = !text(observed, "problem").empty() || programmed.is_null();
  page.text = headline(
      {text(vpc, "name"), colored(page.degraded ? "DEGRADED" : "UP", page.degraded ? Mood::kBad : Mood::kGood, style),
       "domain " + text(config, "domain"), "VNI " + number_or_dash(vpc, "vni"), programmed_words(programmed)},
      style);
  Table table({}, kIndent);
  table.add({"prefixes", joined(config, "prefixes")});
  table.add({"gateway", or_dash(joined(config, "gateway")) + " at " + text(config, "gateway-mac")});
  add_programmed(table, config, programmed);
  page.text += table.render();
  Table endpoints({"ENDPOINT", "MAC", "VTEP", "REACHED BY"}, kIndent);
  std::map<std::string, std::string> reached;
  for (const auto& vtep : list(observed, "vteps")) {
    reached[text(vtep, "address")] =
        flag(vtep, "resolved") ? text(vtep, "interface") + " " + text(vtep, "mac") : "not resolved";
  }
  for (const auto& endpoint : list(config, "endpoints")) {
    const auto found = reached.find(text(endpoint, "vtep"));
    endpoints.add({text(endpoint, "address"), text(endpoint, "mac"), text(endpoint, "vtep"),
                   found == reached.end() ? "-" : found->second});
  }
  if (!list(config, "endpoints").empty()) page.text += endpoints.render();
  page.text += problem_lines({}, text(observed, "problem"), text(observed, "hint"), style);
  if (programmed.is_null())
    page.text +=
        problem_lines({}, "the forwarder does not know it", "simplon status tells how the forwarder is", style);
  return page;
}

Page render_endpoints(const json& reply, Style) {
  Page page;
  Table table({"VPC", "VNI", "ENDPOINT", "MAC", "VTEP", "REACHED BY"}, kIndent);
  std::size_t count = 0;
  for (const auto& vpc : list(reply, "vpcs")) {
    std::map<std::string, std::string> reached;
    for (const auto& vtep : list(at(vpc, "observed"), "vteps")) {
      reached[text(vtep, "address")] = flag(vtep, "resolved") ? or_dash(text(vtep, "interface")) : "not resolved";
    }
    for (const auto& endpoint : list(at(vpc, "config"), "endpoints")) {
      ++count;
      const auto found = reached.find(text(endpoint, "vtep"));
      table.add({text(vpc, "name"), number_or_dash(vpc, "vni"), text(endpoint, "address"), text(endpoint, "mac"),
                 text(endpoint, "vtep"), found == reached.end() ? "-" : found->second});
    }
  }
  page.text = count == 0 ? "there are no endpoints\n  hint: simplon endpoint add --help\n"
                         : plural(count, "endpoint") + "\n" + table.render();
  return page;
}

}  // namespace simplon::cli
