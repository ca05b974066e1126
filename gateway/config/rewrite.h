// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <optional>
#include <string>

#include "gateway/config/model.h"

namespace simplon::config {

/// `text`, which says `before`, changed so that it says `after`, with the comments, the order and the style of all that
/// stays. Knows what the verbs of the CLI do: domains, VPCs, endpoints and tunnels that were removed, or added at the end
/// of their list. Comment lines directly above an item belong to it.
///
/// Nothing if it cannot be done this way (another change, lists in flow style, aliases): emit_document(after) then. What is
/// returned was read back and found equal to `after`.
[[nodiscard]] std::optional<std::string> rewrite_document(const std::string& text, const GatewayConfig& before,
                                                          const GatewayConfig& after);

}  // namespace simplon::config
