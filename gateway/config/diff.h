// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/model.h"

namespace simplon::config {

/// Can an object change from old to new in place? The worst of its changed fields.
enum class Reconfigure : std::uint8_t {
  kInPlace,         ///< No session notices, no packet is lost.
  kNarrows,         ///< In place, but what it let pass or led somewhere may pass no more.
  kRestartSession,  ///< IKE or BGP session is negotiated again; the object stays.
  kReplace,         ///< Removed and made anew, with what depends on it.
};

[[nodiscard]] std::string_view to_string(Reconfigure reconfigure) noexcept;

enum class ChangeKind : std::uint8_t { kAdded, kRemoved, kChanged };

[[nodiscard]] std::string_view to_string(ChangeKind kind) noexcept;

/// One field of one object. For an added or removed object there is one change with an empty field.
struct Change {
  ChangeKind kind = ChangeKind::kChanged;
  /// "tunnel", "neighbor", "domain", "vpc", "endpoint", "circuit", "uplink", "gateway", "acl".
  std::string kind_of_object;
  /// "paris", "prod/paris-router" (neighbor), "red/10.20.0.5" (endpoint).
  std::string name;
  /// Key of the document, or empty.
  std::string field;
  std::string old_value;
  std::string new_value;
  Reconfigure reconfigure = Reconfigure::kInPlace;

  friend bool operator==(const Change&, const Change&) = default;
};

/// What applying does to one object, where somebody may notice it.
struct Impact {
  std::string kind_of_object;
  std::string name;
  ChangeKind kind = ChangeKind::kChanged;
  Reconfigure reconfigure = Reconfigure::kInPlace;
  /// "the IKE session restarts because remote changes: traffic stops for about a second"
  std::string words;

  friend bool operator==(const Impact&, const Impact&) = default;
};

struct Diff {
  std::vector<Change> changes;
  std::vector<Impact> impact;

  [[nodiscard]] bool empty() const noexcept { return changes.empty(); }
  /// "restarts 1 tunnel and 2 BGP sessions", or "3 changes, no session is affected".
  [[nodiscard]] std::string summary() const;
};

/// Keys of the fields that are compared, of a "tunnel" or a "neighbor": so that the cost of each can be held against what
/// charon and FRR are really told.
[[nodiscard]] std::vector<std::string> compared_fields(std::string_view kind_of_object);

/// Objects are matched by name; order in the document does not matter, except that of rules and proposals.
[[nodiscard]] Diff diff(const GatewayConfig& from, const GatewayConfig& to);

}  // namespace simplon::config
