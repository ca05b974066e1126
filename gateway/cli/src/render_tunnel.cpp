// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

namespace simplon::cli {

using nlohmann::json;

namespace {

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

/// Of a path that a router said is narrow.
std::string path_words(const json& path) {
  if (number(path, "learned_mtu") == 0) return {};
  return ", path " + number_or_dash(path, "mtu") + " (learned, for " + format_age(number(path, "learned_for_seconds")) + ")";
}

}  // namespace

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
               rekey_words(child), number_or_dash(programmed, "mtu"), counter(programmed, "rx_packets"),
               counter(programmed, "tx_packets")});
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
             number_or_dash(programmed, "mtu") + path_words(at(programmed, "path"))});
  table.add({"DF", "inner " + text(config, "inner-df") + ", outer " + text(config, "outer-df"), "", ""});
  table.add({"in", "", child.is_object() ? format_bytes(number(child, "bytes_in")) : "-",
             traffic(programmed, "rx_packets", "rx_bytes")});
  table.add({"out", "", child.is_object() ? format_bytes(number(child, "bytes_out")) : "-",
             traffic(programmed, "tx_packets", "tx_bytes")});
  table.add({"dropped", "", "", programmed.is_object() ? plural(number(programmed, "dropped"), "packet") : "-"});
  page.text += table.render() + problems;
  return page;
}

}  // namespace simplon::cli
