// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/change.h"

#include <ostream>
#include <utility>

#include "gateway/cli/src/json_view.h"
#include "gateway/config/document.h"
#include "gateway/config/json.h"
#include "gateway/config/rewrite.h"

namespace simplon::cli {

using nlohmann::json;

void add_change_options(CLI::App* app, ChangeOptions& options) {
  app->add_flag("--dry-run", options.dry_run, "show what would change, change nothing");
  app->add_option("--confirm", options.confirm_seconds, "undo after SECONDS unless `simplon confirm` follows")
      ->type_name("SECONDS")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{86400}));
  app->add_option("--comment", options.comment, "for the history")->type_name("TEXT");
}

int apply_request(const Session& session, const ChangeOptions& options, json request, const std::string& comment) {
  if (options.dry_run) request["dry_run"] = true;
  if (options.confirm_seconds) request["confirm_seconds"] = *options.confirm_seconds;
  request["comment"] = options.comment.empty() ? comment : options.comment;
  const auto reply = session.post("/v1/config/apply", request);
  if (const auto code = session.failed(reply)) return *code;
  std::string page;
  if (!flag(*reply, "applied")) {
    page = "dry run, nothing was changed: " + text(*reply, "summary") + "\n";
  } else {
    page = "applied as version " + std::to_string(number(*reply, "version")) + ": " + text(*reply, "summary") + "\n";
  }
  page += render_changes(*reply, session.style()) + render_warnings(*reply, session.style()) +
          render_pending(at(*reply, "pending"), session.style());
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
