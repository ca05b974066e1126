// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/sa.h"

#include <gtest/gtest.h>

#include <vector>

namespace simplon::forward {
namespace {

SaSpec good() {
  SaSpec spec;
  spec.spi = Spi{0xc0000001};
  spec.tunnel = TunnelId{1};
  spec.path.source = IpAddress::parse("192.0.2.1").value();
  spec.path.destination = IpAddress::parse("192.0.2.2").value();
  spec.key = crypto::SecretKey(std::vector<std::uint8_t>(36, 0xab));
  return spec;
}

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

TEST(Sa, RefusesWhatCannotWorkWithoutShowingTheKey) {
  const auto refused = [](void (*change)(SaSpec&)) {
    SaSpec spec = good();
    change(spec);
    const auto sa = Sa::create(spec);
    if (sa.has_value()) return std::string("accepted");
    EXPECT_EQ(sa.error().code, ErrorCode::kInvalidConfig);
    EXPECT_EQ(sa.error().what.find("ab"), std::string::npos) << sa.error().what;
    return sa.error().what;
  };
  EXPECT_TRUE(Sa::create(good()).has_value());
  EXPECT_NE(refused([](SaSpec& s) { s.spi = Spi{255}; }), "accepted");
  EXPECT_NE(refused([](SaSpec& s) { s.key = crypto::SecretKey(std::vector<std::uint8_t>(32, 0xab)); }), "accepted");
  EXPECT_NE(refused([](SaSpec& s) { s.suite = crypto::EspSuite::kAes128Gcm16; }), "accepted");
  EXPECT_NE(refused([](SaSpec& s) { s.path.source = ip("2001:db8::1"); }), "accepted");
  EXPECT_NE(refused([](SaSpec& s) { s.source_selectors = {{ip("10.0.0.9"), ip("10.0.0.1")}}; }), "accepted");
  EXPECT_NE(refused([](SaSpec& s) { s.source_selectors = {{ip("10.0.0.9"), ip("fd00::1")}}; }), "accepted");
  EXPECT_NE(refused([](SaSpec& s) { s.destination_selectors = {{ip("10.0.0.1"), ip("10.0.0.9"), 6, 9, 8}}; }),
            "accepted");
}

TEST(Sa, AnyIsPerFamily) {
  EXPECT_TRUE(Sa::create(good()).value()->any_to_any(4));
  EXPECT_TRUE(Sa::create(good()).value()->any_to_any(6));
  SaSpec spec = good();
  const Selector any4{ip("0.0.0.0"), ip("255.255.255.255")};
  spec.source_selectors = {any4};
  spec.destination_selectors = {any4};
  const auto sa = Sa::create(spec).value();
  EXPECT_TRUE(sa->any_to_any(4));
  EXPECT_FALSE(sa->any_to_any(6));
  EXPECT_FALSE(sa->selects(ip("fd00::1"), ip("fd00::2"), 6, true, 1, 2));
}

TEST(Sa, SelectorsHaveProtocolsAndPorts) {
  SaSpec spec = good();
  spec.source_selectors = {{ip("10.0.0.0"), ip("10.0.0.255")}};
  spec.destination_selectors = {{ip("10.1.0.1"), ip("10.1.0.1"), 6, 80, 443}, {ip("10.2.0.0"), ip("10.2.0.9"), 17}};
  const auto sa = Sa::create(spec).value();
  const auto selects = [&](const char* from, const char* to, std::uint8_t protocol, std::uint16_t port, bool ports = true) {
    return sa->selects(ip(from), ip(to), protocol, ports, 1, port);
  };
  EXPECT_TRUE(selects("10.0.0.7", "10.1.0.1", 6, 80));
  EXPECT_TRUE(selects("10.0.0.7", "10.1.0.1", 6, 443));
  EXPECT_FALSE(selects("10.0.0.7", "10.1.0.1", 6, 444));
  EXPECT_FALSE(selects("10.0.0.7", "10.1.0.1", 17, 80));
  EXPECT_FALSE(selects("10.0.1.7", "10.1.0.1", 6, 80));
  EXPECT_FALSE(selects("10.0.0.7", "10.1.0.1", 6, 80, false)) << "a fragment";
  EXPECT_TRUE(selects("10.0.0.7", "10.2.0.9", 17, 0, false));
  EXPECT_FALSE(selects("10.0.0.7", "10.2.0.10", 17, 0));
}

}  // namespace
}  // namespace simplon::forward
