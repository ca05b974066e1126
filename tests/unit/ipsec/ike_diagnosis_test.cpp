// SPDX-License-Identifier: GPL-2.0-or-later
// The fault corpus: each fault was injected between two charon 5.9.8, and the lines are what they logged.
#include "ipsec/ike_diagnosis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace simplon::ipsec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Case {
  const char* name;
  bool initiator;
  std::vector<std::string> lines;
  IkeFault fault;
  /// All must be in the problem.
  std::vector<std::string> says;
};

const std::vector<Case> kCorpus = {
    {"IkeProposalAsInitiator",
     true,
     {"initiating IKE_SA paris[1] to 192.0.2.2", "generating IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) ]",
      "parsed IKE_SA_INIT response 0 [ N(NO_PROP) ]", "received NO_PROPOSAL_CHOSEN notify error"},
     IkeFault::kRefusedInit,
     {"192.0.2.2", "aes128-sha1-modp2048", "192.0.2.1", "NO_PROPOSAL_CHOSEN"}},
    {"IkeProposalAsResponder",
     false,
     {"192.0.2.2 is initiating an IKE_SA",
      "received proposals: IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519",
      "configured proposals: IKE:AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048", "remote host is behind NAT",
      "received proposals unacceptable", "generating IKE_SA_INIT response 0 [ N(NO_PROP) ]"},
     IkeFault::kIkeProposal,
     {"phase 1", "AES_CBC_256", "CURVE_25519", "AES_CBC_128", "MODP_2048"}},
    {"UnknownPeerAsResponder",
     false,
     {"no IKE config found for 192.0.2.1...192.0.2.2, sending NO_PROPOSAL_CHOSEN"},
     IkeFault::kUnknownPeer,
     {"192.0.2.1...192.0.2.2"}},
    {"ChildProposalAsInitiator",
     true,
     {"initiating IKE_SA paris[1] to 192.0.2.2", "parsed IKE_SA_INIT response 0 [ SA KE No ]",
      "parsed IKE_AUTH response 1 [ IDr AUTH N(NO_PROP) ]", "authentication of 'b' with pre-shared key successful",
      "IKE_SA paris[1] established between 192.0.2.1[a]...192.0.2.2[b]",
      "received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built", "failed to establish CHILD_SA, keeping IKE_SA"},
     IkeFault::kChildProposal,
     {"phase 1 is fine", "phase 2", "aes128-sha1"}},
    {"ChildProposalAsResponder",
     false,
     {"192.0.2.2 is initiating an IKE_SA", "selected proposal: IKE:AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048",
      "looking for peer configs matching 192.0.2.1[a]...192.0.2.2[b]", "selected peer config 'paris'",
      "IKE_SA paris[1] established between 192.0.2.1[a]...192.0.2.2[b]",
      "received proposals: ESP:AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ",
      "configured proposals: ESP:AES_CBC_128/HMAC_SHA1_96/NO_EXT_SEQ", "no acceptable proposal found",
      "failed to establish CHILD_SA, keeping IKE_SA"},
     IkeFault::kChildProposal,
     {"phase 2", "ESP:AES_CBC_256", "ESP:AES_CBC_128"}},
    {"TrafficSelectorsAsInitiator",
     true,
     {"initiating IKE_SA paris[1] to 192.0.2.2", "received TS_UNACCEPTABLE notify, no CHILD_SA built"},
     IkeFault::kTrafficSelectors,
     {"traffic selectors", "0.0.0.0/0"}},
    {"TrafficSelectorsAsResponder",
     false,
     {"traffic selectors 10.2.0.0/24 === 10.1.0.0/24 unacceptable", "failed to establish CHILD_SA, keeping IKE_SA"},
     IkeFault::kTrafficSelectors,
     {"10.2.0.0/24 === 10.1.0.0/24"}},
    {"PreSharedKeyAsInitiator",
     true,
     {"initiating IKE_SA paris[1] to 192.0.2.2", "parsed IKE_SA_INIT response 0 [ SA KE No ]",
      "parsed IKE_AUTH response 1 [ N(AUTH_FAILED) ]", "received AUTHENTICATION_FAILED notify error"},
     IkeFault::kRefusedAuth,
     {"192.0.2.2", "pre-shared keys differ", "'a'", "'b'"}},
    {"PreSharedKeyAsResponder",
     false,
     {"looking for peer configs matching 192.0.2.1[a]...192.0.2.2[b]", "selected peer config 'paris'",
      "tried 1 shared key for 'a' - 'b', but MAC mismatched", "generating IKE_AUTH response 1 [ N(AUTH_FAILED) ]"},
     IkeFault::kPreSharedKey,
     {"pre-shared keys differ", "'b'"}},
    {"IdentityAsResponder",
     false,
     {"looking for peer configs matching 192.0.2.1[a]...192.0.2.2[wrong]", "no matching peer config found",
      "peer supports MOBIKE", "generating IKE_AUTH response 1 [ N(AUTH_FAILED) ]"},
     IkeFault::kIdentity,
     {"192.0.2.1[a]...192.0.2.2[wrong]", "'a'...'b'"}},
    {"PeerIdentityAsInitiator",
     true,
     {"authentication of 'c' with pre-shared key successful", "constraint check failed: identity 'b' required ",
      "selected peer config 'paris' unacceptable: constraint checking failed", "no alternative config found"},
     IkeFault::kPeerIdentity,
     {"identity 'b' required"}},
    {"Silence",
     true,
     {"initiating IKE_SA paris[1] to 192.0.2.2", "retransmit 1 of request with message ID 0"},
     IkeFault::kNoAnswer,
     {"no answer so far", "192.0.2.2", "UDP 500/4500"}},
    {"SilenceForLong",
     true,
     {"initiating IKE_SA paris[1] to 192.0.2.2", "retransmit 5 of request with message ID 0",
      "giving up after 5 retransmits", "peer not responding, trying again (2/0)"},
     IkeFault::kNoAnswer,
     {"no answer from 192.0.2.2"}},
    {"Udp4500Blocked",
     true,
     {"initiating IKE_SA paris[1] to 192.0.2.2", "parsed IKE_SA_INIT response 0 [ SA KE No N(NATD_S_IP) ]",
      "retransmit 1 of request with message ID 1"},
     IkeFault::kNoAnswer,
     {"UDP 4500", "UDP 500 works"}},
    {"CertificateExpired",
     false,
     {"subject certificate invalid (valid from Jan 01 00:00:00 2024 to Jan 02 00:00:00 2024)",
      "no trusted RSA public key found for 'b'"},
     IkeFault::kCertificate,
     {"valid from Jan 01"}},
    {"KeyMissing", false, {"no shared key found for 'a' - 'c'"}, IkeFault::kMissingKey, {"no pre-shared key", "'a'"}},
    {"ForwarderAway",
     true,
     {"initiating IKE_SA paris[1] to 192.0.2.2", "no SPI: simplon-forwarder does not answer",
      "unable to allocate SPIs from kernel"},
     IkeFault::kForwarderAway,
     {"simplon-forwarder"}},
    {"SuiteRefused",
     true,
     {"inbound SA c0000001 refused: ESP suite AES_CBC/HMAC_SHA2_256_128, only AES_GCM_16 with 128 or 256 bits is "
      "supported",
      "unable to install inbound and outbound IPsec SA (SAD) in kernel"},
     IkeFault::kForwarderRefused,
     {"AES_CBC/HMAC_SHA2_256_128"}},
};

IkeAttempt attempt_of(const Case& c) {
  IkeAttempt attempt;
  attempt.initiator = c.initiator;
  attempt.local = "192.0.2.1";
  attempt.remote = "192.0.2.2";
  attempt.local_id = "a";
  attempt.remote_id = "b";
  attempt.ike_proposals = {"aes128-sha1-modp2048"};
  attempt.esp_proposals = {"aes128-sha1"};
  attempt.lines = c.lines;
  return attempt;
}

TEST(IkeDiagnosis, NamesTheCauseOfEveryFaultInTheCorpus) {
  for (const Case& c : kCorpus) {
    const auto found = diagnose(attempt_of(c));
    ASSERT_TRUE(found) << c.name;
    EXPECT_EQ(static_cast<int>(found->fault), static_cast<int>(c.fault)) << c.name << ": " << found->problem;
    for (const std::string& part : c.says) EXPECT_THAT(found->problem, HasSubstr(part)) << c.name;
    EXPECT_FALSE(found->hint.empty()) << c.name;
  }
}

TEST(IkeDiagnosis, SuccessIsNoFault) {
  const Case fine = {"",
                     true,
                     {"initiating IKE_SA paris[1] to 192.0.2.2", "parsed IKE_SA_INIT response 0 [ SA KE No ]",
                      "authentication of 'a' (myself) with pre-shared key", "establishing CHILD_SA paris.t1{1}",
                      "parsed IKE_AUTH response 1 [ IDr AUTH SA TSi TSr ]",
                      "CHILD_SA paris.t1{1} established with SPIs c7_i c8_o and TS 0.0.0.0/0 === 0.0.0.0/0"},
                     IkeFault::kNoAnswer,
                     {}};
  EXPECT_FALSE(diagnose(attempt_of(fine)));
  EXPECT_FALSE(diagnose(IkeAttempt{}));
}

TEST(IkeDiagnosis, ALostPacketThatWasSentAgainIsNoFault) {
  const Case lost = {"",
                     true,
                     {"initiating IKE_SA paris[1] to 192.0.2.2", "retransmit 1 of request with message ID 0",
                      "parsed IKE_SA_INIT response 0 [ SA KE No ]"},
                     IkeFault::kNoAnswer,
                     {}};
  EXPECT_FALSE(diagnose(attempt_of(lost)));
}

TEST(IkeDiagnosis, WhatTheKernelSaysExplainsSilence) {
  Case silent = kCorpus[11];
  ASSERT_STREQ(silent.name, "Silence");
  IkeAttempt attempt = attempt_of(silent);
  attempt.send_error = "Network is unreachable";
  const auto found = diagnose(attempt);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->fault, IkeFault::kNoRoute);
  EXPECT_THAT(found->problem, AllOf(HasSubstr("192.0.2.2"), HasSubstr("Network is unreachable")));
}

TEST(IkeDiagnosis, ACauseExplainsWhatAnInitiatorIsTold) {
  EXPECT_TRUE(is_explained_by(IkeFault::kRefusedAuth, IkeFault::kPreSharedKey));
  EXPECT_TRUE(is_explained_by(IkeFault::kRefusedInit, IkeFault::kIkeProposal));
  EXPECT_FALSE(is_explained_by(IkeFault::kRefusedAuth, IkeFault::kIkeProposal));
  EXPECT_FALSE(is_explained_by(IkeFault::kNoAnswer, IkeFault::kPreSharedKey));
}

TEST(IkeDiagnosis, AnUnknownPeerIsCalledThePeer) {
  IkeAttempt attempt = attempt_of(kCorpus[1]);
  attempt.remote.clear();
  const auto found = diagnose(attempt);
  ASSERT_TRUE(found);
  EXPECT_THAT(found->problem, HasSubstr("the peer offers"));
}

}  // namespace
}  // namespace simplon::ipsec
