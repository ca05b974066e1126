// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "platform/base/result.h"

namespace simplon::config {

/// Checks, without reading it, what `sys::read_secret_file` will insist on: that `path` is absolute and a regular,
/// private (no group or world permission), non-empty file of at most 4096 bytes. Errors: kInvalidConfig with the
/// command that puts it right.
[[nodiscard]] Result<void> check_secret_file(const std::string& path);

}  // namespace simplon::config
