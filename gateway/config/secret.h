// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <string>

#include "platform/base/result.h"

namespace simplon::config {

inline constexpr std::size_t kMaxSecretBytes = 4096;

/// Checks, without reading it, that `path` is absolute and a regular, private (no group or world permission), non-empty
/// file that belongs to root or to us. Errors: kInvalidConfig with the command that puts it right.
[[nodiscard]] Result<void> check_secret_file(const std::string& path);

/// The content without one trailing line end, after the checks of `check_secret_file` on the opened file.
/// The caller wipes it; it must never be logged. Errors: kInvalidConfig.
[[nodiscard]] Result<std::string> load_secret(const std::string& path);

/// Overwrites and clears, in a way the compiler does not remove.
void wipe(std::string& secret) noexcept;

}  // namespace simplon::config
