// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one place where a change of configuration meets the world.
//
// A transaction goes through the steps of `switch_to` in an order in which each step finds what it needs: the namespace
// before the host ports in it, the forwarder's tunnel before charon negotiates SAs for it, the host port before FRR
// talks over it. What is no longer wanted goes last (`tidy`), after the commit, because until then a revert may need
// it: a domain's speaker is stopped and its namespace deleted only when the forwarder has confirmed that the host ports
// are gone.
//
// Who is away (kUnavailable) is not an error of the configuration. Its part is remembered and `retry` brings it;
// forwarder and charon ask for everything when they come back by themselves. Any other failure of a step is a refusal:
// the configuration before is compiled again and goes through the same steps, this time with problems noted instead of
// reported.
//
// Restart. What runs is adopted: `ensure` finds the namespace, the speaker finds FRR, the tunnel manager finds the SAs,
// the forwarder holds its tables. Everything is said again and nothing is removed, until the learned routes are known:
// a domain's routes are incomplete before its speaker is synchronized, so SyncEnd (which removes what was not said
// again) waits for all speakers, at most `sweep_cap`. A kill -9 at any point leads here. A transaction that was cut off
// was not committed, so the start works towards the version before; namespaces and speakers it had already made are
// found by the names in the id registry, which are forgotten last.
//
// Disk. A new version is complete on disk before anything else of the world changes (`Store::stage`), so that a full
// disk disturbs nobody; the commit only moves the pointer.
//
// Probation is in probation.cpp.

#include "gateway/control/reconciler.h"

#include <algorithm>

#include <spdlog/spdlog.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/control/spec_builder.h"

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

std::vector<config::Issue> warnings_of(const std::vector<config::Issue>& issues) {
  std::vector<config::Issue> warnings;
  std::copy_if(issues.begin(), issues.end(), std::back_inserter(warnings),
               [](const auto& issue) { return issue.severity == config::Severity::kWarning; });
  return warnings;
}

}  // namespace

Reconciler::Reconciler(Parts parts, Options options)
    : parts_(std::move(parts)),
      options_(std::move(options)),
      turns_(parts_.io),
      compiler_(options_.netns_prefix),
      programmer_(
          parts_.io, parts_.forwarder, options_.first_epoch, [this]() -> const TableSet& { return compiler_.tables(); },
          [this] { return may_sweep(); }),
      gates_({parts_.io, parts_.tunnels, parts_.pinger, parts_.clock,
              [this, alive = alive_](const std::string& domain) {
                return *alive ? speaker_of(domain) : std::shared_ptr<bgp::Speaker>();
              },
              [prefix = options_.netns_prefix](const std::string& domain) { return prefix + domain; }}),
      retry_delay_(options_.first_retry) {}

Reconciler::~Reconciler() { *alive_ = false; }

void Reconciler::start() {
  sweep_deadline_ = parts_.clock.now() + options_.sweep_cap;
  if (auto reverted = parts_.store.revert_if_expired(why_reverted(true)); !reverted) {
    spdlog::error("going back from an unconfirmed configuration failed: {}", reverted.error().message());
  } else if (*reverted) {
    tell_end(false, (*reverted)->reverts, (*reverted)->reason);
  }
  auto stored = parts_.store.load_current();
  auto config = stored ? read_stored(*stored) : Result<GatewayConfig>(Unexpected(stored.error()));
  if (config) {
    config_ = *std::move(config);
    loaded_ = true;
    spdlog::info("configuration version {}: {} domains, {} VPCs, {} tunnels", parts_.store.current(),
                 config_.domains.size(), config_.vpcs.size(), config_.tunnels.size());
  } else {
    load_problem_ = config.error();
    spdlog::error("the stored configuration cannot be read, nothing is touched: {}", config.error().message());
  }
  asio::co_spawn(parts_.io, background(), asio::detached);
  asio::co_spawn(parts_.io, watch_gates(), asio::detached);
}

Result<GatewayConfig> Reconciler::read_stored(const config::StoredDocument& stored) const {
  if (stored.text.empty()) return GatewayConfig{};
  // A secret that vanished since concerns one tunnel, not the whole gateway.
  auto options = options_.read;
  options.check_files = false;
  auto document = config::read_document(stored.text, options);
  if (!document.ok()) {
    auto error = config::to_error(document.issues);
    error.what = "version " + std::to_string(stored.version.number) + " of the configuration: " + error.what;
    return Unexpected(std::move(error));
  }
  return std::move(document.config);
}

// ---- transactions ------------------------------------------------------------------------------------------------

asio::awaitable<Transaction<ApplyOutcome>> Reconciler::apply(ApplyCommand command) {
  const auto turn = co_await turns_.take();
  const auto current = parts_.store.current();
  if (command.base_version && *command.base_version != current) {
    co_return tl::unexpected(refusal(make_error(
        ErrorCode::kConflict,
        "the configuration is at version " + std::to_string(current) + ", not " + std::to_string(*command.base_version),
        "look at what changed (simplon config diff " + std::to_string(*command.base_version) + ") and apply again")));
  }
  ApplyOutcome outcome;
  Stopwatch watch;
  AtEnd abandon;
  if (command.prepare && !command.dry_run) {
    if (auto prepared = command.prepare(); !prepared) co_return tl::unexpected(refusal(prepared.error()));
    abandon.arm(command.abandon);
  }
  auto reading = options_.read;
  reading.check_files = reading.check_files && command.check_files;
  auto document = config::read_document(command.document, reading);
  outcome.timing.read = watch.lap();
  if (!document.ok()) co_return tl::unexpected(std::move(document.issues));

  outcome.version = current;
  outcome.previous = current;
  outcome.diff = config::diff(config_, document.config);
  outcome.timing.compare = watch.lap();
  outcome.warnings = warnings_of(document.issues);
  auto gates = admit_gates(command, document.config);
  if (!gates) co_return tl::unexpected(refusal(gates.error()));
  if (command.dry_run) co_return outcome;

  config::Store::CommitRequest request;
  request.text = std::move(command.document);
  request.who = std::move(command.who);
  request.comment = std::move(command.comment);
  request.base_version = current;
  request.confirm_within = command.confirm_within;
  request.confirm_required = command.confirm_within.has_value();
  request.gates = *std::move(gates);
  request.history = std::move(command.history);
  if (!request.confirm_within && !request.gates.empty()) request.confirm_within = command.gate_window;
  const auto staged = parts_.store.stage(request);
  if (!staged) co_return tl::unexpected(refusal(staged.error()));
  if (command.ids) {
    if (auto adopted = parts_.ids.adopt(*command.ids, document.config); !adopted) {
      parts_.store.discard(*staged);
      co_return tl::unexpected(refusal(adopted.error()));
    }
  }
  outcome.timing.stage = watch.lap();

  const GatewayConfig before = config_;
  auto switched = co_await switch_to(std::move(document.config), Mode::kStrict, &outcome.timing);
  if (!switched) {
    parts_.store.discard(*staged);
    abandon.now();
    co_await revert_to(before);
    co_return tl::unexpected(refusal(switched.error()));
  }
  outcome.timing.program = watch.lap() - outcome.timing.compile;
  auto committed = parts_.store.commit(*staged);
  if (!committed) {
    abandon.now();
    co_await revert_to(before);
    co_return tl::unexpected(refusal(committed.error()));
  }
  abandon.disarm();
  outcome.timing.commit = watch.lap();
  loaded_ = true;
  load_problem_.reset();
  outcome.applied = true;
  outcome.version = committed->number;
  outcome.warnings.insert(outcome.warnings.end(), switched->begin(), switched->end());
  spdlog::info("configuration version {} applied by {}: {} (ms: read {:.1f}, compare {:.1f}, stage {:.1f}, compile {:.1f}, "
               "program {:.1f}, commit {:.1f})",
               committed->number, committed->who, outcome.diff.summary(), outcome.timing.read, outcome.timing.compare,
               outcome.timing.stage, outcome.timing.compile, outcome.timing.program, outcome.timing.commit);
  follow_probation();
  co_await tidy();
  co_return outcome;
}

asio::awaitable<Transaction<UndoOutcome>> Reconciler::undo(config::Author who,
                                                                  std::optional<std::uint64_t> to) {
  const auto turn = co_await turns_.take();
  auto target = parts_.store.undo_target(to);
  if (!target) co_return tl::unexpected(refusal(target.error()));
  auto config = read_stored(*target);
  if (!config) co_return tl::unexpected(refusal(config.error()));

  const auto staged = parts_.store.stage_undo(who, to);
  if (!staged) co_return tl::unexpected(refusal(staged.error()));

  UndoOutcome outcome;
  outcome.restored = target->version.number;
  outcome.diff = config::diff(config_, *config);
  const GatewayConfig before = config_;
  auto switched = co_await switch_to(*std::move(config), Mode::kStrict);
  if (!switched) {
    parts_.store.discard(*staged);
    co_await revert_to(before);
    co_return tl::unexpected(refusal(switched.error()));
  }
  auto version = parts_.store.commit(*staged);
  if (!version) {
    co_await revert_to(before);
    co_return tl::unexpected(refusal(version.error()));
  }
  loaded_ = true;
  load_problem_.reset();
  outcome.version = version->number;
  outcome.warnings = *std::move(switched);
  spdlog::info("configuration version {} restored as {} by {}", outcome.restored, outcome.version, who.name);
  follow_probation();
  co_await tidy();
  co_return outcome;
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
  for (auto& [name, state] : domains_) state.settled = false;
  tunnels_settled_ = false;
  retry_delay_ = options_.first_retry;

  auto ensured = co_await ensure_namespaces(mode);
  if (!ensured) co_return Unexpected(ensured.error());
  Stopwatch watch;
  auto operations = compiler_.configure(config_, parts_.ids);
  if (timing != nullptr) timing->compile = watch.lap();
  // Speakers listen before the forwarder has everything: after a restart FRR connects as soon as it can.
  for (const auto& domain : config_.domains) {
    if (!domain.bgp) continue;
    auto made = ensure_speaker(domain.name);
    if (!made && mode == Mode::kStrict && made.error().code != ErrorCode::kUnavailable)
      co_return Unexpected(made.error());
  }
  adopted_ = true;

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
  programmer_.poke();
  co_return warnings;
}

// ---- the steps ---------------------------------------------------------------------------------------------------

asio::awaitable<Result<void>> Reconciler::ensure_namespaces(Mode mode) {
  namespace_problems_.clear();
  // Only the holder of the turn changes config_.
  for (const auto& domain : config_.domains) {
    const std::string netns = netns_of(domain.name);
    auto ensured = co_await parts_.namespaces.ensure(netns);
    if (ensured) continue;
    auto error = ensured.error();
    error.what = "domain " + domain.name + ": " + error.what;
    if (mode == Mode::kStrict) co_return Unexpected(std::move(error));
    spdlog::error("{}", error.message());
    namespace_problems_.emplace(domain.name, std::move(error));
    schedule_retry();
  }
  co_return Result<void>{};
}

asio::awaitable<Result<void>> Reconciler::reconcile_forwarder(std::vector<ipc::Operation> operations) {
  auto refused = co_await programmer_.program(std::move(operations));
  if (!refused) co_return Unexpected(refused.error());
  if (refused->empty()) co_return Result<void>{};
  const auto& first = refused->front();
  std::string what = "the forwarder refused " + ipc::key_of(first.operation.object) + ": " + first.what;
  if (refused->size() > 1) what += ", and " + std::to_string(refused->size() - 1) + " more objects";
  co_return fail(ErrorCode::kInvalidConfig, std::move(what));
}

asio::awaitable<Result<void>> Reconciler::reconcile_tunnels(Mode mode) {
  auto built = build_tunnel_specs(config_, parts_.ids);
  secret_problems_ = std::move(built.problems);
  if (!secret_problems_.empty() && mode == Mode::kStrict) {
    auto error = secret_problems_.begin()->second;
    secret_problems_.clear();
    // A file that cannot be opened is an error of the document, whatever the operating system calls it.
    error.code = ErrorCode::kInvalidConfig;
    co_return Unexpected(std::move(error));
  }
  const bool none = built.specs.empty();
  auto reconciled = co_await parts_.tunnels.reconcile(std::move(built.specs));
  // Without tunnels charon need not run; if it does later, the manager tells it.
  if (!reconciled && !(none && reconciled.error().code == ErrorCode::kUnavailable)) {
    tunnels_problem_ = reconciled.error();
    co_return reconciled;
  }
  tunnels_problem_.reset();
  tunnels_settled_ = secret_problems_.empty();
  if (!tunnels_settled_) schedule_retry();
  co_return Result<void>{};
}

Result<void> Reconciler::ensure_speaker(const std::string& domain) {
  auto& state = domains_[domain];
  if (state.speaker) return {};
  auto made = parts_.make_speaker(netns_of(domain), [this, domain](const bgp::RouteChanges& changes) {
    programmer_.enqueue(compiler_.learn(domain, changes));
  });
  if (!made) {
    state.problem = made.error();
    schedule_retry();
    return Unexpected(made.error());
  }
  state.speaker = *std::move(made);
  return {};
}

asio::awaitable<std::vector<Error>> Reconciler::reconcile_peers(Mode mode, bool only_unsettled) {
  // The manager loads what is wanted when charon is back; waiting for it here again and again would hold up
  // transactions.
  const bool with_tunnels = !only_unsettled || (!tunnels_settled_ && parts_.tunnels.connected());
  std::vector<std::string> names;
  for (const auto& domain : config_.domains) {
    if (domain.bgp && !(only_unsettled && domains_[domain.name].settled)) names.push_back(domain.name);
  }
  // All at once: starting an FRR instance takes a second or more, waiting for a charon that is away takes longer, and
  // none of them depends on another.
  struct Join {
    explicit Join(asio::io_context& io) : done(io, asio::steady_timer::time_point::max()) {}
    asio::steady_timer done;
    std::size_t running = 0;
    /// By domain; charon's under the empty name, which comes first.
    std::map<std::string, Error> errors;

    void finished(const std::string& name, const Result<void>& result) {
      if (!result) errors.emplace(name, result.error());
      if (--running == 0) done.cancel();
    }
  };
  auto join = std::make_shared<Join>(parts_.io);
  join->running = names.size() + (with_tunnels ? 1U : 0U);
  if (with_tunnels) {
    asio::co_spawn(
        parts_.io,
        [this, mode, join]() -> asio::awaitable<void> {
          const auto reconciled = co_await reconcile_tunnels(mode);
          join->finished({}, reconciled);
        },
        asio::detached);
  }
  for (const auto& name : names) {
    asio::co_spawn(
        parts_.io,
        [this, name, join]() -> asio::awaitable<void> {
          const auto reconciled = co_await reconcile_speaker(name);
          join->finished(name, reconciled);
        },
        asio::detached);
  }
  boost::system::error_code cancelled;
  while (join->running != 0) co_await join->done.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  std::vector<Error> errors;
  for (auto& [name, error] : join->errors) errors.push_back(error);
  co_return errors;
}

asio::awaitable<Result<void>> Reconciler::reconcile_speaker(std::string domain) {
  const auto* config = find_domain(domain);
  if (config == nullptr || !config->bgp) co_return Result<void>{};
  if (auto made = ensure_speaker(domain); !made) co_return made;
  // Kept alive here: a transaction in between cannot happen, but an end of the daemon can.
  const auto speaker = domains_[domain].speaker;
  auto spec = build_speaker_spec(config_, *config, options_.netns_prefix);
  Result<void> reconciled;
  if (!spec) {
    auto error = spec.error();
    error.code = ErrorCode::kInvalidConfig;
    reconciled = Unexpected(std::move(error));
  } else {
    reconciled = co_await speaker->reconcile(*std::move(spec));
    if (!reconciled)
      reconciled =
          Unexpected(make_error(reconciled.error().code, "BGP of domain " + domain + ": " + reconciled.error().what,
                                reconciled.error().hint));
  }
  auto& state = domains_[domain];
  state.settled = reconciled.has_value();
  if (reconciled) {
    state.problem.reset();
  } else {
    state.problem = reconciled.error();
  }
  co_return reconciled;
}

asio::awaitable<void> Reconciler::tidy() {
  std::vector<std::string> unwanted;
  for (const auto& [name, state] : domains_) {
    if (!wants_bgp(name)) unwanted.push_back(name);
  }
  for (const auto& name : unwanted) {
    const auto speaker = domains_[name].speaker;
    if (speaker) {
      auto stopped = co_await speaker->stop();
      if (!stopped) {
        spdlog::warn("stopping FRR of domain {}: {}", name, stopped.error().message());
        domains_[name].problem = stopped.error();
        schedule_retry();
        continue;
      }
    }
    domains_.erase(name);
    programmer_.enqueue(compiler_.forget(name));
  }

  const auto status = programmer_.status();
  for (auto doomed = doomed_.begin(); doomed != doomed_.end();) {
    const auto netns = netns_of(*doomed);
    const bool let_go = status.current() || !parts_.namespaces.exists(netns);
    if (domains_.contains(*doomed) || !let_go) {
      ++doomed;
      continue;
    }
    if (auto removed = parts_.namespaces.remove(netns); !removed) {
      spdlog::warn("namespace {} is not wanted any more but cannot be deleted: {}", netns, removed.error().message());
      schedule_retry();
      ++doomed;
      continue;
    }
    spdlog::info("namespace {} deleted", netns);
    doomed = doomed_.erase(doomed);
  }

  if (!ids_settled_ && doomed_.empty() && tunnels_settled_ && status.current()) {
    if (auto retained = parts_.ids.retain(config_); retained) ids_settled_ = true;
  }
}

// ---- background --------------------------------------------------------------------------------------------------

asio::awaitable<void> Reconciler::background() {
  const auto alive = alive_;
  if (loaded_) co_await adopt();
  asio::steady_timer timer(parts_.io);
  for (;;) {
    timer.expires_after(options_.tick);
    boost::system::error_code cancelled;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
    if (!*alive) co_return;
    const auto programmed = programmer_.status();
    if (programmer_.started() && !programmed.swept) programmer_.poke();
    // What waited for the forwarder's confirmation, or for charon, can be done now.
    const bool charon = parts_.tunnels.connected();
    if ((programmed.current() && !was_current_) || (charon && !had_charon_)) retry_at_ = parts_.clock.now();
    was_current_ = programmed.current();
    had_charon_ = charon;
    if (turns_.taken()) continue;
    if (parts_.store.expired() && parts_.clock.now() >= probation_retry_at_) {
      probation_retry_at_ = parts_.clock.now() + options_.last_retry;
      co_await end_probation();
    }
    if (loaded_ && !settled() && parts_.clock.now() >= retry_at_) co_await retry();
  }
}

asio::awaitable<void> Reconciler::adopt() {
  const auto turn = co_await turns_.take();
  // What a transaction that was cut off, or a removal, may have left behind.
  for (const auto& name : parts_.ids.domain_names()) {
    const bool wanted = find_domain(name) != nullptr;
    if (!wanted) doomed_.insert(name);
    if (!wants_bgp(name) && parts_.namespaces.exists(netns_of(name))) {
      if (auto made = ensure_speaker(name); !made) domains_.erase(name);
    }
  }
  auto switched = co_await switch_to(GatewayConfig(config_), Mode::kTolerant);
  if (!switched) {
    load_problem_ = switched.error();
    spdlog::error("starting with configuration version {}: {}", parts_.store.current(), switched.error().message());
  } else {
    for (const auto& warning : *switched) spdlog::warn("{}", warning.message());
  }
  co_await tidy();
}

void Reconciler::schedule_retry() { retry_at_ = parts_.clock.now() + retry_delay_; }

asio::awaitable<void> Reconciler::retry() {
  const auto turn = co_await turns_.take();
  retry_delay_ = std::min<MonoDuration>(retry_delay_ * 2, options_.last_retry);
  schedule_retry();
  if (!namespace_problems_.empty()) {
    auto ensured = co_await ensure_namespaces(Mode::kTolerant);
    if (!ensured) spdlog::warn("{}", ensured.error().message());
  }
  programmer_.retry_refused();
  auto failures = co_await reconcile_peers(Mode::kTolerant, true);
  for (const auto& failure : failures) spdlog::debug("{}", failure.message());
  co_await tidy();
  if (settled()) retry_delay_ = options_.first_retry;
}

bool Reconciler::settled() const {
  if (!loaded_ || !namespace_problems_.empty() || !tunnels_settled_ || !doomed_.empty() || !ids_settled_) return false;
  for (const auto& domain : config_.domains) {
    if (!domain.bgp) continue;
    const auto state = domains_.find(domain.name);
    if (state == domains_.end() || !state->second.settled) return false;
  }
  for (const auto& [name, state] : domains_) {
    if (!wants_bgp(name)) return false;
  }
  return programmer_.status().refused.empty();
}

// ---- what is known -----------------------------------------------------------------------------------------------

const DomainConfig* Reconciler::find_domain(std::string_view name) const {
  const auto found = std::find_if(config_.domains.begin(), config_.domains.end(),
                                  [&](const auto& domain) { return domain.name == name; });
  return found == config_.domains.end() ? nullptr : &*found;
}

bool Reconciler::wants_bgp(std::string_view domain) const {
  const auto* config = find_domain(domain);
  return config != nullptr && config->bgp.has_value();
}

bool Reconciler::may_sweep() const {
  if (!adopted_) return false;
  if (parts_.clock.now() >= sweep_deadline_) return true;
  return std::all_of(config_.domains.begin(), config_.domains.end(),
                     [&](const auto& domain) { return !domain.bgp || speaker_synchronized(domain.name); });
}

std::shared_ptr<bgp::Speaker> Reconciler::speaker_of(const std::string& domain) const {
  const auto state = domains_.find(domain);
  return state == domains_.end() ? nullptr : state->second.speaker;
}

const Error* Reconciler::secret_problem(const std::string& tunnel) const {
  const auto found = secret_problems_.find(tunnel);
  return found == secret_problems_.end() ? nullptr : &found->second;
}

bool Reconciler::speaker_synchronized(std::string_view domain) const {
  const auto state = domains_.find(domain);
  return state != domains_.end() && state->second.speaker && state->second.speaker->synchronized();
}

asio::awaitable<std::optional<bgp::SpeakerStatus>> Reconciler::speaker_status(std::string domain) {
  if (!wants_bgp(domain)) co_return std::nullopt;
  std::shared_ptr<bgp::Speaker> speaker;
  std::optional<Error> problem;
  if (const auto state = domains_.find(domain); state != domains_.end()) {
    speaker = state->second.speaker;
    problem = state->second.problem;
  }
  bgp::SpeakerStatus status;
  if (speaker) status = co_await speaker->status();
  if (problem && status.problem.empty()) {
    status.problem = problem->what;
    status.hint = problem->hint;
  }
  co_return status;
}

std::vector<Problem> Reconciler::problems() const {
  std::vector<Problem> problems;
  const auto add = [&](std::string object, const Error& error) {
    problems.push_back({std::move(object), error.what, error.hint});
  };
  if (load_problem_) add("configuration", *load_problem_);
  for (const auto& [domain, error] : namespace_problems_) add("domain " + domain, error);
  const auto programmed = programmer_.status();
  if (programmer_.started() && !programmed.connected) {
    problems.push_back(
        {"simplon-forwarder", programmed.problem, "it gets everything as soon as it is back: start simplon-forwarder"});
  } else if (programmer_.started() && !programmed.problem.empty()) {
    problems.push_back({"simplon-forwarder", programmed.problem, ""});
  }
  for (const auto& [key, what] : programmed.refused) {
    problems.push_back({"simplon-forwarder", "refused " + key + ": " + what, ""});
  }
  for (const auto& [tunnel, error] : secret_problems_) add("tunnel " + tunnel, error);
  if (tunnels_problem_) add("charon", *tunnels_problem_);
  for (const auto& [domain, state] : domains_) {
    if (state.problem) add("domain " + domain, *state.problem);
  }
  for (const auto& domain : doomed_) {
    if (parts_.namespaces.exists(netns_of(domain))) {
      problems.push_back({"domain " + domain,
                          "it is gone but its namespace " + netns_of(domain) + " is not deleted yet",
                          "it is, as soon as the forwarder has confirmed the removal of its host ports"});
    }
  }
  return problems;
}

}  // namespace simplon::control
