// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "platform/base/result.h"

namespace simplon::forwarder {

/// Errors: kUnavailable naming the first capability that is missing and how to get it.
[[nodiscard]] Result<void> check_capabilities();

/// No core dumps and no ptrace by others (keys are in memory); every capability given up but those needed to open uplinks and
/// host ports later. Before any thread is made.
[[nodiscard]] Result<void> restrict_process();

}  // namespace simplon::forwarder
