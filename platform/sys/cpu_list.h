// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string_view>
#include <vector>

#include "platform/base/result.h"

namespace simplon::sys {

/// "2-5,8" in this order, as operators write CPUs and as the kernel does in sysfs; empty: none. Pure.
/// Errors: kInvalidConfig naming what is no CPU, or there twice.
[[nodiscard]] Result<std::vector<unsigned>> parse_cpu_list(std::string_view text);

}  // namespace simplon::sys
