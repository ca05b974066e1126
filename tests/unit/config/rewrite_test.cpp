// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/config/document.h"
#include "gateway/config/rewrite.h"

namespace simplon::config {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kText = R"(# the edge of Berlin
gateway: {name: edge, vtep: 10.0.0.1}   # do not rename
uplinks: [{interface: eth0}]
domains:
- name: prod    # everything
vpcs:
    # of the shop
    - name: shop
      domain: prod
      vni: 100
      prefixes: [10.20.0.0/24]
      endpoints:
        # the database
        - {address: 10.20.0.11, mac: "02:00:00:00:00:0b", vtep: 10.0.0.9}

        # the web server
        - address: 10.20.0.12
          mac: "02:00:00:00:00:0c"
          vtep: 10.0.0.9
    - name: lab   # no endpoints yet
      domain: prod
      vni: 200
      prefixes: [10.30.0.0/24]

tunnels:
  # Paris, ask Claire
  - name: paris
    domain: prod
    local: 203.0.113.1
    remote: 198.51.100.7
    psk-file: /k      # rotated in May

  - {name: pisa, domain: prod, local: 203.0.113.1, remote: 198.51.100.8, psk-file: /k}   # soon gone
# the end
)";

GatewayConfig read(const std::string& text) {
  const Document document = parse_document(text);
  EXPECT_TRUE(document.ok()) << text << to_error(document.issues).message();
  return document.config;
}

EndpointConfig endpoint(const char* address) {
  return {IpAddress::parse(address).value(), MacAddress::parse("02:00:00:00:00:63").value(),
          IpAddress::parse("10.0.0.9").value()};
}

TEST(Rewrite, AnItemGoesWithItsComments) {
  GatewayConfig after = read(kText);
  after.tunnels.erase(after.tunnels.begin());
  const auto text = rewrite_document(kText, read(kText), after);
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, AllOf(Not(HasSubstr("Claire")), Not(HasSubstr("rotated")), HasSubstr("# soon gone"),
                           HasSubstr("# do not rename"), HasSubstr("# the web server"), HasSubstr("# the end\n")));
  // The last one: the list is empty then, and is filled again.
  const GatewayConfig one = after;
  after.tunnels.clear();
  const auto none = rewrite_document(*text, one, after);
  ASSERT_TRUE(none);
  EXPECT_THAT(*none, HasSubstr("\ntunnels: []\n"));
  const auto again = rewrite_document(*none, after, one);
  ASSERT_TRUE(again);
  EXPECT_THAT(*again, HasSubstr("\ntunnels:\n  - name: pisa\n"));
}

TEST(Rewrite, WhatIsAddedIsWrittenInTheStyleOfItsList) {
  GatewayConfig after = read(kText);
  after.tunnels.push_back(after.tunnels.front());
  after.tunnels.back().name = "rome";
  after.domains.push_back({"lab", std::nullopt, {}});
  auto text = rewrite_document(kText, read(kText), after);
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, AllOf(HasSubstr("# soon gone\n  - name: rome\n    domain: prod\n"),
                           HasSubstr("# everything\n- name: lab\nvpcs:\n")));
  GatewayConfig vpcs = read(kText);
  vpcs.vpcs.push_back(vpcs.vpcs.back());
  vpcs.vpcs.back().name = "new";
  vpcs.vpcs.back().vni = Vni(300);
  vpcs.vpcs.back().gateway_mac = default_gateway_mac(Vni(300));
  text = rewrite_document(kText, read(kText), vpcs);
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, HasSubstr("      prefixes: [10.30.0.0/24]\n    - name: new\n"));
}

TEST(Rewrite, Endpoints) {
  GatewayConfig after = read(kText);
  after.vpcs[0].endpoints.erase(after.vpcs[0].endpoints.begin());
  after.vpcs[0].endpoints.push_back(endpoint("10.20.0.99"));
  after.vpcs[1].endpoints.push_back(endpoint("10.30.0.99"));
  const auto text = rewrite_document(kText, read(kText), after);
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, AllOf(Not(HasSubstr("the database")), HasSubstr("# the web server"), HasSubstr("10.20.0.99"),
                           HasSubstr("      prefixes: [10.30.0.0/24]\n      endpoints:\n        - ")));
}

TEST(Rewrite, AListThatWasNotThereIsMade) {
  const std::string text = "gateway: {name: edge}   # mine";
  GatewayConfig after = read(text);
  after.domains.push_back({"lab", std::nullopt, {}});
  EXPECT_EQ(rewrite_document(text, read(text), after), text + "\ndomains:\n  - name: lab\n");
}

TEST(Rewrite, WhatCannotBeDoneIsLeftToTheCanonicalText) {
  const std::string flow = "gateway: {name: edge}\ndomains: [{name: prod}]\n";
  GatewayConfig after = read(flow);
  after.domains.push_back({"lab", std::nullopt, {}});
  EXPECT_FALSE(rewrite_document(flow, read(flow), after));
  after = read(kText);
  after.name = "other";
  EXPECT_FALSE(rewrite_document(kText, read(kText), after));
  const std::string ended = "gateway: {name: edge}\n...\n";
  after = read(ended);
  after.domains.push_back({"lab", std::nullopt, {}});
  EXPECT_FALSE(rewrite_document(ended, read(ended), after));
}

}  // namespace
}  // namespace simplon::config
