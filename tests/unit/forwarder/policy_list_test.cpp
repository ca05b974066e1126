// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/policy_list.h"

#include <gmock/gmock.h>

namespace simplon::forwarder {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr TunnelId kTunnel{7};
constexpr std::uint64_t kSession = 1;

ipc::sa::Policy out(std::uint32_t spi, std::uint32_t priority = 1, TunnelId tunnel = kTunnel) {
  ipc::sa::Policy policy;
  policy.direction = ipc::sa::Direction::kOut;
  policy.tunnel = tunnel;
  policy.reqid = 1;
  policy.priority = priority;
  policy.spi = Spi(spi);
  policy.source.to = policy.destination.to = IpAddress::v4(0xffffffff);
  return policy;
}

TEST(PolicyList, TheNewestOfTheBestPriorityComesFirst) {
  PolicyList list;
  list.add(out(1), kSession);
  list.add(out(2), kSession);
  list.add(out(3, 2), kSession);
  EXPECT_THAT(list.outbound(kTunnel, kSession), ElementsAre(Spi(2), Spi(1), Spi(3)));
}

TEST(PolicyList, AddingAgainKeepsTheAge) {
  PolicyList list;
  list.add(out(1), kSession);
  list.add(out(2), kSession);
  list.add(out(1), kSession);
  EXPECT_THAT(list.outbound(kTunnel, kSession), ElementsAre(Spi(2), Spi(1)));
}

TEST(PolicyList, RemovalFallsBackToTheNextAndIsIdempotent) {
  PolicyList list;
  list.add(out(1), kSession);
  list.add(out(2), kSession);
  list.remove(out(2));
  list.remove(out(2));
  EXPECT_THAT(list.outbound(kTunnel, kSession), ElementsAre(Spi(1)));
  list.remove(out(1));
  EXPECT_THAT(list.outbound(kTunnel, kSession), IsEmpty());
  EXPECT_TRUE(list.uses().empty());
}

TEST(PolicyList, TrapsOtherTunnelsAndOtherDirectionsDoNotCount) {
  PolicyList list;
  list.add(out(0, 2), kSession);
  list.add(out(5, 1, TunnelId(8)), kSession);
  auto in = out(6);
  in.direction = ipc::sa::Direction::kIn;
  list.add(in, kSession);
  EXPECT_THAT(list.outbound(kTunnel, kSession), IsEmpty());
}

TEST(PolicyList, PoliciesOfThisSessionComeBeforeThoseOfEarlierOnes) {
  PolicyList list;
  list.add(out(1), kSession);
  list.add(out(2, 2), kSession + 1);
  EXPECT_THAT(list.outbound(kTunnel, kSession + 1), ElementsAre(Spi(2), Spi(1)));
  list.forget_stale(kTunnel, kSession + 1);
  EXPECT_THAT(list.outbound(kTunnel, kSession + 1), ElementsAre(Spi(2)));
}

}  // namespace
}  // namespace simplon::forwarder
