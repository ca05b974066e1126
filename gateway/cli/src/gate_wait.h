// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "gateway/cli/src/session.h"
#include "platform/base/result.h"

namespace simplon::cli {

/// Follows a version that stays if its gates hold within `seconds`, until that is decided; returns what is known of the
/// version then (GET /v1/config). simplond may be restarted meanwhile: kUnavailable is returned only when the time is over.
/// Somebody at a terminal sees each gate when its state changes, and the time that is left.
[[nodiscard]] Result<nlohmann::json> wait_for_gates(const Session& session, std::uint64_t version, std::uint64_t seconds);

}  // namespace simplon::cli
