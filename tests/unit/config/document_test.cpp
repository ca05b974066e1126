// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/unit/config/sample.h"

namespace simplon::config {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string told(const Document& document) {
  std::string all;
  for (const auto& issue : document.issues) all += issue.message() + "\n";
  return all;
}

Document read(std::string_view yaml) { return read_document(yaml, {.check_files = false}); }

TEST(Document, AReplayWindowThatNoSaHasIsTakenForTheLargest) {
  const std::string tunnel = R"(gateway: {name: gw}
domains: [{name: d}]
tunnels: [{name: t, domain: d, local: 192.0.2.1, remote: 192.0.2.2, psk-file: /k, replay-window: )";
  EXPECT_TRUE(parse_document(tunnel + "4096}]").issues.empty());
  const Document stored = parse_document(tunnel + "65536}]");
  EXPECT_TRUE(stored.ok()) << "it may have been stored by 0.1";
  EXPECT_EQ(stored.config.tunnels.at(0).replay_window, 4096U);
  ASSERT_EQ(stored.issues.size(), 1U);
  EXPECT_EQ(stored.issues[0].severity, Severity::kWarning);
  EXPECT_EQ(stored.issues[0].path, "tunnels[0].replay-window");
  EXPECT_EQ(stored.issues[0].value, "65536");
  EXPECT_EQ(stored.issues[0].line, 3);
  EXPECT_FALSE(parse_document(tunnel + "65537}]").ok());
  EXPECT_FALSE(parse_document(tunnel + "31}]").ok());
}

TEST(Document, EveryKeyIsRead) {
  const Document document = read(kFullDocument);
  ASSERT_TRUE(document.ok()) << told(document);
  const GatewayConfig& config = document.config;
  EXPECT_EQ(config.name, "gw");
  EXPECT_EQ(config.vtep->to_string(), "10.255.0.1");
  EXPECT_EQ(config.vxlan_port, 8472);
  EXPECT_EQ(config.uplinks.size(), 2U);
  ASSERT_EQ(config.domains.size(), 2U);
  const auto& neighbor = config.domains[0].bgp->neighbors[0];
  EXPECT_EQ(neighbor.remote_asn, 65001U);
  EXPECT_EQ(neighbor.password_file, "/secrets/bgp");
  EXPECT_EQ(neighbor.keepalive, seconds(3));
  EXPECT_EQ(neighbor.hold, seconds(9));
  EXPECT_TRUE(neighbor.bfd);
  EXPECT_EQ(neighbor.import[0].max_length, 24);
  EXPECT_EQ(neighbor.import[1].max_length, 16);
  EXPECT_EQ(neighbor.max_prefixes, 50U);
  ASSERT_EQ(config.domains[0].static_routes.size(), 3U);
  EXPECT_EQ(config.domains[0].static_routes[2].via, "dallas");
  EXPECT_EQ(config.domains[0].static_routes[2].gateway->to_string(), "192.168.15.2");
  EXPECT_FALSE(config.domains[1].bgp);
  const auto& vpc = config.vpcs[0];
  EXPECT_EQ(vpc.vni, Vni(100));
  EXPECT_EQ(vpc.gateway_mac.to_string(), "02:00:00:00:00:fe");
  EXPECT_EQ(vpc.mtu_bytes, 1400);
  EXPECT_EQ(vpc.endpoints[1].address.to_string(), "2001:db8:20::11");
  const auto& tunnel = config.tunnels[0];
  EXPECT_EQ(tunnel.local_id, "gw");
  EXPECT_EQ(tunnel.remote_id, "CN=paris, O=x");
  EXPECT_THAT(tunnel.ike_proposals, ElementsAre("aes256-sha256-modp2048"));
  EXPECT_TRUE(tunnel.allow_weak);
  EXPECT_EQ(tunnel.encapsulation, Encapsulation::kUdp);
  EXPECT_FALSE(tunnel.initiate);
  EXPECT_FALSE(tunnel.enabled);
  EXPECT_EQ(tunnel.ike_rekey, seconds(7200));
  EXPECT_EQ(tunnel.child_rekey, seconds(1800));
  EXPECT_EQ(tunnel.replay_window, 64U);
  EXPECT_EQ(tunnel.inside.size(), 2U);
  EXPECT_EQ(tunnel.mtu_bytes, 1380);
  EXPECT_FALSE(tunnel.clamp_mss);
  EXPECT_EQ(tunnel.outer_df, OuterDf::kCopy);
  EXPECT_EQ(tunnel.inner_df, InnerDf::kIgnore);
  ASSERT_EQ(config.circuits.size(), 1U);
  const auto& circuit = config.circuits[0];
  EXPECT_EQ(circuit.uplink, "wan0");
  EXPECT_EQ(circuit.vlan, 7);
  EXPECT_EQ(circuit.outer_vlan, 300);
  EXPECT_EQ(circuit.outer_type, OuterTag::k8021q);
  EXPECT_EQ(circuit.addresses.size(), 2U);
  EXPECT_EQ(circuit.mtu_bytes, 1492);
  EXPECT_FALSE(circuit.clamp_mss);
  EXPECT_FALSE(circuit.enabled);
  EXPECT_EQ(circuit.service_key, "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d");
  EXPECT_EQ(circuit.path, CircuitPath::kSecondary);
}

TEST(Document, DefaultsAreFilledIn) {
  const Document document = read(kSmallDocument);
  ASSERT_TRUE(document.ok()) << told(document);
  EXPECT_THAT(document.issues, IsEmpty()) << told(document);
  EXPECT_EQ(document.config.vpcs[0].gateway_mac.to_string(), "02:53:4c:00:00:64");
  const auto& tunnel = document.config.tunnels[0];
  EXPECT_EQ(tunnel.local_id, "203.0.113.1");
  EXPECT_EQ(tunnel.remote_id, "198.51.100.7");
  EXPECT_FALSE(tunnel.ike_proposals.empty());
  EXPECT_FALSE(tunnel.esp_proposals.empty());
}

TEST(Document, EmittedTextReadsBackEqual) {
  for (const char* yaml : {kFullDocument, kSmallDocument}) {
    const Document document = read(yaml);
    const std::string text = emit_document(document.config);
    const Document again = read(text);
    EXPECT_TRUE(again.ok()) << text << told(again);
    EXPECT_EQ(again.config, document.config) << text;
    EXPECT_EQ(emit_document(again.config), text);
  }
}

TEST(Document, TextThatLooksLikeSomethingElseSurvivesEmission) {
  Document document = read(kSmallDocument);
  for (const char* id : {"true", "null", "~", "1e3", "0x10", "a: b", "- x", "#x", "\"q\" \\ '", " x ", "ü@é", "[a]",
                         "%x", "10:20:30", "=", "2001-01-01", "no"}) {
    document.config.tunnels[0].remote_id = id;
    const std::string text = emit_document(document.config);
    const Document again = read(text);
    EXPECT_TRUE(again.ok()) << text << told(again);
    EXPECT_EQ(again.config.tunnels[0].remote_id, id) << text;
  }
}

TEST(Document, AllErrorsAreReportedAtOnceWithTheirLines) {
  const Document document = read(R"(gateway: {name: GW}
uplink: []
vpcs:
  - name: red
    domain: prod
    vni: many
    prefixes: 10.20.0.0/24
    gateway: [10.20.0.1/24]
    mtu: 99
tunnels:
  - name: paris
    domian: prod
    local: 203.0.113.300
    remote: 198.51.100.7
    psk-file: relative
    initiate: "yes"
    dpd-delay: soon
)");
  std::vector<std::string> places;
  for (const auto& issue : document.issues) places.push_back(std::to_string(issue.line) + " " + issue.path);
  EXPECT_THAT(places, ElementsAre("1 gateway.name", "1 gateway.vtep", "2 uplink", "5 vpcs[0].domain", "6 vpcs[0].vni",
                                  "7 vpcs[0].prefixes", "9 vpcs[0].mtu", "12 tunnels[0].domian", "13 tunnels[0].local",
                                  "15 tunnels[0].psk-file", "16 tunnels[0].initiate", "17 tunnels[0].dpd-delay"))
      << told(document);
  EXPECT_THAT(told(document), HasSubstr("did you mean 'domain'?"));
  EXPECT_THAT(told(document), HasSubstr("did you mean 'uplinks'?"));
  EXPECT_THAT(told(document), HasSubstr("write [10.20.0.0/24]"));
}

TEST(Document, AMistakeIsOneFinding) {
  // The neighbor's address cannot be judged while the tunnel's inside address cannot be read.
  const Document document = read(R"(
gateway: {name: gw}
uplinks: [{interface: wan0}]
domains:
  - name: prod
    bgp:
      asn: 65515
      router-id: 10.0.0.1
      neighbors: [{name: a, address: 169.254.10.2, asn: 65001, import: [10.0.0.0/8], export: [10.0.0.0/8]}]
tunnels:
  - {name: paris, domain: prod, local: 203.0.113.1, remote: 198.51.100.7, psk-file: /p, inside: [169.254.10.1]}
)");
  ASSERT_EQ(document.issues.size(), 1U) << told(document);
  EXPECT_EQ(document.issues[0].path, "tunnels[0].inside[0]");
}

struct Refused {
  const char* name;
  std::string text;
  const char* path;
  const char* word;
};

class RefusedDocument : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedDocument, IsRefusedInOneClearFinding) {
  const Document document = read(GetParam().text);
  ASSERT_FALSE(document.ok());
  EXPECT_EQ(document.issues[0].path, GetParam().path) << told(document);
  EXPECT_THAT(told(document), HasSubstr(GetParam().word));
}

std::string nested(std::size_t depth) { return "gateway: " + std::string(depth, '[') + std::string(depth, ']'); }

std::string bomb() {
  std::string text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'k'; ++c) {
    const std::string before(1, static_cast<char>(c - 1));
    text += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) text += (i == 0 ? "*" : ",*") + before;
    text += "]\n";
  }
  return text;
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedDocument,
    ::testing::Values(
        Refused{"Empty", "", "", "empty"}, Refused{"OnlyComment", "# nothing\n", "", "empty"},
        Refused{"Scalar", "hello", "", "mapping"}, Refused{"List", "- a\n- b\n", "", "gateway"},
        Refused{"Tab", "gateway: {name: gw}\n\ttunnels: []\n", "", "line"},
        Refused{"Unclosed", "gateway: {name: gw\nvpcs: [", "", "line"},
        Refused{"NotUtf8", "gateway: {name: \xff}", "", "UTF-8"},
        Refused{"OverlongUtf8", "gateway: {name: \xc0\x80}", "", "UTF-8"},
        Refused{"Nul", std::string("gateway: {name: g\0w}", 20), "", "NUL"},
        Refused{"TwoDocuments", "gateway: {name: gw}\n---\ngateway: {name: gx}\n", "", "more than one"},
        Refused{"TooLarge", std::string(kMaxDocumentBytes + 1, ' '), "", "bytes"},
        Refused{"DeepFlow", nested(1000), "", "deep"}, Refused{"VeryDeepFlow", nested(100000), "", ""},
        Refused{"AliasBomb", bomb(), "", "expand"}, Refused{"AliasCycle", "gateway: &a {name: *a}", "", "contains it"},
        Refused{"UnknownAlias", "gateway: *nowhere", "", "not YAML"},
        Refused{"DuplicateKey", "gateway: {name: gw, name: gx}", "gateway.name", "twice"},
        Refused{"DuplicateTopKey", "gateway: {name: gw}\ngateway: {name: gx}", "gateway", "twice"},
        Refused{"NullObject", "gateway:\n", "gateway", "no value"},
        Refused{"NullList", "gateway: {name: gw}\nvpcs:\n", "vpcs", "no value"},
        Refused{"NumberForList", "gateway: {name: gw}\nvpcs: 7\n", "vpcs", "must be a list"},
        Refused{"MapForList", "gateway: {name: gw}\nvpcs: {a: b}\n", "vpcs", "must be a list"},
        Refused{"ListForScalar", "gateway: {name: [gw]}", "gateway.name", "single value"},
        Refused{"ScalarForObject", "gateway: {name: gw}\ndomains: [red]\n", "domains[0]", "mapping"},
        Refused{"KeyIsAList", "gateway: {name: gw}\n[a, b]: c\n", "", "key"},
        Refused{"MissingGateway", "uplinks: []\n", "gateway", "missing"},
        Refused{"QuotedNumber", "gateway: {name: gw, vxlan-port: \"4789\"}", "gateway.vxlan-port", "quotes"},
        Refused{"OctalNumber", "gateway: {name: gw, vxlan-port: 04789}", "gateway.vxlan-port", "number"},
        Refused{"NegativeNumber", "gateway: {name: gw, vxlan-port: -1}", "gateway.vxlan-port", "number"},
        Refused{"HugeNumber", "gateway: {name: gw, vxlan-port: 99999999999999999999}", "gateway.vxlan-port", "number"},
        Refused{"ZeroPort", "gateway: {name: gw, vxlan-port: 0}", "gateway.vxlan-port", "1 to 65535"},
        Refused{"NameWithCapitals", "gateway: {name: Gw}", "gateway.name", "not a name"},
        Refused{"NameTooLong", "gateway: {name: " + std::string(32, 'a') + "}", "gateway.name", "not a name"},
        Refused{"NameWithSlash", "gateway: {name: ../x}", "gateway.name", "not a name"},
        Refused{"InterfaceWithSlash", "gateway: {name: gw}\nuplinks: [{interface: ../eth0}]", "uplinks[0].interface",
                "interface"},
        Refused{"InterfaceTooLong", "gateway: {name: gw}\nuplinks: [{interface: abcdefghijklmnop}]",
                "uplinks[0].interface", "interface"},
        Refused{"ControlCharacterInKey", "gateway: {name: gw, \"\\e[31mX\": 1}", "gateway.?[31mX", "unknown key '?[31mX'"},
        Refused{"ControlCharacter", "gateway: {name: \"g\\tw\"}", "gateway.name", "control"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(Document, WhateverTheBytesNothingIsThrownAndItEnds) {
  std::uint32_t state = 1;  // fixed seed
  const std::string alphabet = "ab:-[]{},&*!|>'\"%@`#?\n \t~0123";
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < 3000; ++round) {
    std::string text = round % 2 == 0 ? "gateway: {name: gw}\nvpcs: " : "";
    for (int i = 0; i < 60; ++i) {
      state = state * 1664525U + 1013904223U;
      text += alphabet[(state >> 16) % alphabet.size()];
    }
    static_cast<void>(read(text));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(Document, TooManyErrorsAreCutOff) {
  std::string text = "gateway: {name: gw}\nuplinks: []\ntunnels:\n";
  for (int i = 0; i < 3000; ++i) text += "  - {wrong: 1}\n";
  const Document document = read(text);
  EXPECT_LE(document.issues.size(), kMaxIssues + 1);
  EXPECT_THAT(told(document), HasSubstr("more than 1000 errors"));
}

TEST(Document, SchemaAndParserKnowTheSameKeys) {
  std::ifstream file("gateway/config/simplon.schema.json");
  const auto schema = nlohmann::json::parse(file);
  for (const auto& [kind, keys] : known_keys()) {
    const auto& object = kind == "document" ? schema : schema["definitions"].at(kind);
    std::vector<std::string> described;
    for (const auto& [key, value] : object.at("properties").items()) described.push_back(key);
    EXPECT_THAT(described, ::testing::UnorderedElementsAreArray(keys)) << kind;
    EXPECT_EQ(object.at("additionalProperties"), false) << kind;
    // What the schema requires, the parser misses.
    for (const auto& key : object.at("required")) {
      EXPECT_NE(std::find(keys.begin(), keys.end(), key.get<std::string>()), keys.end()) << kind;
    }
  }
}

TEST(Document, RequiredKeysOfTheSchemaAreMissed) {
  const Document document = read(R"(
gateway: {}
uplinks: [{}]
domains: [{}, {name: a, bgp: {neighbors: [{}]}, static-routes: [{}]}]
vpcs: [{endpoints: [{}]}]
tunnels: [{}]
)");
  std::vector<std::string> missing;
  for (const auto& issue : document.issues) {
    if (issue.what == "is missing") missing.push_back(issue.path);
  }
  std::ifstream file("gateway/config/simplon.schema.json");
  const auto schema = nlohmann::json::parse(file)["definitions"];
  std::vector<std::string> wanted;
  const auto expect_all = [&](const char* kind, const std::string& path) {
    for (const auto& key : schema.at(kind).at("required")) wanted.push_back(path + "." + key.get<std::string>());
  };
  expect_all("gateway", "gateway");
  expect_all("uplink", "uplinks[0]");
  expect_all("domain", "domains[0]");
  expect_all("bgp", "domains[1].bgp");
  expect_all("neighbor", "domains[1].bgp.neighbors[0]");
  expect_all("static-route", "domains[1].static-routes[0]");
  expect_all("vpc", "vpcs[0]");
  expect_all("endpoint", "vpcs[0].endpoints[0]");
  expect_all("tunnel", "tunnels[0]");
  EXPECT_THAT(missing, ::testing::UnorderedElementsAreArray(wanted)) << told(document);
}

}  // namespace
}  // namespace simplon::config
