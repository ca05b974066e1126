// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>

#include "gateway/control/reconciler.h"
#include "tests/unit/control/fake_frr.h"
#include "tests/unit/control/fake_pinger.h"
#include "tests/unit/control/fakes.h"

namespace simplon::control {

/// One life of the daemon. What outlives it (forwarder, charon, FRR, namespaces, the disk) belongs to the test.
class Daemon {
 public:
  struct World {
    boost::asio::io_context io;
    TemporaryDirectory directory;
    FakeClock clock;
    FakeWallClock wall_clock;
    std::unique_ptr<FakeForwarder> forwarder = std::make_unique<FakeForwarder>(io);
    FakeCharon charon{io};
    FakeFrr frr;
    FakeNamespaces namespaces;
    FakePinger pinger{io};
    std::vector<ProbationEnd> ends;
  };

  Daemon(World& world, std::uint64_t epoch)
      : store_(config::Store::open(world.directory.path() / "config", world.wall_clock).value()),
        ids_(config::IdRegistry::open(world.directory.path()).value()),
        reconciler_(
            {world.io, *world.forwarder, world.charon, world.namespaces,
             [&world](std::string netns, bgp::Speaker::RoutesChanged changed) -> Result<std::unique_ptr<bgp::Speaker>> {
               return std::make_unique<FakeSpeaker>(world.io, world.frr, std::move(netns), std::move(changed));
             },
             store_, ids_, world.clock, world.wall_clock, world.pinger},
            options(world, epoch)) {}

  Reconciler& operator*() { return reconciler_; }
  Reconciler* operator->() { return &reconciler_; }
  config::Store& store() { return store_; }
  config::IdRegistry& ids() { return ids_; }

 private:
  static Reconciler::Options options(World& world, std::uint64_t epoch) {
    Reconciler::Options made;
    made.netns_prefix = "gw-";
    made.first_epoch = epoch;
    made.tick = std::chrono::milliseconds(1);
    made.gate_tick = std::chrono::milliseconds(1);
    made.probation_ended = [&world](const ProbationEnd& end) { world.ends.push_back(end); };
    return made;
  }

  config::Store store_;
  config::IdRegistry ids_;
  Reconciler reconciler_;
};

class ReconcilerTest : public ::testing::Test {
 protected:
  ReconcilerTest() : world_(std::make_unique<Daemon::World>()), config_(two_domains(world_->directory)) { start(); }

  void start() {
    daemon_ = std::make_unique<Daemon>(*world_, 1000 * ++lives_);
    reconciler().start();
  }
  /// Like kill -9: nobody says goodbye. The connection to the forwarder is gone, the forwarder is not.
  void kill() {
    daemon_.reset();
    forwarder().disconnect();
    forwarder().log.clear();
    forwarder().removed.clear();
  }

  Reconciler& reconciler() { return **daemon_; }
  config::Store& store() { return daemon_->store(); }
  FakeForwarder& forwarder() { return *world_->forwarder; }

  bool until(const std::function<bool()>& done) { return run_until(world_->io, done); }
  bool settled() {
    return until([&] { return reconciler().settled() && reconciler().programmed().current(); });
  }

  Transaction<ApplyOutcome> apply(const GatewayConfig& config, std::optional<std::chrono::seconds> confirm = {}) {
    ApplyCommand command;
    command.document = config::emit_document(config);
    command.who = "test";
    command.confirm_within = confirm;
    return apply(std::move(command));
  }
  Transaction<ApplyOutcome> apply(ApplyCommand command) {
    return finish(world_->io, reconciler().apply(std::move(command)));
  }
  static ApplyCommand undo_by(const char* who) {
    ApplyCommand command;
    command.undo.emplace();
    command.who = who;
    return command;
  }
  static std::string words(const Transaction<ApplyOutcome>& outcome) {
    std::string text;
    if (!outcome) {
      for (const auto& issue : outcome.error()) text += issue.message() + "\n";
    }
    return text;
  }

  std::string tunnel_port(const char* tunnel) { return tunnel_interface(*daemon_->ids().tunnel(tunnel)); }
  std::string route_key(const char* domain, const char* to) {
    ipc::Route key;
    key.domain = *daemon_->ids().domain(domain);
    key.prefix = prefix(to);
    return ipc::key_of(key);
  }

  std::unique_ptr<Daemon::World> world_;
  GatewayConfig config_;
  std::unique_ptr<Daemon> daemon_;
  std::uint64_t lives_ = 0;
};

}  // namespace simplon::control
