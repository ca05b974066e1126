// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <map>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

// Pages about state. Each begins with one line that says whether all is well, and collects problems to say them last,
// with what to do about each.

namespace simplon::cli {

using nlohmann::json;

namespace {

constexpr std::size_t kIndent = 2;

std::string upper(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return word;
}

std::string up_or_down(bool up) { return up ? "up" : "DOWN"; }

std::string number_or_dash(const json& object, const char* key) {
  return has(object, key) ? std::to_string(number(object, key)) : "-";
}

bool is_up(const json& tunnel) { return text(at(tunnel, "observed"), "state") == "up"; }
bool is_off(const json& tunnel) { return text(at(tunnel, "observed"), "state") == "disabled"; }

/// Parts of the first line of a page; what does not fit goes to the next one.
std::string headline(const std::vector<std::string>& parts, Style style) {
  const std::size_t invisible = style.color ? 11 : 0;  // the escapes around the verdict
  std::string out;
  std::string line;
  for (const auto& part : parts) {
    if (!line.empty() && display_width(line) + 3 + display_width(part) > kPageWidth + invisible) {
      out += line + "\n";
      line = std::string(kIndent, ' ') + part;
    } else {
      line += (line.empty() ? "" : "   ") + part;
    }
  }
  return out + line + "\n";
}

/// A tunnel that charon has up but the forwarder does not serve is not up for anybody's packets.
std::string forwarder_problem(const json& tunnel) {
  const json& programmed = at(tunnel, "programmed");
  if (programmed.is_null()) return "the forwarder does not know it";
  if (!is_up(tunnel)) return {};
  bool sends = false;
  bool receives = false;
  for (const auto& sa : list(programmed, "sas")) {
    if (flag(sa, "inbound")) receives = true;
    if (!flag(sa, "inbound") && flag(sa, "active")) sends = true;
  }
  if (!sends || !receives) return "charon has it up, but the forwarder has no SA for it";
  if (!flag(programmed, "host_port_up")) return "its host port is down";
  return {};
}

const json& newest_child(const json& tunnel) {
  static const json kNone;
  const auto& children = list(at(tunnel, "observed"), "children");
  for (const auto& child : children) {
    if (text(child, "state") == "INSTALLED") return child;
  }
  return children.empty() ? kNone : children.front();
}

std::string remote_of(const json& tunnel) {
  const std::string remote = text(at(tunnel, "config"), "remote");
  return remote.empty() ? "any" : remote;
}

std::string rekey_words(const json& child) {
  if (!has(child, "rekey_in_seconds")) return "-";
  return format_age(number(child, "rekey_in_seconds"));
}

std::string tunnel_problems(const json& tunnel, Style style, bool& ret_degraded) {
  const json& observed = at(tunnel, "observed");
  std::string out;
  const std::string name = "tunnel " + text(tunnel, "name");
  if (!is_off(tunnel) && !is_up(tunnel)) {
    ret_degraded = true;
    std::string problem = text(observed, "problem");
    if (problem.empty()) problem = "it is " + text(observed, "state");
    out += problem_lines(name, problem, text(observed, "hint"), style);
  } else if (!text(observed, "problem").empty()) {
    ret_degraded = true;
    out += problem_lines(name, text(observed, "problem"), text(observed, "hint"), style);
  }
  if (const std::string problem = is_off(tunnel) ? std::string() : forwarder_problem(tunnel); !problem.empty()) {
    ret_degraded = true;
    out += problem_lines(name, problem, "simplon status tells how the forwarder is", style);
  }
  return out;
}

std::string spi_words(const json& sa) {
  std::string words = text(sa, "spi");
  words += flag(sa, "inbound") ? "" : flag(sa, "active") ? " (active)" : " (standby)";
  return words + " " + traffic(sa, "packets", "bytes");
}

std::string sas_words(const json& programmed, bool inbound) {
  std::string words;
  for (const auto& sa : list(programmed, "sas")) {
    if (flag(sa, "inbound") == inbound) words += (words.empty() ? "" : "; ") + spi_words(sa);
  }
  return words;
}

std::string replay_words(const json& programmed) {
  std::uint64_t replayed = 0;
  std::uint64_t failed = 0;
  for (const auto& sa : list(programmed, "sas")) {
    replayed += number(sa, "replayed");
    failed += number(sa, "failed");
  }
  return format_count(replayed) + " replayed, " + format_count(failed) + " not authentic";
}

}  // namespace

std::string colored(const std::string& word, Mood mood, Style style) {
  if (!style.color || mood == Mood::kNeutral) return word;
  return (mood == Mood::kGood ? "\033[1;32m" : "\033[1;31m") + word + "\033[0m";
}

std::string programmed_words(const json& programmed) {
  if (programmed.is_null()) return "forwarder: not confirmed";
  return "forwarder: generation " + number_or_dash(programmed, "generation") +
         (flag(programmed, "current") ? " (current)" : " (catching up)");
}

std::string problem_lines(const std::string& about, const std::string& problem, const std::string& hint, Style style) {
  if (problem.empty()) return {};
  const std::string first = about.empty() ? problem : about + ": " + problem;
  std::string out = paragraph(first, kIndent, kIndent + 2);
  if (style.color) out = "\033[31m" + out.substr(0, out.size() - 1) + "\033[0m\n";
  if (!hint.empty()) out += paragraph("hint: " + hint, kIndent + 2, kIndent + 8);
  return out;
}

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

std::string traffic(const json& object, const char* packets, const char* bytes) {
  if (!has(object, packets)) return "-";
  return plural(number(object, packets), "packet") + ", " + format_bytes(number(object, bytes));
}

namespace {

/// A counter of what the forwarder has; a dash if it has it not.
std::string packets(const json& programmed, const char* key) {
  return programmed.is_object() ? format_count(number(programmed, key)) : "-";
}

/// What every attachment has: MTU, host port, traffic.
void add_programmed(Table& table, const json& config, const json& programmed) {
  if (!programmed.is_object()) return table.add({"MTU", number_or_dash(config, "mtu")});
  table.add({"MTU", number_or_dash(config, "mtu") + ", programmed " + number_or_dash(programmed, "mtu")});
  table.add({"host port", up_or_down(flag(programmed, "host_port_up"))});
  table.add({"in", traffic(programmed, "rx_packets", "rx_bytes")});
  table.add({"out", traffic(programmed, "tx_packets", "tx_bytes") + ", dropped " +
                        plural(number(programmed, "dropped"), "packet")});
}

}  // namespace

std::string render_pending(const json& pending, Style style) {
  if (!pending.is_object()) return {};
  const std::string words = "version " + number_or_dash(pending, "version") + " is on probation: in " +
                            format_age(number(pending, "seconds_left")) + " version " +
                            number_or_dash(pending, "reverts_to") + " comes back";
  const bool by_hand = !has(pending, "confirm_required") || flag(pending, "confirm_required");
  std::string out = problem_lines(
      {}, words, by_hand ? "to keep it: simplon confirm" : "it stays as soon as all gates have held", style);
  for (const auto& gate : list(pending, "gates")) {
    std::string state = "not looked at yet";
    if (flag(gate, "healthy")) {
      state = "healthy for " + std::to_string(number(gate, "held_seconds")) + " of " +
              std::to_string(number(gate, "needed_seconds")) + " s";
    } else if (has(gate, "healthy")) {
      state = text(gate, "problem");
    }
    out += paragraph("gate " + text(gate, "gate") + ": " + state, 4, 6);
  }
  return out;
}

Page render_status(const json& reply, Style style) {
  const std::string verdict = text(reply, "verdict");
  const bool good = verdict == "ok";
  const json& programmed = at(reply, "programmed");
  std::string forwarder = "forwarder: not connected";
  if (programmed.is_object()) {
    const auto confirmed = number(programmed, "generation_confirmed");
    const auto wanted = number(programmed, "generation_wanted");
    forwarder = "forwarder: generation " + std::to_string(confirmed) +
                (confirmed == wanted ? " (current)" : " (wanted: " + std::to_string(wanted) + ")");
  }
  Page page;
  page.degraded = !good;
  page.text = headline(
      {or_dash(text(reply, "gateway")), colored(upper(or_dash(verdict)), good ? Mood::kGood : Mood::kBad, style),
       "up " + format_age(number(reply, "uptime_seconds")),
       "configuration: version " + number_or_dash(at(reply, "config"), "version"), forwarder},
      style);

  const json& counts = at(reply, "counts");
  const auto of = [&](const char* part, const char* whole, const char* word) {
    return std::to_string(number(counts, part)) + " of " + std::to_string(number(counts, whole)) + " " + word;
  };
  page.text += "  tunnels " + of("tunnels_up", "tunnels", "up") + ", BGP " +
               of("bgp_established", "bgp_neighbors", "established") + ", " +
               plural(number(counts, "domains"), "domain") + ", " + plural(number(counts, "vpcs"), "VPC") + ", " +
               plural(number(counts, "endpoints"), "endpoint") +
               (number(counts, "circuits") > 0 ? ", " + plural(number(counts, "circuits"), "circuit") : "") +
               (has(programmed, "routes") ? ", " + plural(number(programmed, "routes"), "route") : "") + "\n";

  Table table({}, kIndent);
  for (const auto& program : list(reply, "programs")) {
    table.add({text(program, "name"), up_or_down(flag(program, "up")), text(program, "detail")});
  }
  for (const auto& uplink : list(reply, "uplinks")) {
    std::string detail = or_dash(text(uplink, "mode")) + ", " + plural(number(uplink, "queues"), "queue");
    detail +=
        ", in " + traffic(uplink, "rx_packets", "rx_bytes") + ", out " + traffic(uplink, "tx_packets", "tx_bytes");
    if (const std::string forwarding = text(uplink, "xdp_forwarding"); forwarding == "on") {
      detail += ", " + format_count(number(uplink, "xdp_packets")) + " forwarded in XDP";
    } else if (!forwarding.empty()) {
      detail += ", no forwarding in XDP: " + forwarding;
    }
    table.add({"uplink " + text(uplink, "interface"), up_or_down(flag(uplink, "up")), detail});
  }
  for (const auto& worker : list(reply, "workers")) {
    std::string detail = std::to_string(number(worker, "busy_percent")) + " % busy";
    if (has(worker, "cpu")) detail += " on CPU " + std::to_string(number(worker, "cpu"));
    std::string queues;
    for (const auto& queue : list(worker, "queues")) {
      queues += (queues.empty() ? "" : " ") + text(queue, "interface") + "/" + std::to_string(number(queue, "queue"));
    }
    detail += ", queues " + or_dash(queues) + ", in " + plural(number(worker, "received"), "packet");
    table.add({text(worker, "name"), "up", detail});
  }
  page.text += table.render();

  if (const json& accounting = at(reply, "accounting"); accounting.is_object()) {
    const auto count = [&](const char* key) { return format_count(number(accounting, key)) + " " + key; };
    page.text += paragraph("packets: " + count("received") + " + " + count("originated") + " = " + count("sent") +
                               " + " + count("punted") + " + " + count("dropped"),
                           kIndent, kIndent + 2);
  }
  page.text += render_pending(at(at(reply, "config"), "pending"), style);
  for (const auto& problem : list(reply, "problems")) {
    page.text += problem_lines(text(problem, "object"), text(problem, "what"), text(problem, "hint"), style);
  }
  return page;
}

Page render_tunnels(const json& reply, Style style) {
  Page page;
  const json& tunnels = list(reply, "tunnels");
  const auto wanted = std::count_if(tunnels.begin(), tunnels.end(), [](const json& tunnel) { return !is_off(tunnel); });
  const auto up = std::count_if(tunnels.begin(), tunnels.end(), is_up);
  if (tunnels.empty()) {
    page.text = "there are no tunnels\n  hint: simplon tunnel add --help\n";
    return page;
  }
  std::string problems;
  Table table({"NAME", "STATE", "DOMAIN", "REMOTE", "SUITE", "UP FOR", "REKEY IN", "MTU", "IN", "OUT"}, kIndent);
  for (const auto& tunnel : tunnels) {
    const json& observed = at(tunnel, "observed");
    const json& programmed = at(tunnel, "programmed");
    const json& child = newest_child(tunnel);
    table.add({text(tunnel, "name"), text(observed, "state"), text(at(tunnel, "config"), "domain"), remote_of(tunnel),
               or_dash(text(child, "suite")), is_up(tunnel) ? format_age(number(observed, "ike_age_seconds")) : "-",
               rekey_words(child), number_or_dash(programmed, "mtu"), packets(programmed, "rx_packets"),
               packets(programmed, "tx_packets")});
    problems += tunnel_problems(tunnel, style, page.degraded);
  }
  page.text = colored(std::to_string(up) + " of " + plural(static_cast<std::uint64_t>(wanted), "tunnel") + " up",
                      up == wanted ? Mood::kGood : Mood::kBad, style) +
              "\n" + table.render() + problems;
  return page;
}

Page render_tunnel(const json& tunnel, Style style) {
  Page page;
  const json& config = at(tunnel, "config");
  const json& observed = at(tunnel, "observed");
  const json& programmed = at(tunnel, "programmed");
  const json& child = newest_child(tunnel);
  const std::string problems = tunnel_problems(tunnel, style, page.degraded);
  const std::string state = is_up(tunnel) && page.degraded ? "DEGRADED" : upper(or_dash(text(observed, "state")));

  std::string charon = "charon: " + or_dash(text(observed, "state"));
  if (is_up(tunnel)) charon = "charon: up " + format_age(number(observed, "ike_age_seconds"));
  page.text = headline({text(tunnel, "name"), colored(state, page.degraded ? Mood::kBad : Mood::kGood, style),
                        "domain " + text(config, "domain"), charon, programmed_words(programmed)},
                       style);

  const bool encap = flag(child, "encap");
  Table table({"", "CONFIG", "OBSERVED (charon)", "PROGRAMMED (forwarder)"}, kIndent);
  table.add(
      {"local", text(config, "local") + " (" + text(config, "local-id") + ")", or_dash(text(observed, "local")), ""});
  table.add(
      {"remote", remote_of(tunnel) + " (" + text(config, "remote-id") + ")", or_dash(text(observed, "remote")), ""});
  table.add({"IKE", joined(config, "ike-proposals"), or_dash(text(observed, "ike_suite")), ""});
  std::string suite;
  for (const auto& sa : list(programmed, "sas")) {
    if (suite.empty()) suite = text(sa, "suite");
  }
  table.add({"ESP", joined(config, "esp-proposals"), or_dash(text(child, "suite")), or_dash(suite)});
  table.add({"carried in", text(config, "encapsulation") == "udp" ? "UDP" : "ESP, UDP behind NAT",
             child.is_object() ? encap ? "UDP" : "ESP" : "-", ""});
  table.add({"SPI in", "", or_dash(text(child, "spi_in")), or_dash(sas_words(programmed, true))});
  table.add({"SPI out", "", or_dash(text(child, "spi_out")), or_dash(sas_words(programmed, false))});
  table.add(
      {"rekey",
       "every " + format_age(number(config, "child-rekey")) + ", IKE every " + format_age(number(config, "ike-rekey")),
       child.is_object() ? "in " + rekey_words(child) : "-", ""});
  table.add({"set up in", "",
             has(observed, "established_in_ms") ? number_or_dash(observed, "established_in_ms") + " ms" : "-", ""});
  table.add({"replay", "window " + number_or_dash(config, "replay-window"), "",
             programmed.is_object() ? replay_words(programmed) : "-"});
  table.add({"inside", or_dash(joined(config, "inside")), "",
             programmed.is_object() ? std::string("host port ") + up_or_down(flag(programmed, "host_port_up")) : "-"});
  table.add({"MTU", has(config, "mtu") ? "at most " + number_or_dash(config, "mtu") : "computed", "",
             number_or_dash(programmed, "mtu")});
  table.add({"in", "", child.is_object() ? format_bytes(number(child, "bytes_in")) : "-",
             traffic(programmed, "rx_packets", "rx_bytes")});
  table.add({"out", "", child.is_object() ? format_bytes(number(child, "bytes_out")) : "-",
             traffic(programmed, "tx_packets", "tx_bytes")});
  table.add({"dropped", "", "", programmed.is_object() ? plural(number(programmed, "dropped"), "packet") : "-"});
  page.text += table.render() + problems;
  return page;
}

Page render_vpcs(const json& reply, Style style) {
  Page page;
  const json& vpcs = list(reply, "vpcs");
  if (vpcs.empty()) {
    page.text = "there are no VPCs\n  hint: simplon vpc add --help\n";
    return page;
  }
  std::string problems;
  Table table({"NAME", "DOMAIN", "VNI", "PREFIXES", "GATEWAY", "ENDPOINTS", "MTU", "IN", "OUT"}, kIndent);
  for (const auto& vpc : vpcs) {
    const json& config = at(vpc, "config");
    const json& programmed = at(vpc, "programmed");
    table.add({text(vpc, "name"), text(config, "domain"), number_or_dash(vpc, "vni"), joined(config, "prefixes"),
               or_dash(joined(config, "gateway")), std::to_string(list(config, "endpoints").size()),
               number_or_dash(programmed, "mtu"), packets(programmed, "rx_packets"),
               packets(programmed, "tx_packets")});
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
  Table table({"NAME", "STATE", "DOMAIN", "UPLINK", "VLAN", "ADDRESSES", "MTU", "IN", "OUT"}, kIndent);
  for (const auto& circuit : circuits) {
    const json& config = at(circuit, "config");
    const json& programmed = at(circuit, "programmed");
    if (is_up(circuit)) ++up;
    table.add({text(circuit, "name"), text(at(circuit, "observed"), "state"), text(config, "domain"),
               text(config, "uplink"), tags_of(config), joined(config, "addresses"), number_or_dash(programmed, "mtu"),
               packets(programmed, "rx_packets"), packets(programmed, "tx_packets")});
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

Page render_routes(const json& reply, Style style) {
  Page page;
  std::size_t count = 0;
  std::string body;
  for (const auto& domain : list(reply, "domains")) {
    Table table({"PREFIX", "FROM", "TO", "NOTE"}, kIndent);
    for (const auto& route : list(domain, "routes")) {
      ++count;
      std::string to;
      std::string note = text(route, "reason");
      for (const auto& hop : list(route, "nexthops")) {
        std::string one = text(hop, "kind") + " " + text(hop, "name");
        if (const std::string gateway = text(hop, "gateway"); !gateway.empty()) one += " via " + gateway;
        if (number(hop, "weight") > 1) one += " x" + std::to_string(number(hop, "weight"));
        to += (to.empty() ? "" : ", ") + one;
        if (const std::string problem = text(hop, "problem");
            !problem.empty() && note.find(problem) == std::string::npos) {
          note += (note.empty() ? "" : "; ") + problem;
        }
      }
      if (text(route, "action") == "local") to = "our own address" + (to.empty() ? "" : " (" + to + ")");
      if (text(route, "action") == "unreachable") to = "unreachable";
      if (note.empty() && has(route, "programmed") && !flag(route, "programmed") && flag(route, "selected"))
        note = "not programmed yet";
      table.add({text(route, "prefix"), text(route, "origin"), or_dash(to), note});
    }
    body += "domain " + text(domain, "name") + ": " + plural(list(domain, "routes").size(), "route") +
            (flag(domain, "synchronized") ? "" : " (learned routes are not complete yet)") + "\n" + table.render();
  }
  const bool current = flag(reply, "current");
  page.text = plural(count, "route") + "   forwarder: " +
              colored(has(reply, "generation") ? "generation " + number_or_dash(reply, "generation") +
                                                     (current ? " (current)" : " (catching up)")
                                               : "not connected",
                      current ? Mood::kGood : Mood::kBad, style) +
              "\n" + body;
  return page;
}

Page render_bgp(const json& reply, Style style) {
  Page page;
  std::size_t sessions = 0;
  std::size_t established = 0;
  std::string body;
  std::string problems;
  for (const auto& domain : list(reply, "domains")) {
    const json& config = at(domain, "config");
    const json& observed = at(domain, "observed");
    const std::string name = text(domain, "name");
    body += "domain " + name + ": AS " + number_or_dash(config, "asn") + ", router ID " + text(config, "router-id") +
            ", FRR " + up_or_down(flag(observed, "running")) +
            (flag(observed, "running") && !flag(observed, "fpm_connected") ? ", sends no routes" : "") + "\n";
    problems += problem_lines("domain " + name, text(observed, "problem"), text(observed, "hint"), style);
    Table table({"NEIGHBOR", "ADDRESS", "AS", "STATE", "FOR", "RECEIVED", "ACCEPTED", "SENT", "BFD"}, kIndent);
    for (const auto& neighbor : list(domain, "neighbors")) {
      const json& wanted = at(neighbor, "config");
      const json& seen = at(neighbor, "observed");
      const bool up = text(seen, "state") == "Established";
      ++sessions;
      established += up ? 1 : 0;
      table.add({text(neighbor, "name"), text(wanted, "address"), number_or_dash(wanted, "asn"),
                 or_dash(text(seen, "state")), up ? format_age(number(seen, "uptime_seconds")) : "-",
                 number_or_dash(seen, "prefixes_received"), number_or_dash(seen, "prefixes_accepted"),
                 number_or_dash(seen, "prefixes_sent"),
                 flag(wanted, "bfd") ? or_dash(text(seen, "bfd_state")) : "off"});
      std::string problem = text(seen, "problem");
      if (problem.empty() && !up) problem = "it is " + or_dash(text(seen, "state"));
      problems += problem_lines("neighbor " + name + "/" + text(neighbor, "name"), problem, text(seen, "hint"), style);
    }
    if (!list(domain, "neighbors").empty()) body += table.render();
  }
  page.degraded = established != sessions || !problems.empty();
  if (list(reply, "domains").empty()) {
    page.text = "no domain speaks BGP\n  hint: add 'bgp' to a domain of the document: simplon config show\n";
    return page;
  }
  page.text = colored(std::to_string(established) + " of " + plural(sessions, "session") + " established",
                      page.degraded ? Mood::kBad : Mood::kGood, style) +
              "\n" + body + problems;
  return page;
}

Page render_drops(const json& reply, bool all, Style style) {
  Page page;
  const json& accounting = at(reply, "accounting");
  const auto count = [&](const char* key) { return number(accounting, key); };
  std::vector<json> drops;
  std::uint64_t sum = 0;
  for (const auto& drop : list(reply, "drops")) {
    sum += number(drop, "packets");
    if (all || number(drop, "packets") > 0) drops.push_back(drop);
  }
  std::stable_sort(drops.begin(), drops.end(),
                   [](const json& a, const json& b) { return number(a, "packets") > number(b, "packets"); });
  const bool exact = count("received") + count("originated") == count("sent") + count("punted") + count("dropped") &&
                     sum == count("dropped");
  page.text = plural(count("dropped"), "packet") + " dropped of " + format_count(count("received")) + " received and " +
              format_count(count("originated")) + " originated; " + format_count(count("sent")) + " sent, " +
              format_count(count("punted")) + " to the host\n";
  Table table({"PACKETS", "NAME", "WHY", "REFERENCE"}, kIndent);
  for (const auto& drop : drops)
    table.add(
        {format_count(number(drop, "packets")), text(drop, "name"), text(drop, "sentence"), text(drop, "reference")});
  if (!drops.empty()) page.text += table.render();
  if (!exact) {
    page.degraded = true;
    page.text += problem_lines(
        {}, "the counters do not add up",
        "received + originated must be sent + to the host + dropped: please report it with `simplon drop show --json`",
        style);
  }
  return page;
}

Page render_drop(const json& drop, Style) {
  Page page;
  page.text = or_dash(text(drop, "name")) + "   " + plural(number(drop, "packets"), "packet") + " dropped\n" +
              paragraph(or_dash(text(drop, "sentence")), kIndent, kIndent);
  if (const std::string reference = text(drop, "reference"); !reference.empty()) {
    page.text += paragraph(reference, kIndent, kIndent);
  }
  return page;
}

}  // namespace simplon::cli
