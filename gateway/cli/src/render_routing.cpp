// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <cstdint>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

namespace simplon::cli {

using nlohmann::json;

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
    const auto total = std::max<std::uint64_t>(number(domain, "total"), list(domain, "routes").size());
    body += "domain " + text(domain, "name") + ": " + plural(total, "route") +
            (flag(domain, "synchronized") ? "" : " (learned routes are not complete yet)") + "\n" + table.render();
  }
  const bool current = flag(reply, "current");
  const bool more = flag(reply, "more");
  page.text = (more ? "the first " + format_count(count) + " of " + plural(number(reply, "total"), "route")
                    : plural(count, "route")) +
              "   forwarder: " +
              colored(has(reply, "generation") ? "generation " + number_or_dash(reply, "generation") +
                                                     (current ? " (current)" : " (catching up)")
                                               : "not connected",
                      current ? Mood::kGood : Mood::kBad, style) +
              "\n" + body;
  if (more) {
    page.text += paragraph("hint: not all routes are shown: simplon route show --prefix PREFIX shows those inside a prefix and "
                           "those that cover it; --limit N shows more",
                           kIndent, kIndent + 6);
  }
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

}  // namespace simplon::cli
