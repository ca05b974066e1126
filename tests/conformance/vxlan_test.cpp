// SPDX-License-Identifier: GPL-2.0-or-later
#include <set>

#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

const Bytes kInner = ipv4({"10.1.0.5", "10.3.0.5"}, udp({1, 2}, payload(20)));
const Bytes kTowards = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, payload(20)));

Bytes frame(std::uint32_t flags, std::uint32_t vni_word_low, bool udp_checksum = false) {
  Bytes header = vxlan(5001, {}, flags);
  header[7] = static_cast<std::uint8_t>(vni_word_low);
  return ethernet({kFabricMac, kComputeMac},
                  ipv4({"192.0.2.11", "192.0.2.1"},
                       udp({55555, 4789, std::nullopt, udp_checksum},
                           header + ethernet({kGatewayMac, kVmMac}, kInner))));
}

TEST(Rfc7348, Section5_ReservedBitsIgnoredOnReceipt) {
  Rig rig;
  for (const std::uint32_t flags : {0x08000000U, 0xffffffffU, 0x08000001U, 0x88ffffffU}) {
    for (const std::uint32_t reserved : {0x00U, 0x01U, 0xffU}) {
      EXPECT_EQ(rig.send(kFabric, frame(flags, reserved)).summary(), "sent on 0") << flags;
    }
  }
}

TEST(Rfc7348, Section5_IFlagMustBeSet) {
  Rig rig;
  EXPECT_EQ(rig.send(kFabric, frame(0x00000000, 0)).summary(), "dropped vxlan_flags");
  EXPECT_EQ(rig.send(kFabric, frame(0xf7ffffff, 0)).summary(), "dropped vxlan_flags");
}

TEST(Rfc7348, Section5_ReservedBitsSentAsZero) {
  Rig rig;
  const Outcome outcome = rig.send(kWan, rig.from_site(7, kTowards));
  ASSERT_EQ(outcome.sent.size(), 1U);
  EXPECT_EQ(be32(outcome.sent[0].bytes, 42), 0x08000000U);
  EXPECT_EQ(be32(outcome.sent[0].bytes, 46), 5001U << 8);
}

TEST(Rfc7348, Section5_ZeroUdpChecksumIsAcceptedAndSentOverIpv4) {
  Rig rig;
  EXPECT_EQ(rig.send(kFabric, frame(0x08000000, 0, false)).summary(), "sent on 0");
  EXPECT_EQ(rig.send(kFabric, frame(0x08000000, 0, true)).summary(), "sent on 0");
  const Outcome outcome = rig.send(kWan, rig.from_site(7, kTowards));
  EXPECT_EQ(be16(outcome.sent.at(0).bytes, 40), 0);
}

TEST(Rfc7348, Section5_SourcePortIsOfTheInnerFlowInTheDynamicRange) {
  Rig rig;
  std::set<std::uint16_t> ports;
  for (std::uint16_t flow = 0; flow < 100; ++flow) {
    const Bytes inner = ipv4({"172.16.0.9", "10.1.0.5"}, udp({flow, 2}, payload(4)));
    const std::uint16_t one = be16(rig.send(kWan, rig.from_site(7, inner)).sent.at(0).bytes, 34);
    const std::uint16_t again = be16(rig.send(kWan, rig.from_site(7, inner)).sent.at(0).bytes, 34);
    EXPECT_EQ(one, again);
    EXPECT_GE(one, 49152);
    ports.insert(one);
  }
  EXPECT_GT(ports.size(), 90U);
}

TEST(Rfc7348, Section4_3_FragmentedVxlanPacketsAreNotReassembled) {
  Rig rig;
  const Bytes fragment = ethernet({kFabricMac, kComputeMac},
                                  ipv4({.src = "192.0.2.11", .dst = "192.0.2.1", .mf = true},
                                       udp({1, 4789}, vxlan(5001, ethernet({kGatewayMac, kVmMac}, kInner)))));
  EXPECT_EQ(rig.send(kFabric, fragment).summary(), "dropped outer_fragment");
}

TEST(Rfc7348, Section4_3_VtepsDoNotFragment) {
  Rig rig;
  const Outcome outcome = rig.send(kWan, rig.from_site(7, kTowards));
  EXPECT_EQ(be16(outcome.sent.at(0).bytes, 20), 0x4000) << "DF";
}

TEST(Rfc7348, Section6_1_InnerVlanTaggedFramesAreDiscarded) {
  Rig rig;
  const Bytes tagged = ethernet({kGatewayMac, kVmMac, 0x8100}, hex("0064 0800") + kInner);
  EXPECT_EQ(rig.send(kFabric, ethernet({kFabricMac, kComputeMac},
                                       ipv4({"192.0.2.11", "192.0.2.1"}, udp({1, 4789}, vxlan(5001, tagged)))))
                .summary(),
            "dropped vxlan_inner_type");
}

TEST(Rfc6040, Section4_2_CongestionIsCarriedOver) {
  struct Row {
    std::uint8_t inner, outer;
    int result;  // -1: dropped
  };
  // Figure 4. 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE.
  for (const Row& row : {Row{0, 0, 0}, Row{0, 1, 0}, Row{0, 2, 0}, Row{0, 3, -1}, Row{2, 0, 2}, Row{2, 1, 1},
                         Row{2, 2, 2}, Row{2, 3, 3}, Row{1, 0, 1}, Row{1, 1, 1}, Row{1, 2, 1}, Row{1, 3, 3}, Row{3, 0, 3},
                         Row{3, 1, 3}, Row{3, 2, 3}, Row{3, 3, 3}}) {
    Rig rig;
    const Bytes inner =
        ipv4({.src = "10.1.0.5", .dst = "172.16.0.9", .tos = static_cast<std::uint8_t>(0xb8 | row.inner)}, payload(9));
    const Outcome outcome = rig.send(
        kFabric, ethernet({kFabricMac, kComputeMac},
                          ipv4({.src = "192.0.2.11", .dst = "192.0.2.1", .tos = row.outer},
                               udp({1, 4789}, vxlan(5001, ethernet({kGatewayMac, kVmMac}, inner))))));
    if (row.result < 0) {
      EXPECT_EQ(outcome.summary(), "dropped ecn_not_capable");
      continue;
    }
    ASSERT_EQ(outcome.sent.size(), 1U);
    const Bytes out = rig.to_site(7, outcome.sent[0]);  // compares the outer TOS with the inner one
    EXPECT_EQ(out[1], 0xb8 | row.result) << int{row.inner} << " " << int{row.outer};
  }
}

TEST(Rfc6935, Section5_UdpOverIpv6HasAChecksum) {
  Rig rig;
  const Bytes inner = ipv4({"172.16.0.9", "10.3.0.5"}, udp({1, 2}, payload(21)));
  const Outcome outcome = rig.send(kWan, rig.from_site(7, inner));
  ASSERT_EQ(outcome.sent.size(), 1U);
  EXPECT_NE(be16(outcome.sent[0].bytes, 60), 0);
  EXPECT_EQ(Rig::to_vm6(outcome.sent[0]), hop(inner)) << "compares the checksum, too";
}

}  // namespace
}  // namespace simplon::test
