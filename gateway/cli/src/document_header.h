// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

// The comments that `simplon config show` writes above a document, and that come back when it is applied from a file:
//
//     # version 12, 2026-01-31T12:00:00Z by root: new site in Paris
//     # version 14 is current                                          only above an older version
//     # reverted: not confirmed within 60 s
//     # on probation for 58 s; to keep it: simplon confirm 7

namespace simplon::cli {

/// Of a reply of GET /v1/config about a version.
[[nodiscard]] std::string document_header(const nlohmann::json& reply);

/// The version that was current when the header was written; nothing without a header.
[[nodiscard]] std::optional<std::uint64_t> base_in_header(std::string_view document);

/// The document below its header.
[[nodiscard]] std::string_view below_header(std::string_view document);

}  // namespace simplon::cli
