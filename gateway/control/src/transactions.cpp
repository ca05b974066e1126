// SPDX-License-Identifier: GPL-2.0-or-later
//
// A change from one configuration to another: judged, written to disk, carried out, committed, or all of it taken back.
// The order of the steps, and what may fail without being a refusal, is told in reconciler.cpp; the steps themselves are
// in reconcile_steps.cpp.

#include <algorithm>
#include <functional>
#include <iterator>

#include <spdlog/spdlog.h>

#include "gateway/control/reconciler.h"
#include "platform/base/utc.h"

namespace simplon::control {

namespace asio = boost::asio;

namespace {

config::Issue to_issue(const Error& error, config::Severity severity) {
  config::Issue issue;
  issue.severity = severity;
  issue.code = error.code;
  issue.what = error.what;
  issue.hint = error.hint;
  return issue;
}

std::vector<config::Issue> refusal(const Error& error) { return {to_issue(error, config::Severity::kError)}; }

/// Calls a function on every way out, unless disarmed.
class AtEnd {
 public:
  AtEnd() = default;
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;
  ~AtEnd() { now(); }

  void arm(std::function<void()> call) { call_ = std::move(call); }
  void disarm() { call_ = nullptr; }
  void now() {
    if (const auto call = std::exchange(call_, nullptr)) call();
  }

 private:
  std::function<void()> call_;
};

/// Milliseconds of real time.
class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double, std::milli> passed = now - std::exchange(last_, now);
    return passed.count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Somebody else was faster: who, when, and what to do. At most the three latest versions are told.
Error moved_on(const config::Store& store, std::uint64_t base) {
  constexpr std::uint64_t kTold = 3;
  const std::uint64_t current = store.current();
  std::string what = "the configuration is at version " + std::to_string(current) + ", not " + std::to_string(base);
  const std::string replace = "--base " + std::to_string(current) + " replaces it all the same";
  if (base > current) {
    return make_error(ErrorCode::kConflict, what + ", which this gateway never had", "was it written by another gateway? " + replace);
  }
  const std::uint64_t first = current - base > kTold ? current - kTold + 1 : base + 1;
  what += "; since then: ";
  if (first > base + 1) what += std::to_string(first - base - 1) + " more, ";
  for (std::uint64_t number = first; number <= current; ++number) {
    what += (number == first ? "version " : ", version ") + std::to_string(number);
    const auto stored = store.load(number);
    if (!stored) continue;
    what += " by " + stored->version.who + " at " + format_utc(stored->version.when);
    if (!stored->version.comment.empty()) what += " (" + stored->version.comment + ")";
  }
  return make_error(ErrorCode::kConflict, what,
                    "simplon config diff " + std::to_string(base) + " shows what changed. Take it over: simplon config show > FILE, " +
                        "edit and apply that; " + replace);
}

std::vector<config::Issue> warnings_of(const std::vector<config::Issue>& issues) {
  std::vector<config::Issue> warnings;
  std::copy_if(issues.begin(), issues.end(), std::back_inserter(warnings),
               [](const auto& issue) { return issue.severity == config::Severity::kWarning; });
  return warnings;
}

}  // namespace

asio::awaitable<Transaction<ApplyOutcome>> Reconciler::apply(ApplyCommand command) {
  // Whoever names no base means what was current when they asked: of two at once, one wins and one is told.
  const auto asked_at = parts_.store.current();
  const auto turn = co_await turns_.take();
  const auto current = parts_.store.current();
  const auto base = command.base_version.value_or(command.dry_run ? current : asked_at);
  if (base != current) co_return tl::unexpected(refusal(moved_on(parts_.store, base)));
  ApplyOutcome outcome;
  // Before an import writes the files of its secrets.
  if (!command.undo && !command.dry_run && parts_.store.pending()) co_return tl::unexpected(refusal(parts_.store.still_pending()));
  Stopwatch watch;
  AtEnd abandon;
  if (command.prepare && !command.dry_run) {
    if (auto prepared = command.prepare(); !prepared) co_return tl::unexpected(refusal(prepared.error()));
    abandon.arm(command.abandon);
  }
  auto target = target_of(command);
  if (!target) co_return tl::unexpected(std::move(target.error()));
  outcome.timing.read = watch.lap();

  outcome.version = current;
  outcome.previous = current;
  outcome.restored = target->restored;
  outcome.diff = config::diff(config_, target->config);
  outcome.timing.compare = watch.lap();
  outcome.warnings = std::move(target->warnings);
  auto gates = admit_gates(command, target->config);
  if (!gates) co_return tl::unexpected(refusal(gates.error()));
  if ((command.confirm_within || !gates->empty()) && !loaded_ && load_problem_) {
    co_return tl::unexpected(refusal(make_error(ErrorCode::kConflict, "there would be no way back: " + load_problem_->what,
                                                "apply it without --confirm and --gate")));
  }
  if (command.dry_run) co_return outcome;

  const auto decided = [&](const Transaction<ApplyOutcome>& result) {
    if (command.decided) command.decided(result);
  };
  const auto staged = stage(command, *std::move(gates));
  if (!staged) co_return tl::unexpected(refusal(staged.error()));
  if (command.ids) {
    if (auto adopted = parts_.ids.adopt(*command.ids, target->config); !adopted) {
      parts_.store.discard(*staged);
      co_return tl::unexpected(refusal(adopted.error()));
    }
  }
  outcome.timing.stage = watch.lap();

  const GatewayConfig before = config_;
  auto switched = co_await switch_to(std::move(target->config), Mode::kStrict, &outcome.timing);
  if (!switched) {
    parts_.store.discard(*staged);
    abandon.now();
    const Transaction<ApplyOutcome> refused = tl::unexpected(refusal(switched.error()));
    decided(refused);
    co_await take_back(before);
    co_return refused;
  }
  outcome.timing.program = watch.lap() - outcome.timing.compile;
  auto committed = parts_.store.commit(*staged);
  if (!committed) {
    abandon.now();
    const Transaction<ApplyOutcome> refused = tl::unexpected(refusal(committed.error()));
    decided(refused);
    co_await take_back(before);
    co_return refused;
  }
  abandon.disarm();
  outcome.timing.commit = watch.lap();
  loaded_ = true;
  load_problem_.reset();
  unstored_.reset();
  no_way_back_.reset();
  outcome.applied = true;
  outcome.version = committed->number;
  outcome.warnings.insert(outcome.warnings.end(), switched->begin(), switched->end());
  spdlog::info("configuration version {} {} by {}: {} (ms: read {:.1f}, compare {:.1f}, stage {:.1f}, compile {:.1f}, "
               "program {:.1f}, commit {:.1f})",
               committed->number, command.undo ? "(" + committed->comment + ")" : "applied", committed->who, outcome.diff.summary(), outcome.timing.read, outcome.timing.compare,
               outcome.timing.stage, outcome.timing.compile, outcome.timing.program, outcome.timing.commit);
  decided(outcome);
  follow_probation();
  co_await tidy();
  co_return outcome;
}

Transaction<Reconciler::Target> Reconciler::target_of(const ApplyCommand& command) const {
  Target target;
  if (command.undo) {
    const auto stored = parts_.store.undo_target(command.undo->to);
    if (!stored) return tl::unexpected(refusal(stored.error()));
    // A missing file would be found later too, but only after others had been told.
    auto config = read_stored(*stored, command.check_files);
    if (!config) return tl::unexpected(refusal(config.error()));
    target.config = *std::move(config);
    target.restored = stored->version.number;
    return target;
  }
  auto reading = options_.read;
  reading.check_files = reading.check_files && command.check_files;
  auto document = config::read_document(command.document, reading);
  if (!document.ok()) return tl::unexpected(std::move(document.issues));
  target.config = std::move(document.config);
  target.warnings = warnings_of(document.issues);
  return target;
}

Result<config::Store::Staged> Reconciler::stage(ApplyCommand& command, std::vector<std::string> gates) {
  auto window = command.confirm_within;
  if (!window && !gates.empty()) window = command.gate_window;
  if (command.undo) {
    config::Store::UndoRequest request;
    request.who = std::move(command.who);
    request.to = command.undo->to;
    request.comment = std::move(command.comment);
    request.confirm_within = window;
    request.confirm_required = command.confirm_within.has_value();
    request.gates = std::move(gates);
    return parts_.store.stage_undo(request);
  }
  config::Store::CommitRequest request;
  request.text = std::move(command.document);
  request.who = std::move(command.who);
  request.comment = std::move(command.comment);
  request.base_version = parts_.store.current();
  request.confirm_within = window;
  request.confirm_required = command.confirm_within.has_value();
  request.gates = std::move(gates);
  request.history = std::move(command.history);
  return parts_.store.stage(request);
}

asio::awaitable<void> Reconciler::take_back(GatewayConfig before) {
  if (loaded_) {
    co_await revert_to(std::move(before));
    co_return;
  }
  // Nobody knows what ran before, so nothing can be put back, and nothing may be removed: what the attempt has changed
  // stays until one succeeds, and is compared with that one then.
  spdlog::warn("the stored configuration cannot be read: what runs is kept, with what this attempt has changed already");
  config_ = GatewayConfig{};
  adopted_ = false;
  doomed_.clear();
  domains_.clear();
  namespace_problems_.clear();
  secret_problems_.clear();
  tunnels_problem_.reset();
  compiler_ = TableCompiler(options_.netns_prefix);
  programmer_.start_over();
}

asio::awaitable<void> Reconciler::revert_to(GatewayConfig config) {
  spdlog::warn("going back to configuration version {}", parts_.store.current());
  auto reverted = co_await switch_to(std::move(config), Mode::kTolerant);
  if (!reverted) spdlog::error("going back failed: {}", reverted.error().message());
  co_await tidy();
}

asio::awaitable<Result<std::vector<config::Issue>>> Reconciler::switch_to(GatewayConfig config, Mode mode,
                                                                           ApplyTiming* timing) {
  if (auto assigned = parts_.ids.assign(config); !assigned) co_return Unexpected(assigned.error());
  ids_settled_ = false;
  for (const auto& domain : config_.domains) doomed_.insert(domain.name);
  config_ = std::move(config);
  for (const auto& domain : config_.domains) doomed_.erase(domain.name);
  if (!adopted_) co_await doom_unknown();
  for (auto& [name, state] : domains_) state.settled = false;
  tunnels_settled_ = false;
  retry_delay_ = options_.first_retry;

  auto ensured = co_await ensure_namespaces(mode);
  if (!ensured) co_return Unexpected(ensured.error());
  // Speakers listen before the forwarder has everything: after a restart FRR connects as soon as it can. And before anything is
  // compiled: what one forgets must not be sent.
  for (const auto& domain : config_.domains) {
    if (!domain.bgp) continue;
    auto made = co_await ensure_speaker(domain.name);
    if (!made && mode == Mode::kStrict && made.error().code != ErrorCode::kUnavailable)
      co_return Unexpected(made.error());
  }
  Stopwatch watch;
  hold_changes_ = parts_.tunnels.hold_changes();
  auto operations = compiler_.configure(config_, parts_.ids, parts_.tunnels.held());
  if (timing != nullptr) timing->compile = watch.lap();

  std::vector<config::Issue> warnings;
  const auto settle = [&](const Result<void>& step) -> bool {
    if (step) return true;
    if (step.error().code != ErrorCode::kUnavailable && mode == Mode::kStrict) return false;
    warnings.push_back(to_issue(step.error(), config::Severity::kWarning));
    schedule_retry();
    return true;
  };
  // The first connection starts with everything anyway.
  const bool first = !programmer_.started();
  if (first) programmer_.start();
  if (!(first && mode == Mode::kTolerant)) {
    auto programmed = co_await reconcile_forwarder(std::move(operations));
    if (!settle(programmed)) co_return Unexpected(programmed.error());
  }
  auto failures = co_await reconcile_peers(mode, false);
  for (const auto& failure : failures) {
    const Result<void> step = Unexpected(failure);
    if (!settle(step)) co_return Unexpected(failure);
  }
  adopted_ = true;
  programmer_.poke();
  co_return warnings;
}

}  // namespace simplon::control
