// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/gate_wait.h"

#include <chrono>
#include <map>
#include <ostream>
#include <string>
#include <thread>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/table.h"

namespace simplon::cli {

using nlohmann::json;

namespace {

/// What was said of each gate last.
using Told = std::map<std::string, std::string>;

std::string state_of(const json& gate) {
  if (!has(gate, "healthy")) return "not looked at yet";
  if (!flag(gate, "healthy")) return text(gate, "problem");
  return "healthy; counts when it stays so for " + std::to_string(number(gate, "needed_seconds")) + " s";
}

/// simplond is being restarted, or has no connection left.
bool is_away(const Result<json>& reply) {
  if (!reply) return reply.error().code == ErrorCode::kUnavailable;
  const json& errors = list(*reply, "errors");
  return !errors.empty() && text(errors.front(), "code") == to_string(ErrorCode::kUnavailable);
}

void tell(const Session& session, const json& pending, Told& told) {
  std::size_t healthy = 0;
  const json& gates = list(pending, "gates");
  for (const auto& gate : gates) {
    healthy += flag(gate, "healthy") ? 1U : 0U;
    const std::string state = state_of(gate);
    if (std::string& last = told[text(gate, "gate")]; last != state) {
      last = state;
      session.progress({});
      session.err() << paragraph("gate " + text(gate, "gate") + ": " + state, 2, 4);
    }
  }
  session.progress("waiting: " + std::to_string(healthy) + " of " + plural(gates.size(), "gate") + " healthy, version " +
                   std::to_string(number(pending, "reverts_to")) + " comes back in " + format_age(number(pending, "seconds_left")));
}

}  // namespace

Result<json> wait_for_gates(const Session& session, std::uint64_t version, std::uint64_t seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(static_cast<std::int64_t>(seconds) + 30);
  Told told;
  for (;;) {
    auto reply = session.get("/v1/config?version=" + std::to_string(version));
    const bool away = is_away(reply);
    const bool waits = away || (reply && !reply->contains("errors") && text(*reply, "outcome") == "unconfirmed");
    if (away) session.progress("waiting: simplond does not answer; the version and its gates outlive a restart of it");
    if (waits && !away && session.interactive()) {
      if (const json& pending = at(*reply, "pending"); number(pending, "version") == version) tell(session, pending, told);
    }
    const bool late = waits && std::chrono::steady_clock::now() > end;
    if (!waits || late) session.progress({});
    if (!waits || (late && away)) return reply;
    if (late) {
      return fail(ErrorCode::kPeer, "simplond does not decide about version " + std::to_string(version),
                  "simplon config history tells later");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

}  // namespace simplon::cli
