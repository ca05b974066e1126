// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "platform/base/result.h"
#include "platform/net/ip_prefix.h"

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
  kCircuits,
  kRoutes,
  kBgp,
  kDrops,
  kAcls,
  kNat,
  kConnections,
  kExport,
  kImport,
  kAudit,
  kTrace,
  kTraceLive,
  kCapture,
};

/// A packet, or packets, in the words of an operator: of trace, trace/live and capture. Empty: not said.
struct PacketQuery {
  /// "vpc:blue", "tunnel:paris", or a name that only one of them has. capture: also "uplink:eth1".
  std::string from;
  std::string source;
  std::string destination;
  /// Source or destination.
  std::string host;
  /// "tcp", "udp", "icmp", "icmpv6" or a number.
  std::string protocol;
  std::string flags;
  std::string vtep;
  std::optional<std::uint64_t> source_port;
  std::optional<std::uint64_t> destination_port;
  /// Source or destination.
  std::optional<std::uint64_t> port;
  /// IP bytes.
  std::optional<std::uint64_t> size;
  std::optional<std::uint64_t> ttl;
  std::optional<std::uint64_t> tos;
  bool df = false;
  bool from_kernel = false;
  /// trace/live: how long to wait; capture: how long it may take.
  std::optional<std::uint64_t> seconds;
  // capture.
  std::optional<std::uint64_t> count;
  std::optional<std::uint64_t> snaplen;
  bool before_crypto = false;
  bool after_crypto = false;
  bool kernel = false;
  bool drops = false;
  std::string reason;
  friend bool operator==(const PacketQuery&, const PacketQuery&) = default;
};

/// One request of the local API (api.h), with its parameters where the call has them.
struct ApiRequest {
  ApiCall call = ApiCall::kStatus;
  /// config, confirm: version; diff: from, to; undo: to.
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
  /// routes: those inside it and those that cover it; and at most so many.
  std::optional<IpPrefix> prefix;
  std::optional<std::uint64_t> limit;
  PacketQuery packet;

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

/// `prefix` of routes: also an address, which is a prefix with all its bits. Errors: kInvalidConfig.
[[nodiscard]] Result<IpPrefix> parse_route_prefix(std::string_view text);

/// The HTTP status that an error travels with.
[[nodiscard]] unsigned http_status_of(ErrorCode code) noexcept;

}  // namespace simplon::ipc
