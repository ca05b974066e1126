// SPDX-License-Identifier: GPL-2.0-or-later
//
// The probation of a change: the part of the reconciler that decides whether a change stays.
//
//     apply --confirm 60           waits for `confirm`; at the deadline it goes back
//     apply --gate G ...           stays as soon as all gates have held; at the deadline it goes back, naming the gate
//     apply --confirm 60 --gate G  waits for `confirm`, which is refused while a gate fails; at the deadline it goes back
//
// Deadline, gates and mode are on disk with the version (config::Store), so whoever notices the deadline first goes
// back: the tick, or the next start after a kill -9 or a loss of power. How the gates fared is not: a new life of the
// daemon looks again, and a gate has to hold anew. A deadline that passed while nobody was there means going back,
// because nobody saw the gates hold.
//
// Going back commits first and then changes the world, tolerantly: half of the old configuration is better than all of
// one that was found wanting.

#include <algorithm>

#include <spdlog/spdlog.h>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/control/reconciler.h"

namespace simplon::control {

namespace asio = boost::asio;

Result<std::vector<std::string>> Reconciler::admit_gates(const ApplyCommand& command, const GatewayConfig& config) const {
  if (command.gates.size() > kMaxGates) {
    return fail(ErrorCode::kInvalidConfig, std::to_string(command.gates.size()) + " gates are too many",
                "at most " + std::to_string(kMaxGates));
  }
  std::vector<std::string> words;
  for (const auto& text : command.gates) {
    const auto gate = resolve_gate(text, config);
    if (!gate) return Unexpected(gate.error());
    const auto shortest = shortest_window(*gate, config);
    const auto window = command.confirm_within.value_or(command.gate_window);
    if (!command.confirm_within && window <= shortest) {
      return fail(ErrorCode::kInvalidConfig,
                  "gate " + text + " has to hold for " + std::to_string(shortest.count()) + " s, but the change goes back after " +
                      std::to_string(window.count()) + " s",
                  "give it more time (--within), or use BFD: without it a dead session is noticed after its hold time");
    }
    auto canonical = gate->to_string();
    if (std::find(words.begin(), words.end(), canonical) == words.end()) words.push_back(std::move(canonical));
  }
  return words;
}

void Reconciler::tell_end(bool kept, std::uint64_t version, const std::string& reason) const {
  if (kept) {
    spdlog::info("configuration version {} stays: {}", version, reason);
  } else {
    spdlog::warn("configuration version {} is gone back from, as version {}: {}", version, parts_.store.current(), reason);
  }
  ProbationEnd end;
  end.kept = kept;
  end.version = version;
  end.current = parts_.store.current();
  end.reason = reason;
  if (options_.probation_ended) options_.probation_ended(end);
}

void Reconciler::follow_probation() {
  const auto& pending = parts_.store.pending();
  if (!pending || pending->gates.empty()) {
    if (gates_.version() != 0) gates_.end();
  } else if (gates_.version() != pending->number) {
    gates_.begin(pending->number, pending->gates, config_);
  }
}

std::string Reconciler::why_reverted(bool at_start) const {
  const auto& pending = parts_.store.pending();
  if (!pending) return {};
  const std::string within = " within " + std::to_string(pending->window.count()) + " s";
  std::string reason = pending->confirm_required ? "not confirmed" + within : std::string();
  if (at_start) {
    if (reason.empty()) reason = "its gates did not hold" + within;
    return reason + "; simplond did not run at the deadline";
  }
  if (gates_.version() != pending->number) return reason.empty() ? "its gates did not hold" + within : reason;
  const std::string complaint = gates_.complaint(!pending->confirm_required);
  if (reason.empty()) return "not healthy" + within + ": " + complaint;
  return complaint.empty() ? reason : reason + "; " + complaint;
}

asio::awaitable<Result<std::uint64_t>> Reconciler::confirm() {
  const auto turn = co_await turns_.take();
  if (const auto& pending = parts_.store.pending(); pending && !pending->gates.empty()) {
    follow_probation();
    co_await gates_.look();
    if (!gates_.healthy()) {
      co_return fail(ErrorCode::kConflict,
                     "version " + std::to_string(parts_.store.current()) + " is not confirmed: " + gates_.complaint(false),
                     "mend it and confirm again, or go back: simplon config undo");
    }
  }
  if (auto confirmed = parts_.store.confirm(); !confirmed) co_return Unexpected(confirmed.error());
  follow_probation();
  co_return parts_.store.current();
}

asio::awaitable<void> Reconciler::watch_gates() {
  const auto alive = alive_;
  asio::steady_timer timer(parts_.io);
  for (;;) {
    timer.expires_after(options_.gate_tick);
    boost::system::error_code cancelled;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
    if (!*alive) co_return;
    if (loaded_) follow_probation();
    if (gates_.empty()) continue;
    co_await gates_.look();
    if (!*alive) co_return;
    const auto& pending = parts_.store.pending();
    const bool may_stay = pending && pending->number == gates_.version() && !pending->confirm_required;
    if (may_stay && gates_.held()) co_await keep_by_gates();
    if (!*alive) co_return;
  }
}

asio::awaitable<void> Reconciler::keep_by_gates() {
  const auto version = gates_.version();
  const auto turn = co_await turns_.take();
  const auto& pending = parts_.store.pending();
  if (!pending || pending->number != version || gates_.version() != version || !gates_.held()) co_return;
  std::string gates;
  for (const auto& gate : pending->gates) gates += (gates.empty() ? "" : ", ") + gate;
  const auto kept = parts_.store.confirm();
  if (!kept) {
    // Too late, or a disk that does not take it: then it is tried again until the deadline.
    spdlog::warn("configuration version {} cannot be kept: {}", version, kept.error().message());
    co_return;
  }
  follow_probation();
  tell_end(true, version, "all gates held: " + gates);
}

asio::awaitable<void> Reconciler::end_probation() {
  const auto turn = co_await turns_.take();
  auto reverted = parts_.store.revert_if_expired(why_reverted(false));
  if (!reverted) {
    spdlog::error("going back from an unconfirmed configuration failed: {}", reverted.error().message());
    co_return;
  }
  if (!*reverted) co_return;
  probation_retry_at_ = {};  // that was for a disk that does not take it
  follow_probation();
  tell_end(false, (*reverted)->reverts, (*reverted)->reason);
  auto stored = parts_.store.load_current();
  auto config = stored ? read_stored(*stored) : Result<GatewayConfig>(Unexpected(stored.error()));
  if (!config) {
    load_problem_ = config.error();
    spdlog::error("{}", config.error().message());
    co_return;
  }
  auto switched = co_await switch_to(*std::move(config), Mode::kTolerant);
  if (!switched) spdlog::error("going back failed: {}", switched.error().message());
  co_await tidy();
}

}  // namespace simplon::control
