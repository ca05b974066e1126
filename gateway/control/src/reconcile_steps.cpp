// SPDX-License-Identifier: GPL-2.0-or-later
//
// The steps of the reconciler: each makes one part of the world be what the configuration says, finds what is already
// right and leaves it alone, and can be taken again at any time.

#include <map>
#include <memory>

#include <spdlog/spdlog.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "gateway/control/reconciler.h"
#include "gateway/control/spec_builder.h"
#include "gateway/control/wait_group.h"

namespace simplon::control {

namespace asio = boost::asio;

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

asio::awaitable<Result<void>> Reconciler::ensure_speaker(std::string domain) {
  auto& state = domains_[domain];
  if (const auto speaker = state.speaker) {
    const auto netns = parts_.namespaces.identity(netns_of(domain));
    if (!netns || netns == state.netns) co_return Result<void>{};
    // Its sockets stayed in the namespace that had the name before, where nobody connects any more.
    spdlog::warn("namespace {} was made again: FRR of the old one is ended, what it learned is forgotten", netns_of(domain));
    state.settled = false;
    auto stopped = co_await speaker->stop();
    if (!stopped) {
      state.problem = stopped.error();
      schedule_retry();
      co_return stopped;
    }
    state.speaker.reset();
    programmer_.enqueue(compiler_.forget(domain));
  }
  const auto netns = parts_.namespaces.identity(netns_of(domain));
  auto made = parts_.make_speaker(netns_of(domain), [this, domain](const bgp::RouteChanges& changes) {
    programmer_.enqueue(compiler_.learn(domain, changes));
  });
  if (!made) {
    state.problem = made.error();
    schedule_retry();
    co_return Unexpected(made.error());
  }
  state.speaker = *std::move(made);
  state.netns = netns;
  co_return Result<void>{};
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
  const WaitGroup group(parts_.io);
  const auto failed = std::make_shared<std::map<std::string, Error>>();
  if (with_tunnels) {
    group.add();
    asio::co_spawn(
        parts_.io,
        [this, mode, group, failed]() -> asio::awaitable<void> {
          const auto reconciled = co_await reconcile_tunnels(mode);
          if (!reconciled) failed->emplace(std::string(), reconciled.error());
          group.done();
        },
        asio::detached);
  }
  for (const auto& name : names) {
    group.add();
    asio::co_spawn(
        parts_.io,
        [this, name, mode, group, failed]() -> asio::awaitable<void> {
          const auto reconciled = co_await reconcile_speaker(name, mode);
          if (!reconciled) failed->emplace(name, reconciled.error());
          group.done();
        },
        asio::detached);
  }
  co_await group.wait();
  std::vector<Error> errors;
  for (auto& [name, error] : *failed) errors.push_back(error);
  co_return errors;
}

asio::awaitable<Result<void>> Reconciler::reconcile_speaker(std::string domain, Mode mode) {
  const auto* config = find_domain(domain);
  if (config == nullptr || !config->bgp) co_return Result<void>{};
  auto made = co_await ensure_speaker(domain);
  if (!made) co_return made;
  // Kept alive here: a transaction in between cannot happen, but an end of the daemon can.
  const auto speaker = domains_[domain].speaker;
  auto built = build_speaker_spec(config_, *config, options_.netns_prefix);
  const auto problem = built.problem;
  Result<void> reconciled;
  // A password that vanished since concerns one neighbor, not the whole domain.
  if (!problem || mode == Mode::kTolerant) {
    reconciled = co_await speaker->reconcile(std::move(built.spec));
    if (!reconciled) {
      reconciled = Unexpected(make_error(reconciled.error().code, "BGP of domain " + domain + ": " + reconciled.error().what,
                                         reconciled.error().hint));
    }
  }
  if (reconciled && problem) reconciled = Unexpected(*problem);
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
  const WaitGroup group(parts_.io);
  const auto failed = std::make_shared<std::map<std::string, Error>>();
  for (const auto& name : unwanted) {
    const auto speaker = domains_[name].speaker;
    if (!speaker) continue;
    group.add();
    asio::co_spawn(
        parts_.io,
        [group, failed, name, speaker]() -> asio::awaitable<void> {
          const auto stopped = co_await speaker->stop();
          if (!stopped) failed->emplace(name, stopped.error());
          group.done();
        },
        asio::detached);
  }
  co_await group.wait();
  for (const auto& name : unwanted) {
    if (const auto failure = failed->find(name); failure != failed->end()) {
      spdlog::warn("stopping FRR of domain {}: {}", name, failure->second.message());
      domains_[name].problem = failure->second;
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
