// SPDX-License-Identifier: GPL-2.0-or-later
#include "bgp/src/frr_status.h"

#include <gmock/gmock.h>

#include "tests/unit/bgp/specs.h"

namespace simplon::bgp {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(FrrStatus, EstablishedNeighbor) {
  const auto sessions = parse_neighbors(read_data("neighbors_established.json")).value();
  ASSERT_THAT(sessions, SizeIs(1));
  const auto& session = sessions.at(address("10.0.0.2"));
  EXPECT_EQ(session.state, "Established");
  EXPECT_EQ(session.accepted, 3U);
  EXPECT_TRUE(session.was_established);
  EXPECT_TRUE(session.graceful_restart);
  EXPECT_TRUE(session.end_of_rib);
  EXPECT_EQ(session.sent, 1U);
  EXPECT_FALSE(session.prefix_limit_exceeded);
}

TEST(FrrStatus, NeighborOverThePrefixLimit) {
  const auto sessions = parse_neighbors(read_data("neighbors_prefix_limit.json")).value();
  const auto& session = sessions.at(address("10.0.0.2"));
  EXPECT_EQ(session.state, "Idle");
  EXPECT_TRUE(session.prefix_limit_exceeded);
  EXPECT_EQ(session.restart_in_seconds, 297U);
}

TEST(FrrStatus, BfdPeers) {
  EXPECT_EQ(parse_bfd_peers(read_data("bfd_up.json")).value().at(address("10.0.0.2")), "up");
  EXPECT_EQ(parse_bfd_peers(read_data("bfd_down.json")).value().at(address("10.0.0.2")), "down");
  EXPECT_THAT(parse_bfd_peers("[\n]\n").value(), IsEmpty());
}

TEST(FrrStatus, CountsAndRoutes) {
  EXPECT_EQ(parse_received_count(R"({"pfxCounter":2,"ribTableWalkCounters":{"Adj-in":3}})"), 3U);
  EXPECT_EQ(parse_is_connected(R"({"10.0.0.0/30":[{"protocol":"connected","selected":true}]})"), true);
  EXPECT_EQ(parse_is_connected(R"({"10.0.0.0/30":[{"protocol":"bgp","selected":true}]})"), false);
  EXPECT_EQ(parse_is_connected("{\"0.0.0.0/0\":[\n]}"), false);
  EXPECT_TRUE(bgp_is_attached("Name Connect Time\n-----\nbgp           00:00:43\nvnc  00:00:43\n"));
  EXPECT_FALSE(bgp_is_attached("Name Connect Time\n-----\nvnc           00:00:43\n"));
}

TEST(FrrStatus, EndOfRibIsThatOfEachNegotiatedFamily) {
  const auto has_it = [](const std::string& families, const std::string& received) {
    const auto text = R"({"10.0.0.2":{"neighborCapabilities":{"multiprotocolExtensions":{)" + families +
                      R"(}},"gracefulRestartInfo":{"endOfRibRecv":{)" + received + "}}}}";
    return parse_neighbors(text).value().at(address("10.0.0.2")).end_of_rib;
  };
  const std::string v4 = R"("ipv4Unicast":{"advertisedAndReceived":true})";
  const std::string v6 = R"("ipv6Unicast":{"advertisedAndReceived":true})";
  const std::string v6_ours = R"("ipv6Unicast":{"advertised":true})";
  EXPECT_FALSE(has_it(v4, ""));
  EXPECT_TRUE(has_it(v4, R"("ipv4Unicast":true)"));
  EXPECT_FALSE(has_it(v4 + "," + v6, R"("ipv4Unicast":true)"));
  EXPECT_TRUE(has_it(v4 + "," + v6, R"("ipv4Unicast":true,"ipv6Unicast":true)"));
  EXPECT_TRUE(has_it(v4 + "," + v6_ours, R"("ipv4Unicast":true)"));
  EXPECT_FALSE(has_it("", "")) << "RFC 4760 section 8: IPv4, without the capability";
  EXPECT_TRUE(has_it("", R"("ipv4Unicast":true)"));
}

TEST(FrrStatus, ABgpdThatWasJustStartedHasItsRoutesWhenItsNeighborsHaveAnnouncedThem) {
  using namespace std::chrono_literals;
  const auto neighbors = two_sites().neighbors;
  std::map<IpAddress, SessionView> sessions;
  EXPECT_TRUE(has_its_routes({}, sessions, 0s));
  EXPECT_FALSE(has_its_routes(neighbors, sessions, 0s));
  auto& first = sessions[neighbors[0].address];
  first.state = "Established";
  first.was_established = true;
  first.end_of_rib = true;
  auto& second = sessions[neighbors[1].address];
  second.state = "Active";
  EXPECT_FALSE(has_its_routes(neighbors, sessions, 119s));
  EXPECT_TRUE(has_its_routes(neighbors, sessions, 120s)) << "its neighbors have forgotten its routes as well";

  second.state = "Established";
  second.was_established = true;
  second.uptime_seconds = 29;
  EXPECT_FALSE(has_its_routes(neighbors, sessions, 0s)) << "its routes may be on their way";
  second.uptime_seconds = 30;
  EXPECT_TRUE(has_its_routes(neighbors, sessions, 0s)) << "without graceful restart nobody has to send End-of-RIB";
  second.graceful_restart = true;
  EXPECT_FALSE(has_its_routes(neighbors, sessions, 0s)) << "with it, it comes";
  second.end_of_rib = true;
  second.uptime_seconds = 0;
  EXPECT_TRUE(has_its_routes(neighbors, sessions, 0s));

  second = {};
  second.state = "Active";
  second.was_established = true;
  EXPECT_TRUE(has_its_routes(neighbors, sessions, 0s)) << "a session that ended since then took its routes along";
}

TEST(FrrStatus, NonsenseIsAnErrorOrEmptyNeverACrash) {
  for (const char* text : {"", "{", "null", "[1,2]", "\"x\"", "{\"10.0.0.2\":5}", "% Unknown command\n",
                           "{\"10.0.0.2\":{\"bgpState\":7,\"addressFamilyInfo\":[1],\"bgpTimerUpMsec\":-1}}",
                           "{\"ribTableWalkCounters\":{\"Adj-in\":-5}}", "[{\"peer\":5,\"status\":[]}]"}) {
    static_cast<void>(parse_neighbors(text));
    static_cast<void>(parse_bfd_peers(text));
    static_cast<void>(parse_received_count(text));
    static_cast<void>(parse_is_connected(text));
  }
  EXPECT_FALSE(parse_neighbors("% BGP instance not found"));
}

TEST(FrrStatus, NotificationsSinceTheSessionWasUp) {
  const auto last = parse_notifications(read_data("bgpd.log"));
  ASSERT_THAT(last, SizeIs(2));  // 10.0.0.3 came up after its own
  const auto& ours = last.at(address("10.0.0.2"));
  EXPECT_TRUE(ours.sent_by_us);
  EXPECT_EQ(ours.code, 2U);
  EXPECT_EQ(ours.subcode, 2U);
  EXPECT_EQ(ours.text, "OPEN Message Error/Bad Peer AS");
  EXPECT_FALSE(last.at(address("fd00:1::2")).sent_by_us);
  EXPECT_EQ(last.at(address("fd00:1::2")).at - ours.at, std::chrono::seconds(5));
}

TEST(FrrStatus, BrokenLogLinesArePassedOver) {
  EXPECT_THAT(parse_notifications("%NOTIFICATION: sent to neighbor\n2026/11/21 08:33:22 BGP: %NOTIFICATION: sent to neighbor x "
                                  "2/2 (a)\n2026/99/21 08:33:22 %NOTIFICATION: sent to neighbor 10.0.0.1 2/2 (a)\n"),
              IsEmpty());
}

TEST(FrrStatus, WordsOfANeighborAreNotBgpds) {
  const auto last = parse_notifications(
      "2026/11/21 08:33:22 BGP: [EC 33554454] 10.0.0.2(%NOTIFICATION: sent to neighbor 10.0.0.3 2/2 (x) rcvd UPDATE with errors\n"
      "2026/11/21 08:33:23 BGP: [HZN6M-XRM1G][EC 1] %NOTIFICATION: sent to neighbor 10.0.0.4 2/9 (\x1b[31mred\xff) 2 bytes\n"
      "2026/11/21 08:33:24 BGP: %NOTIFICATION: sent to neighbor 10.0.0.5 2/2 (no mark) 2 bytes\n"
      "2026/11/21 08:33:25 BGP: [%NOTIFICATION: sent to neighbor 10.0.0.6 2/2 (never closed) 2 bytes\n");
  ASSERT_THAT(last, SizeIs(2));
  EXPECT_EQ(last.at(address("10.0.0.4")).text, "?[31mred?");
  EXPECT_TRUE(last.contains(address("10.0.0.5")));
}

TEST(FrrStatus, AHostNameMayHaveAnyBytes) {
  const auto sessions = parse_neighbors("{\"10.0.0.2\":{\"hostname\":\"rt\xff\xfe\",\"bgpState\":\"Established\"},\"10.0.0.3\":{}}");
  ASSERT_TRUE(sessions);
  EXPECT_EQ(sessions->at(address("10.0.0.2")).state, "Established");
}

TEST(FrrStatus, Md5CountersAreSummed) {
  EXPECT_EQ(parse_md5_failures("TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure X\nTcpExt: 9 1 2 4 8\n"), 7U);
  EXPECT_EQ(parse_md5_failures("IpExt: a\nIpExt: 1\n"), std::nullopt);
  EXPECT_EQ(parse_md5_failures("TcpExt: A\n"), std::nullopt);
}

class DiagnosisTest : public ::testing::Test {
 protected:
  DiagnosisTest() {
    spec.password = "x";
    evidence.session.state = "Active";
    evidence.connected = true;
    evidence.now = std::chrono::system_clock::from_time_t(1795249844);
  }
  void notified(bool sent, unsigned code, unsigned subcode, int seconds_ago) {
    evidence.notification = Notification{sent, code, subcode, "words", evidence.now - std::chrono::seconds(seconds_ago)};
  }
  std::string problem() { return diagnose(spec, 65515, evidence).problem; }

  NeighborSpec spec = neighbor("site-a", "10.0.0.2", 65001);
  SessionEvidence evidence;
};

TEST_F(DiagnosisTest, EstablishedHasNoProblem) {
  evidence.session.state = "Established";
  EXPECT_EQ(problem(), "");
}

TEST_F(DiagnosisTest, PrefixLimit) {
  evidence.session.prefix_limit_exceeded = true;
  evidence.connected = false;
  EXPECT_EQ(problem(), "the neighbor announced more than 1000 prefixes");
}

TEST_F(DiagnosisTest, NoInterface) {
  evidence.connected = false;
  EXPECT_THAT(problem(), HasSubstr("no interface that is up has a network with 10.0.0.2"));
}

TEST_F(DiagnosisTest, WrongAs) {
  notified(true, 2, 2, 3);
  EXPECT_EQ(problem(), "the neighbor is in another AS than 65001");
  notified(false, 2, 2, 3);
  EXPECT_EQ(problem(), "the neighbor refuses our AS 65515");
}

TEST_F(DiagnosisTest, AnOldOpenErrorExplainsNothing) {
  notified(true, 2, 2, 300);
  EXPECT_THAT(problem(), HasSubstr("no TCP connection"));
}

TEST_F(DiagnosisTest, ShutDownByThePeer) {
  notified(false, 6, 2, 3000);
  EXPECT_EQ(problem(), "the neighbor shut the session down (3000 s ago)");
}

TEST_F(DiagnosisTest, NoCommonFamily) {
  notified(true, 2, 7, 1);
  EXPECT_EQ(problem(), "no address family in common with the neighbor");
}

TEST_F(DiagnosisTest, Ipv6NeighborNeedsALinkLocalAddressHere) {
  notified(true, 5, 0, 1);
  EXPECT_THAT(problem(), HasSubstr("no TCP connection"));
  spec.address = address("fd00:10::2");
  EXPECT_EQ(problem(), "our interface to the neighbor has no IPv6 link-local address");
}

TEST_F(DiagnosisTest, Md5) {
  evidence.md5_failures_of_some = true;
  EXPECT_THAT(diagnose(spec, 65515, evidence).hint, HasSubstr("of some neighbor of this domain do not match"));
  evidence.md5_failures = true;
  EXPECT_EQ(problem(), "TCP-MD5 signatures do not match");
  spec.password.clear();
  EXPECT_THAT(problem(), HasSubstr("no password is configured here"));
}

TEST_F(DiagnosisTest, BfdDown) {
  evidence.bfd_state = "down";
  EXPECT_EQ(problem(), "BFD gets no answer from 10.0.0.2");
}

TEST_F(DiagnosisTest, NoConnectionNamesThePasswordOnlyIfThereIsOne) {
  EXPECT_THAT(diagnose(spec, 65515, evidence).hint, HasSubstr("password"));
  spec.password.clear();
  EXPECT_THAT(diagnose(spec, 65515, evidence).hint, ::testing::Not(HasSubstr("password")));
}

}  // namespace
}  // namespace simplon::bgp
