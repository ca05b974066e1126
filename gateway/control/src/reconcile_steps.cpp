// SPDX-License-Identifier: GPL-2.0-or-later
//
// The steps of the reconciler: each makes one part of the world be what the configuration says, finds what is already
// right and leaves it alone, and can be taken again at any time.

#include <map>
#include <memory>

#include <spdlog/spdlog.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/control/reconciler.h"
#include "gateway/control/spec_builder.h"

namespace simplon::control {

namespace asio = boost::asio;

namespace {

/// Waits for coroutines that run at once, and keeps their errors by name.
struct Join {
  explicit Join(asio::io_context& io) : done(io, asio::steady_timer::time_point::max()) {}
  asio::steady_timer done;
  std::size_t running = 0;
  std::map<std::string, Error> errors;

  void finished(const std::string& name, const Result<void>& result) {
    if (!result) errors.emplace(name, result.error());
    if (--running == 0) done.cancel();
  }
  static asio::awaitable<void> all(std::shared_ptr<Join> join) {
    boost::system::error_code cancelled;
    while (join->running != 0) co_await join->done.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
};

}  // namespace

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
  // none of them depends on another. By domain; charon's error under the empty name, which comes first.
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
  co_await Join::all(join);
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
  // All at once: each takes seconds, and a deadline may run meanwhile.
  auto join = std::make_shared<Join>(parts_.io);
  for (const auto& name : unwanted) {
    const auto speaker = domains_[name].speaker;
    if (!speaker) continue;
    ++join->running;
    asio::co_spawn(
        parts_.io,
        [join, name, speaker]() -> asio::awaitable<void> {
          const auto stopped = co_await speaker->stop();
          join->finished(name, stopped);
        },
        asio::detached);
  }
  co_await Join::all(join);
  for (const auto& name : unwanted) {
    if (const auto failed = join->errors.find(name); failed != join->errors.end()) {
      spdlog::warn("stopping FRR of domain {}: {}", name, failed->second.message());
      domains_[name].problem = failed->second;
      schedule_retry();
      continue;
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

  // Going back from a probation must not need the disk, and finds the same ids.
  if (!ids_settled_ && !parts_.store.pending() && doomed_.empty() && tunnels_settled_ && status.current()) {
    if (auto retained = parts_.ids.retain(config_); retained) ids_settled_ = true;
  }
}

}  // namespace simplon::control
