// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "platform/base/result.h"

namespace simplon::bgp {

/// One line of a configuration with the lines of the context it opens.
struct ConfigNode {
  std::string line;
  std::vector<ConfigNode> children;
  friend bool operator==(const ConfigNode&, const ConfigNode&) = default;
};

/// Lines by indentation; comments, `exit` lines and blank lines left out. Errors: kPeer if it nests deeper than FRR does.
[[nodiscard]] Result<std::vector<ConfigNode>> parse_config(std::string_view text);

/// How to get from one configuration to another.
struct ConfigChange {
  /// In the order to send them, from `configure terminal` on, with the `exit`s that leave contexts. May contain passwords.
  std::vector<std::string> commands;
  /// Addresses of neighbors whose session must be reset for a command to take effect (graceful restart).
  std::vector<std::string> resets;
  /// Addresses of neighbors that may announce more than before. A session that the old limit ended stays down until the
  /// restart timer ends (5 minutes), unless it is reset; one that is up needs nothing.
  std::vector<std::string> raised_limits;
  [[nodiscard]] bool empty() const noexcept { return commands.empty(); }
};

/// The fewest commands that make a daemon that shows `running` hold what `wanted` (rendered by us) says. Pure.
///
/// Only what simplond renders is compared: `router bgp`, prefix-lists, route-maps, `bfd` and single global lines. Other
/// global lines of `running` (hostname, log of another kind, debug, ...) are left alone.
/// Order: instances that go, then additions to lists and route-maps, then neighbors, then removal of unused policy. So a
/// neighbor never refers to a policy that is not there, and nothing is permitted in between that neither side permits.
/// Lines of neighbors that do not change give no commands. Errors: those of `parse_config`.
[[nodiscard]] Result<ConfigChange> diff_config(std::string_view running, std::string_view wanted);

}  // namespace simplon::bgp
