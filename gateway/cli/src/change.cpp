// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/change.h"

#include <charconv>
#include <chrono>
#include <ostream>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/table.h"
#include "gateway/config/document.h"
#include "gateway/config/json.h"
#include "gateway/config/rewrite.h"

namespace simplon::cli {

using nlohmann::json;

namespace {

constexpr std::uint64_t kLongest = 86400;

/// Asks until the version is kept or gone back from. At most a little longer than its window.
Result<json> follow(const Session& session, std::uint64_t version, std::uint64_t seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(static_cast<std::int64_t>(seconds) + 30);
  for (;;) {
    auto reply = session.get("/v1/config?version=" + std::to_string(version));
    if (!reply || reply->contains("errors")) return reply;
    if (text(*reply, "outcome") != "unconfirmed") return reply;
    if (std::chrono::steady_clock::now() > end) {
      return fail(ErrorCode::kPeer, "simplond does not decide about version " + std::to_string(version),
                  "simplon config history tells later");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

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
                                   " has the document; mend what the gate saw and apply it again",
                               2, 8);
  }
  return kExitFailed;
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

void add_change_options(CLI::App* app, ChangeOptions& options) {
  const auto is_time = [](const std::string& text) {
    const auto seconds = parse_seconds("it", text);
    return seconds ? std::string() : seconds.error().message();
  };
  app->add_flag("--dry-run", options.dry_run, "show what would change, change nothing");
  app->add_option("--confirm", options.confirm, "go back after TIME (60, 90s, 2m) unless `simplon confirm` follows")
      ->type_name("TIME")
      ->check(is_time);
  app->add_option("--gate", options.gates,
                  "stays only if bgp:NAME, tunnel:NAME or ping:ADDRESS is healthy")
      ->type_name("GATE")
      ->expected(1)
      ->take_all();
  app->add_option("--within", options.within, "how long gates without --confirm have to become healthy; default 60s")
      ->type_name("TIME")
      ->check(is_time);
  app->add_flag("--no-wait", options.no_wait, "do not wait for the gates: simplon config history tells later");
  app->add_option("--comment", options.comment, "for the history")->type_name("TEXT");
}

int apply_request(const Session& session, const ChangeOptions& options, json request, const std::string& comment,
                  const std::string& target) {
  if (options.dry_run) request["dry_run"] = true;
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
  request["comment"] = options.comment.empty() ? comment : options.comment;
  const auto reply = session.post(target, request);
  if (const auto code = session.failed(reply)) return *code;
  std::string page;
  if (!flag(*reply, "applied")) {
    page = "dry run, nothing was changed: " + text(*reply, "summary") + "\n";
  } else {
    page = "applied as version " + std::to_string(number(*reply, "version")) + ": " + text(*reply, "summary") + "\n";
  }
  page += render_changes(*reply, session.style()) + render_warnings(*reply, session.style());
  const bool decides_itself = flag(*reply, "applied") && !gates.empty() && options.confirm.empty();
  if (decides_itself && !options.no_wait) {
    if (!session.json && session.asks()) session.err() << "waiting for " << gates << " ...\n";
    const auto decided = follow(session, number(*reply, "version"), window);
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
  json request = {{"document", changed_text(session, yaml, before, config)},
                  {"base_version", number(*current, "version")}};
  if (!question.empty() && !options.dry_run && session.asks()) {
    json rehearsal = request;
    rehearsal["dry_run"] = true;
    const auto reply = session.post("/v1/config/apply", rehearsal);
    if (const auto code = session.failed(reply)) return *code;
    session.err() << render_changes(*reply, {}) << render_warnings(*reply, {});
    if (!session.agreed(question)) return kExitFailed;
  }
  return apply_request(session, options, std::move(request), comment);
}

}  // namespace simplon::cli
