// SPDX-License-Identifier: GPL-2.0-or-later
//
// What changes something: each attempt becomes one entry of the audit log, as soon as its outcome is known and before the
// caller learns of it; that of a change in the same step of the event loop as its commit, so that only a kill comes in between.

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include <boost/asio/use_awaitable.hpp>
#include <spdlog/spdlog.h>

#include "gateway/config/archive.h"
#include "gateway/config/document.h"
#include "gateway/config/json.h"
#include "gateway/config/secret_swap.h"
#include "gateway/config/validate.h"
#include "gateway/daemon/backend.h"
#include "platform/base/split.h"
#include "platform/base/utc.h"

namespace simplon::daemon {

using nlohmann::json;
namespace asio = boost::asio;

namespace {

std::string first_error(const std::vector<config::Issue>& issues) {
  std::size_t errors = 0;
  std::string text;
  for (const auto& issue : issues) {
    if (issue.severity != config::Severity::kError) continue;
    if (++errors == 1) text = issue.message();
  }
  if (errors > 1) text += " (and " + std::to_string(errors - 1) + " more errors)";
  return text;
}

control::ApplyCommand command_of(ApplyRequest& request) {
  control::ApplyCommand command;
  command.document = std::move(request.document);
  command.base_version = request.base_version;
  command.comment = std::move(request.comment);
  command.confirm_within = request.confirm_within;
  command.gates = split_words(request.gates);
  command.gate_window = request.gate_window;
  command.dry_run = request.dry_run;
  command.who = std::move(request.who);
  return command;
}

json timing_json(const control::ApplyTiming& timing) {
  return {{"read_ms", timing.read},       {"compare_ms", timing.compare}, {"stage_ms", timing.stage},
          {"compile_ms", timing.compile}, {"program_ms", timing.program}, {"commit_ms", timing.commit}};
}

config::Issue warning(std::string what, std::string hint) {
  config::Issue issue;
  issue.severity = config::Severity::kWarning;
  issue.what = std::move(what);
  issue.hint = std::move(hint);
  return issue;
}

std::string verb_of(TunnelAction action) {
  switch (action) {
    case TunnelAction::kUp:
      return "tunnel up";
    case TunnelAction::kDown:
      return "tunnel down";
    case TunnelAction::kRekeyChild:
    case TunnelAction::kRekeyIke:
      return "tunnel rekey";
  }
  return "tunnel";
}

/// The document of an archive names each of its secrets: an import is no way to write other files.
Result<void> check_secrets_are_named(const config::Archive& archive, const GatewayConfig& config) {
  const auto named = config::secret_files(config);
  for (const auto& [path, content] : archive.secrets) {
    if (std::find(named.begin(), named.end(), path) != named.end()) continue;
    return fail(ErrorCode::kInvalidConfig, "the archive has a secret for " + path + ", which its configuration does not name",
                "it was not made by simplon config export: export again");
  }
  return {};
}

/// Tunnels and domains that keep another id here than in the archive.
std::size_t renumbered(const config::IdRegistry::Snapshot& theirs, const config::IdRegistry& ids,
                       const GatewayConfig& config) {
  std::size_t count = 0;
  for (const auto& tunnel : config.tunnels) {
    const auto found = theirs.tunnels.find(tunnel.name);
    const auto here = ids.tunnel(tunnel.name);
    if (found != theirs.tunnels.end() && here && here->value() != found->second) ++count;
  }
  for (const auto& domain : config.domains) {
    const auto found = theirs.domains.find(domain.name);
    const auto here = ids.domain(domain.name);
    if (found != theirs.domains.end() && here && here->value() != found->second) ++count;
  }
  return count;
}

}  // namespace

Result<void> Backend::note(const config::Author& who, const std::string& action, const std::string& subject, bool done,
                           const std::string& detail) {
  audit::Event event;
  event.who = who.name;
  event.uid = who.uid;
  event.action = action;
  event.outcome = done ? "done" : "refused";
  event.subject = subject;
  event.detail = detail;
  return note(std::move(event));
}

Result<void> Backend::note(audit::Event event) {
  event.version = parts_.store.current();
  // What cannot be written now is a problem of the status and is written later.
  return parts_.audit.append(std::move(event));
}

void Backend::note_unlogged() {
  const auto last = parts_.audit.tail(1);
  const json entry = last.empty() ? json() : json::parse(last.back(), nullptr, false);
  const std::uint64_t current = parts_.store.current();
  if (!entry.is_object() || entry.value("version", current) >= current) return;
  const auto stored = parts_.store.load(current);
  if (!stored) return;
  const config::Version& version = stored->version;
  audit::Event event;
  event.who = version.who;
  event.uid = version.uid;
  event.action = "apply";
  event.outcome = "done";
  event.detail = "of " + format_utc(version.when) + ", found at the start: simplond ended before the entry of this version was written";
  if (!version.comment.empty()) event.detail += "; " + version.comment;
  note(std::move(event));
}

void Backend::denied(const config::Author& who, const std::string& target) {
  if (auto event = denials_.admit(who.name, who.uid, target, parts_.clock.now())) note(*std::move(event));
}

void Backend::note_denials() {
  for (auto& event : denials_.due(parts_.clock.now())) note(std::move(event));
}

void Backend::note_probation_end(const control::ProbationEnd& end) {
  note("simplond", end.kept ? "keep" : "revert", "version " + std::to_string(end.version), true, end.reason);
}

json Backend::pending_json() const {
  json pending = config::to_json(parts_.store.pending(), parts_.wall_clock.now());
  if (!pending.is_object()) return pending;
  const auto now = parts_.clock.now();
  for (const auto& state : parts_.reconciler.gates()) {
    for (auto& gate : pending["gates"]) {
      if (gate["gate"] != state.gate.to_string() || !state.healthy) continue;
      gate["healthy"] = *state.healthy;
      gate["problem"] = state.problem;
      gate["needed_seconds"] = state.needed.count();
      gate["held_seconds"] =
          state.healthy_since
              ? std::chrono::duration_cast<std::chrono::seconds>(now - *state.healthy_since).count()
              : 0;
    }
  }
  return pending;
}

asio::awaitable<ApiResult> Backend::apply(ApplyRequest request) {
  auto command = command_of(request);
  co_return co_await apply_audited("apply", std::move(command));
}

std::string Backend::detail_of(const control::ApplyOutcome& outcome, bool undo, const std::string& comment) const {
  std::string detail = undo ? "back to version " + std::to_string(outcome.restored) + ": " : std::string();
  detail += outcome.diff.summary();
  if (!comment.empty()) detail += "; " + comment;
  if (const auto& pending = parts_.store.pending(); pending && pending->number == outcome.version) {
    detail += pending->confirm_required ? "; to be confirmed" : "; on probation";
    detail += " within " + std::to_string(pending->window.count()) + " s";
    for (const auto& gate : pending->gates) detail += ", gate " + gate;
  }
  return detail;
}

asio::awaitable<ApiResult> Backend::apply_audited(std::string action, control::ApplyCommand command) {
  const config::Author who = command.who;
  const bool dry_run = command.dry_run;
  const bool undo = command.undo.has_value();
  // A committed change would pass for that of an import whose secrets could not be put back.
  command.prepare = [this, also = std::move(command.prepare)]() -> Result<void> {
    auto recovered = config::SecretSwap::recover(parts_.state_dir, parts_.store.current());
    if (!recovered) return Unexpected(recovered.error());
    return also ? also() : Result<void>();
  };
  bool noted = false;
  const std::string comment = command.comment;
  command.decided = [&, also = std::move(command.decided)](const control::Transaction<control::ApplyOutcome>& outcome) {
    noted = true;
    note(who, action, "", outcome.has_value(), outcome ? detail_of(*outcome, undo, comment) : first_error(outcome.error()));
    if (also) also(outcome);
  };
  auto outcome = co_await parts_.reconciler.apply(std::move(command));
  if (!outcome) {
    if (!dry_run && !noted) note(who, action, "", false, first_error(outcome.error()));
    co_return refuse(std::move(outcome.error()));
  }
  json reply = {{"applied", outcome->applied},
                {"version", outcome->version},
                {"previous", outcome->previous},
                {"warnings", config::to_json(outcome->warnings, config::Severity::kWarning)},
                {"pending", pending_json()},
                {"timing", timing_json(outcome->timing)}};
  if (undo) reply["restored"] = outcome->restored;
  reply.update(config::to_json(outcome->diff));
  co_return reply;
}

asio::awaitable<ApiResult> Backend::confirm(config::Author who, std::optional<std::uint64_t> version) {
  auto confirmed = co_await parts_.reconciler.confirm(version);
  note(who, "confirm", "", confirmed.has_value(), confirmed ? "" : confirmed.error().message());
  if (!confirmed) co_return tl::unexpected(ApiFailure(confirmed.error()));
  json reply;
  reply["confirmed"] = true;
  reply["version"] = *confirmed;
  co_return reply;
}

asio::awaitable<ApiResult> Backend::undo(ApplyRequest request) {
  auto command = command_of(request);
  command.undo.emplace();
  command.undo->to = request.to;
  co_return co_await apply_audited("undo", std::move(command));
}

asio::awaitable<ApiResult> Backend::tunnel_action(config::Author who, std::string name, TunnelAction action) {
  const auto& tunnels = parts_.reconciler.config().tunnels;
  const auto tunnel = std::find_if(tunnels.begin(), tunnels.end(), [&](const auto& t) { return t.name == name; });
  Result<void> done;
  if (tunnel == tunnels.end()) {
    std::vector<std::string> known;
    for (const auto& one : tunnels) known.push_back(one.name);
    done = config::no_such("tunnel", name, known);
  } else if (!tunnel->enabled) {
    done = fail(ErrorCode::kConflict, "tunnel " + name + " is disabled", "set enabled: true in the document and apply it");
  } else {
    switch (action) {
      case TunnelAction::kUp:
        done = co_await parts_.tunnels.up(name);
        break;
      case TunnelAction::kDown:
        done = co_await parts_.tunnels.down(name);
        break;
      case TunnelAction::kRekeyChild:
        done = co_await parts_.tunnels.rekey(name, false);
        break;
      case TunnelAction::kRekeyIke:
        done = co_await parts_.tunnels.rekey(name, true);
        break;
    }
  }
  note(who, verb_of(action), "tunnel " + name, done.has_value(), done ? "" : done.error().message());
  if (!done) co_return tl::unexpected(ApiFailure(done.error()));
  json reply;
  reply["done"] = true;
  co_return reply;
}

// ---- the whole box -------------------------------------------------------------------------------------------------

asio::awaitable<ApiResult> Backend::export_archive(bool history) {
  const auto current = parts_.store.load_current();
  if (!current) co_return tl::unexpected(ApiFailure(current.error()));
  config::Archive archive;
  archive.created = format_utc(parts_.wall_clock.now());
  archive.software = software_;
  archive.gateway = parts_.reconciler.config().name;
  archive.version = current->version.number;
  archive.document = current->text;
  archive.ids = parts_.ids.snapshot();
  if (history) {
    auto versions = parts_.store.history();
    std::reverse(versions.begin(), versions.end());
    for (const auto& version : versions) {
      if (version.number == archive.version) continue;
      // A damaged one is left out, as in the history itself.
      if (auto stored = parts_.store.load(version.number)) archive.history.push_back(*std::move(stored));
    }
  }
  json secrets = json::array();
  for (const auto& path : config::secret_files(parts_.reconciler.config())) secrets.push_back(path);
  json reply;
  reply["archive"] = config::format_open_archive(archive);
  reply["version"] = archive.version;
  reply["secret_files"] = std::move(secrets);
  co_return reply;
}

asio::awaitable<ApiResult> Backend::import_archive(ApplyRequest request) {
  const config::Author who = request.who;
  const auto refused = [&](const Error& error) {
    if (!request.dry_run) note(who, "import", "", false, error.message());
    return tl::unexpected<ApiFailure>(ApiFailure(error));
  };
  auto read = config::read_archive(request.archive);
  if (!read) co_return refused(read.error());
  if (!read->sealed.empty()) {
    co_return refused(make_error(ErrorCode::kInvalidConfig, "the secrets of the archive are sealed",
                                 "simplon config import opens them with the passphrase"));
  }
  const auto archive = std::make_shared<config::Archive>(*std::move(read));
  config::ReadOptions without_files;
  without_files.check_files = false;
  const auto document = config::read_document(archive->document, without_files);
  if (!document.ok()) {
    if (!request.dry_run) note(who, "import", "", false, first_error(document.issues));
    co_return refuse(document.issues);
  }
  if (auto named = check_secrets_are_named(*archive, document.config); !named) co_return refused(named.error());
  auto changes = config::SecretSwap::inspect(parts_.secrets_dir, archive->secrets);
  if (!changes) co_return refused(changes.error());
  const auto overwritten =
      std::find_if(changes->begin(), changes->end(), [](const auto& change) { return change.second; });
  if (overwritten != changes->end() && (request.confirm_within || !request.gates.empty())) {
    co_return refused(make_error(ErrorCode::kConflict,
                                 "the import replaces " + overwritten->first + ", which going back would not bring back",
                                 "import without --confirm and --gate, or move the file away first"));
  }

  auto command = command_of(request);
  command.document = archive->document;
  if (command.comment.empty()) {
    command.comment = "import of version " + std::to_string(archive->version) + " of " + archive->gateway + ", " + archive->created;
  }
  command.ids = archive->ids;
  std::vector<config::Issue> warnings;
  if (!archive->history.empty() && parts_.store.current() != 0) {
    warnings.push_back(warning("the history of the archive is left out: this gateway has its own", ""));
  } else {
    command.history = archive->history;
  }
  std::size_t replaced = 0;
  for (const auto& [path, changes_it] : *changes) {
    if (!changes_it) continue;
    ++replaced;
    warnings.push_back(warning("the key in " + path + " is replaced; simplon config undo does not bring it back",
                               "simplon config import --without-secrets leaves it, or copy it first"));
  }
  if (replaced != 0) command.comment += "; replaces " + std::to_string(replaced) + (replaced == 1 ? " key file" : " key files");
  command.check_files = !request.dry_run;
  const auto swap = std::make_shared<std::optional<config::SecretSwap>>();
  if (!archive->secrets.empty()) {
    command.prepare = [this, archive, swap]() -> Result<void> {
      auto begun = config::SecretSwap::begin(parts_.state_dir, parts_.secrets_dir, parts_.store.current(), archive->secrets);
      if (!begun) return Unexpected(begun.error());
      swap->emplace(*std::move(begun));
      return {};
    };
    command.abandon = [swap] {
      if (!*swap) return;
      if (auto back = (*swap)->go_back(); !back) spdlog::error("the secret files of before the import: {}", back.error().message());
    };
    command.decided = [swap](const control::Transaction<control::ApplyOutcome>& outcome) {
      if (outcome && *swap) (*swap)->keep();
    };
  }
  auto reply = co_await apply_audited("import", std::move(command));
  if (!reply) co_return reply;
  if (!request.dry_run) {
    if (const auto count = renumbered(archive->ids, parts_.ids, parts_.reconciler.config()); count != 0) {
      warnings.push_back(warning(std::to_string(count) + " tunnels or domains keep other ids here than in the archive",
                                 "ids of this gateway are never changed: they belong to live SAs"));
    }
  }
  (*reply)["replaces_secrets"] = replaced;
  for (const auto& one : warnings) (*reply)["warnings"].push_back(config::to_json(one));
  (*reply)["secrets"] = archive->secrets.size();
  co_return reply;
}

asio::awaitable<ApiResult> Backend::audit(std::size_t last) {
  json entries = json::array();
  for (const auto& line : parts_.audit.tail(last)) {
    json entry = json::parse(line, nullptr, false);
    if (entry.is_object()) entries.push_back(std::move(entry));
  }
  json reply;
  reply["entries"] = std::move(entries);
  reply["sequence"] = parts_.audit.sequence();
  reply["hash"] = parts_.audit.hash();
  co_return reply;
}

}  // namespace simplon::daemon
