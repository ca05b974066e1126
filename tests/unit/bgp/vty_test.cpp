// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>

#include "bgp/src/config_writer.h"
#include "bgp/src/frr_config.h"
#include "bgp/src/vty_client.h"
#include "tests/unit/bgp/fake_vty.h"
#include "tests/unit/bgp/specs.h"

namespace simplon::bgp {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::uint8_t> bytes(std::string_view text) { return {text.begin(), text.end()}; }

TEST(VtyReplyParser, ReplyInAnyPieces) {
  const auto stream = bytes(std::string_view("text\n\0\0\0\x0d", 9));
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    VtyReplyParser parser(1000);
    std::optional<VtyReply> reply;
    for (std::size_t at = 0; at < stream.size();) {
      std::size_t consumed = 0;
      const auto part = std::span(stream).subspan(at, std::min(piece, stream.size() - at));
      auto fed = parser.feed(part, consumed);
      ASSERT_TRUE(fed);
      at += consumed;
      if (*fed) reply = **fed;
    }
    ASSERT_TRUE(reply) << piece;
    EXPECT_EQ(reply->text, "text\n");
    EXPECT_EQ(reply->status, VtyReply::kConfigFailed);
  }
}

TEST(VtyReplyParser, StopsAtTheEndOfOneReply) {
  VtyReplyParser parser(1000);
  std::size_t consumed = 0;
  const auto stream = bytes(std::string_view("\0\0\0\0more", 8));
  ASSERT_TRUE(parser.feed(stream, consumed).value());
  EXPECT_EQ(consumed, 4U);
}

TEST(VtyReplyParser, NulInTextAndEndlessTextAreErrors) {
  std::size_t consumed = 0;
  EXPECT_FALSE(VtyReplyParser(1000).feed(bytes(std::string_view("a\0b", 3)), consumed));
  EXPECT_FALSE(VtyReplyParser(1000).feed(bytes(std::string_view("a\0\0b", 4)), consumed));
  EXPECT_FALSE(VtyReplyParser(3).feed(bytes("abcd"), consumed));
  EXPECT_TRUE(VtyReplyParser(3).feed(bytes("abc"), consumed));
}

class VtyTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<VtyClient>> connect(const std::string& path) {
    return run(io, VtyClient::connect(io.get_executor(), path, 300ms));
  }

  boost::asio::io_context io;
};

TEST_F(VtyTest, CommandsAndStatus) {
  FakeVty daemon(io, [](const std::string& command) {
    return command == "foo" ? VtyReply{VtyReply::kNoMatch, "% Unknown command: foo\n"}
                            : VtyReply{VtyReply::kSuccess, std::string(100000, 'x')};
  });
  daemon.piece = 4093;
  auto vty = connect(daemon.path());
  ASSERT_TRUE(vty) << vty.error().message();
  EXPECT_EQ(run(io, (*vty)->command("show something"))->text.size(), 100000U);
  const auto unknown = run(io, (*vty)->command("foo"));
  ASSERT_TRUE(unknown);
  EXPECT_EQ(unknown->status, VtyReply::kNoMatch);
  EXPECT_THAT(daemon.commands, ElementsAre("enable", "show something", "foo"));
}

TEST_F(VtyTest, NoDaemonSilenceAndEndAreUnavailable) {
  EXPECT_EQ(connect("/nonexistent/bgpd.vty").error().code, ErrorCode::kUnavailable);
  FakeVty daemon(io, [](const std::string& command) {
    return command == "hang" ? std::nullopt : std::optional(VtyReply{});
  });
  daemon.close_at = "die";
  auto vty = connect(daemon.path());
  ASSERT_TRUE(vty);
  const auto silent = run(io, (*vty)->command("hang"));
  EXPECT_EQ(silent.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(silent.error().what, HasSubstr("does not answer"));
  vty = connect(daemon.path());
  // The fake serves one connection at a time: this one is only accepted once the first is closed.
  ASSERT_FALSE(vty);
}

TEST_F(VtyTest, EndOfTheDaemonIsUnavailable) {
  FakeVty daemon(io, [](const std::string&) { return VtyReply{}; });
  daemon.close_at = "die";
  auto vty = connect(daemon.path());
  ASSERT_TRUE(vty);
  const auto dead = run(io, (*vty)->command("die"));
  EXPECT_EQ(dead.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(dead.error().what, HasSubstr("closed"));
}

/// bgpd that shows `running` until `end` was said, then `after`.
class WriterTest : public VtyTest {
 protected:
  Result<void> write(std::string running, std::string after, const SpeakerSpec& wanted) {
    bool written = false;
    FakeVty daemon(io, [&](const std::string& command) -> std::optional<VtyReply> {
      if (command == "end") written = true;
      if (command == "show running-config") return VtyReply{0, written ? after : running};
      for (const auto& [refused, reply] : refusals) {
        if (command == refused) return reply;
      }
      return VtyReply{};
    });
    daemon.close_at = dies_at;
    auto vty = connect(daemon.path());
    auto result = run(io, write_config(**vty, "bgpd", render(wanted, 2620).bgpd, false, owed));
    commands = daemon.commands;
    return result;
  }

  const std::string complete = render(two_sites(), 2620).bgpd;
  std::vector<std::pair<std::string, VtyReply>> refusals;
  std::vector<std::string> commands;
  std::string dies_at;
  OwedResets owed;
};

TEST_F(WriterTest, NothingToDoIsNotConfigured) {
  ASSERT_TRUE(write(complete, complete, two_sites()));
  EXPECT_THAT(commands, ElementsAre("enable", "show running-config"));
}

TEST_F(WriterTest, AResetThatWasInterruptedIsMadeUpFor) {
  auto wanted = two_sites();
  wanted.neighbors[0].bfd = !wanted.neighbors[0].bfd;
  const std::string changed = render(wanted, 2620).bgpd;
  const std::string reset = "clear bgp " + wanted.neighbors[0].address.to_string();
  dies_at = "end";
  EXPECT_EQ(write(complete, changed, wanted).error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(commands, Not(Contains(reset)));
  // bgpd has every line of it by now.
  dies_at.clear();
  ASSERT_TRUE(write(changed, changed, wanted));
  EXPECT_THAT(commands, ElementsAre("enable", "show running-config", reset));
  ASSERT_TRUE(write(changed, changed, wanted));
  EXPECT_THAT(commands, ElementsAre("enable", "show running-config"));
}

TEST_F(WriterTest, ARefusalOfOneNeighborLeavesTheResetsOfOthers) {
  auto wanted = two_sites();
  wanted.neighbors[0].bfd = !wanted.neighbors[0].bfd;
  wanted.originate.push_back(prefix("10.30.0.0/16"));
  refusals.emplace_back("network 10.30.0.0/16", VtyReply{2, "no"});
  EXPECT_FALSE(write(complete, render(wanted, 2620).bgpd, wanted));
  EXPECT_THAT(commands, Contains("clear bgp " + wanted.neighbors[0].address.to_string()));
}

TEST_F(WriterTest, DifferenceIsSentAndReadBack) {
  auto wanted = two_sites();
  wanted.originate.push_back(prefix("10.30.0.0/16"));
  ASSERT_TRUE(write(complete, render(wanted, 2620).bgpd, wanted));
  EXPECT_THAT(commands, ElementsAre("enable", "show running-config", "configure terminal", "router bgp 65515",
                                    "address-family ipv4 unicast", "network 10.30.0.0/16", "exit-address-family", "exit",
                                    "end", "show running-config"));
}

TEST_F(WriterTest, WhatDoesNotStickIsAnErrorWithoutPasswords) {
  auto wanted = two_sites();
  wanted.neighbors[0].password = "n3w";
  const auto result = write(complete, complete, wanted);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kBug);
  EXPECT_THAT(result.error().what, HasSubstr("neighbor 169.254.10.2 password <hidden>"));
  EXPECT_THAT(result.error().message(), Not(HasSubstr("n3w")));
}

TEST_F(WriterTest, RefusedCommandIsNamedAndTheOthersAreStillSent) {
  auto wanted = two_sites();
  wanted.originate.push_back(prefix("10.30.0.0/16"));
  wanted.originate.push_back(prefix("10.31.0.0/16"));
  refusals = {{"network 10.30.0.0/16", {VtyReply::kConfigFailed, "% Malformed\n"}}};
  const auto result = write(complete, complete, wanted);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(result.error().what, HasSubstr("bgpd refuses 'network 10.30.0.0/16' (status 13): % Malformed"));
  EXPECT_THAT(commands, Contains("network 10.31.0.0/16"));
  EXPECT_EQ(commands.back(), "end");
}

TEST_F(WriterTest, NothingIsSentIntoAContextThatWasRefused) {
  refusals = {{"router bgp 65515", {VtyReply::kConfigFailed, "BGP is already running\n"}}};
  ASSERT_FALSE(write("hostname x\n", complete, two_sites()));
  EXPECT_THAT(commands, Not(Contains(HasSubstr("remote-as"))));
}

TEST_F(WriterTest, NeighborWithoutItsMd5KeyIsRemoved) {
  refusals = {{"neighbor 169.254.10.2 password s3cret",
               {VtyReply::kConfigFailed, "% Error while applying TCP-Sig: s3cret\n"}}};
  const auto result = write("hostname x\n", complete, two_sites());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(result.error().hint, HasSubstr("optmem_max"));
  EXPECT_THAT(result.error().message(), Not(HasSubstr("s3cret")));
  EXPECT_THAT(commands, Contains("no neighbor 169.254.10.2"));
  EXPECT_THAT(commands, Not(Contains("neighbor 169.254.10.2 activate")));
  EXPECT_THAT(commands, Contains("neighbor fd00:1::2 activate"));
}

TEST_F(WriterTest, ChangeOfBfdResetsTheNeighbor) {
  auto wanted = two_sites();
  wanted.neighbors[0].bfd = false;
  ASSERT_TRUE(write(complete, render(wanted, 2620).bgpd, wanted));
  EXPECT_THAT(commands, Contains("clear bgp 169.254.10.2"));
}

TEST_F(WriterTest, AHigherPrefixLimitRestartsOnlyTheSessionThatTheOldOneEnded) {
  auto wanted = two_sites();
  for (auto& neighbor : wanted.neighbors) neighbor.max_prefixes += 10;
  refusals = {{"show bgp neighbors json",
               {VtyReply::kSuccess, R"({"169.254.10.2": {"bgpState": "Idle", "prefixesConfigExceedMax": true},
                                        "fd00:1::2": {"bgpState": "Established"}})"}}};
  ASSERT_TRUE(write(complete, render(wanted, 2620).bgpd, wanted));
  EXPECT_THAT(commands, Contains("clear bgp 169.254.10.2"));
  EXPECT_THAT(commands, Not(Contains("clear bgp fd00:1::2")));
}

TEST_F(WriterTest, WithoutAHigherPrefixLimitNobodyIsAsked) {
  auto wanted = two_sites();
  for (auto& neighbor : wanted.neighbors) neighbor.max_prefixes -= 10;
  ASSERT_TRUE(write(complete, render(wanted, 2620).bgpd, wanted));
  EXPECT_THAT(commands, Not(Contains(HasSubstr("show bgp"))));
  EXPECT_THAT(commands, Not(Contains(HasSubstr("clear"))));
}

}  // namespace
}  // namespace simplon::bgp
