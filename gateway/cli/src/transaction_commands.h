// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "gateway/cli/src/commands.h"

namespace simplon::cli {

/// config export, config import
void declare_archive(Commands& commands, CLI::App& config);
/// audit show, audit verify
void declare_audit(Commands& commands);

}  // namespace simplon::cli
