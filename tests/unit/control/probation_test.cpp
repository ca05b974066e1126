// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>

#include "gateway/control/gates.h"
#include "tests/unit/control/reconciler_fixture.h"

namespace simplon::control {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

class GatesTest : public ::testing::Test {
 protected:
  std::string resolved(const std::string& text) const {
    const auto gate = resolve_gate(text, config_);
    return gate ? gate->to_string() : gate.error().message();
  }
  TemporaryDirectory directory_;
  GatewayConfig config_ = two_domains(directory_);
};

TEST_F(GatesTest, AreFoundByName) {
  EXPECT_EQ(resolved("bgp:site-a"), "bgp:red/site-a");
  EXPECT_EQ(resolved("bgp:red/site-a"), "bgp:red/site-a");
  EXPECT_EQ(resolved("tunnel:site-b"), "tunnel:site-b");
  EXPECT_EQ(resolved("ping:10.9.0.1@blue"), "ping:10.9.0.1@blue");
  EXPECT_EQ(resolved("ping:2001:db8::1@red"), "ping:2001:db8::1@red");
  for (const char* text : {"bgp:red/site-a", "tunnel:site-b", "ping:2001:db8::1@red"}) {
    EXPECT_EQ(resolved(resolved(text)), text);
  }
}

TEST_F(GatesTest, WhatDoesNotExistIsAnErrorThatGuesses) {
  EXPECT_THAT(resolved("bgp:site-aa"), HasSubstr("did you mean 'site-a'?"));
  EXPECT_THAT(resolved("bgp:rad/site-a"), HasSubstr("did you mean 'red'?"));
  EXPECT_THAT(resolved("bgp:blue/site-a"), HasSubstr("no BGP neighbor 'blue/site-a'"));
  EXPECT_THAT(resolved("tunnel:sitea"), HasSubstr("did you mean 'site-a'?"));
  EXPECT_THAT(resolved("ping:10.9.0.1@bleu"), HasSubstr("did you mean 'blue'?"));
  EXPECT_THAT(resolved("ping:10.9.0.1"), HasSubstr("2 domains"));
  EXPECT_THAT(resolved("ping:10.9.0@red"), HasSubstr("not the address"));
  EXPECT_THAT(resolved("ping:224.0.0.1@red"), HasSubstr("not the address"));
  EXPECT_THAT(resolved("tunel:site-a"), HasSubstr("did you mean 'tunnel:site-a'?"));
  for (const char* text : {"", ":", "bgp:", "bgp", "tunnel:", "ping:@red", "ping:10.9.0.1@", "bgp:/", "x:y"}) {
    EXPECT_FALSE(resolve_gate(text, config_)) << text;
  }
  config_.tunnels[0].enabled = false;
  EXPECT_THAT(resolved("tunnel:site-a"), HasSubstr("disabled"));
}

TEST_F(GatesTest, ANameInTwoDomainsNeedsTheDomain) {
  config_.domains[1].bgp = config_.domains[0].bgp;
  EXPECT_THAT(resolved("bgp:site-a"), HasSubstr("bgp:red/site-a"));
  EXPECT_EQ(resolved("bgp:blue/site-a"), "bgp:blue/site-a");
}

class ProbationTest : public ReconcilerTest {
 protected:
  ProbationTest() {
    EXPECT_TRUE(apply(config_));
    EXPECT_TRUE(settled());
    world_->charon.states = {{"site-a", ipsec::TunnelState::kUp}, {"site-b", ipsec::TunnelState::kUp}};
    forwarder().add_sas(*daemon_->ids().tunnel("site-a"));
    world_->frr.neighbors = {{"site-a", {"Established", 0}}};
    world_->pinger.alive = {"gw-red 10.1.0.10"};
  }

  Transaction<ApplyOutcome> try_out(std::vector<std::string> gates, std::optional<seconds> confirm = {}) {
    auto changed = config_;
    changed.vpcs[0].mtu_bytes = static_cast<std::uint16_t>(1300 + store().current());
    ApplyCommand command;
    command.document = config::emit_document(changed);
    command.who = "test";
    command.gates = std::move(gates);
    command.confirm_within = confirm;
    return apply(std::move(command));
  }
  bool looked() {
    return until([&] {
      const auto gates = reconciler().gates();
      return !gates.empty() && std::all_of(gates.begin(), gates.end(), [](const auto& gate) { return gate.healthy; });
    });
  }
  /// At least one look that began after now is over: the one after the next question has been asked.
  bool looked_again() {
    const auto asked = world_->pinger.asked.size();
    return until([&] { return world_->pinger.asked.size() >= asked + 3; });
  }
  bool decided() {
    return until([&] { return !store().pending(); });
  }
  void pass(seconds time) {
    world_->clock.advance(time);
    world_->wall_clock.advance(time);
  }
  std::vector<ProbationEnd>& ends() { return world_->ends; }
};

TEST_F(ProbationTest, AChangeStaysWhenItsGatesHaveHeld) {
  const auto outcome = try_out({"tunnel:site-a", "ping:10.1.0.10@red", "bgp:site-a"});
  ASSERT_TRUE(outcome) << words(outcome);
  ASSERT_TRUE(store().pending());
  ASSERT_TRUE(looked());
  EXPECT_TRUE(store().pending()) << "healthy, but not for long enough";
  pass(seconds(6));
  ASSERT_TRUE(decided());
  EXPECT_EQ(store().current(), 2U);
  EXPECT_EQ(store().load(2)->version.outcome, config::Outcome::kCommitted);
  ASSERT_EQ(ends().size(), 1U);
  EXPECT_TRUE(ends()[0].kept);
}

TEST_F(ProbationTest, AnOldTunnelCountsWhenNothingItNegotiatesHasChanged) {
  world_->charon.ages["site-a"] = 5000;
  ASSERT_TRUE(try_out({"tunnel:site-a"}));
  ASSERT_TRUE(looked());
  EXPECT_EQ(reconciler().gates()[0].healthy, true);
  pass(seconds(6));
  ASSERT_TRUE(decided());
  EXPECT_EQ(store().current(), 2U);
}

TEST_F(ProbationTest, AnOldTunnelProvesNoNewKey) {
  auto changed = config_;
  changed.tunnels[0].psk_file = world_->directory.secret("new.psk", "another secret, long enough");
  ApplyCommand command;
  command.document = config::emit_document(changed);
  command.gates = {"tunnel:site-a"};
  world_->charon.ages["site-a"] = 5000;
  ASSERT_TRUE(apply(command));
  ASSERT_TRUE(looked());
  EXPECT_EQ(reconciler().gates()[0].healthy, false);
  EXPECT_THAT(reconciler().gates()[0].problem, HasSubstr("SAs from before the change"));
  // Nor does it in another life, which has never seen another key.
  pass(seconds(10));
  kill();
  start();
  ASSERT_TRUE(looked());
  EXPECT_EQ(reconciler().gates()[0].healthy, false);
  pass(seconds(51));
  ASSERT_TRUE(decided());
  EXPECT_EQ(reconciler().config(), config_);
  EXPECT_THAT(store().load(2)->version.outcome_reason, HasSubstr("gate tunnel:site-a"));

  world_->charon.ages["site-a"] = 1;
  ASSERT_TRUE(apply(command));
  pass(seconds(3));
  ASSERT_TRUE(until([&] { return !reconciler().gates().empty() && reconciler().gates()[0].healthy == true; }));
  pass(seconds(6));
  ASSERT_TRUE(decided());
  EXPECT_EQ(reconciler().config(), changed);
}

TEST_F(ProbationTest, ATunnelThatStillRunsOnTheKeyBeforeIsNotHealthy) {
  world_->charon.outdated = {"site-a"};  // the same file with another content
  ASSERT_TRUE(try_out({"tunnel:site-a"}));
  ASSERT_TRUE(looked());
  EXPECT_EQ(reconciler().gates()[0].healthy, false);
  world_->charon.outdated.clear();
  ASSERT_TRUE(until([&] { return reconciler().gates()[0].healthy == true; }));
}

TEST_F(ProbationTest, AGateThatFailsAtTheDeadlineIsTheReason) {
  world_->pinger.alive.clear();
  ASSERT_TRUE(try_out({"tunnel:site-a", "ping:10.1.0.10@red"}));
  ASSERT_TRUE(looked());
  pass(seconds(30));
  EXPECT_TRUE(store().pending());
  pass(seconds(31));
  ASSERT_TRUE(decided());
  EXPECT_EQ(store().current(), 3U);
  const auto reverted = store().load(2)->version;
  EXPECT_EQ(reverted.outcome, config::Outcome::kReverted);
  EXPECT_THAT(reverted.outcome_reason, HasSubstr("gate ping:10.1.0.10@red: 10.1.0.10 does not answer"));
  EXPECT_EQ(reconciler().config(), config_);
  ASSERT_TRUE(settled());
  ASSERT_EQ(ends().size(), 1U);
  EXPECT_FALSE(ends()[0].kept);
}

TEST_F(ProbationTest, EachProbationEndsAtItsOwnDeadline) {
  world_->pinger.alive.clear();
  for (std::uint64_t version = 2; version < 8; version += 2) {
    ASSERT_TRUE(try_out({"ping:10.1.0.10@red"}));
    EXPECT_EQ(store().current(), version);
    world_->wall_clock.advance(seconds(61));
    ASSERT_TRUE(decided());
    EXPECT_EQ(store().current(), version + 1);
  }
}

TEST_F(ProbationTest, AFlapBeginsTheCountAnew) {
  ASSERT_TRUE(try_out({"tunnel:site-a", "ping:10.1.0.10@red"}));
  ASSERT_TRUE(looked());
  pass(seconds(4));
  world_->charon.states["site-a"] = ipsec::TunnelState::kConnecting;
  ASSERT_TRUE(looked_again());
  world_->charon.states["site-a"] = ipsec::TunnelState::kUp;
  ASSERT_TRUE(looked_again());
  pass(seconds(4));
  ASSERT_TRUE(looked_again());
  EXPECT_TRUE(store().pending()) << "healthy for 4 s only";
  pass(seconds(2));
  ASSERT_TRUE(decided());
  EXPECT_EQ(store().current(), 2U);
}

TEST_F(ProbationTest, AnOldBgpSessionHasToOutliveItsHoldTime) {
  world_->frr.neighbors["site-a"].second = 5000;
  ASSERT_TRUE(try_out({"bgp:site-a", "ping:10.1.0.10@red"}));
  ASSERT_TRUE(looked());
  EXPECT_EQ(reconciler().gates()[0].needed, config_.domains[0].bgp->neighbors[0].hold);
  pass(seconds(29));
  ASSERT_TRUE(looked_again());
  EXPECT_TRUE(store().pending());
  pass(seconds(2));
  ASSERT_TRUE(decided());
  EXPECT_EQ(store().current(), 2U);
}

TEST_F(ProbationTest, ConfirmationIsRefusedWhileAGateFails) {
  world_->charon.states["site-a"] = ipsec::TunnelState::kConnecting;
  ASSERT_TRUE(try_out({"tunnel:site-a"}, seconds(60)));
  auto confirmed = finish(world_->io, reconciler().confirm());
  ASSERT_FALSE(confirmed);
  EXPECT_EQ(confirmed.error().code, ErrorCode::kConflict);
  EXPECT_THAT(confirmed.error().what, HasSubstr("gate tunnel:site-a: the tunnel is not up: the peer does not answer"));
  EXPECT_TRUE(store().pending());
  world_->charon.states["site-a"] = ipsec::TunnelState::kUp;
  confirmed = finish(world_->io, reconciler().confirm());
  ASSERT_TRUE(confirmed) << confirmed.error().message();
  EXPECT_EQ(*confirmed, 2U);
}

TEST_F(ProbationTest, WithConfirmAndGatesNothingStaysByItself) {
  ASSERT_TRUE(try_out({"tunnel:site-a"}, seconds(60)));
  ASSERT_TRUE(looked());
  pass(seconds(61));
  ASSERT_TRUE(decided());
  EXPECT_EQ(store().load(2)->version.outcome_reason, "not confirmed within 60 s");
}

TEST_F(ProbationTest, AKillInTheWindowChangesNothingAboutIt) {
  world_->charon.states["site-a"] = ipsec::TunnelState::kDown;
  ASSERT_TRUE(try_out({"tunnel:site-a"}));
  kill();
  start();
  ASSERT_TRUE(looked());
  EXPECT_TRUE(store().pending());
  pass(seconds(61));
  ASSERT_TRUE(decided());
  EXPECT_THAT(store().load(2)->version.outcome_reason, HasSubstr("gate tunnel:site-a"));
  ASSERT_TRUE(settled());
  EXPECT_EQ(reconciler().config(), config_);
}

TEST_F(ProbationTest, ADeadlineThatPassedWhileNobodyWasThereGoesBackAtTheStart) {
  ASSERT_TRUE(try_out({"tunnel:site-a"}));
  kill();
  pass(seconds(3600));
  start();
  EXPECT_FALSE(store().pending());
  EXPECT_EQ(reconciler().config(), config_);
  EXPECT_THAT(store().load(2)->version.outcome_reason, HasSubstr("simplond did not run at the deadline"));
  ASSERT_EQ(ends().size(), 1U);
}

TEST_F(ProbationTest, ImpossibleGatesAreRefusedBeforeAnythingChanges) {
  const auto updates = forwarder().updates.size();
  auto outcome = try_out({"tunnel:site-x"});
  ASSERT_FALSE(outcome);
  EXPECT_THAT(words(outcome), HasSubstr("no tunnel 'site-x'"));
  ApplyCommand command;
  command.document = config::emit_document(config_);
  command.gates = {"bgp:site-a"};
  command.gate_window = seconds(20);
  outcome = apply(std::move(command));
  ASSERT_FALSE(outcome);
  EXPECT_THAT(words(outcome), HasSubstr("has to hold for 30 s"));
  EXPECT_EQ(store().current(), 1U);
  EXPECT_EQ(forwarder().updates.size(), updates);
}

TEST_F(ProbationTest, UndoEndsTheWatch) {
  ASSERT_TRUE(try_out({"tunnel:site-a"}));
  ASSERT_TRUE(looked());
  ASSERT_TRUE(apply(undo_by("bob")));
  EXPECT_TRUE(reconciler().gates().empty());
  EXPECT_EQ(store().load(2)->version.outcome_reason, "undone by bob");
}

TEST_F(ProbationTest, AnUndoMayBeOnProbationItself) {
  auto changed = config_;
  changed.vpcs[0].mtu_bytes = 1311;
  ASSERT_TRUE(apply(changed));
  auto command = undo_by("bob");
  command.comment = "too small";
  command.gates = {"tunnel:site-b"};
  command.dry_run = true;
  auto outcome = apply(command);
  ASSERT_TRUE(outcome) << words(outcome);
  EXPECT_FALSE(outcome->applied);
  EXPECT_EQ(outcome->restored, 1U);
  EXPECT_FALSE(outcome->diff.empty());
  EXPECT_EQ(store().current(), 2U);
  command.dry_run = false;
  outcome = apply(command);
  ASSERT_TRUE(outcome) << words(outcome);
  EXPECT_EQ(outcome->version, 3U);
  EXPECT_EQ(store().load(3)->version.comment, "undo: back to version 1: too small");
  EXPECT_EQ(reconciler().config(), config_);
  ASSERT_TRUE(looked());
  pass(seconds(61));
  ASSERT_TRUE(decided());
  EXPECT_EQ(reconciler().config(), changed) << "site-b has no SAs in the forwarder";
  EXPECT_THAT(store().load(3)->version.outcome_reason, HasSubstr("no SA to send with"));
  EXPECT_FALSE(apply(undo_by("bob"))) << "of what went back by itself";
  command = undo_by("bob");
  command.undo->to = 1;
  ASSERT_TRUE(apply(command));
  EXPECT_EQ(reconciler().config(), config_);
}

TEST_F(ProbationTest, GoingBackFromAProbationIsFinal) {
  ASSERT_TRUE(try_out({"tunnel:site-a"}));
  auto command = undo_by("bob");
  command.confirm_within = seconds(60);
  const auto outcome = apply(command);
  ASSERT_FALSE(outcome);
  EXPECT_THAT(words(outcome), HasSubstr("version 2 is on probation"));
  EXPECT_EQ(store().current(), 2U);
  EXPECT_TRUE(store().pending());
}

TEST_F(ProbationTest, ATunnelWithoutSasInTheForwarderIsNotHealthy) {
  forwarder().sas.erase(forwarder().sas.begin());  // the inbound one
  ASSERT_TRUE(try_out({"tunnel:site-a"}));
  ASSERT_TRUE(looked());
  EXPECT_EQ(reconciler().gates()[0].healthy, false);
  EXPECT_THAT(reconciler().gates()[0].problem, HasSubstr("no SA to receive with"));
  forwarder().add_sas(*daemon_->ids().tunnel("site-a"));
  ASSERT_TRUE(until([&] { return reconciler().gates()[0].healthy == true; }));
  pass(seconds(6));
  ASSERT_TRUE(decided());
  EXPECT_EQ(store().current(), 2U);
}

TEST_F(ProbationTest, ADiskThatTakesNothingDoesNotHoldUpGoingBack) {
  const auto in_the_way = world_->directory.path() / "config" / "0003.yaml";
  std::filesystem::create_directories(in_the_way / "x");  // the rename of version 3 fails
  ASSERT_TRUE(try_out({"tunnel:site-b"}));
  ASSERT_TRUE(looked());
  pass(seconds(61));
  ASSERT_TRUE(until([&] { return reconciler().config() == config_; }));
  ASSERT_TRUE(settled());
  EXPECT_EQ(store().current(), 2U);
  EXPECT_TRUE(store().pending()) << "the next life has to know";
  EXPECT_TRUE(ends().empty());
  ASSERT_EQ(reconciler().problems().size(), 1U);
  EXPECT_THAT(reconciler().problems()[0].what, HasSubstr("version 2 is gone back from (not healthy within 60 s: gate tunnel:site-b"));
  EXPECT_THAT(reconciler().problems()[0].what, HasSubstr("cannot be stored"));
  EXPECT_FALSE(finish(world_->io, reconciler().confirm())) << "too late; and nothing is under way any more";

  kill();
  start();
  ASSERT_TRUE(settled());
  EXPECT_EQ(reconciler().config(), config_) << "not the version that was found wanting";
  EXPECT_TRUE(store().pending());

  std::filesystem::remove_all(in_the_way);
  pass(seconds(31));
  ASSERT_TRUE(decided());
  EXPECT_EQ(store().current(), 3U);
  EXPECT_EQ(store().load(2)->version.outcome, config::Outcome::kReverted);
  ASSERT_EQ(ends().size(), 1U);
  EXPECT_FALSE(ends()[0].kept);
  ASSERT_TRUE(settled());
  EXPECT_EQ(reconciler().config(), config_);
  EXPECT_TRUE(reconciler().problems().empty());
}

TEST_F(ProbationTest, AProbationWithoutAWayBackIsToldOf) {
  ASSERT_TRUE(try_out({"tunnel:site-b"}));
  ASSERT_TRUE(looked());
  std::ofstream(world_->directory.path() / "config" / "0001.yaml") << "damaged";
  pass(seconds(61));
  ASSERT_TRUE(until([&] { return !reconciler().problems().empty(); }));
  EXPECT_EQ(store().current(), 2U);
  EXPECT_THAT(reconciler().problems()[0].what, HasSubstr("version 2 stays (not healthy within 60 s: "));
  EXPECT_THAT(reconciler().problems()[0].what, HasSubstr("because what it goes back to cannot be read"));
  EXPECT_THAT(reconciler().problems()[0].hint, HasSubstr("simplon config undo 2"));
}

/// Another release wrote it, in words that this one does not know: what runs stays.
TEST_F(ProbationTest, WhatCannotBeUnderstoodIsNotGoneBackTo) {
  config::Store::CommitRequest newer;
  newer.text = "domains: [";
  newer.who = "a newer version";
  ASSERT_TRUE(store().commit(newer));
  config::Store::CommitRequest tried;
  tried.text = store().load(1)->text;
  tried.who = "a newer version";
  tried.confirm_within = seconds(60);
  ASSERT_TRUE(store().commit(tried));
  kill();
  start();
  ASSERT_TRUE(settled());
  for (const bool again : {false, true}) {
    pass(seconds(61));
    ASSERT_TRUE(until([&] { return !reconciler().problems().empty(); }));
    EXPECT_EQ(store().current(), 3U);
    EXPECT_EQ(reconciler().config(), config_);
    EXPECT_THAT(reconciler().problems()[0].what, HasSubstr("version 3 stays (not confirmed within 60 s"));
    EXPECT_THAT(reconciler().problems()[0].what, HasSubstr("cannot be read: version 2"));
    EXPECT_THAT(reconciler().problems()[0].hint, HasSubstr("simplon config undo"));
    if (again) break;
    kill();
    start();
    ASSERT_TRUE(reconciler().loaded());
  }
  auto back = undo_by("test");
  back.undo->to = 1;
  ASSERT_TRUE(apply(std::move(back)));
  EXPECT_TRUE(until([&] { return reconciler().problems().empty(); }));
}

TEST_F(ProbationTest, NamesAreForgottenOnlyWhenTheChangeStays) {
  auto changed = config_;
  changed.domains.pop_back();
  changed.vpcs.pop_back();
  changed.tunnels.resize(1);
  const auto id = daemon_->ids().domain("blue");
  ASSERT_TRUE(apply(changed, seconds(60)));
  ASSERT_TRUE(settled());
  EXPECT_EQ(daemon_->ids().domain("blue"), id);
  pass(seconds(61));
  ASSERT_TRUE(until([&] { return reconciler().config() == config_; }));
  ASSERT_TRUE(settled());
  EXPECT_EQ(daemon_->ids().domain("blue"), id) << "it came back as what it was";
  ASSERT_TRUE(apply(changed, seconds(60)));
  ASSERT_TRUE(finish(world_->io, reconciler().confirm()));
  ASSERT_TRUE(settled());
  EXPECT_FALSE(daemon_->ids().domain("blue"));
}

/// A full or broken disk is found before anybody is told anything.
TEST_F(ProbationTest, AFullDiskDisturbsNobody) {
  const auto updates = forwarder().updates.size();
  const auto reconciled = world_->charon.reconciled;
  std::filesystem::remove_all(world_->directory.path() / "config");
  const auto outcome = try_out({});
  ASSERT_FALSE(outcome);
  EXPECT_THAT(words(outcome), HasSubstr("cannot create a file"));
  EXPECT_EQ(forwarder().updates.size(), updates);
  EXPECT_EQ(world_->charon.reconciled, reconciled);
  EXPECT_EQ(reconciler().config(), config_);
}

}  // namespace
}  // namespace simplon::control
