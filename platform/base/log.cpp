// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace simplon {

Result<void> init_logging(const std::string& program, const std::string& level) {
  constexpr std::array<std::string_view, 5> kLevels = {"trace", "debug", "info", "warn", "error"};
  if (std::find(kLevels.begin(), kLevels.end(), level) == kLevels.end()) {
    return fail(ErrorCode::kInvalidConfig, "unknown log level '" + level + "'",
                "use trace, debug, info, warn or error");
  }
  auto logger = spdlog::stderr_logger_mt(program);
  logger->set_level(spdlog::level::from_str(level));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n[%P] %l: %v");
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  return {};
}

}  // namespace simplon
