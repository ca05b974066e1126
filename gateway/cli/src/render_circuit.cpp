// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

namespace simplon::cli {

using nlohmann::json;

namespace {

std::string tags_of(const json& config) {
  const std::string vlan = number_or_dash(config, "vlan");
  return has(config, "outer-vlan") ? vlan + " in " + number_or_dash(config, "outer-vlan") : vlan;
}

/// What is wrong with a circuit, as lines; `name`: what they begin with.
std::string circuit_problems(const std::string& name, const json& circuit, Style style) {
  const json& observed = at(circuit, "observed");
  std::string lines = problem_lines(name, text(observed, "problem"), text(observed, "hint"), style);
  if (at(circuit, "programmed").is_null() && !is_off(circuit))
    lines += problem_lines(name, "the forwarder does not know it", "simplon status tells how the forwarder is", style);
  return lines;
}

}  // namespace

Page render_circuits(const json& reply, Style style) {
  Page page;
  const json& circuits = list(reply, "circuits");
  if (circuits.empty()) {
    page.text = "there are no circuits\n  hint: simplon circuit add --help\n";
    return page;
  }
  std::string problems;
  std::size_t up = 0;
  Table table({"NAME", "STATE", "DOMAIN", "UPLINK", "VLAN", "ADDRESSES", "MTU", "IN", "OUT", "DROPPED"}, kIndent);
  for (const auto& circuit : circuits) {
    const json& config = at(circuit, "config");
    const json& programmed = at(circuit, "programmed");
    if (is_up(circuit)) ++up;
    table.add({text(circuit, "name"), text(at(circuit, "observed"), "state"), text(config, "domain"),
               text(config, "uplink"), tags_of(config), joined(config, "addresses"), number_or_dash(programmed, "mtu"),
               counter(programmed, "rx_packets"), counter(programmed, "tx_packets"), counter(programmed, "dropped")});
    problems += circuit_problems("circuit " + text(circuit, "name"), circuit, style);
  }
  page.degraded = !problems.empty();
  page.text = colored(std::to_string(up) + " of " + plural(circuits.size(), "circuit") + " up",
                      page.degraded ? Mood::kBad : Mood::kGood, style) +
              "\n" + table.render() + problems;
  return page;
}

Page render_circuit(const json& circuit, Style style) {
  Page page;
  const json& config = at(circuit, "config");
  const json& observed = at(circuit, "observed");
  const json& programmed = at(circuit, "programmed");
  const std::string problems = circuit_problems({}, circuit, style);
  page.degraded = !problems.empty();
  page.text = headline(
      {text(circuit, "name"), colored(upper(text(observed, "state")), page.degraded ? Mood::kBad : Mood::kGood, style),
       "domain " + text(config, "domain"), programmed_words(programmed)},
      style);
  Table table({}, kIndent);
  table.add({"VLAN", tags_of(config) + " on " + text(config, "uplink")});
  table.add({"addresses", joined(config, "addresses") + " on " + text(circuit, "interface")});
  if (has(config, "service-key"))
    table.add({"line", text(config, "service-key") + ", " + text(config, "path") + " path"});
  add_programmed(table, config, programmed);
  page.text += table.render();
  Table neighbors({"NEIGHBOR", "MAC"}, kIndent);
  for (const auto& neighbor : list(observed, "neighbors")) {
    neighbors.add({text(neighbor, "address"), flag(neighbor, "resolved") ? text(neighbor, "mac") : "does not answer"});
  }
  if (!list(observed, "neighbors").empty()) page.text += neighbors.render();
  page.text += problems;
  return page;
}

}  // namespace simplon::cli
