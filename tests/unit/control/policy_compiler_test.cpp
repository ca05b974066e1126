// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include "gateway/config/document.h"
#include "gateway/control/table_compiler.h"
#include "tests/unit/config/sample.h"

namespace simplon::control {
namespace {

class PolicyCompilerTest : public ::testing::Test {
 protected:
  PolicyCompilerTest() : ids_(config::IdRegistry::open(folder_.path()).value()) { EXPECT_TRUE(ids_.assign(config_)); }
  TableSet compile() {
    TableCompiler compiler("simplon-");
    compiler.configure(config_, ids_);
    return compiler.tables();
  }

  config::TemporaryFolder folder_;
  GatewayConfig config_ = config::parse_document(config::kFullDocument).config;
  config::IdRegistry ids_;
};

TEST_F(PolicyCompilerTest, NamesBecomeIds) {
  const TableSet tables = compile();
  const DomainId prod = ids_.domain("prod").value();
  const auto red = ipc::AttachmentRef::vpc(Vni(100));
  ASSERT_TRUE(tables.policies.contains(red));
  EXPECT_EQ(tables.policies.at(red).domain, prod);
  EXPECT_EQ(tables.policies.at(red).acl, "web");
  EXPECT_EQ(tables.policies.at(red).reverse_path, ipc::ReversePath::kStrict);
  EXPECT_EQ(tables.policies.at(red).max_connections, 500U);
  ASSERT_TRUE(tables.acls.contains("web"));
  EXPECT_EQ(tables.acls.at("web").rules[1].destination_ports, (std::vector<ipc::NumberRange>{{8, 8}}));
  ASSERT_TRUE(tables.nats.contains(prod));
  const auto& rules = tables.nats.at(prod).rules;
  ASSERT_EQ(rules.size(), 3U);
  EXPECT_EQ(rules[0].attachment, ipc::AttachmentRef::tunnel(ids_.tunnel("berlin").value()));
  EXPECT_EQ(rules[0].port_blocks, 4);
  EXPECT_EQ(rules[1].kind, ipc::NatKind::kDestination);
  EXPECT_EQ(rules[1].inside_port, 8080);
}

TEST_F(PolicyCompilerTest, DisabledTunnelsAndUnusedListsAreLeftOut) {
  config_.vpcs[0].policy.acl.clear();
  const TableSet tables = compile();
  EXPECT_TRUE(tables.acls.empty());
  EXPECT_FALSE(tables.policies.contains(ipc::AttachmentRef::tunnel(ids_.tunnel("paris").value()))) << "disabled";
}

TEST_F(PolicyCompilerTest, APolicyThatSaysNothingIsNotSent) {
  ASSERT_FALSE(config_.domains[0].nat.empty());
  for (auto& vpc : config_.vpcs) vpc.policy = {};
  for (const auto& [attachment, policy] : compile().policies) EXPECT_NE(attachment.kind, ipc::AttachmentKind::kVpc);
}

TEST_F(PolicyCompilerTest, WithoutPolicyThereIsNothing) {
  config_.acls.clear();
  for (auto& domain : config_.domains) domain.nat.clear();
  for (auto& vpc : config_.vpcs) vpc.policy = {};
  for (auto& tunnel : config_.tunnels) tunnel.policy = {};
  const TableSet tables = compile();
  EXPECT_TRUE(tables.acls.empty());
  EXPECT_TRUE(tables.policies.empty());
  EXPECT_TRUE(tables.nats.empty());
}

TEST_F(PolicyCompilerTest, ListsComeBeforeWhatTheyRestrict) {
  const auto operations = everything(compile());
  const auto at = [&](const std::string& key) {
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (ipc::key_of(operations[i].object) == key) return i;
    }
    ADD_FAILURE() << key;
    return operations.size();
  };
  EXPECT_LT(at("access list web"), at("policy of vpc 100"));
  EXPECT_LT(at("policy of vpc 100"), at("vpc 100"));
  EXPECT_TRUE(difference(compile(), compile()).empty());
}

}  // namespace
}  // namespace simplon::control
