// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <spdlog/spdlog.h>

#include <string>

#include "platform/base/result.h"

namespace simplon {

/// Points spdlog's default logger at standard error with one line per event, for journald and for labs.
/// `level` is trace, debug, info, warn or error. Errors: kInvalidConfig for another word.
[[nodiscard]] Result<void> init_logging(const std::string& program, const std::string& level);

}  // namespace simplon
