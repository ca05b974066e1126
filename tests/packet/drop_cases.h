// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/packet/rig.h"

namespace simplon::test {

/// A packet that the gateway drops, and why.
struct Case {
  std::string description;
  forward::Drop drop;
  forward::PortId port;
  std::function<Bytes(Rig&)> packet;
  std::function<void(Rig&)> prepare = nullptr;
};

/// Each reason has at least one.
[[nodiscard]] std::vector<Case> drop_cases();

}  // namespace simplon::test
