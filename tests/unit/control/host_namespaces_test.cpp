// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/daemon/src/host_namespaces.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/unit/control/fakes.h"

namespace simplon::daemon {
namespace {


/// systemd with units simplon-netns@NAME, which make namespaces at once.
struct Units final : sys::ServiceSupervisor {
  Result<void> start(const sys::ServiceSpec& spec) override {
    ++asked;
    active.insert(spec.name);
    namespaces[spec.name.substr(spec.name.find('@') + 1)] = {4, ++made};
    return {};
  }
  Result<bool> running(const std::string& name) override {
    ++asked;
    if (silent) return fail(ErrorCode::kUnavailable, "Connection timed out");
    return active.contains(name);
  }
  Result<void> request_stop(const std::string& name) override {
    ++asked;
    active.erase(name);
    namespaces.erase(name.substr(name.find('@') + 1));
    return {};
  }
  std::string output_of(const std::string&) const override { return {}; }

  std::set<std::string> active;
  std::map<std::string, sys::NetnsId> namespaces;
  std::uint64_t made = 0;
  int asked = 0;
  bool silent = false;
};

class UnitNamespacesTest : public ::testing::Test {
 protected:
  Result<void> ensure(const std::string& name) { return control::finish(io_, namespaces_->ensure(name)); }
  /// How often systemd was asked for it.
  int asked_for(const std::string& name) {
    const int before = units_->asked;
    EXPECT_TRUE(ensure(name));
    return units_->asked - before;
  }

  boost::asio::io_context io_;
  std::shared_ptr<Units> units_ = std::make_shared<Units>();
  std::unique_ptr<control::Namespaces> namespaces_ =
      make_unit_namespaces(io_, units_, [this](const std::string& name) -> std::optional<sys::NetnsId> {
        const auto found = units_->namespaces.find(name);
        return found == units_->namespaces.end() ? std::nullopt : std::optional(found->second);
      });
};

TEST_F(UnitNamespacesTest, ANamespaceThatStaysIsAskedForOnce) {
  EXPECT_GT(asked_for("red"), 0);
  EXPECT_EQ(asked_for("red"), 0);
  EXPECT_GT(asked_for("blue"), 0);
  EXPECT_EQ(asked_for("red"), 0);

  units_->namespaces["red"] = {4, 99};
  EXPECT_EQ(asked_for("red"), 1) << "made again by somebody else: is its unit active?";
  EXPECT_EQ(asked_for("red"), 0);
  units_->namespaces.erase("red");
  EXPECT_GT(asked_for("red"), 1) << "deleted behind the unit's back";
  EXPECT_TRUE(namespaces_->exists("red"));
  EXPECT_EQ(asked_for("red"), 0);
  ASSERT_TRUE(namespaces_->remove("red"));
  EXPECT_FALSE(namespaces_->exists("red"));
  EXPECT_GT(asked_for("red"), 1);
}

TEST_F(UnitNamespacesTest, ManyNamespacesCostOneTimeoutOfASilentBus) {
  EXPECT_GT(asked_for("red"), 0);
  units_->silent = true;
  const int before = units_->asked;
  for (const char* name : {"a", "b", "c"}) {
    const auto ensured = ensure(name);
    ASSERT_FALSE(ensured);
    EXPECT_EQ(ensured.error().what, "Connection timed out");
  }
  EXPECT_EQ(units_->asked, before + 1);
  EXPECT_EQ(asked_for("red"), 0) << "it is there, whatever systemd says";
}

}  // namespace
}  // namespace simplon::daemon
