// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "platform/base/result.h"

namespace simplon::ipc {

enum class ApiCall : std::uint8_t {
  kStatus,
  kConfig,
  kHistory,
  kDiff,
  kCheck,
  kApply,
  kConfirm,
  kUndo,
  kTunnels,
  kTunnelUp,
  kTunnelDown,
  kTunnelRekey,
  kVpcs,
  kRoutes,
  kBgp,
  kDrops,
  kAcls,
  kNat,
  kConnections,
  kExport,
  kImport,
  kAudit,
};

/// One request of the local API (api.h), with its parameters where the call has them.
struct ApiRequest {
  ApiCall call = ApiCall::kStatus;
  /// config: version; diff: from, to; undo: to.
  std::optional<std::uint64_t> version;
  std::optional<std::uint64_t> from;
  std::optional<std::uint64_t> to;
  std::string document;
  std::optional<std::uint64_t> base_version;
  std::string comment;
  std::optional<std::uint64_t> confirm_seconds;
  /// Health gates, separated by spaces, and how long they have.
  std::string gates;
  std::optional<std::uint64_t> gate_seconds;
  /// import: the archive; export: with older versions.
  std::string archive;
  bool history = false;
  /// audit: so many of the last lines.
  std::optional<std::uint64_t> last;
  bool dry_run = false;
  bool ike = false;
  /// Tunnel of up, down, rekey.
  std::string name;
  /// routes: empty for all.
  std::string domain;

  friend bool operator==(const ApiRequest&, const ApiRequest&) = default;
};

/// Why a request is not one of ours.
struct ApiRefusal {
  unsigned http_status = 400;
  Error error;
};

/// Understands method, target ("/v1/routes?domain=prod") and body; the body must be a flat JSON object with known
/// members of the right type. Never throws, never recurses, builds no tree. Cost: linear in the body.
[[nodiscard]] tl::expected<ApiRequest, ApiRefusal> parse_api_request(std::string_view method, std::string_view target,
                                                                     std::string_view body);

/// The HTTP status that an error travels with.
[[nodiscard]] unsigned http_status_of(ErrorCode code) noexcept;

}  // namespace simplon::ipc
