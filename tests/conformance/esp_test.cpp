// SPDX-License-Identifier: GPL-2.0-or-later
#include <fstream>
#include <set>
#include <sstream>

#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

const Bytes kIn = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, payload(20)));
const Bytes kOut = ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 2}, payload(20)));

Bytes outbound_esp(Rig& rig) {
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(kOut));
  return outcome.sent.size() == 1 ? from(outcome.sent[0].bytes, 42) : Bytes{};
}

TEST(Rfc4303, Section2_AnIndependentImplementationIsUnderstood) {
  std::ifstream file("tests/conformance/vectors/esp_scapy.txt");
  ASSERT_TRUE(file);
  int tested = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string name, key, spi, inner, esp;
    std::uint64_t sequence = 0;
    int esn = 0;
    words >> name >> key >> spi >> sequence >> esn >> inner >> esp;
    Rig rig;
    const SaKeys keys{static_cast<std::uint32_t>(std::stoul(spi, nullptr, 16)), hex(key), esn == 1};
    forward::SaSpec spec;
    spec.tunnel = TunnelId{7};
    spec.path = rig.topology.path7_in;
    const auto sa = Topology::make_sa(spec, keys);
    if (sequence >> 32 != 0) sa->runtime().window.commit(sequence - 1);  // where the SA stood before
    Topology::must(rig.tables.install_inbound(sa));
    const Outcome outcome =
        rig.send(kWan, ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.1", "198.51.100.1"},
                                                         udp({4500, 4500, std::nullopt, false}, hex(esp)))));
    ASSERT_EQ(outcome.summary(), "sent on 0") << name;
    EXPECT_EQ(to_hex(Rig::to_vm(outcome.sent[0])), to_hex(hop(hex(inner)))) << name;
    ++tested;
  }
  EXPECT_GE(tested, 5);
}

TEST(Rfc4303, Section2_1_SpisBelow256AreReserved) {
  for (const std::uint32_t spi : {0U, 1U, 255U}) {
    forward::SaSpec spec;
    spec.spi = Spi{spi};
    spec.key = crypto::SecretKey(test_key(1, 32));
    EXPECT_FALSE(forward::Sa::create(spec).has_value());
  }
}

TEST(Rfc4303, Section2_4_PaddingCountsUpFromOneAndAlignsToFourBytes) {
  Rig rig;
  for (std::size_t bytes = 0; bytes < 8; ++bytes) {
    const Outcome outcome =
        rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.16.0.9"}, udp({1, 2}, payload(bytes)))));
    OpenedEsp esp;
    EXPECT_FALSE(rig.to_site(7, outcome.sent.at(0), &esp).empty());
    EXPECT_EQ(esp.padding, first(Bytes{1, 2, 3}, esp.padding.size()));
    EXPECT_EQ((esp.inside.size() + esp.padding.size() + 2) % 4, 0U);
  }
}

TEST(Rfc4303, Section2_4_UpTo255BytesOfPaddingAreAccepted) {
  Rig rig;
  Bytes padding;
  for (int i = 1; i <= 255; ++i) padding.push_back(static_cast<std::uint8_t>(i));
  const Bytes inner = ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 2}, payload(19)));
  EXPECT_EQ((inner.size() + 255 + 2) % 4, 0U);
  const Outcome outcome = rig.send(kWan, rig.from_site(7, inner, {.padding = padding}));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(inner));
}

TEST(Rfc4303, Section2_6_DummyPacketsAreDiscardedSilently) {
  Rig rig;
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, payload(30), {.next_header = 59})).summary(), "dropped esp_dummy");
}

TEST(Rfc4303, Section2_7_TrafficFlowConfidentialityPaddingIsRemoved) {
  Rig rig;
  const Outcome outcome = rig.send(kWan, rig.from_site(7, kIn + Bytes(100, 0)));
  ASSERT_EQ(outcome.summary(), "sent on 0");
  EXPECT_EQ(Rig::to_vm(outcome.sent[0]), hop(kIn));
}

TEST(Rfc4303, Section3_3_3_TheFirstPacketHasNumberOne) {
  Rig rig;
  EXPECT_EQ(be32(outbound_esp(rig), 4), 1U);
  EXPECT_EQ(be32(outbound_esp(rig), 4), 2U);
}

TEST(Rfc4303, Section3_3_3_WithoutEsnTheCounterNeverCycles) {
  Rig rig;
  rig.topology.sa9_out->runtime().sequence.store(0xfffffffe);
  const Bytes packet = Rig::from_vm(ipv4({"10.1.0.5", "172.19.0.9"}, payload(9)));
  EXPECT_EQ(rig.send(kFabric, packet).summary(), "sent on 1");
  EXPECT_EQ(rig.send(kFabric, packet).summary(), "dropped esp_sequence_exhausted");
  EXPECT_EQ(rig.send(kFabric, packet).summary(), "dropped esp_sequence_exhausted");
}

TEST(Rfc4303, Section3_3_3_WithEsnTheCounterGoesOnPast32Bits) {
  Rig rig;
  rig.topology.sa7_out->runtime().sequence.store(0xffffffff);
  const auto esp = esp_open(rig.peer_receives(7), outbound_esp(rig), 1);
  ASSERT_TRUE(esp.has_value()) << "the high half is authenticated";
  EXPECT_EQ(esp->sequence, 0U);
  EXPECT_EQ(esp->iv, hex("0000000100000000")) << "the IV goes on, too";
}

TEST(Rfc4303, Section3_4_3_ReplayedPacketsAreDiscardedAfterReordering) {
  Rig rig;
  const Bytes in = ipv4({"172.19.0.9", "10.1.0.5"}, udp({1, 2}, payload(20)));
  const auto result = [&](std::uint64_t sequence) {
    return rig.send(kWan, rig.from_site(9, in, {.sequence = sequence})).summary();
  };
  for (const std::uint64_t sequence : {5U, 3U, 4U, 1U, 4100U, 5000U}) EXPECT_EQ(result(sequence), "sent on 0");
  for (const std::uint64_t sequence : {5U, 3U, 4U, 1U, 4100U, 5000U, 904U}) {
    EXPECT_EQ(result(sequence), "dropped esp_replayed") << sequence;
  }
  EXPECT_EQ(result(905), "sent on 0") << "5000 - 4095";
  EXPECT_EQ(rig.topology.sa9_in->usage().replayed, 7U);
}

TEST(Rfc4303, Section3_4_3_WithEsnNumbersLeftOfTheWindowDoNotAuthenticate) {
  // Their low half is taken for one of the next subspace (appendix A2.1), whose high half was not authenticated.
  Rig rig;
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, kIn, {.sequence = 3})).summary(), "sent on 0");
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, kIn, {.sequence = 3})).summary(), "dropped esp_replayed");
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, kIn, {.sequence = 5000})).summary(), "sent on 0");
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, kIn, {.sequence = 3})).summary(), "dropped esp_authentication");
  EXPECT_EQ(rig.topology.sa7_in->usage().sequence, 5000U);
}

TEST(Rfc4303, Section3_4_3_TheWindowMovesOnlyAfterVerification) {
  Rig rig;
  Bytes forged = rig.from_site(7, kIn, {.sequence = 100000});
  forged.back() ^= 1;
  EXPECT_EQ(rig.send(kWan, forged).summary(), "dropped esp_authentication");
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, kIn, {.sequence = 1})).summary(), "sent on 0");
}

TEST(Rfc4303, AppendixA_HighOrderBitsAreRecoveredAcrossTheBoundary) {
  Rig rig;
  const std::uint64_t boundary = std::uint64_t{1} << 32;
  rig.topology.sa7_in->runtime().window.commit(boundary - 10);
  for (const std::uint64_t sequence : {boundary - 3, boundary + 5, boundary - 2, boundary, boundary + 1}) {
    EXPECT_EQ(rig.send(kWan, rig.from_site(7, kIn, {.sequence = sequence})).summary(), "sent on 0") << sequence;
  }
  EXPECT_EQ(rig.send(kWan, rig.from_site(7, kIn, {.sequence = boundary - 2})).summary(), "dropped esp_replayed");
  EXPECT_EQ(rig.topology.sa7_in->usage().sequence, boundary + 5);
}

TEST(Rfc4106, Section3_1_TheIvIsUniquePerKey) {
  Rig rig;
  std::set<Bytes> ivs;
  for (int i = 0; i < 100; ++i) {
    const Bytes esp = outbound_esp(rig);
    EXPECT_TRUE(ivs.insert({esp.begin() + 8, esp.begin() + 16}).second);
  }
}

TEST(Rfc4106, Section5_AssociatedDataIsEightBytesWithoutAndTwelveWithEsn) {
  Rig rig;
  // esp_open authenticates with exactly these.
  EXPECT_TRUE(esp_open(rig.peer_receives(7), outbound_esp(rig)).has_value());
  EspParameters without = rig.peer_receives(7);
  without.esn = false;
  EXPECT_FALSE(esp_open(without, outbound_esp(rig)).has_value());
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(ipv4({"10.1.0.5", "172.19.0.9"}, payload(9))));
  EXPECT_TRUE(esp_open(rig.peer_receives(9), from(outcome.sent.at(0).bytes, 54)).has_value());
}

TEST(Rfc4106, Section8_1_KeyingMaterialIsTheKeyAndFourBytesOfSalt) {
  for (const std::size_t bytes : {19U, 20U, 21U, 35U, 36U, 37U}) {
    forward::SaSpec spec;
    spec.spi = Spi{0xc0000001};
    spec.suite = bytes < 30 ? crypto::EspSuite::kAes128Gcm16 : crypto::EspSuite::kAes256Gcm16;
    spec.key = crypto::SecretKey(Bytes(bytes, 1));
    EXPECT_EQ(forward::Sa::create(spec).has_value(), bytes == 20 || bytes == 36) << bytes;
  }
}

TEST(Rfc3948, Section2_1_UdpChecksumIsSentAsZeroOverIpv4) {
  Rig rig;
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(kOut));
  EXPECT_EQ(be16(outcome.sent.at(0).bytes, 40), 0);
}

TEST(Rfc3948, Section2_2_ZeroSpiIsTheMarkerOfIke) {
  Rig rig;
  const auto packet = [](const Bytes& inside) {
    return ethernet({kWanMac, kIspMac},
                    ipv4({"203.0.113.1", "198.51.100.1"}, udp({4500, 4500, std::nullopt, false}, inside)));
  };
  EXPECT_EQ(rig.send(kWan, packet(Bytes(4, 0))).summary(), "dropped ike_misdirected");
  EXPECT_EQ(rig.send(kWan, packet(Bytes(100, 0))).summary(), "dropped ike_misdirected");
}

TEST(Rfc3948, Section2_3_KeepalivesAreIgnored) {
  Rig rig;
  EXPECT_EQ(rig.send(kWan, ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.1", "198.51.100.1"},
                                                             udp({4500, 4500, std::nullopt, false}, {0xff}))))
                .summary(),
            "dropped nat_keepalive");
}

TEST(Rfc4301, Section5_2_InnerPacketsOutsideTheSelectorsAreDiscarded) {
  Rig rig;
  const SaKeys keys{0xc00000bb, test_key(30, 32), true};
  forward::SaSpec spec;
  spec.tunnel = TunnelId{7};
  spec.path = rig.topology.path7_in;
  spec.source_selectors = {{Topology::ip("172.16.0.0"), Topology::ip("172.16.0.255")}};
  spec.destination_selectors = {{Topology::ip("10.1.0.5"), Topology::ip("10.1.0.5"), 17, 2, 2}};
  Topology::must(rig.tables.install_inbound(Topology::make_sa(spec, keys)));
  std::uint64_t sequence = 0;
  const auto result = [&](const Bytes& inner) {
    const Bytes esp = esp_seal({keys.spi, keys.key, true}, {.sequence = ++sequence}, inner);
    return rig.send(kWan, ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.1", "198.51.100.1"},
                                                            udp({4500, 4500, std::nullopt, false}, esp))))
        .summary();
  };
  EXPECT_EQ(result(kIn), "sent on 0");
  EXPECT_EQ(result(ipv4({"172.16.1.9", "10.1.0.5"}, udp({1, 2}, {}))), "dropped esp_selector");
  EXPECT_EQ(result(ipv4({"172.16.0.9", "10.1.0.6"}, udp({1, 2}, {}))), "dropped esp_selector");
  EXPECT_EQ(result(ipv4({"172.16.0.9", "10.1.0.5"}, udp({1, 3}, {}))), "dropped esp_selector");
  EXPECT_EQ(result(ipv4({"172.16.0.9", "10.1.0.5", 6}, tcp({1, 2}, {}))), "dropped esp_selector");
}

TEST(Rfc4301, Section8_1_TheOuterHeaderHasDontFragment) {
  Rig rig;
  const Outcome outcome = rig.send(kFabric, Rig::from_vm(kOut));
  EXPECT_EQ(be16(outcome.sent.at(0).bytes, 20), 0x4000);
}

}  // namespace
}  // namespace simplon::test
