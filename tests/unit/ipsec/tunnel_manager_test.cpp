// SPDX-License-Identifier: GPL-2.0-or-later
#include <utility>

#include "ipsec/tunnel_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <boost/asio/co_spawn.hpp>

#include <chrono>
#include <filesystem>
#include <optional>

#include "ipsec/vici/connection.h"
#include "tests/unit/ipsec/fake_charon.h"

namespace simplon::ipsec {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class TunnelManagerTest : public ::testing::Test {
 protected:
  TunnelManagerTest() {
    directory_ = std::filesystem::temp_directory_path() / ("simplon-vici-" + std::to_string(::getpid()));
    std::filesystem::create_directories(directory_);
    path_ = directory_ / "charon.vici";
    charon_ = std::make_unique<FakeCharon>(io_, path_);
    charon_->listen();
    start();
  }
  ~TunnelManagerTest() override {
    manager_.reset();
    charon_.reset();
    io_.run_for(milliseconds(50));
    std::filesystem::remove_all(directory_);
  }

  /// A life of simplond.
  void start() { manager_ = TunnelManager::create(io_, path_); }

  template <class T>
  T wait(boost::asio::awaitable<T> awaited) {
    std::optional<T> result;
    boost::asio::co_spawn(io_, std::move(awaited),
                          [&](const std::exception_ptr&, T value) { result = std::move(value); });
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return std::move(*result);
  }

  bool until(const std::function<bool()>& condition, seconds limit = seconds(10)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      if (std::chrono::steady_clock::now() >= deadline) return false;
      if (io_.stopped()) io_.restart();
      io_.run_one_for(milliseconds(10));
    }
    return true;
  }

  TunnelStatus status(const std::string& name) {
    for (TunnelStatus& each : wait(manager_->status())) {
      if (each.name == name) return each;
    }
    ADD_FAILURE() << "no status of " << name;
    return {};
  }
  bool is(const std::string& name, TunnelState state) {
    return until([&] { return status(name).state == state; });
  }

  static TunnelSpec spec(const std::string& name, std::uint32_t id, std::uint8_t host = 2) {
    TunnelSpec result;
    result.name = name;
    result.id = TunnelId(id);
    result.local = IpAddress::v4(0x7f000001);
    result.remote = IpAddress::v4({192, 0, 2, host});
    result.local_id = "gw1";
    result.remote_id = name;
    result.psk = "key of " + name;
    return result;
  }
  Result<void> want(std::vector<TunnelSpec> wanted) { return wait(manager_->reconcile(std::move(wanted))); }

  boost::asio::io_context io_;
  std::filesystem::path directory_;
  std::string path_;
  std::unique_ptr<FakeCharon> charon_;
  std::unique_ptr<TunnelManager> manager_;
};

TEST_F(TunnelManagerTest, LoadsKeysThenConnectionsThenInitiates) {
  ASSERT_TRUE(want({spec("paris", 3), spec("rome", 4, 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_TRUE(is("rome", TunnelState::kUp));
  EXPECT_EQ(charon_->secrets["simplon-paris"], "key of paris");
  EXPECT_EQ(charon_->connections["rome"].section("children")->entries().front().name, "rome.t4");
  EXPECT_THAT(charon_->commands(),
              ElementsAre("list-conns", "get-shared", "load-shared simplon-paris", "load-conn paris",
                          "load-shared simplon-rome", "load-conn rome", "initiate paris", "initiate rome"));
  const TunnelStatus paris = status("paris");
  EXPECT_EQ(paris.problem, "");
  EXPECT_EQ(paris.ike_state, "ESTABLISHED");
  ASSERT_EQ(paris.children.size(), 1u);
  EXPECT_EQ(paris.children[0].spi_out, 0xbd42495fu);
  ASSERT_TRUE(paris.established_in_ms);
  EXPECT_LT(*paris.established_in_ms, 5000u);
}

TEST_F(TunnelManagerTest, ReconcileIsIdempotent) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  charon_->forget_commands();
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_THAT(charon_->commands(), IsEmpty());
}

TEST_F(TunnelManagerTest, ANewLifeAdoptsWhatCharonHas) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  start();
  charon_->forget_commands();
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  ASSERT_EQ(charon_->sas.size(), 1u);
  EXPECT_EQ(charon_->sas.front().unique_id, before);
  EXPECT_EQ(charon_->count("initiate paris"), 0u);
}

TEST_F(TunnelManagerTest, ANewLifeKeepsATunnelWhoseKeyIsGone) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  start();
  charon_->forget_commands();
  auto kept = spec("paris", 3);
  kept.psk.clear();
  kept.keep_as_is = true;
  ASSERT_TRUE(want({kept}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  ASSERT_EQ(charon_->sas.size(), 1u);
  EXPECT_EQ(charon_->sas.front().unique_id, before);
  EXPECT_EQ(charon_->secrets.count("simplon-paris"), 1u);
  EXPECT_EQ(charon_->connections.count("paris"), 1u);
  // The key is back: it is loaded, and nobody notices.
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_EQ(charon_->sas.front().unique_id, before);
}

TEST_F(TunnelManagerTest, ANewLifeRemovesWhatNobodyWantsAnyMore) {
  ASSERT_TRUE(want({spec("paris", 3), spec("rome", 4, 3)}));
  ASSERT_TRUE(is("rome", TunnelState::kUp));
  // Somebody else's connection and key stay.
  vici::Section foreign;
  foreign.set("children", vici::Section{}.set("net", vici::Section{}));
  charon_->connections["foreign"] = foreign;
  charon_->secrets["ike-foreign"] = "x";
  start();
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_EQ(charon_->connections.count("rome"), 0u);
  EXPECT_EQ(charon_->secrets.count("simplon-rome"), 0u);
  EXPECT_EQ(charon_->connections.count("foreign"), 1u);
  EXPECT_EQ(charon_->secrets.count("ike-foreign"), 1u);
  ASSERT_EQ(charon_->sas.size(), 1u);
  EXPECT_EQ(charon_->sas.front().name, "paris");
}

TEST_F(TunnelManagerTest, ANewLifeReplacesAnSaOfAnotherTunnelId) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  start();
  ASSERT_TRUE(want({spec("paris", 9)}));
  EXPECT_TRUE(until([&] { return charon_->sas.size() == 1 && charon_->sas.front().child == "paris.t9"; }));
}

TEST_F(TunnelManagerTest, ARemovedTunnelIsUnloadedAndItsSasEnd) {
  ASSERT_TRUE(want({spec("paris", 3), spec("rome", 4, 3)}));
  ASSERT_TRUE(is("rome", TunnelState::kUp));
  charon_->forget_commands();
  ASSERT_TRUE(want({spec("rome", 4, 3)}));
  EXPECT_THAT(charon_->commands(), ElementsAre("unload-conn paris", "terminate 1", "unload-shared simplon-paris",
                                               "unload-shared simplon-paris/unproven"));
  ASSERT_EQ(charon_->sas.size(), 1u);
  EXPECT_EQ(charon_->sas.front().name, "rome");
}

TEST_F(TunnelManagerTest, ANewKeyIsProvenBesideTheSaThatForwards) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  charon_->forget_commands();
  TunnelSpec changed = spec("paris", 3);
  changed.psk = "another";
  ASSERT_TRUE(want({changed}));
  EXPECT_EQ(charon_->secrets["simplon-paris"], "another");
  ASSERT_TRUE(until([&] { return charon_->sas.size() == 2; })) << "the successor is there before the old one goes";
  ASSERT_TRUE(until([&] { return !status("paris").outdated; }));
  EXPECT_EQ(charon_->sas.size(), 2u) << "packets may be under way";
  ASSERT_TRUE(until([&] { return charon_->sas.size() == 1; }));
  EXPECT_NE(charon_->sas.front().unique_id, before);
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_THAT(charon_->commands(), ElementsAre("load-shared simplon-paris", "load-shared simplon-paris/unproven", "initiate paris",
                                               "unload-shared simplon-paris/unproven", "terminate " + std::to_string(before)));
}

TEST_F(TunnelManagerTest, AKeyThePeerRefusesTakesNothingDown) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  charon_->peers["paris"] = FakeCharon::Peer::kRefusesAuth;
  TunnelSpec changed = spec("paris", 3);
  changed.psk = "another";
  ASSERT_TRUE(want({changed}));
  EXPECT_TRUE(status("paris").outdated) << "from the moment the key is loaded";
  ASSERT_TRUE(until([&] { return !status("paris").problem.empty(); }));
  EXPECT_THAT(status("paris").problem, AllOf(HasSubstr("SAs of the key before"), HasSubstr("pre-shared keys differ")));
  EXPECT_EQ(status("paris").state, TunnelState::kUp);
  ASSERT_TRUE(until([&] { return charon_->count("initiate paris") >= 3; })) << "it is tried again";
  ASSERT_EQ(charon_->sas.size(), 1u);
  EXPECT_EQ(charon_->sas.front().unique_id, before);

  // The key before is what the SA was authenticated with: nothing is negotiated.
  charon_->forget_commands();
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_FALSE(status("paris").outdated);
  EXPECT_EQ(status("paris").problem, "");
  io_.restart();
  io_.run_for(milliseconds(1500));
  EXPECT_THAT(charon_->commands(), ElementsAre("load-shared simplon-paris", "unload-shared simplon-paris/unproven"));
  EXPECT_EQ(charon_->sas.front().unique_id, before);
}

TEST_F(TunnelManagerTest, ANewLifeDoesNotTakeAnUnprovenKeyForAGoodOne) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  charon_->peers["paris"] = FakeCharon::Peer::kRefusesAuth;
  TunnelSpec changed = spec("paris", 3);
  changed.psk = "another";
  ASSERT_TRUE(want({changed}));
  ASSERT_TRUE(until([&] { return !status("paris").problem.empty(); }));
  start();
  ASSERT_TRUE(want({changed}));
  EXPECT_TRUE(status("paris").outdated);
  ASSERT_TRUE(until([&] { return !status("paris").problem.empty(); }));
  EXPECT_EQ(charon_->sas.front().unique_id, before) << "the SAs of the key before go on";
  // The peer has the key at last.
  charon_->peers["paris"] = FakeCharon::Peer::kAccepts;
  ASSERT_TRUE(until([&] { return charon_->sas.size() == 1 && charon_->sas.front().unique_id != before; }));
  EXPECT_FALSE(status("paris").outdated);
  EXPECT_EQ(charon_->secrets.count("simplon-paris/unproven"), 0u);
  start();
  ASSERT_TRUE(want({changed}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_FALSE(status("paris").outdated) << "it is proven";
}

TEST_F(TunnelManagerTest, APeerThatTakesTheNewKeyLaterEndsTheWait) {
  TunnelSpec passive = spec("paris", 3);
  passive.initiate = false;
  ASSERT_TRUE(want({passive}));
  const auto before = charon_->peer_initiates("paris", "paris.t3");
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  passive.psk = "another";
  ASSERT_TRUE(want({passive}));
  EXPECT_TRUE(status("paris").outdated);
  io_.restart();
  io_.run_for(milliseconds(200));
  EXPECT_EQ(charon_->count("initiate paris"), 0u) << "it may not";
  const auto after = charon_->peer_initiates("paris", "paris.t3");
  ASSERT_TRUE(until([&] { return !status("paris").outdated; }));
  ASSERT_TRUE(until([&] { return charon_->sas.size() == 1; }));
  EXPECT_NE(after, before);
  EXPECT_EQ(charon_->sas.front().unique_id, after);
}

TEST_F(TunnelManagerTest, AnotherPeerAddressIsNegotiatedAgain) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  ASSERT_TRUE(want({spec("paris", 3, 77)}));
  EXPECT_TRUE(until([&] { return charon_->sas.size() == 1 && charon_->sas.front().remote == "192.0.2.77"; }));
}

TEST_F(TunnelManagerTest, ARefusedProposalIsAnErrorThatNamesTunnelAndProposal) {
  TunnelSpec bad = spec("paris", 3);
  bad.esp_proposals = {"nonsense"};
  const auto result = want({bad, spec("rome", 4, 3)});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(result.error().what, AllOf(HasSubstr("paris"), HasSubstr("nonsense")));
  EXPECT_TRUE(is("rome", TunnelState::kUp)) << "one bad tunnel must not hold up the others";
  EXPECT_THAT(status("paris").problem, HasSubstr("nonsense"));
  ASSERT_TRUE(want({spec("paris", 3), spec("rome", 4, 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
}

TEST_F(TunnelManagerTest, ARefusalIsNotLostWhenAnotherTunnelIsToldSomethingMeanwhile) {
  ASSERT_TRUE(want({spec("rome", 4, 3)}));
  ASSERT_TRUE(is("rome", TunnelState::kUp));
  TunnelSpec bad = spec("paris", 3);
  bad.esp_proposals = {"nonsense"};
  bool told = false;
  charon_->on_command = [&](const std::string& command) {
    if (command != "load-conn") return;
    charon_->on_command = nullptr;
    boost::asio::co_spawn(io_, manager_->up("rome"), [&](const std::exception_ptr&, Result<void>) { told = true; });
  };
  const auto result = want({bad, spec("rome", 4, 3)});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(result.error().what, AllOf(HasSubstr("paris"), HasSubstr("nonsense")));
  EXPECT_TRUE(until([&] { return told; }));
  EXPECT_TRUE(is("rome", TunnelState::kUp));
}

TEST_F(TunnelManagerTest, ARefusalOfWhatNobodyWantsAnyMoreIsNoError) {
  TunnelSpec bad = spec("paris", 3);
  bad.esp_proposals = {"nonsense"};
  std::optional<Result<void>> corrected;
  charon_->on_command = [&](const std::string& command) {
    if (command != "load-conn") return;
    charon_->on_command = nullptr;
    boost::asio::co_spawn(io_, manager_->reconcile({spec("paris", 3)}),
                          [&](const std::exception_ptr&, Result<void> result) { corrected = std::move(result); });
  };
  boost::asio::co_spawn(io_, manager_->reconcile({bad}), [](const std::exception_ptr&, Result<void>) {});
  ASSERT_TRUE(until([&] { return corrected.has_value(); }));
  EXPECT_TRUE(*corrected);
  EXPECT_TRUE(is("paris", TunnelState::kUp));
}

TEST_F(TunnelManagerTest, TunnelsWithTheSameIdentitiesDoNotReplaceEachOther) {
  TunnelSpec twin = spec("paris-2", 4, 3);
  twin.remote_id = "paris";
  ASSERT_TRUE(want({spec("paris", 3), twin}));
  EXPECT_EQ(charon_->connections["paris"].text("unique"), "never");
  EXPECT_EQ(charon_->connections["paris-2"].text("unique"), "never");
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_EQ(charon_->connections["paris"].text("unique"), "no");
}

TEST_F(TunnelManagerTest, WithoutCharonItSaysSoAndLoadsLater) {
  charon_->die();
  const auto before = std::chrono::steady_clock::now();
  const auto result = want({spec("paris", 3)});
  EXPECT_LT(std::chrono::steady_clock::now() - before, seconds(3)) << "nobody waits for a charon that is not there";
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(manager_->connected());
  EXPECT_THAT(status("paris").problem, StartsWith("charon does not answer"));
  charon_->listen();
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_TRUE(manager_->connected());
}

TEST_F(TunnelManagerTest, ATunnelIsTakenDownWithACharonThatCameBackAMomentAgo) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  charon_->die();
  ASSERT_TRUE(until([&] { return !manager_->connected(); }));
  const auto refused = wait(manager_->down("paris"));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, StartsWith("tunnel 'paris' is taken down, but charon could not be told: "));
  charon_->listen();
  charon_->forget_commands();
  EXPECT_TRUE(wait(manager_->down("paris")));
  EXPECT_EQ(charon_->count("load-conn paris"), 0u);
}

TEST_F(TunnelManagerTest, ACharonThatHangsIsUnavailable) {
  charon_->hangs.insert("load-conn");
  const auto before = std::chrono::steady_clock::now();
  const auto result = want({spec("paris", 3)});
  EXPECT_LT(std::chrono::steady_clock::now() - before, seconds(7));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnavailable);
  charon_->hangs.clear();
  EXPECT_TRUE(is("paris", TunnelState::kUp));
}

TEST_F(TunnelManagerTest, ARestartedCharonIsLoadedAgain) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  charon_->die();
  ASSERT_TRUE(until([&] { return !manager_->connected(); }));
  charon_->forget_commands();
  charon_->listen();
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_EQ(charon_->secrets["simplon-paris"], "key of paris");
  EXPECT_EQ(charon_->count("load-conn paris"), 1u);
  EXPECT_EQ(charon_->count("initiate paris"), 1u);
}

TEST_F(TunnelManagerTest, ACharonThatLivedOnWithoutUsIsNotNegotiatedWithAgain) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  charon_->hang_up();
  ASSERT_TRUE(until([&] { return !manager_->connected(); }));
  charon_->listen();
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  io_.restart();
  io_.run_for(milliseconds(300));
  ASSERT_EQ(charon_->sas.size(), 1u);
  EXPECT_EQ(charon_->sas.front().unique_id, before);
}

TEST_F(TunnelManagerTest, WhatChangedWhileACharonLivedOnWithoutUsIsNegotiated) {
  ASSERT_TRUE(want({spec("paris", 3), spec("rome", 4, 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  ASSERT_TRUE(is("rome", TunnelState::kUp));
  const auto before = charon_->sas;
  charon_->hang_up();
  ASSERT_TRUE(until([&] { return !manager_->connected(); }));
  TunnelSpec paris = spec("paris", 3);
  paris.esp_proposals = {"aes256gcm16-ecp384"};
  TunnelSpec rome = spec("rome", 4, 3);
  rome.psk = "another";
  ASSERT_FALSE(want({paris, rome}));
  charon_->listen();
  const auto has = [&](const std::string& name) {
    return std::any_of(charon_->sas.begin(), charon_->sas.end(), [&](const auto& sa) {
      return sa.name == name && sa.unique_id > before.back().unique_id;
    });
  };
  EXPECT_TRUE(until([&] { return charon_->sas.size() == 2 && has("paris") && has("rome"); }))
      << "new ones, and the old ones ended";
  EXPECT_FALSE(status("rome").outdated);
}

TEST_F(TunnelManagerTest, AKeyThatIsNotProvenYetIsProvenAfterALossOfTheConnection) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  charon_->peers["paris"] = FakeCharon::Peer::kRefusesAuth;
  TunnelSpec changed = spec("paris", 3);
  changed.psk = "another";
  ASSERT_TRUE(want({changed}));
  ASSERT_TRUE(until([&] { return charon_->count("initiate paris") == 2; }));
  charon_->hang_up();
  ASSERT_TRUE(until([&] { return !manager_->connected(); }));
  charon_->listen();
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_TRUE(status("paris").outdated);
  EXPECT_TRUE(until([&] { return charon_->count("initiate paris") == 3; }));
}

TEST_F(TunnelManagerTest, AnIkeSaThatIsBeingDeletedIsReplaced) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  charon_->begins_to_delete("paris");
  EXPECT_TRUE(until([&] { return charon_->sas.size() == 2; }, seconds(4)))
      << "the peer's answer to the deletion may take half a minute";
  EXPECT_TRUE(is("paris", TunnelState::kUp));
}

TEST_F(TunnelManagerTest, ATunnelThatEndsIsInitiatedAgain) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  charon_->peer_terminates("paris");
  EXPECT_TRUE(until([&] { return charon_->sas.size() == 1 && charon_->sas.front().unique_id != before; }, seconds(5)));
}

TEST_F(TunnelManagerTest, ALostChildGetsTimeBeforeTheIkeSaIsReplaced) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = std::chrono::steady_clock::now();
  charon_->peer_deletes_child("paris");
  ASSERT_TRUE(is("paris", TunnelState::kIkeOnly));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_GE(std::chrono::steady_clock::now() - before, seconds(1));
  EXPECT_EQ(charon_->sas.size(), 1u);
}

TEST_F(TunnelManagerTest, ThePeersOwnAttemptIsNotDoubled) {
  TunnelSpec passive = spec("paris", 3);
  passive.initiate = false;
  ASSERT_TRUE(want({passive}));
  EXPECT_THAT(status("paris").problem, HasSubstr("waiting for the peer"));
  charon_->peer_initiates("paris", "paris.t3");
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_EQ(charon_->count("initiate paris"), 0u);
}

TEST_F(TunnelManagerTest, RefusedAuthenticationIsExplainedAndTriedAgain) {
  charon_->peers["paris"] = FakeCharon::Peer::kRefusesAuth;
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(until([&] { return !status("paris").hint.empty(); }));
  EXPECT_THAT(status("paris").problem, HasSubstr("pre-shared keys differ"));
  EXPECT_THAT(status("paris").problem, Not(HasSubstr("key of paris")));
  charon_->peers["paris"] = FakeCharon::Peer::kAccepts;
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_EQ(status("paris").problem, "");
}

TEST_F(TunnelManagerTest, ARefusedChildIsExplainedBesideTheIkeSa) {
  charon_->peers["paris"] = FakeCharon::Peer::kRefusesChild;
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kIkeOnly));
  EXPECT_THAT(status("paris").problem, HasSubstr("phase 1 is fine"));
}

TEST_F(TunnelManagerTest, ASilentPeerIsLeftToCharonsRetransmissions) {
  charon_->peers["paris"] = FakeCharon::Peer::kSilent;
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kConnecting));
  EXPECT_THAT(status("paris").problem, HasSubstr("192.0.2.2"));
  io_.restart();
  io_.run_for(milliseconds(2500));
  EXPECT_EQ(charon_->count("initiate paris"), 1u);
}

TEST_F(TunnelManagerTest, DownHoldsUntilUp) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  ASSERT_TRUE(wait(manager_->down("paris")));
  EXPECT_TRUE(is("paris", TunnelState::kDown));
  EXPECT_THAT(status("paris").problem, HasSubstr("operator"));
  EXPECT_EQ(charon_->connections.count("paris"), 0u) << "the peer must be refused too";
  charon_->forget_commands();
  ASSERT_TRUE(want({spec("paris", 3)}));
  io_.restart();
  io_.run_for(milliseconds(2500));
  EXPECT_THAT(charon_->commands(), Not(Contains("initiate paris")));
  ASSERT_TRUE(wait(manager_->up("paris")));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
}

/// charon forgets an IKE_SA that ends when it is told to end it once more, and sends its DELETE no more.
TEST_F(TunnelManagerTest, ADeletionIsNotCutShort) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  charon_->peer_answers_no_deletion = true;
  ASSERT_TRUE(wait(manager_->down("paris")));
  io_.restart();
  io_.run_for(milliseconds(2500));
  EXPECT_EQ(charon_->destroyed_without_notice, 0u);
  ASSERT_EQ(charon_->sas.size(), 1u);
  EXPECT_EQ(charon_->sas.front().state, "DELETING");
}

TEST_F(TunnelManagerTest, AKeyFileLiftsNoHold) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  ASSERT_TRUE(wait(manager_->down("paris")));
  TunnelSpec unreadable = spec("paris", 3);
  unreadable.psk.clear();
  unreadable.keep_as_is = true;
  ASSERT_TRUE(want({unreadable}));
  TunnelSpec renewed = spec("paris", 3);
  renewed.psk = "another";
  ASSERT_TRUE(want({renewed}));
  io_.restart();
  io_.run_for(milliseconds(1500));
  EXPECT_EQ(charon_->connections.count("paris"), 0u);
  ASSERT_TRUE(wait(manager_->up("paris")));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_EQ(charon_->secrets["simplon-paris"], "another");
  // A change of the tunnel itself does.
  ASSERT_TRUE(wait(manager_->down("paris")));
  renewed.dpd_delay = seconds(77);
  ASSERT_TRUE(want({renewed}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
}

TEST_F(TunnelManagerTest, ATunnelThatIsRemovedAndBackAsItWasGoesOn) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  boost::asio::co_spawn(io_, manager_->reconcile({}), [](const std::exception_ptr&, Result<void>) {});
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  ASSERT_EQ(charon_->sas.size(), 1u);
  EXPECT_EQ(charon_->sas.front().unique_id, before);
}

TEST_F(TunnelManagerTest, ATunnelThatIsRemovedAndMadeOtherwiseIsNegotiatedAgain) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  TunnelSpec again = spec("paris", 3);
  again.esp_proposals = {"aes128gcm16"};
  // Before charon has heard of the removal.
  boost::asio::co_spawn(io_, manager_->reconcile({}), [](const std::exception_ptr&, Result<void>) {});
  boost::asio::co_spawn(io_, manager_->reconcile({again}), [](const std::exception_ptr&, Result<void>) {});
  EXPECT_TRUE(until([&] { return charon_->sas.size() == 1 && charon_->sas.front().unique_id != before; }));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
}

/// By the pair of identities only if the peer's alone does not tell which key is meant, and only as long.
TEST_F(TunnelManagerTest, AKeyIsThePeersAlone) {
  const auto owners = [&](const std::string& secret) { return charon_->owners[secret]; };
  ASSERT_TRUE(want({spec("paris", 3), spec("rome", 4, 3)}));
  EXPECT_THAT(owners("simplon-paris"), ElementsAre("paris"));
  EXPECT_THAT(owners("simplon-rome"), ElementsAre("rome"));
  TunnelSpec other = spec("paris-2", 5);
  other.remote_id = "paris";
  other.local_id = "gw2";
  ASSERT_TRUE(want({spec("paris", 3), spec("rome", 4, 3), other}));
  EXPECT_THAT(owners("simplon-paris"), ElementsAre("paris", "gw1"));
  EXPECT_THAT(owners("simplon-paris-2"), ElementsAre("paris", "gw2"));
  EXPECT_THAT(owners("simplon-rome"), ElementsAre("rome"));
  other.psk = spec("paris", 3).psk;
  ASSERT_TRUE(want({spec("paris", 3), spec("rome", 4, 3), other}));
  EXPECT_THAT(owners("simplon-paris"), ElementsAre("paris"));
}

TEST_F(TunnelManagerTest, UpAtOnceAfterDownNegotiates) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  const auto before = charon_->sas.front().unique_id;
  ASSERT_TRUE(wait(manager_->down("paris")));
  ASSERT_TRUE(wait(manager_->up("paris")));
  EXPECT_TRUE(until([&] { return charon_->sas.size() == 1 && charon_->sas.front().unique_id != before; }, seconds(1)));
}

TEST_F(TunnelManagerTest, DownHoldsWhenCharonComesBack) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  ASSERT_TRUE(wait(manager_->down("paris")));
  charon_->die();
  ASSERT_TRUE(until([&] { return !manager_->connected(); }));
  charon_->listen();
  ASSERT_TRUE(until([&] { return manager_->connected(); }));
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_EQ(charon_->connections.count("paris"), 0u);
}

TEST_F(TunnelManagerTest, DownWithoutCharonIsToldToTheOneThatLivedOn) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  charon_->hang_up();
  ASSERT_TRUE(until([&] { return !manager_->connected(); }));
  EXPECT_FALSE(wait(manager_->down("paris")));
  charon_->listen();
  EXPECT_TRUE(until([&] { return charon_->connections.empty() && charon_->sas.empty(); }));
}

TEST_F(TunnelManagerTest, DownBetweenKeyAndConnectionHolds) {
  bool taken_down = false;
  charon_->on_command = [&](const std::string& command) {
    if (command != "load-shared") return;
    charon_->on_command = nullptr;
    boost::asio::co_spawn(io_, manager_->down("paris"),
                          [&](const std::exception_ptr&, Result<void>) { taken_down = true; });
  };
  boost::asio::co_spawn(io_, manager_->reconcile({spec("paris", 3)}), [](const std::exception_ptr&, Result<void>) {});
  ASSERT_TRUE(until([&] { return taken_down; }));
  io_.restart();
  io_.run_for(milliseconds(500));
  EXPECT_EQ(charon_->connections.count("paris"), 0u);
  ASSERT_TRUE(wait(manager_->up("paris")));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_EQ(charon_->secrets["simplon-paris"], "key of paris");
}

TEST_F(TunnelManagerTest, DownAndUpWhileItIsLoadedLoadsItAgain) {
  charon_->on_command = [&](const std::string& command) {
    if (command != "load-conn") return;
    charon_->on_command = nullptr;
    boost::asio::co_spawn(io_, manager_->down("paris"), [](const std::exception_ptr&, Result<void>) {});
    boost::asio::co_spawn(io_, manager_->up("paris"), [](const std::exception_ptr&, Result<void>) {});
  };
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_EQ(charon_->connections.count("paris"), 1u);
}

TEST_F(TunnelManagerTest, AKeyThatWasReplacedWhileItWasLoadedIsLoadedAgain) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  TunnelSpec other = spec("paris", 3);
  other.psk = "another";
  other.dpd_delay = seconds(20);
  bool back = false;
  charon_->on_command = [&](const std::string& command) {
    if (command != "load-shared") return;
    charon_->on_command = nullptr;
    boost::asio::co_spawn(io_, manager_->reconcile({spec("paris", 3)}),
                          [&](const std::exception_ptr&, Result<void>) { back = true; });
  };
  boost::asio::co_spawn(io_, manager_->reconcile({other}), [](const std::exception_ptr&, Result<void>) {});
  ASSERT_TRUE(until([&] { return back; }));
  EXPECT_EQ(charon_->secrets["simplon-paris"], "key of paris");
}

TEST_F(TunnelManagerTest, UpInitiatesOnceWhatOnlyThePeerMay) {
  TunnelSpec passive = spec("paris", 3);
  passive.initiate = false;
  ASSERT_TRUE(want({passive}));
  ASSERT_TRUE(is("paris", TunnelState::kDown));
  EXPECT_EQ(charon_->count("initiate paris"), 0u);
  ASSERT_TRUE(wait(manager_->up("paris")));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_EQ(charon_->count("initiate paris"), 1u);
  charon_->peer_terminates("paris");
  ASSERT_TRUE(is("paris", TunnelState::kDown));
  io_.restart();
  io_.run_for(milliseconds(2500));
  EXPECT_EQ(charon_->count("initiate paris"), 1u);
}

TEST_F(TunnelManagerTest, AStrangerDoesNotReplaceWhatThePeerSaid) {
  charon_->peers["paris"] = FakeCharon::Peer::kRefusesAuth;
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(until([&] { return !status("paris").hint.empty(); }));
  charon_->log(99, "(unnamed)", "no IKE config found for 127.0.0.1...192.0.2.200, sending NO_PROPOSAL_CHOSEN");
  io_.restart();
  io_.run_for(milliseconds(100));
  EXPECT_THAT(status("paris").problem, HasSubstr("pre-shared keys differ"));
}

TEST_F(TunnelManagerTest, AStrangersAttemptIsShownWhereTheRemoteAddressMayBeWrong) {
  TunnelSpec passive = spec("paris", 3);
  passive.initiate = false;
  ASSERT_TRUE(want({passive}));
  charon_->log(9, "(unnamed)", "no IKE config found for 127.0.0.1...192.0.2.200, sending NO_PROPOSAL_CHOSEN");
  EXPECT_TRUE(until([&] { return !status("paris").hint.empty(); }));
  EXPECT_THAT(status("paris").problem, HasSubstr("127.0.0.1...192.0.2.200"));
}

TEST_F(TunnelManagerTest, VerbsNameAnUnknownTunnel) {
  ASSERT_TRUE(want({}));
  const std::vector<Result<void>> results = {wait(manager_->up("oslo")), wait(manager_->down("oslo")),
                                             wait(manager_->rekey("oslo", false))};
  for (const Result<void>& result : results) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidConfig);
    EXPECT_THAT(result.error().what, HasSubstr("oslo"));
  }
}

TEST_F(TunnelManagerTest, RekeyAsksForTheChildOrTheIkeSa) {
  ASSERT_TRUE(want({spec("paris", 3)}));
  ASSERT_TRUE(is("paris", TunnelState::kUp));
  EXPECT_TRUE(wait(manager_->rekey("paris", false)));
  EXPECT_TRUE(wait(manager_->rekey("paris", true)));
  EXPECT_EQ(charon_->count("rekey paris"), 2u);
}

TEST_F(TunnelManagerTest, ManyRequestsMayTakeLongerThanTheLimitOfOne) {
  ASSERT_TRUE(want({}));
  charon_->pace = milliseconds(1900);
  auto opened = wait(vici::Connection::open(io_, path_));
  ASSERT_TRUE(opened);
  const auto connection = *opened;
  int answered = 0;
  for (int i = 0; i < 3; ++i) {
    boost::asio::co_spawn(io_, connection->command("rekey", vici::Section{}),
                          [&](const std::exception_ptr&, Result<vici::Section> reply) { answered += reply ? 1 : -10; });
  }
  EXPECT_TRUE(until([&] { return answered == 3 || answered < 0; }));
  EXPECT_EQ(answered, 3);
  connection->close();
}

TEST_F(TunnelManagerTest, MayBeDestroyedAtAnyMoment) {
  for (int steps = 0; steps < 60; ++steps) {
    start();
    boost::asio::co_spawn(io_, manager_->reconcile({spec("paris", 3)}), [](const std::exception_ptr&, Result<void>) {});
    for (int i = 0; i < steps; ++i) {
      if (io_.stopped()) io_.restart();
      io_.run_one_for(milliseconds(1));
    }
    manager_.reset();
  }
  start();
  ASSERT_TRUE(want({spec("paris", 3)}));
  EXPECT_TRUE(is("paris", TunnelState::kUp));
}

}  // namespace
}  // namespace simplon::ipsec
