// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forward/mtu.h"

#include <gtest/gtest.h>

namespace simplon::forward {
namespace {

struct Row {
  const char* suite;
  EspOverhead overhead;
  bool encap;
  std::size_t mtu;
  std::uint16_t mss4;
  std::uint16_t mss6;
};

// The table AWS publishes for its VPN tunnels over a path of 1500 bytes: 8 rows, 3 columns.
constexpr Row kPublished[] = {
    {"AES-GCM-16", {8, 16, 4}, false, 1446, 1406, 1386},
    {"AES-GCM-16, NAT traversal", {8, 16, 4}, true, 1438, 1398, 1378},
    {"AES-CBC, SHA1 or SHA2-256", {16, 12, 16}, false, 1438, 1398, 1378},
    {"AES-CBC, SHA1 or SHA2-256, NAT traversal", {16, 12, 16}, true, 1422, 1382, 1362},
    {"AES-CBC, SHA2-384", {16, 24, 16}, false, 1422, 1382, 1362},
    {"AES-CBC, SHA2-384, NAT traversal", {16, 24, 16}, true, 1422, 1382, 1362},
    {"AES-CBC, SHA2-512", {16, 32, 16}, false, 1422, 1382, 1362},
    {"AES-CBC, SHA2-512, NAT traversal", {16, 32, 16}, true, 1406, 1366, 1346},
};

TEST(EspInnerMtu, PublishedTable) {
  for (const Row& row : kPublished) {
    const std::size_t mtu = esp_inner_mtu(1500, 20, row.encap, row.overhead);
    EXPECT_EQ(mtu, row.mtu) << row.suite;
    EXPECT_EQ(tcp_mss(mtu, 20), row.mss4) << row.suite;
    EXPECT_EQ(tcp_mss(mtu, 40), row.mss6) << row.suite;
  }
}

TEST(EspInnerMtu, IsTheLargestThatFits) {
  for (const bool encap : {false, true}) {
    for (const std::size_t outer : {20U, 40U}) {
      for (std::size_t path = 68; path < 9100; ++path) {
        const auto outer_bytes = [&](std::size_t inner) {
          const std::size_t padded = (inner + 2 + 3) / 4 * 4;
          return outer + (encap ? 8U : 0U) + 8 + 8 + padded + 16;
        };
        const std::size_t mtu = esp_inner_mtu(path, outer, encap);
        if (mtu == 0) continue;
        ASSERT_LE(outer_bytes(mtu), path);
        ASSERT_GT(outer_bytes(mtu + 1), path);
      }
    }
  }
  EXPECT_EQ(esp_inner_mtu(0, 20, false), 0U);
  EXPECT_EQ(esp_inner_mtu(55, 20, false), 0U);
}

TEST(VxlanInnerMtu, CostsFiftyOrSeventyBytes) {
  EXPECT_EQ(vxlan_inner_mtu(1500, 20), 1450U);
  EXPECT_EQ(vxlan_inner_mtu(1500, 40), 1430U);
  EXPECT_EQ(vxlan_inner_mtu(50, 20), 0U);
}

}  // namespace
}  // namespace simplon::forward
