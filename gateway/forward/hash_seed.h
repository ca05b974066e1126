// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

namespace simplon::forward {

/// What hashes of tables depend on whose keys a tenant chooses: who does not know it cannot aim at one bucket. Tests have a
/// fixed one. Nothing outside the process may depend on it, nor what a successor of the process has to find again.
struct HashSeed {
  std::uint64_t first = 0;
  std::uint64_t second = 0;

  /// From the kernel (getrandom). Blocks until that has random numbers, early in boot.
  [[nodiscard]] static HashSeed random();
};

}  // namespace simplon::forward
