// SPDX-License-Identifier: GPL-2.0-or-later
#include "ipsec/src/negotiation_observer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace simplon::ipsec {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using vici::Section;

constexpr const char* kLocal = "192.0.2.1";
constexpr const char* kOtherLocal = "192.0.2.9";

class NegotiationObserverTest : public ::testing::Test {
 protected:
  NegotiationObserverTest() {
    add("paris", 3, kLocal, "198.51.100.3");
    add("rome", 4, kLocal, "198.51.100.4");
    add("oslo", 5, kOtherLocal, "198.51.100.5");
    observer_.index_addresses();
  }

  void add(const std::string& name, std::uint32_t id, const char* local, const char* remote) {
    TunnelSpec& spec = tunnels_[name].wanted;
    spec.name = name;
    spec.id = TunnelId(id);
    spec.local = *IpAddress::parse(local);
    spec.remote = *IpAddress::parse(remote);
  }

  void log(std::uint32_t unique_id, const std::string& name, const std::string& line) {
    Section event;
    event.set("ikesa-name", name).set("ikesa-uniqueid", std::to_string(unique_id)).set("msg", line);
    EXPECT_FALSE(observer_.observe("log", event, clock_.now()));
  }

  /// All lines of a packet from `peer`, for whom charon has no configuration.
  void stranger(const std::string& peer, const char* local = kLocal) {
    const std::uint32_t id = ++last_id_;
    log(id, "(unnamed)", peer + " is initiating an IKE_SA");
    log(id, "(unnamed)", "no IKE config found for " + std::string(local) + "..." + peer + ", sending NO_PROPOSAL_CHOSEN");
    log(id, "(unnamed)", "generating IKE_SA_INIT response 0 [ N(NO_PROP) ]");
    log(id, "(unnamed)", "IKE_SA (unnamed)[" + std::to_string(id) + "] state change: CREATED => DESTROYING");
  }

  std::string problem(const std::string& name) const {
    const auto& diagnosis = tunnels_.at(name).diagnosis;
    return diagnosis ? diagnosis->problem : "";
  }
  void forget() {
    for (auto& [name, tunnel] : tunnels_) tunnel.forget_diagnosis();
  }

  FakeClock clock_;
  std::map<std::string, Tunnel> tunnels_;
  NegotiationObserver observer_{tunnels_};
  std::uint32_t last_id_ = 0;
};

TEST_F(NegotiationObserverTest, AStrangerConcernsEachTunnelAtItsAddress) {
  tunnels_["rome"].up = true;
  stranger("203.0.113.7");
  EXPECT_THAT(problem("paris"), HasSubstr("192.0.2.1...203.0.113.7"));
  EXPECT_EQ(problem("rome"), "") << "it is up";
  EXPECT_EQ(problem("oslo"), "") << "it is at another address";
}

TEST_F(NegotiationObserverTest, StrangersAreJudgedOnceASecondPerLocalAddress) {
  stranger("203.0.113.1");
  for (int i = 2; i < 100; ++i) stranger("203.0.113." + std::to_string(i));
  EXPECT_THAT(problem("paris"), HasSubstr("192.0.2.1...203.0.113.1 "));
  stranger("203.0.113.100", kOtherLocal);
  EXPECT_THAT(problem("oslo"), HasSubstr("203.0.113.100")) << "each address has its own second";

  clock_.advance(milliseconds(999));
  stranger("203.0.113.101");
  EXPECT_THAT(problem("paris"), HasSubstr("192.0.2.1...203.0.113.1 "));
  clock_.advance(milliseconds(1));
  stranger("203.0.113.102");
  EXPECT_THAT(problem("paris"), HasSubstr("203.0.113.102"));
  EXPECT_THAT(problem("rome"), HasSubstr("203.0.113.102"));
}

TEST_F(NegotiationObserverTest, OnlyTheLineWithItsAddressesIsJudged) {
  log(7, "(unnamed)", "no IKE config found for 192.0.2.1...203.0.113.7, sending NO_PROPOSAL_CHOSEN");
  EXPECT_NE(problem("paris"), "");
  forget();
  clock_.advance(milliseconds(5000));
  log(7, "(unnamed)", "generating IKE_SA_INIT response 0 [ N(NO_PROP) ]");
  EXPECT_EQ(problem("paris"), "");
  log(8, "(unnamed)", "no IKE config found for 192.0.2.1...203.0.113.8, sending NO_PROPOSAL_CHOSEN");
  EXPECT_THAT(problem("paris"), HasSubstr("203.0.113.8")) << "the line before does not count";
}

TEST_F(NegotiationObserverTest, NoStrangerKeepsATunnelFromItsPeersFailure) {
  stranger("203.0.113.7");
  log(50, "paris", "initiating IKE_SA paris[50] to 198.51.100.3");
  log(50, "paris", "parsed IKE_AUTH response 1 [ N(AUTH_FAILED) ]");
  log(50, "paris", "received AUTHENTICATION_FAILED notify error");
  EXPECT_THAT(problem("paris"), HasSubstr("pre-shared keys differ"));
  // A peer that is known by its address only: charon does not know ours that it asks for.
  log(51, "(unnamed)", "198.51.100.4 is initiating an IKE_SA");
  log(51, "(unnamed)", "no IKE config found for 192.0.2.9...198.51.100.4, sending NO_PROPOSAL_CHOSEN");
  EXPECT_THAT(problem("rome"), HasSubstr("192.0.2.9...198.51.100.4"));
  EXPECT_EQ(problem("oslo"), "");
}

TEST_F(NegotiationObserverTest, TheTunnelsOfNowAreConcerned) {
  tunnels_.erase("paris");
  add("bonn", 6, kLocal, "203.0.113.7");
  observer_.index_addresses();
  stranger("203.0.113.7");
  EXPECT_THAT(problem("bonn"), HasSubstr("192.0.2.1...203.0.113.7")) << "its peer";
  EXPECT_EQ(problem("rome"), "");
}

}  // namespace
}  // namespace simplon::ipsec
