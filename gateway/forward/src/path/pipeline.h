// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <string_view>

#include "gateway/forward/src/path/burst.h"
#include "gateway/forward/src/path/stages.h"
#include "gateway/forward/src/watch/watch.h"

// The order of the stages, once: for the worker, for a worker that is watched, and for a packet that is only described.
// A new stage is a line in `Stage`, one in `kStageInfo` and one in `run_stages`. A stage that changes tables or state of
// its own (not only the burst and what an SA's runtime holds) leaves them alone when `burst.described` is set.

namespace simplon::forward {

struct StageInfo {
  std::string_view name;
  /// The queues it takes packets from.
  std::array<Burst::Queue Burst::*, 3> from;
};

inline constexpr std::array<StageInfo, 16> kStageInfo = {{
    {"classify", {&Burst::received, nullptr}},
    {"vxlan_decap", {&Burst::vxlan_in, nullptr}},
    {"circuit_decap", {&Burst::circuit_in, nullptr}},
    {"esp_lookup", {&Burst::esp_in, nullptr}},
    {"esp_decrypt", {&Burst::esp_in, nullptr}},
    {"ip_forward", {&Burst::inner, nullptr}},
    {"police", {&Burst::policed, nullptr}},
    {"resolve", {&Burst::resolving, nullptr}},
    {"pmtu", {&Burst::to_vpc, &Burst::to_tunnel, &Burst::to_circuit}},
    {"icmp_errors", {&Burst::unanswered, nullptr}},
    {"resolve", {&Burst::resolving, nullptr}},
    {"pmtu", {&Burst::to_vpc, &Burst::to_tunnel, &Burst::to_circuit}},
    {"vxlan_encap", {&Burst::to_vpc, nullptr}},
    {"esp_encrypt", {&Burst::to_tunnel, nullptr}},
    {"circuit_encap", {&Burst::to_circuit, nullptr}},
    {"transmit", {&Burst::to_uplink, &Burst::to_host}},
}};
static_assert(kStageInfo.size() == static_cast<std::size_t>(Stage::kTransmit) + 1);

[[nodiscard]] constexpr const StageInfo& stage_info(Stage stage) noexcept {
  return kStageInfo[static_cast<std::size_t>(stage)];
}

/// Nobody looks.
struct Unwatched {
  static constexpr bool kExpress = true;
  void entering(Stage) const noexcept {}
  void passed(Stage) const noexcept {}
};

/// Who looks sees every packet in every stage: nothing goes express.
struct Watched {
  static constexpr bool kExpress = false;
  Burst& burst;
  Watch& watch;
  void entering(Stage stage) const noexcept { watch.entering(burst, stage); }
  void passed(Stage stage) const noexcept { watch.passed(burst, stage); }
};

/// From pmtu on: what is run once more for packets that are left to a further turn.
template <class Observer>
[[gnu::always_inline]] inline void run_last_stages(Burst& burst, const Observer& observer) noexcept {
  const auto run = [&](Stage stage, void (*function)(Burst&) noexcept) {
    observer.entering(stage);
    function(burst);
    observer.passed(stage);
  };
  run(Stage::kPmtu, pmtu);
  if (!burst.unanswered.empty()) {
    run(Stage::kIcmpErrors, icmp_errors);
    run(Stage::kResolveAnswers, resolve);
    run(Stage::kPmtuAnswers, pmtu);
  }
  run(Stage::kVxlanEncap, vxlan_encap);
  run(Stage::kEspEncrypt, esp_encrypt);
  if (!burst.to_circuit.empty()) run(Stage::kCircuitEncap, circuit_encap);
}

/// Everything between receiving and transmitting.
template <class Observer>
[[gnu::always_inline]] inline void run_stages(Burst& burst, const Observer& observer) noexcept {
  const auto run = [&](Stage stage, void (*function)(Burst&) noexcept) {
    observer.entering(stage);
    function(burst);
    observer.passed(stage);
  };
  run(Stage::kClassify, classify);
  run(Stage::kVxlanDecap, vxlan_decap);
  if (!burst.circuit_in.empty()) run(Stage::kCircuitDecap, circuit_decap);
  run(Stage::kEspLookup, esp_lookup);
  run(Stage::kEspDecrypt, esp_decrypt);
  if constexpr (Observer::kExpress) express_out(burst);
  run(Stage::kIpForward, ip_forward);
  if (!burst.policed.empty()) run(Stage::kPolice, police);
  run(Stage::kResolve, resolve);
  burst.first_fragment = burst.used;
  run_last_stages(burst, observer);
}

}  // namespace simplon::forward
