// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

namespace simplon::bench {

/// What forwarding costs while the tables it reads are being changed.
void register_live_cases();

}  // namespace simplon::bench
