// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/change.h"

#include <charconv>
#include <ostream>
#include <string_view>
#include <system_error>
#include <utility>

#include "gateway/cli/src/gate_wait.h"
#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/table.h"
#include "gateway/config/document.h"
#include "gateway/config/json.h"
#include "gateway/config/rewrite.h"

namespace simplon::cli {

using nlohmann::json;

namespace {

constexpr std::uint64_t kLongest = 86400;

/// "version 7 stays: all gates held", or that it is gone.
int report_decision(const Session& session, json reply, const json& decided, const std::string& page) {
  const bool kept = text(decided, "outcome") == "committed";
  reply["outcome"] = text(decided, "outcome");
  reply["outcome_reason"] = text(decided, "outcome_reason");
  const std::string version = "version " + std::to_string(number(reply, "version"));
  if (kept) return session.print(reply, {page + version + " stays: all gates held\n", false});
  if (session.json) {
    session.print_json(reply);
  } else {
    session.out() << page;
    session.err() << paragraph(version + " was gone back from: " + text(reply, "outcome_reason"), 0, 2)
                  << paragraph("hint: simplon config show " + std::to_string(number(reply, "version")) +
                                   " > FILE has the document; mend what the gate saw and apply it again",
                               2, 8);
  }
  return kExitFailed;
}

/// Something is removed, less passes than before, a session does not survive it, or keys are replaced.
bool disturbs(const json& reply) {
  if (number(reply, "replaces_secrets") != 0) return true;
  for (const char* key : {"changes", "impact"}) {
    for (const auto& one : list(reply, key)) {
      if (text(one, "kind") == "removed" || text(one, "reconfigure") != "in-place") return true;
    }
  }
  return false;
}

void add_warnings(const std::vector<config::Issue>& warnings, json& reply) {
  for (const auto& warning : warnings) reply["warnings"].push_back(config::to_json(warning));
}

/// Shows somebody at a terminal what the change will do, and asks if that is to be asked. What was looked at is what is
/// applied: the version that it was compared with becomes the base of the request.
std::optional<int> rehearse(const Session& session, Change& change) {
  json rehearsal = change.request;
  rehearsal["dry_run"] = true;
  auto reply = session.post(change.target, rehearsal);
  if (const auto code = session.failed(reply)) return code;
  add_warnings(change.warnings, *reply);
  if (!change.request.contains("base_version")) change.request["base_version"] = number(*reply, "version");
  if (change.question.empty() && !disturbs(*reply)) return std::nullopt;
  session.err() << paragraph("to be applied: " + text(*reply, "summary"), 0, 2) << render_changes(*reply, {}) << render_warnings(*reply, {});
  if (!session.agreed(change.question.empty() ? "Apply it?" : change.question)) return kExitFailed;
  return std::nullopt;
}

/// Options of --gate without a gate; without them the change would stay for good.
std::optional<Error> misplaced(const ChangeOptions& options) {
  if (!options.gates.empty()) return std::nullopt;
  if (!options.within.empty()) {
    return make_error(ErrorCode::kInvalidConfig, "--within is of --gate",
                      "to go back unless confirmed: --confirm " + options.within);
  }
  if (options.no_wait) {
    return make_error(ErrorCode::kInvalidConfig, "--no-wait is of --gate", "leave it out: nothing is waited for without a gate");
  }
  return std::nullopt;
}

}  // namespace

Result<std::uint64_t> parse_seconds(const std::string& option, const std::string& text) {
  std::uint64_t value = 0;
  const char* last = text.data() + text.size();
  const auto [end, bad] = std::from_chars(text.data(), last, value);
  const std::string_view unit(end, static_cast<std::size_t>(last - end));
  const std::uint64_t factor = unit.empty() || unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  if (bad != std::errc{} || factor == 0 || value == 0 || value > kLongest / factor) {
    return fail(ErrorCode::kInvalidConfig, option + ": '" + text + "' is not a time", "like 60, 90s or 2m, at most 24h");
  }
  return value * factor;
}

void add_change_options(Commands& commands, CLI::App* app, ChangeOptions& options) {
  const auto is_time = [](const std::string& text) {
    const auto seconds = parse_seconds("it", text);
    return seconds ? std::string() : seconds.error().message();
  };
  app->add_flag("--dry-run", options.dry_run, "show what would change, change nothing");
  app->add_option("--confirm", options.confirm, "go back after TIME (60, 90s, 2m) unless `simplon confirm` follows")
      ->type_name("TIME")
      ->check(is_time);
  commands.values(app->add_option("--gate", options.gates, "stays only if bgp:NAME, tunnel:NAME or ping:ADDRESS is healthy")
                      ->type_name("GATE")
                      ->expected(1)
                      ->take_all(),
                  Values::kGates);
  app->add_option("--within", options.within, "how long gates without --confirm have to become healthy; default 60s")
      ->type_name("TIME")
      ->check(is_time);
  app->add_flag("--no-wait", options.no_wait, "do not wait for the gates: simplon config history tells later");
  app->add_option("--comment", options.comment, "for the history")->type_name("TEXT");
}

void add_base_option(CLI::App* app, ChangeOptions& options, const std::string& otherwise) {
  app->add_option("--base", options.base, "refused unless VERSION is current; default: " + otherwise)->type_name("VERSION");
}

int apply_request(const Session& session, const ChangeOptions& options, Change change) {
  if (const auto wrong = misplaced(options)) return session.report(*wrong, kExitUsage);
  json& request = change.request;
  if (options.dry_run) request["dry_run"] = true;
  if (options.base) request["base_version"] = *options.base;
  std::uint64_t window = 60;
  if (!options.confirm.empty()) {
    const auto seconds = parse_seconds("--confirm", options.confirm);
    if (!seconds) return session.report(seconds.error(), kExitUsage);
    request["confirm_seconds"] = *seconds;
  }
  if (!options.within.empty()) {
    const auto seconds = parse_seconds("--within", options.within);
    if (!seconds) return session.report(seconds.error(), kExitUsage);
    request["gate_seconds"] = window = *seconds;
  }
  std::string gates;
  for (const auto& gate : options.gates) gates += (gates.empty() ? "" : " ") + gate;
  if (!gates.empty()) request["gates"] = gates;
  request["comment"] = options.comment.empty() ? change.comment : options.comment;
  if (session.asks() && !options.dry_run) {
    if (const auto code = rehearse(session, change)) return *code;
  }
  auto reply = session.post(change.target, request);
  if (const auto code = session.failed(reply)) return *code;
  add_warnings(change.warnings, *reply);
  const std::string version = std::to_string(number(*reply, "version"));
  std::string page;
  if (!flag(*reply, "applied")) {
    page = "dry run, nothing was changed: ";
  } else if (!has(*reply, "restored")) {
    page = "applied as version " + version + ": ";
  } else {
    const std::uint64_t restored = number(*reply, "restored");
    page = (restored == 0 ? "the empty configuration" : "version " + std::to_string(restored)) + " is back, as version " + version + ": ";
  }
  page = paragraph(page + text(*reply, "summary"), 0, 2) + render_changes(*reply, session.style()) + render_warnings(*reply, session.style());
  const bool decides_itself = flag(*reply, "applied") && !gates.empty() && options.confirm.empty();
  if (decides_itself && !options.no_wait) {
    const auto decided = wait_for_gates(session, number(*reply, "version"), window);
    if (const auto code = session.failed(decided)) return *code;
    return report_decision(session, *reply, *decided, page);
  }
  page += render_pending(at(*reply, "pending"), session.style());
  return session.print(*reply, {page, false});
}

namespace {

/// The text of the document with the change in it, with its comments if possible.
std::string changed_text(const Session& session, const std::string& yaml, const GatewayConfig& before,
                         const GatewayConfig& after) {
  if (auto rewritten = config::rewrite_document(yaml, before, after); !yaml.empty() && rewritten) return *rewritten;
  if (yaml.find('#') != std::string::npos && !session.json) {
    session.err() << "note: the document is written anew, its comments are lost\n";
  }
  return config::emit_document(after);
}

}  // namespace

int edit_document(const Session& session, const ChangeOptions& options, const std::string& comment,
                  const std::function<Result<void>(GatewayConfig&)>& change, const std::string& question) {
  const auto current = session.get("/v1/config");
  if (const auto code = session.failed(current, "simplon")) return *code;
  GatewayConfig config;
  const std::string yaml = text(*current, "document");
  if (!yaml.empty()) {
    config::Document document = config::parse_document(yaml);
    if (!document.ok()) return session.report(config::to_error(document.issues), kExitFailed);
    config = std::move(document.config);
  } else {
    config.name = "gateway";
  }
  const GatewayConfig before = config;
  if (auto ok = change(config); !ok) {
    return session.report(ok.error(), ok.error().code == ErrorCode::kInvalidConfig ? kExitUsage : kExitFailed);
  }
  Change posted;
  posted.request = {{"document", changed_text(session, yaml, before, config)}, {"base_version", number(*current, "version")}};
  posted.comment = comment;
  posted.question = question;
  return apply_request(session, options, std::move(posted));
}

}  // namespace simplon::cli
