// SPDX-License-Identifier: GPL-2.0-or-later
//
// The stored configuration cannot be read: what runs goes on until a transaction succeeds, whatever else happens.

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "gateway/audit/audit_log.h"
#include "gateway/daemon/backend.h"
#include "tests/unit/control/reconciler_fixture.h"

namespace simplon::control {
namespace {

using ::testing::HasSubstr;

class UnmanagedTest : public ReconcilerTest {
 protected:
  UnmanagedTest() {
    EXPECT_TRUE(apply(config_));
    EXPECT_TRUE(settled());
    before_ = forwarder().objects;
  }

  /// The next life finds a document of a version it does not know.
  void become_unmanaged() {
    config::Store::CommitRequest request;
    request.text = "domains: [";
    request.who = "a newer version";
    EXPECT_TRUE(store().commit(request));
    restart();
  }
  void restart() {
    kill();
    start();
    pass_time();
    EXPECT_FALSE(reconciler().loaded());
  }
  /// Ticks, and more time than a sweep waits for.
  void pass_time() {
    for (int i = 0; i < 3; ++i) {
      world_->clock.advance(std::chrono::seconds(201));
      for (int step = 0; step < 20; ++step) {
        world_->io.restart();
        world_->io.run_one_for(std::chrono::milliseconds(5));
      }
    }
  }
  void expect_all_goes_on() {
    pass_time();
    EXPECT_THAT(forwarder().removed, ::testing::IsEmpty());
    for (const auto& [key, object] : before_) EXPECT_TRUE(forwarder().holds(key)) << key;
    EXPECT_EQ(forwarder().ends(), 0U);
    EXPECT_THAT(world_->frr.stopped, ::testing::IsEmpty());
    EXPECT_EQ(world_->namespaces.names, (std::set<std::string>{"gw-blue", "gw-red"}));
    ASSERT_EQ(reconciler().problems().size(), 1U);
    EXPECT_EQ(reconciler().problems()[0].object, "configuration");
    EXPECT_THAT(reconciler().problems()[0].hint, HasSubstr("Traffic goes on as before"));
  }

  std::map<std::string, ipc::Object> before_;
};

TEST_F(UnmanagedTest, AnUndoWithoutItsKeyTouchesNothing) {
  become_unmanaged();
  std::filesystem::remove(config_.tunnels[0].psk_file);
  const auto undone = apply(undo_by("test"));
  ASSERT_FALSE(undone);
  EXPECT_THAT(words(undone), HasSubstr("site-a.psk"));
  expect_all_goes_on();
  EXPECT_TRUE(forwarder().log.empty());
  EXPECT_EQ(world_->charon.wanted.size(), 3U);
}

TEST_F(UnmanagedTest, NothingIsOnProbationWithoutAWayBack) {
  become_unmanaged();
  const auto refused = apply(config_, std::chrono::seconds(60));
  ASSERT_FALSE(refused);
  EXPECT_THAT(words(refused), HasSubstr("there would be no way back"));
  auto undo = undo_by("test");
  undo.confirm_within = std::chrono::seconds(60);
  EXPECT_THAT(words(apply(std::move(undo))), HasSubstr("there would be no way back"));
  expect_all_goes_on();
  EXPECT_TRUE(apply(config_));
}

TEST_F(UnmanagedTest, AnApplyThatFailsHalfwayRemovesNothing) {
  become_unmanaged();
  auto other = config_;
  other.uplinks.push_back({"eth7"});
  other.tunnels.resize(2);
  other.domains[1].static_routes.pop_back();
  world_->frr.answer["gw-red"] = {ErrorCode::kInvalidConfig, "FRR rejects: neighbor x", ""};
  // The second time the forwarder is connected and gets its part before FRR refuses.
  for (int i = 0; i < 2; ++i) {
    ASSERT_FALSE(apply(other));
    expect_all_goes_on();
  }
  EXPECT_EQ(store().current(), 2U);
  world_->frr.answer.clear();
  const auto undone = apply(undo_by("test"));
  ASSERT_TRUE(undone) << words(undone);
  ASSERT_TRUE(settled());
  EXPECT_EQ(forwarder().objects, before_) << "and nothing of the attempts is left";
  EXPECT_TRUE(reconciler().problems().empty());
}

TEST_F(UnmanagedTest, WhatOnlyTheUnreadableVersionHadIsRemovedByTheNextChange) {
  auto with_green = config_;
  DomainConfig green;
  green.name = "green";
  green.bgp = BgpConfig{65010, ip("10.255.0.1"), {}};
  with_green.domains.push_back(green);
  ASSERT_TRUE(apply(with_green));
  ASSERT_TRUE(settled());
  become_unmanaged();
  const auto outcome = apply(config_);
  ASSERT_TRUE(outcome) << words(outcome);
  ASSERT_TRUE(settled());
  EXPECT_THAT(world_->frr.stopped, ::testing::Contains("gw-green"));
  EXPECT_EQ(world_->namespaces.names, (std::set<std::string>{"gw-blue", "gw-red"}));
  EXPECT_FALSE(daemon_->ids().domain("green"));
  EXPECT_EQ(forwarder().objects, before_);
}

TEST_F(UnmanagedTest, ALostPointerIsMendedByAnUndoToAVersion) {
  auto changed = config_;
  changed.vpcs[0].mtu_bytes = 1311;
  ASSERT_TRUE(apply(changed));
  ASSERT_TRUE(settled());
  before_ = forwarder().objects;
  std::filesystem::remove(world_->directory.path() / "config" / "current");
  restart();
  expect_all_goes_on();
  EXPECT_THAT(reconciler().problems()[0].hint, HasSubstr("simplon config undo 2"));
  auto command = undo_by("test");
  command.undo->to = 2;
  const auto undone = apply(std::move(command));
  ASSERT_TRUE(undone) << words(undone);
  ASSERT_TRUE(settled());
  EXPECT_EQ(reconciler().config(), changed);
  EXPECT_EQ(forwarder().objects, before_);
  EXPECT_EQ(store().current(), 3U);
}

TEST_F(UnmanagedTest, StatusSaysSo) {
  become_unmanaged();
  FakeForwarder observer(world_->io);
  observer.start();
  const auto audit = audit::Log::open(world_->directory.path(), {}).value();
  daemon::Backend backend({world_->io, reconciler(), forwarder(), world_->charon, store(), daemon_->ids(), world_->clock,
                           world_->wall_clock, *audit, world_->directory.path(), world_->directory.path(), observer,
                           {}, [] { return nullptr; }},
                          "test");
  const auto verdict = [&] { return (*finish(world_->io, backend.status()))["verdict"].get<std::string>(); };
  ASSERT_TRUE(until([&] { return observer.connected(); }));
  EXPECT_EQ(verdict(), "unmanaged");
  observer.disconnect();
  EXPECT_EQ(verdict(), "down");
  observer.connect();
  ASSERT_TRUE(apply(config_));
  ASSERT_TRUE(settled());
  EXPECT_NE(verdict(), "unmanaged");
}

}  // namespace
}  // namespace simplon::control
