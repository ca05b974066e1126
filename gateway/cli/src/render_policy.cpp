// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"

namespace simplon::cli {
namespace {

using nlohmann::json;

std::string count(const json& object, const char* key) {
  return has(object, key) ? format_count(number(object, key)) : "-";
}

/// "10.1.0.5:40000", "[fd01::5]:40000"; without a port the address alone.
std::string end(const json& connection, const std::string& which) {
  const std::string address = text(connection, which.c_str());
  const std::uint64_t port = number(connection, (which + "_port").c_str());
  if (port == 0) return address;
  const bool v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

}  // namespace

Page render_acls(const json& reply, Style) {
  Page page;
  const json& acls = list(reply, "acls");
  page.text = plural(acls.size(), "access list") + "\n";
  Table table({"NAME", "DEFAULT", "RULES", "USED BY"}, kIndent);
  for (const auto& acl : acls) {
    table.add(
        {text(acl, "name"), text(acl, "default"), std::to_string(list(acl, "rules").size()), joined(acl, "used_by")});
  }
  if (!acls.empty()) page.text += table.render();
  return page;
}

Page render_acl(const json& acl, Style) {
  Page page;
  const std::string users = joined(acl, "used_by");
  page.text = text(acl, "name") + "   " + (users.empty() ? "used by nobody" : "used by " + users) + "\n";
  Table table({"DECIDED", "RULE", "WHAT"}, kIndent);
  for (const auto& rule : list(acl, "rules"))
    table.add({count(rule, "packets"), text(rule, "name"), text(rule, "rule")});
  table.add({"", "", text(acl, "default") + " everything else"});
  page.text += table.render();
  return page;
}

Page render_nat(const json& reply, Style) {
  Page page;
  std::size_t rules = 0;
  Table table({"DOMAIN", "RULE", "HITS", "WHAT"}, kIndent);
  for (const auto& domain : list(reply, "domains")) {
    for (const auto& rule : list(domain, "rules")) {
      ++rules;
      table.add({text(domain, "name"), text(rule, "name"), count(rule, "hits"), text(rule, "rule")});
    }
  }
  page.text = plural(rules, "NAT rule") + "\n";
  if (rules > 0) page.text += table.render();
  return page;
}

Page render_connections(const json& reply, Style) {
  Page page;
  const json& connections = list(reply, "connections");
  page.text = plural(number(reply, "used"), "connection") + " of " + format_count(number(reply, "most")) + " possible";
  if (connections.size() < number(reply, "used")) page.text += ", " + format_count(connections.size()) + " listed";
  page.text += "\n";
  for (const auto& attachment : list(reply, "attachments")) {
    page.text += std::string(kIndent, ' ') + text(attachment, "name") + ": " +
                 format_count(number(attachment, "connections")) + " of " + format_count(number(attachment, "limit")) +
                 "\n";
  }
  Table table({"PROTOCOL", "FROM", "TO", "AS", "STATE", "OUT/BACK", "LEFT"}, kIndent);
  for (const auto& one : connections) {
    const std::string ends = end(one, "source") + " -> " + end(one, "destination");
    const std::string as = end(one, "translated_source") + " -> " + end(one, "translated_destination");
    table.add({text(one, "protocol"), end(one, "source"), end(one, "destination"), as == ends ? "-" : as,
               text(one, "state"),
               format_count(number(one, "packets_out")) + "/" + format_count(number(one, "packets_back")),
               format_age(number(one, "expires_in_seconds"))});
  }
  if (!connections.empty()) page.text += table.render();
  return page;
}

}  // namespace simplon::cli
