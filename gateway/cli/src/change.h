// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "gateway/cli/src/commands.h"
#include "gateway/config/model.h"
#include "platform/base/result.h"

// How verbs change the configuration. A verb that edits fetches the current document with its version, changes it, and
// posts the whole document back with that version as base: simplond refuses it if somebody else was faster. So there is
// one way in for every change, and one validation.

namespace simplon::cli {

struct ChangeOptions {
  bool dry_run = false;
  std::optional<std::uint64_t> confirm_seconds;
  std::string comment;
};

/// --dry-run, --confirm, --comment.
void add_change_options(CLI::App* app, ChangeOptions& options);

/// POST /v1/config/apply of `request`, which has at least "document". `comment`: if the options have none.
int apply_request(const Session& session, const ChangeOptions& options, nlohmann::json request,
                  const std::string& comment);

/// `change`d and applied. With a `question`, somebody at a terminal first sees what it will do and is asked.
int edit_document(const Session& session, const ChangeOptions& options, const std::string& comment,
                  const std::function<Result<void>(GatewayConfig&)>& change, const std::string& question = {});

}  // namespace simplon::cli
