// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "gateway/cli/src/commands.h"
#include "gateway/config/model.h"
#include "platform/base/result.h"

// How verbs change the configuration. A verb that edits fetches the current document with its version, changes it, and
// posts the whole document back with that version as base: simplond refuses it if somebody else was faster. So there is
// one way in for every change, and one validation.

namespace simplon::cli {

struct ChangeOptions {
  bool dry_run = false;
  /// "60", "60s", "2m".
  std::string confirm, within;
  std::vector<std::string> gates;
  bool no_wait = false;
  std::string comment;
};

/// "60", "60s", "2m", "1h": 1 s to 24 h. Errors: kInvalidConfig naming the option.
[[nodiscard]] Result<std::uint64_t> parse_seconds(const std::string& option, const std::string& text);

/// --dry-run, --confirm, --gate, --within, --no-wait, --comment.
void add_change_options(CLI::App* app, ChangeOptions& options);

/// POST of `request`, which has at least "document". `comment`: if the options have none. A change with gates and
/// without --confirm is followed until it is decided whether it stays.
int apply_request(const Session& session, const ChangeOptions& options, nlohmann::json request,
                  const std::string& comment, const std::string& target = "/v1/config/apply");

/// `change`d and applied. With a `question`, somebody at a terminal first sees what it will do and is asked.
int edit_document(const Session& session, const ChangeOptions& options, const std::string& comment,
                  const std::function<Result<void>(GatewayConfig&)>& change, const std::string& question = {});

}  // namespace simplon::cli
