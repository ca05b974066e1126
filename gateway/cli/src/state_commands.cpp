// SPDX-License-Identifier: GPL-2.0-or-later
#include <memory>

#include "gateway/cli/src/commands.h"
#include "gateway/cli/src/json_view.h"

namespace simplon::cli {
namespace {

using nlohmann::json;

struct RouteOptions {
  std::string domain;
};

struct DropOptions {
  std::string reason;
  bool all = false;
};

void declare_route(Commands& commands) {
  const auto options = std::make_shared<RouteOptions>();
  CLI::App* route = commands.noun("route", "where each prefix goes, and why", "simplon route show --domain prod");
  CLI::App* show =
      commands.command(*route, "show", "all routes, or those of a domain", "simplon route show --domain prod");
  for (CLI::App* one : {route, show}) {
    commands.values(one->add_option("--domain", options->domain, "only this domain")->type_name("NAME"),
                    Values::kDomains);
    commands.on(one, [&session = commands.session(), options] { return session.show_objects({"/v1/routes", "domains", "domain"}, options->domain, render_routes); });
  }
}

void declare_drop(Commands& commands) {
  const auto options = std::make_shared<DropOptions>();
  CLI::App* drop = commands.noun("drop", "every packet that was not forwarded has a name", "simplon drop show");
  CLI::App* show = commands.command(*drop, "show", "reasons that dropped packets, or one reason",
                                    "simplon drop show --all\nsimplon drop show esp_replayed");
  commands.values(show->add_option("REASON", options->reason, "a reason"), Values::kDrops);
  for (CLI::App* one : {drop, show}) {
    one->add_flag("--all", options->all, "also reasons that dropped nothing");
    commands.on(one, [&session = commands.session(), options] {
      return session.show_objects(
          {"/v1/drops", "drops", "drop reason"}, options->reason,
          [&](const json& reply, Style style) { return render_drops(reply, options->all, style); }, render_drop);
    });
  }
}

}  // namespace

void declare_state(Commands& commands) {
  commands.on(commands.noun("status", "the verdict, what is wrong and what to do", "simplon status"),
              [&session = commands.session()] { return session.show("/v1/status", render_status); });
  declare_route(commands);
  CLI::App* bgp = commands.noun("bgp", "BGP sessions and prefixes of each domain", "simplon bgp show");
  for (CLI::App* one : {bgp, commands.command(*bgp, "show", "all sessions", "simplon bgp show")}) {
    commands.on(one, [&session = commands.session()] { return session.show("/v1/bgp", render_bgp); });
  }
  declare_drop(commands);
}

}  // namespace simplon::cli
