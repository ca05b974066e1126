// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gateway/doctor/facts.h"

namespace simplon::doctor {

enum class Verdict : std::uint8_t {
  kOk,
  /// Could not be seen; the remedy says how.
  kUnseen,
  /// Works, but less well than it could, or only until something happens.
  kWarning,
  /// Something does not work because of this.
  kFailed,
};

[[nodiscard]] std::string_view to_string(Verdict verdict) noexcept;

struct Finding {
  /// Stable: "kernel.af-xdp", "nic.eth0.xdp".
  std::string id;
  Verdict verdict = Verdict::kOk;
  std::string what;
  /// What to do; empty if there is nothing to do.
  std::string remedy;
};

/// All findings, in the order in which a host is built: kernel, NICs, workers, system, programs. Pure.
[[nodiscard]] std::vector<Finding> judge(const Facts& facts);

/// The worst of them; what could not be seen is not bad.
[[nodiscard]] Verdict overall(const std::vector<Finding>& findings) noexcept;

}  // namespace simplon::doctor
