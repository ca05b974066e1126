// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/mtu.h"

#include <gtest/gtest.h>

#include <tuple>

namespace simplon::forward {
namespace {

using crypto::EspLayout;

struct Row {
  const char* suite;
  EspLayout layout;
  bool encap;
  std::size_t mtu;
  std::uint16_t mss4;
  std::uint16_t mss6;
};

// We have no suite with it; cloud gateways do.
constexpr EspLayout kCbcSha1{16, 12, 16};

// The table AWS publishes for its VPN tunnels over a path of 1500 bytes: 8 rows, 3 columns. The suites stand for all key
// lengths.
const Row kPublished[] = {
    {"AES-GCM-16", facts_of(crypto::EspSuite::kAes256Gcm16).layout, false, 1446, 1406, 1386},
    {"AES-GCM-16, NAT traversal", facts_of(crypto::EspSuite::kAes256Gcm16).layout, true, 1438, 1398, 1378},
    {"AES-CBC, SHA1 or SHA2-256", facts_of(crypto::EspSuite::kAes128Sha256).layout, false, 1438, 1398, 1378},
    {"AES-CBC, SHA1 or SHA2-256, NAT traversal", facts_of(crypto::EspSuite::kAes128Sha256).layout, true, 1422, 1382, 1362},
    {"AES-CBC, SHA2-384", facts_of(crypto::EspSuite::kAes256Sha384).layout, false, 1422, 1382, 1362},
    {"AES-CBC, SHA2-384, NAT traversal", facts_of(crypto::EspSuite::kAes256Sha384).layout, true, 1422, 1382, 1362},
    {"AES-CBC, SHA2-512", facts_of(crypto::EspSuite::kAes256Sha512).layout, false, 1422, 1382, 1362},
    {"AES-CBC, SHA2-512, NAT traversal", facts_of(crypto::EspSuite::kAes256Sha512).layout, true, 1406, 1366, 1346},
};

TEST(EspInnerMtu, PublishedTable) {
  for (const Row& row : kPublished) {
    const std::size_t mtu = esp_inner_mtu(1500, 20, row.encap, row.layout);
    EXPECT_EQ(mtu, row.mtu) << row.suite;
    EXPECT_EQ(tcp_mss(mtu, 20), row.mss4) << row.suite;
    EXPECT_EQ(tcp_mss(mtu, 40), row.mss6) << row.suite;
  }
  for (const bool encap : {false, true}) {  // SHA1 and SHA2-256 share their rows
    EXPECT_EQ(esp_inner_mtu(1500, 20, encap, kCbcSha1),
              esp_inner_mtu(1500, 20, encap, facts_of(crypto::EspSuite::kAes128Sha256).layout));
  }
}

TEST(EspInnerMtu, OfSuitesWithoutAPublishedValue) {
  using enum crypto::EspSuite;
  // Suite, over IPv4, in UDP over IPv4, over IPv6, in UDP over IPv6. From the packet formats, by hand.
  const std::tuple<crypto::EspSuite, std::size_t, std::size_t, std::size_t, std::size_t> rows[] = {
      {kAes192Gcm16, 1446, 1438, 1426, 1418},   {kChaCha20Poly1305, 1446, 1438, 1426, 1418},
      {kAes192Sha256, 1438, 1422, 1406, 1406},  {kAes192Sha384, 1422, 1422, 1406, 1390},
      {kAes192Sha512, 1422, 1406, 1390, 1390},  {kNullSha256, 1454, 1446, 1434, 1426},
      {kNullSha384, 1446, 1438, 1426, 1418},    {kNullSha512, 1438, 1430, 1418, 1410},
  };
  for (const auto& [suite, v4, v4_udp, v6, v6_udp] : rows) {
    const EspLayout& layout = facts_of(suite).layout;
    EXPECT_EQ(esp_inner_mtu(1500, 20, false, layout), v4) << to_string(suite);
    EXPECT_EQ(esp_inner_mtu(1500, 20, true, layout), v4_udp) << to_string(suite);
    EXPECT_EQ(esp_inner_mtu(1500, 40, false, layout), v6) << to_string(suite);
    EXPECT_EQ(esp_inner_mtu(1500, 40, true, layout), v6_udp) << to_string(suite);
  }
}

TEST(EspInnerMtu, IsTheLargestThatFits) {
  for (const crypto::EspSuite suite : crypto::kAllEspSuites) {
    const EspLayout& layout = facts_of(suite).layout;
    for (const bool encap : {false, true}) {
      for (const std::size_t outer : {20U, 40U}) {
        for (std::size_t path = 68; path < 9100; path += path < 1600 ? 1 : 7) {
          const auto outer_bytes = [&](std::size_t inner) {
            const std::size_t unit = layout.alignment;
            const std::size_t padded = (inner + 2 + unit - 1) / unit * unit;
            return outer + (encap ? 8U : 0U) + 8 + layout.iv_bytes + padded + layout.icv_bytes;
          };
          const std::size_t mtu = esp_inner_mtu(path, outer, encap, layout);
          if (mtu == 0) continue;
          ASSERT_LE(outer_bytes(mtu), path);
          ASSERT_GT(outer_bytes(mtu + 1), path);
        }
      }
    }
    EXPECT_EQ(esp_inner_mtu(0, 20, false, layout), 0U);
    EXPECT_EQ(esp_inner_mtu(20 + 8 + layout.iv_bytes + layout.icv_bytes + 3, 20, false, layout), 0U);
  }
}

TEST(VxlanInnerMtu, CostsFiftyOrSeventyBytes) {
  EXPECT_EQ(vxlan_inner_mtu(1500, 20), 1450U);
  EXPECT_EQ(vxlan_inner_mtu(1500, 40), 1430U);
  EXPECT_EQ(vxlan_inner_mtu(50, 20), 0U);
}

}  // namespace
}  // namespace simplon::forward
