// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <vector>

#include "gateway/config/diff.h"

namespace simplon::config {

/// What happens to an object, for somebody who decides whether to apply it. `because`: of a change, the keys of the fields
/// that cost `cost`, its worst. Empty: nothing that anybody would notice.
[[nodiscard]] std::string impact_words(const std::string& kind_of_object, ChangeKind kind, Reconfigure cost,
                                       const std::vector<std::string>& because);

}  // namespace simplon::config
