// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bgp/speaker.h"

namespace simplon::bgp {

/// The configuration of one FRR instance, as each daemon reads it at its start.
struct FrrConfig {
  std::string zebra;
  std::string bgpd;
  std::string bfdd;
  friend bool operator==(const FrrConfig&, const FrrConfig&) = default;
};

/// Everything in `spec` that FRR would refuse, misunderstand or silently bend, in one error (kInvalidConfig).
/// `render` needs a spec that passed: names and passwords become part of commands.
[[nodiscard]] Result<void> check_spec(const SpeakerSpec& spec);

/// Pure: the same spec gives the same text. Contains passwords.
[[nodiscard]] FrrConfig render(const SpeakerSpec& spec, std::uint16_t fpm_port);

/// "IN-site-a-4": both the prefix-list and the route-map of one neighbor, direction and family.
enum class PolicyDirection : std::uint8_t { kIn, kOut };
[[nodiscard]] std::string policy_name(const NeighborSpec& neighbor, PolicyDirection direction, IpFamily family);

/// Families activated with this neighbor: that of its address, and those its rules name.
[[nodiscard]] std::vector<IpFamily> active_families(const NeighborSpec& neighbor);

/// What bgpd's running configuration has as the password of a neighbor; empty if nothing.
[[nodiscard]] std::string password_in(std::string_view running, const IpAddress& neighbor);

/// The command without its password; for logs and errors.
[[nodiscard]] std::string redacted(std::string_view command);

/// Where this instance's bgpd logs neighbor changes and notifications, for diagnosis.
[[nodiscard]] std::string bgpd_log_path(const std::string& pathspace);

}  // namespace simplon::bgp
