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
// one that was found wanting. A disk that does not take the commit does not hold up the rest: what to go back to can be
// read, and the probation stays on disk, so that whoever comes next, this life or another, goes back again and tries to
// store it.

#include <algorithm>
#include <tuple>

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
  if (!pending || pending->gates.empty() || (unstored_ && unstored_->version == pending->number)) {
    if (gates_.version() != 0) gates_.end();
  } else if (gates_.version() != pending->number) {
    gates_.begin(pending->number, pending->gates, config_, renegotiated_by(*pending));
  }
}

/// Compares with what the probation would go back to. What that was is unknown if it cannot be read: then no tunnel counts
/// with SAs from before.
GateWatch::Renegotiated Reconciler::renegotiated_by(const config::Pending& pending) const {
  GateWatch::Renegotiated found;
  const bool asked = std::any_of(pending.gates.begin(), pending.gates.end(),
                                 [](const auto& gate) { return gate.starts_with("tunnel:"); });
  if (!asked) return found;
  // The version was written just before the first tunnel was told.
  const auto now = parts_.clock.now();
  found.changed = now;
  if (const auto version = parts_.store.load(pending.number)) {
    const auto ago = std::chrono::duration_cast<MonoDuration>(parts_.wall_clock.now() - version->version.when);
    found.changed = now - std::max(ago, MonoDuration::zero());
  }
  GatewayConfig before;
  if (const auto stored = pending.reverts_to == 0 ? Result<config::StoredDocument>(config::StoredDocument{})
                                                   : parts_.store.load(pending.reverts_to)) {
    if (auto read = read_stored(*stored)) before = *std::move(read);
  }
  const auto negotiated = [](const TunnelConfig& tunnel) {
    return std::tie(tunnel.local, tunnel.remote, tunnel.local_id, tunnel.remote_id, tunnel.psk_file, tunnel.ike_proposals,
                    tunnel.esp_proposals, tunnel.encapsulation);
  };
  for (const auto& tunnel : config_.tunnels) {
    const auto same = std::find_if(before.tunnels.begin(), before.tunnels.end(),
                                   [&](const auto& other) { return other.name == tunnel.name; });
    if (same == before.tunnels.end() || negotiated(*same) != negotiated(tunnel)) found.tunnels.insert(tunnel.name);
  }
  return found;
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

asio::awaitable<Result<std::uint64_t>> Reconciler::confirm(std::optional<std::uint64_t> version) {
  const auto turn = co_await turns_.take();
  if (auto may = parts_.store.may_confirm(version); !may) co_return Unexpected(may.error());
  if (const auto& pending = parts_.store.pending(); pending && !pending->gates.empty()) {
    follow_probation();
    co_await gates_.look();
    if (!gates_.healthy()) {
      co_return fail(ErrorCode::kConflict,
                     "version " + std::to_string(parts_.store.current()) + " is not confirmed: " + gates_.complaint(false),
                     "mend it and confirm again, or go back: simplon config undo");
    }
  }
  if (auto confirmed = parts_.store.confirm(version); !confirmed) co_return Unexpected(confirmed.error());
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

/// If the probation is over: commits going back from it, or remembers why the disk does not take that. False if it is not.
Result<bool> Reconciler::store_going_back(bool at_start) {
  const auto& pending = parts_.store.pending();
  no_way_back_.reset();
  if (!pending || !parts_.store.expired()) {
    unstored_.reset();
    return false;
  }
  const auto number = pending->number;
  const bool again = unstored_ && unstored_->version == number;
  const std::string reason = again ? unstored_->reason : why_reverted(at_start);
  const auto former = parts_.store.undo_target();
  // Another release of simplond may have written what this one cannot read.
  const auto readable = former ? read_stored(*former, false) : Result<GatewayConfig>(Unexpected(former.error()));
  if (!readable) {
    no_way_back_ = make_error(readable.error().code,
                              "version " + std::to_string(number) + " stays (" + reason +
                                  "), because what it goes back to cannot be read: " + readable.error().what,
                              parts_.store.way_out());
    spdlog::error("{}", no_way_back_->message());
    return Unexpected(readable.error());
  }
  const auto reverted = parts_.store.revert_if_expired(reason);
  if (!reverted) {
    spdlog::error("configuration version {} is gone back from ({}), but that cannot be stored, and is tried again: {}", number,
                  reason, reverted.error().message());
    unstored_ = Unstored{number, reason, reverted.error()};
    return Unexpected(reverted.error());
  }
  unstored_.reset();
  probation_retry_at_ = {};
  if (*reverted) tell_end(false, (*reverted)->reverts, (*reverted)->reason);
  return reverted->has_value();
}

/// The current version; of a probation that is over, what it goes back to.
Result<GatewayConfig> Reconciler::read_wanted() const {
  auto stored = unstored_ ? parts_.store.undo_target() : parts_.store.load_current();
  if (!stored) return Unexpected(stored.error());
  return read_stored(*stored);
}

asio::awaitable<void> Reconciler::end_probation() {
  const auto turn = co_await turns_.take();
  const bool is_back = unstored_.has_value();
  const auto stored = store_going_back(false);
  const bool nothing_to_do = stored ? !*stored : is_back || !unstored_;
  if (nothing_to_do) co_return;
  follow_probation();
  auto config = read_wanted();
  if (!config) {
    load_problem_ = config.error();
    spdlog::error("{}", config.error().message());
    co_return;
  }
  loaded_ = true;
  load_problem_.reset();
  auto switched = co_await switch_to(*std::move(config), Mode::kTolerant);
  if (!switched) spdlog::error("going back failed: {}", switched.error().message());
  co_await tidy();
}

}  // namespace simplon::control
