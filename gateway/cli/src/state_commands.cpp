// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/cli/src/commands.h"
#include "gateway/cli/src/json_view.h"
#include "gateway/config/validate.h"
#include "gateway/ipc/api_request.h"

namespace simplon::cli {
namespace {

using nlohmann::json;

struct RouteOptions {
  std::string domain;
  std::string prefix;
  std::optional<std::uint64_t> limit;
};

int show_routes(const Session& session, const RouteOptions& options) {
  std::string query;
  const auto add = [&](const std::string& key, const std::string& word) {
    query += (query.empty() ? "?" : "&") + key + "=" + word;
  };
  if (!options.domain.empty()) {
    if (!config::is_valid_name(options.domain)) {
      // Such a name does not even fit into a query.
      const auto reply = session.get("/v1/routes?limit=1");
      if (const auto code = session.failed(reply, "simplon")) return *code;
      std::vector<std::string> known;
      for (const auto& domain : list(*reply, "domains")) known.push_back(text(domain, "name"));
      return session.report(config::no_such("domain", options.domain, known).value(), kExitFailed);
    }
    add("domain", options.domain);
  }
  if (!options.prefix.empty()) {
    const auto prefix = ipc::parse_route_prefix(options.prefix);
    if (!prefix) {
      return session.report({prefix.error().code, "--prefix: " + prefix.error().what, prefix.error().hint}, kExitUsage);
    }
    add("prefix", prefix->to_string());
  }
  if (options.limit) add("limit", std::to_string(*options.limit));
  return session.show("/v1/routes" + query, render_routes);
}

struct DropOptions {
  std::string reason;
  bool all = false;
};

void declare_route(Commands& commands) {
  const auto options = std::make_shared<RouteOptions>();
  CLI::App* route = commands.noun("route", "where each prefix goes, and why", "simplon route show --domain prod\nsimplon route show --prefix 10.1.2.3");
  CLI::App* show =
      commands.command(*route, "show", "all routes, or those of a domain or a prefix",
                       "simplon route show --domain prod\nsimplon route show --prefix 10.1.2.3");
  for (CLI::App* one : {route, show}) {
    commands.values(one->add_option("--domain", options->domain, "only this domain")->type_name("NAME"), Values::kDomains);
    one->add_option("--prefix", options->prefix, "only routes inside PREFIX, and those that cover it; also an address")
        ->type_name("PREFIX");
    one->add_option("--limit", options->limit, "at most N routes; default 10000, more as administrator only")->type_name("N");
    commands.on(one, [&session = commands.session(), options] { return show_routes(session, *options); });
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
