// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "platform/sys/unique_fd.h"

namespace simplon::sys {

/// What a network interface of the caller's namespace tells the tool of the same name (ioctl SIOCETHTOOL). Threads: any. Cost: a
/// system call or two each; a driver may take milliseconds for a change.
class Ethtool {
 public:
  explicit Ethtool(std::string interface);

  /// `command`: a structure of <linux/ethtool.h> that begins with its command, and that the answer is written to. Returns 0 or
  /// more, or -1 with errno.
  int ask(void* command) const;
  /// Empty: unknown.
  [[nodiscard]] std::string driver() const;
  /// That the interface has in use (`ethtool -L`). None: the driver does not say.
  [[nodiscard]] std::optional<std::uint32_t> receive_queues() const;
  /// The kernel's names of offloads; the place of each is its bit in ETHTOOL_GFEATURES and ETHTOOL_SFEATURES, and differs from
  /// kernel to kernel. Empty: unknown.
  [[nodiscard]] std::vector<std::string> feature_names() const;

 private:
  std::string interface_;
  UniqueFd fd_;
};

}  // namespace simplon::sys
