// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

namespace simplon::bench {

/// Look-ups, updates and memory of the tables.
void register_table_cases();

}  // namespace simplon::bench
