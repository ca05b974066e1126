// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "tests/differential/duel.h"

namespace simplon::differential {

/// The first disagreement that a scenario leads to, if any.
[[nodiscard]] std::optional<Disagreement> replay(const Scenario& scenario);

/// The smallest scenario found that still leads to some disagreement: as a rule one packet and the tables it meets.
[[nodiscard]] Scenario minimize(Scenario scenario);

/// For people: the tables, the packets, what the engine did and what the oracle says.
[[nodiscard]] std::string report(const Scenario& scenario);

}  // namespace simplon::differential
