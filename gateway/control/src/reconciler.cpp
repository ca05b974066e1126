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
// Transactions are in transactions.cpp, their steps in reconcile_steps.cpp, probation is in probation.cpp; here is what goes on by
// itself (start, retry) and what is known.

#include "gateway/control/reconciler.h"

#include <algorithm>

#include <spdlog/spdlog.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace simplon::control {

namespace asio = boost::asio;

namespace {

constexpr std::chrono::seconds kNamespaceTick{1};

}  // namespace

Reconciler::Reconciler(Parts parts, Options options)
    : parts_(std::move(parts)),
      options_(std::move(options)),
      turns_(parts_.io),
      compiler_(options_.netns_prefix),
      programmer_(
          parts_.io, parts_.forwarder, options_.first_epoch, [this]() -> const TableSet& { return compiler_.tables(); },
          [this] { return may_sweep(); }),
      gates_({parts_.io, parts_.tunnels, parts_.forwarder, parts_.pinger, parts_.clock,
              [this, alive = alive_](const std::string& domain) {
                return *alive ? speaker_of(domain) : std::shared_ptr<bgp::Speaker>();
              },
              [prefix = options_.netns_prefix](const std::string& domain) { return prefix + domain; },
              [this, alive = alive_](const std::string& tunnel) {
                return *alive ? parts_.ids.tunnel(tunnel) : std::optional<TunnelId>();
              }}),
      retry_delay_(options_.first_retry) {}

Reconciler::~Reconciler() { *alive_ = false; }

void Reconciler::start() {
  sweep_deadline_ = parts_.clock.now() + options_.sweep_cap;
  static_cast<void>(store_going_back(true));
  auto config = read_wanted();
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

/// Without `check_files` a secret that vanished since concerns one tunnel, not the whole gateway.
Result<GatewayConfig> Reconciler::read_stored(const config::StoredDocument& stored, bool check_files) const {
  if (stored.text.empty()) return GatewayConfig{};
  auto options = options_.read;
  options.check_files = options.check_files && check_files;
  auto document = config::read_document(stored.text, options);
  if (!document.ok()) {
    auto error = config::to_error(document.issues);
    error.what = "version " + std::to_string(stored.version.number) + " of the configuration: " + error.what;
    return Unexpected(std::move(error));
  }
  return std::move(document.config);
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
    if (adopted_ && parts_.tunnels.hold_changes() != hold_changes_) {
      hold_changes_ = parts_.tunnels.hold_changes();
      programmer_.enqueue(compiler_.configure(config_, parts_.ids, parts_.tunnels.held()));
    }
    look_at_namespaces();
    if (parts_.store.expired() && parts_.clock.now() >= probation_retry_at_) {
      probation_retry_at_ = parts_.clock.now() + options_.last_retry;
      co_await end_probation();
    }
    if (loaded_ && !settled() && parts_.clock.now() >= retry_at_) co_await retry();
  }
}

asio::awaitable<void> Reconciler::adopt() {
  const auto turn = co_await turns_.take();
  auto switched = co_await switch_to(GatewayConfig(config_), Mode::kTolerant);
  if (!switched) {
    load_problem_ = switched.error();
    spdlog::error("starting with configuration version {}: {}", parts_.store.current(), switched.error().message());
  } else {
    for (const auto& warning : *switched) spdlog::warn("{}", warning.message());
  }
  co_await tidy();
}

/// What a transaction that was cut off, a removal, or a configuration that cannot be read may have left behind.
asio::awaitable<void> Reconciler::doom_unknown() {
  for (const auto& name : parts_.ids.domain_names()) {
    if (find_domain(name) == nullptr) doomed_.insert(name);
    if (!wants_bgp(name) && parts_.namespaces.exists(netns_of(name))) {
      const auto made = co_await ensure_speaker(name);
      if (!made) domains_.erase(name);
    }
  }
}

/// A namespace may be made again by somebody else: the restart of its unit takes FRR along, but not our sockets.
void Reconciler::look_at_namespaces() {
  const auto now = parts_.clock.now();
  if (now - namespaces_seen_ < kNamespaceTick) return;
  namespaces_seen_ = now;
  for (auto& [name, state] : domains_) {
    if (!state.speaker) continue;
    const auto netns = parts_.namespaces.identity(netns_of(name));
    if (!netns || netns == state.netns) continue;
    state.settled = false;
    retry_at_ = now;
  }
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
  if (!loaded_ || !namespace_problems_.empty() || !tunnels_settled_ || !doomed_.empty()) return false;
  if (!ids_settled_ && !parts_.store.pending()) return false;
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

asio::awaitable<std::optional<bgp::SpeakerStatus>> Reconciler::speaker_status(std::string domain,
                                                                             bgp::StatusDetail detail) {
  if (!wants_bgp(domain)) co_return std::nullopt;
  std::shared_ptr<bgp::Speaker> speaker;
  std::optional<Error> problem;
  if (const auto state = domains_.find(domain); state != domains_.end()) {
    speaker = state->second.speaker;
    problem = state->second.problem;
  }
  bgp::SpeakerStatus status;
  if (speaker) status = co_await speaker->status(detail);
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
  if (load_problem_) {
    auto problem = *load_problem_;
    if (!loaded_) {
      problem.hint += std::string(problem.hint.empty() ? "" : ". ") +
                      "Traffic goes on as before; nothing is managed until a change succeeds: simplon config undo, or "
                      "simplon apply FILE";
    }
    add("configuration", problem);
  }
  if (unstored_) {
    problems.push_back({"configuration",
                        "version " + std::to_string(unstored_->version) + " is gone back from (" + unstored_->reason +
                            "), but that cannot be stored: " + unstored_->error.what,
                        "the gateway works with what it went back to, and tries again every " +
                            std::to_string(std::chrono::duration_cast<std::chrono::seconds>(options_.last_retry).count()) +
                            " s. " + unstored_->error.hint});
  }
  if (no_way_back_) add("configuration", *no_way_back_);
  for (const auto& [domain, error] : namespace_problems_) add("domain " + domain, error);
  const auto programmed = programmer_.status();
  if (programmer_.started() && !programmed.connected) {
    problems.push_back(
        {"simplon-forwarder", programmed.problem, "it gets everything as soon as it is back: start simplon-forwarder"});
  } else if (programmer_.started() && !programmed.problem.empty()) {
    problems.push_back({"simplon-forwarder", programmed.problem,
                        "it is tried again every second; why it fails: journalctl -u simplon-forwarder -u simplond"});
  }
  for (const auto& [key, what] : programmed.refused) {
    problems.push_back({"simplon-forwarder", "refused " + key + ": " + what,
                        "it is tried again by itself; more: journalctl -u simplon-forwarder. If it stays: simplon config diff "
                        "shows the last change, simplon config undo goes back from it"});
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
