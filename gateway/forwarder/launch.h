// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "platform/base/result.h"
#include "platform/sys/unique_fd.h"

namespace simplon::forwarder {

/// `simplon-forwarder --succeed` is a command that the service manager waits for (ExecReload=), while the process that takes the service over
/// stays. So that one is a process of its own, which belongs to the manager as the former one did.
class Launch {
 public:
  /// Returns in the new process. In the calling one it never returns: that one ends with 0 when the new process says `ready`, and with 1 if it
  /// ends before. Before any other thread is made. Errors: kUnavailable.
  [[nodiscard]] static Result<Launch> begin();
  /// From now on this is the process of the service: returns when the manager knows. Errors: kUnavailable.
  [[nodiscard]] Result<void> become_main();
  void ready();

 private:
  explicit Launch(sys::UniqueFd command) : command_(std::move(command)) {}
  /// To the process that waits.
  sys::UniqueFd command_;
};

}  // namespace simplon::forwarder
