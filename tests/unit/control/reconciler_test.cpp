// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/control/reconciler.h"

#include <gtest/gtest.h>

#include "tests/unit/control/reconciler_fixture.h"

namespace simplon::control {
namespace {

TEST_F(ReconcilerTest, AnEmptyGatewayAsksForNothing) {
  ASSERT_TRUE(settled());
  EXPECT_TRUE(forwarder().objects.empty());
  EXPECT_TRUE(reconciler().problems().empty());
  EXPECT_EQ(store().current(), 0U);
}

TEST_F(ReconcilerTest, ApplyReachesEverybodyAndIsCommitted) {
  const auto outcome = apply(config_);
  ASSERT_TRUE(outcome) << words(outcome);
  EXPECT_TRUE(outcome->applied);
  EXPECT_EQ(outcome->version, 1U);
  EXPECT_TRUE(outcome->warnings.empty());
  EXPECT_EQ(world_->namespaces.names, (std::set<std::string>{"gw-blue", "gw-red"}));
  EXPECT_TRUE(forwarder().holds(route_key("red", "172.16.1.0/24")));
  EXPECT_TRUE(forwarder().holds(route_key("blue", "10.9.0.0/16")));
  EXPECT_EQ(world_->charon.wanted.size(), 3U);
  ASSERT_TRUE(world_->frr.instances.contains("gw-red"));
  EXPECT_EQ(world_->frr.instances["gw-red"].spec->asn, 65010U);
  EXPECT_FALSE(world_->frr.instances.contains("gw-blue")) << "blue speaks no BGP";
  ASSERT_TRUE(settled());
  EXPECT_EQ(store().current(), 1U);
}

TEST_F(ReconcilerTest, ADryRunTouchesNothing) {
  ASSERT_TRUE(settled());
  const auto messages = forwarder().log.size();
  ApplyCommand command;
  command.document = config::emit_document(config_);
  command.dry_run = true;
  const auto outcome = finish(world_->io, reconciler().apply(std::move(command)));
  ASSERT_TRUE(outcome) << words(outcome);
  EXPECT_FALSE(outcome->applied);
  EXPECT_FALSE(outcome->diff.empty());
  EXPECT_EQ(forwarder().log.size(), messages);
  EXPECT_TRUE(world_->namespaces.names.empty());
  EXPECT_EQ(store().current(), 0U);
}

TEST_F(ReconcilerTest, AnInvalidDocumentIsRefusedWithAllFindings) {
  config_.vpcs[1].vni = config_.vpcs[0].vni;
  config_.tunnels[0].domain = "green";
  const auto outcome = apply(config_);
  ASSERT_FALSE(outcome);
  EXPECT_GE(outcome.error().size(), 2U);
  EXPECT_TRUE(forwarder().objects.empty());
  EXPECT_EQ(store().current(), 0U);
}

TEST_F(ReconcilerTest, LearnedRoutesReachTheForwarder) {
  ASSERT_TRUE(apply(config_));
  world_->frr.instances["gw-red"].deliver({{learned("10.1.0.0/16", {tunnel_port("site-a")})}, {}});
  ASSERT_TRUE(until([&] { return forwarder().holds(route_key("red", "10.1.0.0/16")); }));
  world_->frr.instances["gw-red"].deliver({{}, {prefix("10.1.0.0/16")}});
  ASSERT_TRUE(until([&] { return !forwarder().holds(route_key("red", "10.1.0.0/16")); }));
}

/// The forwarder ends what an earlier charon left of it.
TEST_F(ReconcilerTest, TheForwarderHearsOfATunnelThatIsTakenDown) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  const auto closed = [&] {
    return std::any_of(forwarder().objects.begin(), forwarder().objects.end(), [](const auto& item) {
      const auto* tunnel = std::get_if<ipc::Tunnel>(&item.second);
      return tunnel != nullptr && tunnel->name == "site-a" && tunnel->closed;
    });
  };
  ASSERT_FALSE(closed());
  ASSERT_TRUE(finish(world_->io, world_->charon.down("site-a")));
  EXPECT_TRUE(until(closed));
  ASSERT_TRUE(finish(world_->io, world_->charon.up("site-a")));
  EXPECT_TRUE(until([&] { return !closed(); }));
}

TEST_F(ReconcilerTest, ANamespaceThatIsMadeAgainGetsASpeakerOfItsOwn) {
  ASSERT_TRUE(apply(config_));
  const auto port = tunnel_port("site-a");
  world_->frr.instances["gw-red"].deliver({{learned("10.1.0.0/16", {port}), learned("10.2.0.0/16", {port})}, {}});
  ASSERT_TRUE(until([&] { return forwarder().holds(route_key("red", "10.2.0.0/16")); }));
  ASSERT_TRUE(settled());
  ASSERT_EQ(world_->frr.speakers, 1);

  // Somebody restarts its unit: nobody applies anything.
  world_->namespaces.make_again("gw-red");
  world_->clock.advance(std::chrono::seconds(1));
  ASSERT_TRUE(until([&] { return world_->frr.speakers == 2; }));
  EXPECT_EQ(world_->frr.stopped, std::vector<std::string>{"gw-red"}) << "its daemons may be in the old one";
  ASSERT_TRUE(until([&] { return !forwarder().holds(route_key("red", "10.1.0.0/16")); })) << "what was learned in the old one";
  EXPECT_TRUE(forwarder().holds(route_key("red", "172.16.1.0/24")));
  ASSERT_TRUE(settled());
  world_->frr.instances["gw-red"].deliver({{learned("10.2.0.0/16", {port})}, {}});
  ASSERT_TRUE(until([&] { return forwarder().holds(route_key("red", "10.2.0.0/16")); }));

  // And at an apply, before any look.
  world_->namespaces.make_again("gw-red");
  ASSERT_TRUE(apply(config_));
  EXPECT_EQ(world_->frr.speakers, 3);
  ASSERT_TRUE(settled());
  // The same namespace keeps its speaker.
  world_->clock.advance(std::chrono::seconds(5));
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  EXPECT_EQ(world_->frr.speakers, 3);
  EXPECT_FALSE(world_->frr.two_of_one);
}

TEST_F(ReconcilerTest, AnFrrThatDoesNotEndIsNotWrittenToByAnotherSpeaker) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  world_->frr.stop_answer["gw-red"] = {ErrorCode::kUnavailable, "bgpd does not end", ""};
  world_->namespaces.make_again("gw-red");
  const auto outcome = apply(config_);
  ASSERT_TRUE(outcome) << words(outcome);
  EXPECT_EQ(outcome->warnings.size(), 1U);
  EXPECT_EQ(world_->frr.speakers, 1);
  EXPECT_FALSE(reconciler().settled());
  EXPECT_EQ(reconciler().problems().size(), 1U);

  world_->frr.stop_answer.clear();
  ASSERT_TRUE(until([&] {
    world_->clock.advance(std::chrono::seconds(1));
    return world_->frr.speakers == 2;
  }));
  ASSERT_TRUE(settled());
  EXPECT_FALSE(world_->frr.two_of_one);
  EXPECT_TRUE(reconciler().problems().empty());
}

TEST_F(ReconcilerTest, WhatAnApplyForgetsItDoesNotSend) {
  auto two = config_;
  auto second = two.tunnels[0];
  second.name = second.remote_id = "site-a2";
  second.remote = ip("198.51.100.9");
  second.inside = {inside("169.254.10.5/30")};
  two.tunnels.push_back(second);
  const auto first = apply(two);
  ASSERT_TRUE(first) << words(first);
  const auto key = route_key("red", "10.1.0.0/16");
  world_->frr.instances["gw-red"].deliver(
      {{learned("10.1.0.0/16", {tunnel_port("site-a"), tunnel_port("site-a2")})}, {}});
  ASSERT_TRUE(until([&] { return forwarder().holds(key); }));
  ASSERT_TRUE(settled());

  // One apply changes the route, because a tunnel goes, and forgets it, because the namespace is another one.
  world_->namespaces.make_again("gw-red");
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  EXPECT_FALSE(forwarder().holds(key));
}

TEST_F(ReconcilerTest, ReceivedPrefixesAreCountedOnlyForWhoAsksForThem) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(finish(world_->io, reconciler().speaker_status("red")));
  EXPECT_EQ(world_->frr.counted, 0);
  ASSERT_TRUE(finish(world_->io, reconciler().speaker_status("red", bgp::StatusDetail::kReceivedPrefixes)));
  EXPECT_EQ(world_->frr.counted, 1);
}

TEST_F(ReconcilerTest, ARestartRemovesNothingBeforeBgpIsSynchronized) {
  ASSERT_TRUE(apply(config_));
  const auto port = tunnel_port("site-a");
  world_->frr.instances["gw-red"].deliver({{learned("10.1.0.0/16", {port}), learned("10.2.0.0/16", {port})}, {}});
  ASSERT_TRUE(until([&] { return forwarder().holds(route_key("red", "10.2.0.0/16")); }));
  ASSERT_TRUE(settled());
  const auto before = forwarder().objects;

  // The next life gets the routes later, one of them not at all.
  kill();
  world_->frr.synchronize_at_once = false;
  start();
  ASSERT_TRUE(until([&] { return reconciler().programmed().synchronized; }));
  EXPECT_EQ(forwarder().objects, before);
  // Time passes, and ticks.
  for (int i = 0; i < 20; ++i) {
    world_->io.restart();
    world_->io.run_one_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(forwarder().removed.empty());
  EXPECT_EQ(forwarder().ends(), 0U);

  world_->frr.instances["gw-red"].deliver({{learned("10.1.0.0/16", {port})}, {}});
  world_->frr.instances["gw-red"].synchronized = true;
  ASSERT_TRUE(settled());
  EXPECT_EQ(forwarder().removed, std::vector<std::string>{route_key("red", "10.2.0.0/16")})
      << "withdrawn while nobody listened";
  EXPECT_TRUE(forwarder().holds(route_key("red", "10.1.0.0/16")));
}

TEST_F(ReconcilerTest, TheWaitForBgpAfterARestartIsBounded) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  kill();
  forwarder().objects.emplace("leftover", ipc::Object{});
  world_->frr.synchronize_at_once = false;
  start();
  ASSERT_TRUE(until([&] { return reconciler().programmed().synchronized; }));
  // A bgpd that was started lately may take 120 s.
  world_->clock.advance(std::chrono::seconds(150));
  for (int i = 0; i < 20; ++i) {
    world_->io.restart();
    world_->io.run_one_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(forwarder().ends(), 0U);
  world_->clock.advance(std::chrono::seconds(51));
  ASSERT_TRUE(until([&] { return reconciler().programmed().swept; }));
  EXPECT_FALSE(forwarder().holds("leftover"));
}

TEST_F(ReconcilerTest, ARefusedObjectRevertsEverything) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  const auto before = forwarder().objects;

  auto changed = config_;
  DomainConfig green;
  green.name = "green";
  green.bgp = BgpConfig{65010, ip("10.255.0.1"), {}};
  changed.domains.push_back(green);
  changed.vpcs[0].mtu_bytes = 1300;
  changed.uplinks.push_back({"eth7"});
  forwarder().refuse[ipc::key_of(ipc::Uplink{"eth7"})] = "there is no interface eth7";
  const auto outcome = apply(changed);
  ASSERT_FALSE(outcome);
  ASSERT_EQ(outcome.error().size(), 1U) << "one clear error";
  EXPECT_NE(outcome.error()[0].what.find("eth7"), std::string::npos);
  ASSERT_TRUE(settled());
  EXPECT_EQ(forwarder().objects, before);
  EXPECT_EQ(store().current(), 1U);
  EXPECT_EQ(reconciler().config(), config_);
  EXPECT_FALSE(world_->namespaces.exists("gw-green"));
  EXPECT_TRUE(reconciler().problems().empty());
}

TEST_F(ReconcilerTest, ARejectedProposalRevertsForwarderAndCharon) {
  auto first = config_;
  first.tunnels.pop_back();
  first.domains[1].static_routes.pop_back();
  ASSERT_TRUE(apply(first));
  ASSERT_TRUE(settled());
  const auto before = forwarder().objects;
  world_->charon.refuse = "site-b2";
  const auto outcome = apply(config_);
  ASSERT_FALSE(outcome);
  EXPECT_NE(outcome.error()[0].what.find("site-b2"), std::string::npos);
  ASSERT_TRUE(settled());
  EXPECT_EQ(forwarder().objects, before);
  EXPECT_FALSE(world_->charon.has("site-b2"));
  EXPECT_TRUE(world_->charon.has("site-b"));
}

TEST_F(ReconcilerTest, ACommandThatFrrRejectsReverts) {
  world_->frr.answer["gw-red"] = {ErrorCode::kInvalidConfig, "FRR rejects: neighbor x", ""};
  const auto outcome = apply(config_);
  ASSERT_FALSE(outcome);
  EXPECT_NE(outcome.error()[0].what.find("domain red"), std::string::npos);
  ASSERT_TRUE(settled());
  EXPECT_TRUE(forwarder().objects.empty());
  EXPECT_TRUE(world_->namespaces.names.empty());
  EXPECT_TRUE(world_->charon.wanted.empty());
}

TEST_F(ReconcilerTest, ANamespaceThatCannotBeMadeReverts) {
  world_->namespaces.refuse = "gw-blue";
  const auto outcome = apply(config_);
  ASSERT_FALSE(outcome);
  ASSERT_TRUE(settled());
  EXPECT_TRUE(world_->namespaces.names.empty());
  EXPECT_TRUE(forwarder().objects.empty());
}

TEST_F(ReconcilerTest, ProcessesThatAreAwayAreWarningsAndGetTheirPartLater) {
  ASSERT_TRUE(settled());
  world_->charon.answer = Error{ErrorCode::kUnavailable, "charon does not answer", "start it"};
  world_->frr.answer["gw-red"] = {ErrorCode::kUnavailable, "FRR does not start", ""};
  forwarder().disconnect();
  ASSERT_TRUE(until([&] { return !reconciler().programmed().connected; }));
  const auto outcome = apply(config_);
  ASSERT_TRUE(outcome) << words(outcome);
  EXPECT_TRUE(outcome->applied);
  EXPECT_EQ(outcome->warnings.size(), 3U);
  EXPECT_EQ(store().current(), 1U);
  EXPECT_EQ(reconciler().problems().size(), 3U);

  world_->charon.answer.reset();
  world_->frr.answer.clear();
  forwarder().connect();
  world_->clock.advance(std::chrono::seconds(60));
  ASSERT_TRUE(until([&] {
    world_->clock.advance(std::chrono::seconds(1));
    return reconciler().settled();
  }));
  EXPECT_TRUE(world_->charon.has("site-a"));
  EXPECT_TRUE(world_->frr.instances["gw-red"].spec);
  EXPECT_TRUE(forwarder().holds(route_key("blue", "10.9.0.0/16")));
  EXPECT_TRUE(reconciler().problems().empty());
}

TEST_F(ReconcilerTest, AForwarderThatRestartedGetsEverythingAgain) {
  ASSERT_TRUE(apply(config_));
  world_->frr.instances["gw-red"].deliver({{learned("10.1.0.0/16", {tunnel_port("site-a")})}, {}});
  ASSERT_TRUE(until([&] { return forwarder().holds(route_key("red", "10.1.0.0/16")); }));
  ASSERT_TRUE(settled());
  const auto before = forwarder().objects;
  forwarder().disconnect();
  ASSERT_TRUE(until([&] { return !reconciler().problems().empty(); }));
  forwarder().restart();
  forwarder().connect();
  ASSERT_TRUE(settled());
  EXPECT_EQ(forwarder().objects, before);
}

TEST_F(ReconcilerTest, ARemovedDomainIsTidiedUp) {
  ASSERT_TRUE(apply(config_));
  auto changed = config_;
  changed.domains.erase(changed.domains.begin());
  changed.vpcs.erase(changed.vpcs.begin());
  changed.tunnels.erase(changed.tunnels.begin());
  const auto red = daemon_->ids().domain("red");
  ApplyCommand command;
  command.document = config::emit_document(changed);
  command.base_version = store().current();
  std::uint64_t decided = 0;
  command.decided = [&](const Transaction<ApplyOutcome>& outcome) {
    decided = outcome->version;
    EXPECT_TRUE(world_->frr.stopped.empty()) << "nothing is waited for in between";
  };
  const auto outcome = apply(std::move(command));
  ASSERT_TRUE(outcome) << words(outcome);
  EXPECT_EQ(decided, outcome->version);
  ASSERT_TRUE(settled());
  EXPECT_EQ(world_->frr.stopped, std::vector<std::string>{"gw-red"});
  EXPECT_EQ(world_->namespaces.names, std::set<std::string>{"gw-blue"});
  EXPECT_FALSE(world_->charon.has("site-a"));
  EXPECT_FALSE(daemon_->ids().domain("red")) << "forgotten last";
  // A new domain of that name is another domain.
  ASSERT_TRUE(apply(config_));
  EXPECT_NE(daemon_->ids().domain("red"), red);
}

TEST_F(ReconcilerTest, RemovedDomainsAreTidiedUpTogether) {
  auto more = config_;
  for (const char* name : {"green", "grey", "gold"}) {
    auto& domain = more.domains.emplace_back();
    domain.name = name;
    domain.bgp = BgpConfig{65010, ip("10.255.0.1"), {}};
  }
  ASSERT_TRUE(apply(more));
  ASSERT_TRUE(settled());
  ASSERT_TRUE(apply(config_, std::chrono::seconds(60)));
  EXPECT_EQ(world_->frr.stopped.size(), 3U);
  EXPECT_EQ(world_->frr.most_stopping, 3) << "the time to confirm runs meanwhile";
  ASSERT_TRUE(settled());
  EXPECT_EQ(world_->namespaces.names, (std::set<std::string>{"gw-blue", "gw-red"}));
}

TEST_F(ReconcilerTest, ANamespaceIsKeptUntilTheForwarderLetGoOfIt) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  forwarder().disconnect();
  ASSERT_TRUE(until([&] { return !reconciler().programmed().connected; }));
  auto changed = config_;
  changed.domains.pop_back();
  changed.vpcs.pop_back();
  changed.tunnels.resize(1);
  const auto outcome = apply(changed);
  ASSERT_TRUE(outcome) << words(outcome);
  EXPECT_TRUE(world_->namespaces.exists("gw-blue"));
  forwarder().connect();
  ASSERT_TRUE(until([&] {
    world_->clock.advance(std::chrono::seconds(1));
    return !world_->namespaces.exists("gw-blue");
  }));
}

TEST_F(ReconcilerTest, ATransactionThatWasCutOffIsClearedAway) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  // As if killed between making namespace and id of a new domain and the commit.
  auto changed = config_;
  DomainConfig green;
  green.name = "green";
  changed.domains.push_back(green);
  ASSERT_TRUE(daemon_->ids().assign(changed));
  world_->namespaces.names.insert("gw-green");
  world_->frr.instances["gw-green"].spec = bgp::SpeakerSpec{};
  kill();
  start();
  ASSERT_TRUE(settled());
  EXPECT_FALSE(world_->namespaces.exists("gw-green"));
  EXPECT_EQ(world_->frr.stopped.back(), "gw-green");
  EXPECT_EQ(world_->namespaces.names, (std::set<std::string>{"gw-blue", "gw-red"}));
}

TEST_F(ReconcilerTest, WithoutConfirmationItGoesBack) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  auto changed = config_;
  changed.domains[1].static_routes = {{prefix("10.77.0.0/16"), "site-b"}};
  ASSERT_TRUE(apply(changed, std::chrono::seconds(60)));
  EXPECT_TRUE(forwarder().holds(route_key("blue", "10.77.0.0/16")));
  EXPECT_FALSE(apply(config_)) << "the other one waits for its confirmation";
  world_->wall_clock.advance(std::chrono::seconds(61));
  ASSERT_TRUE(until([&] { return !forwarder().holds(route_key("blue", "10.77.0.0/16")); }));
  ASSERT_TRUE(settled());
  EXPECT_EQ(reconciler().config(), config_);
  EXPECT_FALSE(store().pending());
}

TEST_F(ReconcilerTest, AConfirmedChangeStays) {
  ASSERT_TRUE(apply(config_, std::chrono::seconds(60)));
  const auto confirmed = finish(world_->io, reconciler().confirm());
  ASSERT_TRUE(confirmed);
  EXPECT_EQ(*confirmed, 1U);
  world_->wall_clock.advance(std::chrono::seconds(600));
  ASSERT_TRUE(settled());
  EXPECT_EQ(reconciler().config(), config_);
}

TEST_F(ReconcilerTest, TheDeadlineHoldsAcrossAKill) {
  ASSERT_TRUE(apply(config_));
  auto changed = config_;
  changed.domains[1].static_routes = {{prefix("10.77.0.0/16"), "site-b"}};
  ASSERT_TRUE(apply(changed, std::chrono::seconds(60)));
  ASSERT_TRUE(settled());
  kill();
  world_->wall_clock.advance(std::chrono::seconds(61));
  start();
  ASSERT_TRUE(settled());
  EXPECT_EQ(reconciler().config(), config_);
  EXPECT_FALSE(forwarder().holds(route_key("blue", "10.77.0.0/16")));
}

TEST_F(ReconcilerTest, UndoGoesBackAsATransaction) {
  ASSERT_TRUE(apply(config_));
  auto changed = config_;
  changed.domains[1].static_routes.clear();
  ASSERT_TRUE(apply(changed));
  const auto undone = apply(undo_by("test"));
  ASSERT_TRUE(undone);
  EXPECT_EQ(undone->restored, 1U);
  EXPECT_TRUE(forwarder().holds(route_key("blue", "10.9.0.0/16")));
  EXPECT_EQ(reconciler().config(), config_);
  EXPECT_EQ(store().current(), 3U);
}

TEST_F(ReconcilerTest, TwoAppliesAreOneAfterTheOther) {
  ASSERT_TRUE(settled());
  auto other = config_;
  other.domains[1].static_routes.clear();
  std::vector<std::string> order;
  const auto launch = [&](const GatewayConfig& config, std::string name, std::optional<std::uint64_t> base) {
    ApplyCommand command;
    command.document = config::emit_document(config);
    command.base_version = base;
    boost::asio::co_spawn(
        world_->io,
        [this, &order, command = std::move(command), name = std::move(name)]() mutable -> boost::asio::awaitable<void> {
          const auto outcome = co_await reconciler().apply(std::move(command));
          order.push_back(name + (outcome ? " version " + std::to_string(outcome->version)
                                          : " refused: " + std::string(to_string(outcome.error()[0].code))));
        },
        boost::asio::detached);
  };
  launch(config_, "first", 0);
  launch(other, "second", std::nullopt);
  launch(config_, "third", 0);
  ASSERT_TRUE(until([&] { return order.size() == 3; }));
  EXPECT_EQ(order, (std::vector<std::string>{"first version 1", "second refused: conflict", "third refused: conflict"}))
      << "one wins, with a base or without";
  // One that is refused moves nothing: who waited behind it goes on. And who begins afterwards needs no base.
  auto bad = other;
  bad.tunnels[0].domain = "green";
  launch(bad, "bad", std::nullopt);
  launch(other, "fourth", std::nullopt);
  ASSERT_TRUE(until([&] { return order.size() == 5; }));
  EXPECT_EQ(order.back(), "fourth version 2");
  ASSERT_TRUE(settled());
  EXPECT_EQ(reconciler().config(), other);
  EXPECT_FALSE(forwarder().holds(route_key("blue", "10.9.0.0/16")));
}

TEST_F(ReconcilerTest, AStoredConfigurationThatCannotBeReadTouchesNothing) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  const auto before = forwarder().objects;
  config::Store::CommitRequest request;
  request.text = "domains: [";
  request.who = "a newer version";
  ASSERT_TRUE(store().commit(request));
  kill();
  start();
  for (int i = 0; i < 20; ++i) {
    world_->io.restart();
    world_->io.run_one_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(forwarder().log.empty());
  EXPECT_EQ(forwarder().objects, before);
  ASSERT_EQ(reconciler().problems().size(), 1U);
  EXPECT_EQ(reconciler().problems()[0].object, "configuration");
  // A good document gets everything going again.
  const auto outcome = apply(config_);
  ASSERT_TRUE(outcome) << words(outcome);
  ASSERT_TRUE(until([&] { return reconciler().settled(); }));
  EXPECT_TRUE(reconciler().problems().empty());
}

TEST_F(ReconcilerTest, AVanishedKeyConcernsItsTunnelOnlyAfterARestart) {
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  std::filesystem::remove(config_.tunnels[0].psk_file);
  kill();
  start();
  const auto kept = [&] {
    const auto& wanted = world_->charon.wanted;
    return std::count_if(wanted.begin(), wanted.end(), [](const auto& spec) { return spec.keep_as_is; });
  };
  ASSERT_TRUE(until([&] { return kept() == 1 && reconciler().programmed().current(); }));
  EXPECT_EQ(world_->charon.wanted.size(), 3U) << "it is not taken down";
  ASSERT_EQ(reconciler().problems().size(), 1U);
  EXPECT_EQ(reconciler().problems()[0].object, "tunnel site-a");
  const auto refused = apply(config_);
  EXPECT_FALSE(refused) << "an operator's change insists on it";
}

}  // namespace
}  // namespace simplon::control
