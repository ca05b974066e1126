// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/tunnel_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipsec/src/key_renewal.h"

namespace simplon::ipsec {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

ObservedIke ike(std::uint32_t unique_id, const std::string& state, bool with_child = true) {
  ObservedIke observed;
  observed.name = "paris";
  observed.unique_id = unique_id;
  observed.state = state;
  observed.local = "192.0.2.1";
  observed.remote = "192.0.2.2";
  if (with_child) {
    ObservedChild child;
    child.name = "paris.t3";
    child.status.state = "INSTALLED";
    observed.children.push_back(child);
  }
  return observed;
}

Tunnel tunnel() {
  Tunnel made;
  made.wanted.name = "paris";
  made.wanted.id = TunnelId(3);
  made.wanted.local = *IpAddress::parse("192.0.2.1");
  made.wanted.remote = *IpAddress::parse("192.0.2.2");
  return made;
}

IkeDiagnosis finding(IkeFault fault, const std::string& problem) { return {fault, problem, "do something"}; }

TEST(TunnelState, AnIkeSaThatEndsIsDownWhateverItStillHas) {
  EXPECT_EQ(state_of(ike(1, "ESTABLISHED")), TunnelState::kUp);
  EXPECT_EQ(state_of(ike(1, "REKEYING")), TunnelState::kUp);
  EXPECT_EQ(state_of(ike(1, "ESTABLISHED", false)), TunnelState::kIkeOnly);
  EXPECT_EQ(state_of(ike(1, "CONNECTING", false)), TunnelState::kConnecting);
  EXPECT_EQ(state_of(ike(1, "CREATED", false)), TunnelState::kConnecting);
  EXPECT_EQ(state_of(ike(1, "DELETING")), TunnelState::kDown);
  EXPECT_EQ(state_of(ike(1, "DESTROYING")), TunnelState::kDown);
  EXPECT_EQ(state_of(ike(1, "REKEYED", false)), TunnelState::kDown);
  EXPECT_EQ(describe(tunnel(), {ike(1, "DELETING")}, "").state, TunnelState::kDown);
  EXPECT_EQ(describe(tunnel(), {ike(1, "DELETING"), ike(2, "ESTABLISHED")}, "").state, TunnelState::kUp);
}

TEST(TunnelState, AStrangerExplainsOnlyWhatNobodyElseDoes) {
  const IkeDiagnosis stranger = finding(IkeFault::kUnknownPeer, "a peer negotiates between ...");
  Tunnel refused = tunnel();
  EXPECT_TRUE(take_diagnosis(refused, finding(IkeFault::kPreSharedKey, "keys differ"), false));
  EXPECT_FALSE(take_diagnosis(refused, stranger, true));
  EXPECT_EQ(refused.diagnosis->problem, "keys differ");

  Tunnel silent = tunnel();
  EXPECT_TRUE(take_diagnosis(silent, finding(IkeFault::kNoAnswer, "no answer"), false));
  EXPECT_TRUE(take_diagnosis(silent, stranger, true));
  EXPECT_EQ(silent.diagnosis->fault, IkeFault::kUnknownPeer);

  Tunnel misaddressed = tunnel();
  EXPECT_TRUE(take_diagnosis(misaddressed, finding(IkeFault::kUnknownPeer, "its peer asks for another address"), false));
  EXPECT_FALSE(take_diagnosis(misaddressed, stranger, true));
  EXPECT_EQ(misaddressed.diagnosis->problem, "its peer asks for another address");
}

TEST(TunnelState, AStrangerDoesNotExplainWhatThePeerSays) {
  Tunnel other = tunnel();
  EXPECT_TRUE(take_diagnosis(other, finding(IkeFault::kUnknownPeer, "a stranger"), true));
  EXPECT_TRUE(take_diagnosis(other, finding(IkeFault::kRefusedInit, "refused"), false));
  EXPECT_EQ(other.diagnosis->problem, "refused");
  // Its own peer, at another address of ours, does.
  Tunnel own = tunnel();
  EXPECT_TRUE(take_diagnosis(own, finding(IkeFault::kUnknownPeer, "the peer"), false));
  EXPECT_FALSE(take_diagnosis(own, finding(IkeFault::kRefusedInit, "refused"), false));
  EXPECT_EQ(own.diagnosis->problem, "the peer");
}

TEST(TunnelState, TheLogIsToldOnceOfStrangers) {
  Tunnel down = tunnel();
  EXPECT_TRUE(take_diagnosis(down, finding(IkeFault::kNoAnswer, "no answer"), false));
  EXPECT_TRUE(take_diagnosis(down, finding(IkeFault::kUnknownPeer, "stranger 1"), true));
  for (int i = 2; i < 10; ++i) {
    EXPECT_FALSE(take_diagnosis(down, finding(IkeFault::kUnknownPeer, "stranger " + std::to_string(i)), true));
    EXPECT_FALSE(take_diagnosis(down, finding(IkeFault::kNoAnswer, "no answer"), false));
  }
  down.forget_diagnosis();
  EXPECT_FALSE(down.diagnosis);
  EXPECT_TRUE(take_diagnosis(down, finding(IkeFault::kUnknownPeer, "stranger 10"), true));
}

TEST(KeyRenewal, SurvivesALossOfTheConnectionToCharon) {
  Tunnel up = tunnel();
  up.given = Given{up.wanted, 1, false};
  renew_key(up, 2, MonoTime{});
  up.given->key = 2;
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  forget_ike_sas(*up.renewal);
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  ASSERT_TRUE(up.is_renewing());
  // Back to the key that IKE_SA 7 was authenticated with.
  renew_key(up, 1, MonoTime{});
  EXPECT_FALSE(up.is_renewing());
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  EXPECT_FALSE(up.renewal);
}

TEST(KeyRenewal, AnAttemptUnderWayWhenTheKeyGoesBackMaySucceedYet) {
  Tunnel up = tunnel();
  up.given = Given{up.wanted, 1, false};
  renew_key(up, 2, MonoTime{});
  up.given->key = 2;
  const MonoTime later = MonoTime{} + std::chrono::hours(1);
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  renew_key(up, 1, MonoTime{});
  EXPECT_FALSE(up.is_renewing()) << "nobody begins another attempt";
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED"), ike(8, "CONNECTING", false)}, MonoTime{}), IsEmpty());
  ASSERT_TRUE(up.renewal);
  up.renewal->authenticated.insert(8);
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED"), ike(8, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED"), ike(8, "ESTABLISHED")}, later), ElementsAre(7u))
      << "one of the two is enough";
  EXPECT_FALSE(up.renewal);
}

TEST(KeyRenewal, AnAttemptThatFailsAfterTheKeyWentBackLeavesNothing) {
  Tunnel up = tunnel();
  up.given = Given{up.wanted, 1, false};
  renew_key(up, 2, MonoTime{});
  up.given->key = 2;
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  renew_key(up, 1, MonoTime{});
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED"), ike(8, "CONNECTING", false)}, MonoTime{}), IsEmpty());
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  EXPECT_FALSE(up.renewal);
}

TEST(KeyRenewal, WhichKeyIsUnknownOnceASuccessorWasThere) {
  Tunnel up = tunnel();
  up.given = Given{up.wanted, 1, false};
  renew_key(up, 2, MonoTime{});
  up.given->key = 2;
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  up.renewal->authenticated.insert(8);
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED"), ike(8, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  ASSERT_TRUE(up.renewal->succeeded);
  forget_ike_sas(*up.renewal);
  ASSERT_TRUE(up.is_renewing());
  renew_key(up, 1, MonoTime{});
  EXPECT_TRUE(up.is_renewing()) << "IKE_SA 8 has the other one";
}

TEST(KeyRenewal, ASuccessorThatEndsIsNone) {
  Tunnel up = tunnel();
  up.given = Given{up.wanted, 1, false};
  renew_key(up, 2, MonoTime{});
  const MonoTime later = MonoTime{} + std::chrono::hours(1);
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  up.renewal->authenticated.insert(8);
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED"), ike(8, "DELETING")}, MonoTime{}), IsEmpty());
  EXPECT_FALSE(up.renewal->succeeded);
  up.renewal->authenticated.insert(9);
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED"), ike(9, "ESTABLISHED")}, MonoTime{}), IsEmpty());
  EXPECT_THAT(follow_renewal(up, {ike(7, "ESTABLISHED"), ike(9, "ESTABLISHED")}, later), ElementsAre(7u));
}

}  // namespace
}  // namespace simplon::ipsec
