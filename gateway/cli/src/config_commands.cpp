// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <memory>
#include <optional>
#include <ostream>

#include "gateway/cli/src/change.h"
#include "gateway/cli/src/commands.h"
#include "gateway/cli/src/document_header.h"
#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/transaction_commands.h"
#include "gateway/config/document.h"
#include "gateway/config/json.h"
#include "gateway/config/validate.h"
#include "gateway/ipc/api.h"

namespace simplon::cli {
namespace {

using nlohmann::json;

struct ConfigOptions {
  std::string file, from, to;
  std::optional<std::uint64_t> version;
  ChangeOptions change;
};

std::optional<std::uint64_t> as_version(const std::string& text) {
  if (text.empty() || text.size() > 12 ||
      !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  return std::stoull(text);
}

int show_config(const Session& session, const ConfigOptions& options) {
  return session.show("/v1/config" + (options.version ? "?version=" + std::to_string(*options.version) : ""),
                      render_config);
}

/// Without simplond a document can still be judged, only not compared.
int check_alone(const Session& session, const std::string& text_of_document, const Error& why) {
  if (!session.json) {
    session.err() << paragraph("note: " + why.what + "; checked here, and not compared with what is running", 0, 2);
  }
  const config::Document document = config::read_document(text_of_document);
  json reply = {{"api", ipc::kApiVersion}};
  if (!document.ok()) {
    reply["errors"] = config::to_json(document.issues, config::Severity::kError);
    return *session.failed(reply, "not valid");
  }
  reply["valid"] = true;
  reply["warnings"] = config::to_json(document.issues, config::Severity::kWarning);
  return session.print(reply, {"valid\n" + render_warnings(reply, session.style()), false});
}

int check_file(const Session& session, const std::string& file) {
  const auto document = config::load_text(file);
  if (!document) return session.report(document.error(), kExitFailed);
  const auto reply = session.post("/v1/config/check", {{"document", *document}});
  if (!reply && reply.error().code == ErrorCode::kUnavailable) return check_alone(session, *document, reply.error());
  if (const auto code = session.failed(reply, "not valid")) return *code;
  return session.print(*reply, {paragraph("valid: " + text(*reply, "summary"), 0, 2) + render_changes(*reply, session.style()) +
                                    render_warnings(*reply, session.style()),
                                false});
}

int show_diff(const Session& session, const ConfigOptions& options) {
  const auto from = as_version(options.from);
  if (!options.from.empty() && !from) {
    if (!options.to.empty())
      return session.report({ErrorCode::kInvalidConfig, "'" + options.from + "' is not a version",
                             "to compare with a file: simplon config diff FILE"},
                            kExitUsage);
    return check_file(session, options.from);
  }
  std::uint64_t start = from.value_or(0);
  if (!from) {  // the last change
    const auto history = session.get("/v1/config/history");
    if (const auto code = session.failed(history, "simplon")) return *code;
    const std::uint64_t current = number(*history, "current");
    if (current == 0)
      return session.report({ErrorCode::kConflict, "nothing was ever applied", "simplon apply FILE"}, kExitFailed);
    start = current - 1;
  }
  std::string target = "/v1/config/diff?from=" + std::to_string(start);
  if (!options.to.empty()) {
    const auto to = as_version(options.to);
    if (!to)
      return session.report(
          {ErrorCode::kInvalidConfig, "'" + options.to + "' is not a version", "simplon config history lists them"},
          kExitUsage);
    target += "&to=" + std::to_string(*to);
  }
  return session.show(target, [](const json& reply, Style style) {
    const std::string range =
        "version " + std::to_string(number(reply, "from")) + " to " + std::to_string(number(reply, "to"));
    return Page{paragraph(range + ": " + text(reply, "summary"), 0, 2) + render_changes(reply, style),
                false};
  });
}

int apply_file(const Session& session, const ConfigOptions& options) {
  const auto document = config::load_text(options.file);
  if (!document) return session.report(document.error(), kExitFailed);
  const auto base = base_in_header(*document);
  Change change;
  change.request["document"] = *document;
  if (base) change.request["base_version"] = *base;
  const int code = apply_request(session, options.change, std::move(change));
  const bool stale = code == kExitDone && base && !options.change.dry_run && options.file != "-";
  if (stale && !session.json) {
    session.err() << paragraph("note: " + options.file + " is made of version " + std::to_string(*base) +
                                   "; before you change it again: simplon config show > " + options.file,
                               0, 2);
  }
  return code;
}

int confirm(const Session& session, const ConfigOptions& options) {
  json request = json::object();
  if (options.version) request["version"] = *options.version;
  const auto reply = session.post("/v1/config/confirm", request);
  if (const auto code = session.failed(reply)) return *code;
  return session.print(*reply, {"version " + std::to_string(number(*reply, "version")) + " stays\n", false});
}

int undo_change(const Session& session, const ConfigOptions& options) {
  if (session.asks() && !options.change.dry_run) {
    const auto current = session.get("/v1/config");
    if (const auto code = session.failed(current, "simplon")) return *code;
    session.err() << paragraph("current is version " + std::to_string(number(*current, "version")) + " of " +
                                   text(*current, "when") + " by " + text(*current, "who") + ": " +
                                   text(*current, "comment"),
                               0, 2);
  }
  Change change;
  change.request = json::object();
  if (options.version) change.request["to"] = *options.version;
  change.target = "/v1/config/undo";
  change.question = options.version ? "Go back to version " + std::to_string(*options.version) + "?" : "Go back to the version before it?";
  return apply_request(session, options.change, std::move(change));
}

using Options = std::shared_ptr<ConfigOptions>;

void declare_apply(Commands& commands, CLI::App* apply, const Options& options) {
  commands.values(apply->add_option("FILE", options->file, "YAML document; - reads standard input")->required(),
                  Values::kFiles);
  add_base_option(apply, options->change, "that in FILE's first line");
  add_change_options(commands, apply, options->change);
  commands.on(apply, [&session = commands.session(), options] { return apply_file(session, *options); });
}

void declare_versions(Commands& commands, CLI::App& config, const Options& options) {
  Session& session = commands.session();
  CLI::App* show =
      commands.command(config, "show", "the document", "simplon config show\nsimplon config show 3 > old.yaml");
  commands.values(show->add_option("VERSION", options->version, "an older one, see `simplon config history`"),
                  Values::kVersions);
  commands.values(
      show->add_option("--version", options->version, "the same")->type_name("VERSION"),
      Values::kVersions);
  commands.on(show, [&session, options] { return show_config(session, *options); });
  CLI::App* diff = commands.command(config, "diff", "what differs: the last change, two versions, or a file",
                                    "simplon config diff\nsimplon config diff 3 5\nsimplon config diff new.yaml");
  commands.values(
      diff->add_option("FROM", options->from, "a version, or a file to compare the current configuration with"),
      Values::kVersionsOrFiles);
  commands.values(diff->add_option("TO", options->to, "a version; default: the current one"), Values::kVersions);
  commands.on(diff, [&session, options] { return show_diff(session, *options); });
  commands.on(commands.command(config, "history", "who changed what when", "simplon config history"),
              [&session] { return session.show("/v1/config/history", render_history); });
  CLI::App* undo = commands.command(config, "undo", "go back to the version before, or to another one",
                                    "simplon config undo\nsimplon config undo 3 --dry-run\nsimplon config undo --confirm 60");
  commands.values(undo->add_option("VERSION", options->version, "see `simplon config history`"), Values::kVersions);
  commands.values(undo->add_option("--to", options->version, "the same")->type_name("VERSION"),
                  Values::kVersions);
  add_base_option(undo, options->change, "what was shown, or any");
  add_change_options(commands, undo, options->change);
  commands.on(undo, [&session, options] { return undo_change(session, *options); });
}

void declare_confirm(Commands& commands, CLI::App* app, const Options& options) {
  commands.values(app->add_option("VERSION", options->version, "only if it is this one; so no script keeps what another one applied"),
                  Values::kVersions);
  commands.on(app, [&session = commands.session(), options] { return confirm(session, *options); });
}

}  // namespace

void declare_config(Commands& commands) {
  Session& session = commands.session();
  const Options options = std::make_shared<ConfigOptions>();
  declare_apply(commands,
                commands.noun("apply", "make the gateway what the document says",
                              "simplon apply gateway.yaml --dry-run\nsimplon apply gateway.yaml --confirm 60\n"
                              "simplon apply gateway.yaml --gate tunnel:paris --gate ping:10.1.0.10@prod --within 2m"),
                options);
  declare_confirm(commands, commands.noun("confirm", "keep what was applied with --confirm", "simplon confirm\nsimplon confirm 7"),
                  options);

  CLI::App* config =
      commands.noun("config", "the configuration, its versions and their differences", "simplon config show");
  commands.on(config, [&session, options] { return show_config(session, *options); });
  declare_versions(commands, *config, options);
  declare_archive(commands, *config);
  CLI::App* check = commands.command(*config, "check", "all errors of a document at once, or what applying it would do",
                                     "simplon config check gateway.yaml");
  commands.values(check->add_option("FILE", options->file, "YAML document; - reads standard input")->required(),
                  Values::kFiles);
  commands.on(check, [&session, options] { return check_file(session, options->file); });
  declare_apply(commands,
                commands.command(*config, "apply", "make the gateway what the document says",
                                 "simplon config apply gateway.yaml --dry-run"),
                options);
  declare_confirm(commands,
                  commands.command(*config, "confirm", "keep what was applied with --confirm", "simplon config confirm"), options);
}

}  // namespace simplon::cli
