// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "gateway/cli/src/commands.h"
#include "gateway/config/document.h"
#include "gateway/config/model.h"
#include "platform/base/result.h"

// How commands change the configuration. A change is posted with the version that it was made for, as far as that is known,
// and simplond refuses it if somebody else was faster. Whoever sits at a terminal first sees what it will do, and is asked
// before something is removed or disturbed.
//
// A verb that edits fetches the current document with its version, changes it, and
// posts the whole document back with that version as base. So there is one way in for every change, and one validation.

namespace simplon::cli {

struct ChangeOptions {
  bool dry_run = false;
  /// "60", "60s", "2m".
  std::string confirm, within;
  std::vector<std::string> gates;
  bool no_wait = false;
  std::string comment;
  /// Only if this is the current version.
  std::optional<std::uint64_t> base;
};

/// What is asked of simplond.
struct Change {
  /// "document", "archive" or "to", and "base_version" if it is known. The options are added.
  nlohmann::json request;
  std::string target = "/v1/config/apply";
  /// If the options have none.
  std::string comment;
  /// Asked in any case; empty: asked only if something is removed or disturbed.
  std::string question;
  /// What simplond cannot know, beside its own.
  std::vector<config::Issue> warnings;
};

/// "60", "60s", "2m", "1h": 1 s to 24 h. Errors: kInvalidConfig naming the option.
[[nodiscard]] Result<std::uint64_t> parse_seconds(const std::string& option, const std::string& text);

/// --dry-run, --confirm, --gate, --within, --no-wait, --comment.
void add_change_options(Commands& commands, CLI::App* app, ChangeOptions& options);

/// --base. `otherwise`: what holds without it.
void add_base_option(CLI::App* app, ChangeOptions& options, const std::string& otherwise);

/// Rehearsed and asked at a terminal, then posted. A change with gates and without --confirm is followed until it is
/// decided whether it stays.
int apply_request(const Session& session, const ChangeOptions& options, Change change);

/// The current document, changed by `change`, is applied. `question`: as of a Change.
int edit_document(const Session& session, const ChangeOptions& options, const std::string& comment,
                  const std::function<Result<void>(GatewayConfig&)>& change, const std::string& question = {});

}  // namespace simplon::cli
