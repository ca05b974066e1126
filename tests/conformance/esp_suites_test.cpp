// SPDX-License-Identifier: GPL-2.0-or-later
//
// All suites: published and independently computed examples, and what the ESP stages make of each suite.
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "gateway/forward/mtu.h"
#include "platform/crypto/esp_batch.h"
#include "tests/packet/rig.h"

namespace simplon::test {
namespace {

using crypto::CryptoBackend;
using crypto::EspBatch;
using crypto::EspKey;
using crypto::EspSuite;
using crypto::kAllEspSuites;

/// Calls `check` with the words of each line; returns how many there were. "-" is an empty word.
int for_each_line(const std::string& file, const std::function<void(const std::vector<std::string>&)>& check) {
  std::ifstream stream("tests/conformance/vectors/" + file);
  EXPECT_TRUE(stream) << file;
  int lines = 0;
  for (std::string line; std::getline(stream, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::vector<std::string> all;
    for (std::string word; words >> word;) all.push_back(word == "-" ? "" : word);
    SCOPED_TRACE(line);
    check(all);
    ++lines;
  }
  return lines;
}

EspSuite suite_named(const std::string& name) {
  for (const EspSuite suite : kAllEspSuites) {
    if (to_string(suite) == name) return suite;
  }
  ADD_FAILURE() << "no suite " << name;
  return {};
}

std::vector<CryptoBackend> backends() {
  std::vector<CryptoBackend> list{CryptoBackend::kOpenSsl};
  if (crypto::available(CryptoBackend::kIpsecMb)) list.push_back(CryptoBackend::kIpsecMb);
  return list;
}

/// Copies of `packet`, once few enough for OpenSSL and once enough for the lanes.
void for_each_way(const std::function<void(CryptoBackend, std::size_t)>& run) {
  for (const CryptoBackend backend : backends()) {
    for (const std::size_t copies : {std::size_t{1}, EspBatch::kWorthIt, std::size_t{17}}) run(backend, copies);
  }
}

Bytes clear_of(const Bytes& packet, EspSuite suite) { return first(packet, 8U + facts_of(suite).layout.iv_bytes); }

/// `sequence` is the IV of an AEAD that is sealed here, so other IVs can only be opened.
void check_example(const std::vector<std::string>& words) {
  const EspSuite suite = suite_named(words.at(0));
  const crypto::EspLayout& layout = facts_of(suite).layout;
  const std::uint64_t sequence = std::stoull(words.at(4));
  const Bytes plain = hex(words.at(5)), packet = hex(words.at(6));
  const bool own_iv = is_aead(suite) && (be32(packet, 8) != sequence >> 32 || be32(packet, 12) != (sequence & 0xffffffff));
  for_each_way([&](CryptoBackend backend, std::size_t copies) {
    const EspKey key = EspKey::create(suite, hex(words.at(1)), hex(words.at(2)), words.at(3) == "1", backend).value();
    EspBatch batch(backend);
    std::vector<Bytes> opened(copies, packet);
    for (Bytes& one : opened) batch.add(key, one.data(), plain.size(), sequence);
    batch.open();
    for (std::size_t i = 0; i < copies; ++i) {
      EXPECT_TRUE(batch[i].authentic);
      EXPECT_EQ(to_hex(first(from(opened[i], 8U + layout.iv_bytes), plain.size())), words.at(5));
    }
    if (own_iv) return;
    batch.clear();
    std::vector<Bytes> sealed(copies, clear_of(packet, suite) + plain + Bytes(layout.icv_bytes));
    for (Bytes& one : sealed) batch.add(key, one.data(), plain.size(), sequence);
    batch.seal();
    for (const Bytes& one : sealed) EXPECT_EQ(to_hex(one), words.at(6));
  });
}

TEST(EspSuites, IndependentlyComputedExamples) {
  std::set<std::string> names;
  EXPECT_EQ(for_each_line("esp_suites.txt",
                          [&](const auto& words) {
                            names.insert(words.at(0));
                            check_example(words);
                          }),
            48);
  EXPECT_EQ(names.size(), kAllEspSuites.size());
}

TEST(Rfc7634, AppendixA_Example) { EXPECT_EQ(for_each_line("rfc7634.txt", check_example), 1); }

TEST(Rfc3602, Section4_Examples) {
  const int lines = for_each_line("rfc3602.txt", [](const auto& words) {
    const Bytes key_bytes = hex(words.at(0)), plain = hex(words.at(2));
    for_each_way([&](CryptoBackend backend, std::size_t copies) {
      const EspKey key = EspKey::create(EspSuite::kAes128Sha256, key_bytes, Bytes(32, 1), true, backend).value();
      EspBatch batch(backend);
      std::vector<Bytes> packets(copies, Bytes(8) + hex(words.at(1)) + plain + Bytes(16));
      for (Bytes& packet : packets) batch.add(key, packet.data(), plain.size(), 1);
      batch.seal();
      for (const Bytes& packet : packets) EXPECT_EQ(to_hex(first(from(packet, 24), plain.size())), words.at(3));
      batch.open();
    });
  });
  EXPECT_EQ(lines, 4);
}

// The data of the example takes the place of SPI, sequence number and payload.
TEST(Rfc4868, Section2_7_2_Examples) {
  const int lines = for_each_line("rfc4868.txt", [](const auto& words) {
    const EspSuite suite = suite_named("null-" + words.at(0));
    const Bytes data = hex(words.at(2));
    for_each_way([&](CryptoBackend backend, std::size_t copies) {
      const EspKey key = EspKey::create(suite, {}, hex(words.at(1)), false, backend).value();
      EspBatch batch(backend);
      std::vector<Bytes> packets(copies, data + Bytes(facts_of(suite).layout.icv_bytes));
      for (Bytes& packet : packets) batch.add(key, packet.data(), data.size() - 8, 0);
      batch.seal();
      for (const Bytes& packet : packets) EXPECT_EQ(to_hex(from(packet, data.size())), words.at(3));
    });
  });
  EXPECT_EQ(lines, 12);
}

/// The gateway of topology.h, whose tunnels 7 (UDP over IPv4), 8 (ESP over IPv4) and 9 (ESP over IPv6) use one suite.
class Tunnels {
 public:
  explicit Tunnels(EspSuite suite, bool esn) : suite_(suite) {
    const crypto::EspSuiteFacts& facts = facts_of(suite);
    std::uint8_t seed = 0;
    const auto make = [&](std::uint32_t tunnel, forward::SaDirection direction, std::uint32_t spi,
                          const forward::SaPath& path) {
      forward::SaSpec spec;
      spec.direction = direction;
      spec.spi = Spi{spi};
      spec.tunnel = TunnelId{tunnel};
      spec.path = path;
      spec.suite = suite;
      const Bytes key(std::size_t{facts.cipher_key_bytes} + facts.salt_bytes, ++seed);
      const Bytes integrity(facts.integrity_key_bytes, ++seed);
      spec.key = crypto::SecretKey(key);
      spec.integrity_key = crypto::SecretKey(integrity);
      spec.esn = esn;
      peers_.emplace(spi, EspKey::create(suite, key, integrity, esn, CryptoBackend::kOpenSsl).value());
      return forward::Sa::create(std::move(spec)).value();
    };
    using enum forward::SaDirection;
    for (const std::uint32_t tunnel : {7U, 8U, 9U}) {
      const Topology& topology = rig.topology;
      const auto& in = tunnel == 7 ? topology.sa7_in : tunnel == 8 ? topology.sa8_in : topology.sa9_in;
      const auto& out = tunnel == 7 ? topology.sa7_out : tunnel == 8 ? topology.sa8_out : topology.sa9_out;
      Topology::must(rig.tables.install_inbound(make(tunnel, kInbound, kSpiIn + tunnel, in->path())));
      Topology::must(rig.tables.set_outbound(TunnelId{tunnel}, make(tunnel, kOutbound, kSpiOut + tunnel, out->path())));
    }
    rig.tables.commit();
  }

  /// The frame with which the site sends `inner`, sealed with OpenSSL.
  [[nodiscard]] Bytes from_site(unsigned tunnel, const Bytes& inner, std::uint64_t sequence) const {
    const crypto::EspLayout& layout = facts_of(suite_).layout;
    const std::size_t padding = (0 - (inner.size() + 2)) % layout.alignment;
    Bytes plain = inner;
    for (std::size_t i = 1; i <= padding; ++i) plain.push_back(static_cast<std::uint8_t>(i));
    plain.push_back(static_cast<std::uint8_t>(padding));
    plain.push_back(inner[0] >> 4 == 6 ? 41 : 4);
    Bytes esp(8U + layout.iv_bytes, 0x5a);
    const std::uint32_t words[] = {kSpiIn + tunnel, static_cast<std::uint32_t>(sequence)};
    for (std::size_t i = 0; i < 8; ++i) esp[i] = static_cast<std::uint8_t>(words[i / 4] >> (24 - 8 * (i % 4)));
    esp = esp + plain + Bytes(layout.icv_bytes);
    EspBatch batch(CryptoBackend::kOpenSsl);
    batch.add(peers_.at(kSpiIn + tunnel), esp.data(), plain.size(), sequence);
    batch.seal();
    if (tunnel == 7) {
      return ethernet({kWanMac, kIspMac},
                      ipv4({"203.0.113.1", "198.51.100.1"}, udp({4500, 4500, std::nullopt, false}, esp)));
    }
    if (tunnel == 8) return ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.2", "198.51.100.1", 50}, esp));
    return ethernet({kWanMac, kIspMac, 0x86dd}, ipv6({"2001:db8:a::9", "2001:db8:1::1", 50}, esp));
  }

  /// What the site takes out of a frame, opened with OpenSSL; empty if it is not authentic or badly padded.
  [[nodiscard]] Bytes to_site(unsigned tunnel, const Bytes& frame, std::uint64_t sequence) const {
    const crypto::EspLayout& layout = facts_of(suite_).layout;
    Bytes esp = from(frame, 14U + (tunnel == 9 ? 40U : 20U) + (tunnel == 7 ? 8U : 0U));
    const std::size_t clear = 8U + layout.iv_bytes;
    EXPECT_EQ(be32(esp, 0), kSpiOut + tunnel);
    EXPECT_EQ(be32(esp, 4), static_cast<std::uint32_t>(sequence));
    const std::size_t bytes = esp.size() - clear - layout.icv_bytes;
    EXPECT_EQ(bytes % layout.alignment, 0U);
    EspBatch batch(CryptoBackend::kOpenSsl);
    batch.add(peers_.at(kSpiOut + tunnel), esp.data(), bytes, sequence);
    batch.open();
    if (!batch[0].authentic) return {};
    const wire::EspPayload payload = wire::parse_esp_payload(std::span(esp).subspan(clear, bytes));
    EXPECT_LT(bytes - payload.length - 2, layout.alignment) << "no more padding than needed";
    return payload.padding_ok ? first(from(esp, clear), payload.length) : Bytes{};
  }

  static constexpr std::uint32_t kSpiIn = 0xc0001000, kSpiOut = 0x0a001000;
  Rig rig;

 private:
  EspSuite suite_;
  std::map<std::uint32_t, EspKey> peers_;
};

/// Of a VM to the site behind `tunnel`, and back.
Bytes vm_packet(unsigned tunnel, std::size_t bytes, bool df = false) {
  return ipv4({.src = "10.1.0.5", .dst = tunnel == 9 ? "172.19.0.9" : "172.16.0.9", .df = df},
              udp({1, 2}, payload(bytes - 28)));
}
Bytes site_packet(unsigned tunnel, std::size_t bytes) {
  return ipv4({.src = tunnel == 9 ? "172.19.0.9" : "172.16.0.9", .dst = "10.1.0.5"}, udp({1, 2}, payload(bytes - 28)));
}
Bytes vm_frame(unsigned tunnel, const Bytes& inner) {
  return tunnel == 8 ? Rig::from_vm({5002, "192.0.2.12", kBlueGatewayMac, kBlueVmMac}, inner) : Rig::from_vm(inner);
}

/// By the tunnel it came through: the packets of one stay in order, no more is promised.
std::map<unsigned, std::vector<forward::MemoryIo::Sent>> by_tunnel(const std::vector<forward::MemoryIo::Sent>& sent) {
  constexpr std::size_t kVni = 14 + 20 + 8 + 4, kSource = 14 + 20 + 8 + 8 + 14 + 12;
  std::map<unsigned, std::vector<forward::MemoryIo::Sent>> sorted;
  for (const auto& frame : sent) {
    const bool blue = be32(frame.bytes, kVni) >> 8 == 5002;
    sorted[blue ? 8U : be32(frame.bytes, kSource) == 0xac130009 ? 9U : 7U].push_back(frame);
  }
  return sorted;
}

class EachSuite : public testing::TestWithParam<EspSuite> {};
INSTANTIATE_TEST_SUITE_P(EspSuites, EachSuite, testing::ValuesIn(kAllEspSuites), [](const auto& tested) {
  std::string name(to_string(tested.param));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST_P(EachSuite, BurstsGoThroughEveryKindOfTunnel) {
  for (const bool esn : {false, true}) {
    Tunnels tunnels(GetParam(), esn);
    std::map<unsigned, std::uint64_t> number;
    for (const std::size_t burst : {1U, 2U, 64U}) {
      std::vector<Bytes> outward, expected_out, inward, expected_in;
      std::vector<unsigned> tunnel_of;
      for (std::size_t i = 0; i < burst; ++i) {
        const unsigned tunnel = 7 + static_cast<unsigned>(i % 3);
        tunnel_of.push_back(tunnel);
        outward.push_back(vm_frame(tunnel, vm_packet(tunnel, 28 + i * 19)));
        expected_out.push_back(hop(vm_packet(tunnel, 28 + i * 19)));
        inward.push_back(tunnels.from_site(tunnel, site_packet(tunnel, 28 + i * 17), number[tunnel] + 1 + i / 3));
        expected_in.push_back(hop(site_packet(tunnel, 28 + i * 17)));
      }
      const Outcome out = tunnels.rig.send_all(kFabric, outward);
      const Outcome in = tunnels.rig.send_all(kWan, inward);
      ASSERT_EQ(out.sent.size(), burst) << out.summary();
      ASSERT_EQ(in.sent.size(), burst) << in.summary();
      auto back = by_tunnel(in.sent);
      for (std::size_t i = 0; i < burst; ++i) {
        const unsigned tunnel = tunnel_of[i];
        ASSERT_GT(back[tunnel].size(), i / 3);
        EXPECT_EQ(to_hex(tunnels.to_site(tunnel, out.sent[i].bytes, ++number[tunnel])), to_hex(expected_out[i])) << i;
        EXPECT_EQ(to_hex(Rig::to_vm(back[tunnel][i / 3], tunnel == 8 ? 5002 : 5001)), to_hex(expected_in[i])) << i;
      }
    }
  }
}

TEST_P(EachSuite, FillsThePathToTheLastByte) {
  Tunnels tunnels(GetParam(), true);
  const crypto::EspLayout& layout = facts_of(GetParam()).layout;
  for (const unsigned tunnel : {7U, 8U, 9U}) {
    const std::size_t mtu = forward::esp_inner_mtu(1500, tunnel == 9 ? 40 : 20, tunnel == 7, layout);
    EXPECT_EQ(tunnels.rig.tables.inner_mtu(forward::AttachmentId::tunnel(TunnelId{tunnel})), mtu);
    const Outcome fits = tunnels.rig.send(kFabric, vm_frame(tunnel, vm_packet(tunnel, mtu, true)));
    ASSERT_EQ(fits.sent.size(), 1U) << fits.summary();
    EXPECT_LE(fits.sent[0].bytes.size(), 14U + 1500U);
    EXPECT_GT(fits.sent[0].bytes.size() + layout.alignment, 14U + 1500U);
    const Outcome large = tunnels.rig.send(kFabric, vm_frame(tunnel, vm_packet(tunnel, mtu + 1, true)));
    EXPECT_EQ(large.drops.count("fragmentation_needed"), 1U) << large.summary();
  }
}

TEST_P(EachSuite, WrongPacketsAreDroppedByName) {
  Tunnels tunnels(GetParam(), true);
  const crypto::EspLayout& layout = facts_of(GetParam()).layout;
  const Bytes inner = site_packet(8, 60);
  Bytes forged = tunnels.from_site(8, inner, 1);
  forged.back() ^= 1;
  EXPECT_EQ(tunnels.rig.send(kWan, forged).summary(), "dropped esp_authentication");

  // Twins in one burst: the second is authentic, too, and still a replay.
  std::vector<Bytes> burst(6, tunnels.from_site(8, inner, 2));
  burst.push_back(forged);
  EXPECT_EQ(tunnels.rig.send_all(kWan, burst).summary(),
            "sent on 0; dropped esp_authentication; dropped esp_replayed x5");

  // Every length but the right ones.
  Rig& rig = tunnels.rig;
  const std::size_t fixed = 8U + layout.iv_bytes + layout.icv_bytes;
  for (std::size_t bytes = 8; bytes < fixed + 40; ++bytes) {
    const bool possible = bytes >= fixed + layout.alignment && (bytes - fixed) % layout.alignment == 0;
    Bytes esp = hex("c0001008000000ff") + Bytes(bytes - 8, 7);
    EXPECT_EQ(rig.send(kWan, ethernet({kWanMac, kIspMac}, ipv4({"203.0.113.2", "198.51.100.1", 50}, esp))).summary(),
              possible ? "dropped esp_authentication" : "dropped esp_truncated")
        << bytes;
  }
}

TEST(Rfc3602, Section3_IvsAreNotPredictable) {
  Tunnels tunnels(EspSuite::kAes256Sha256, false);
  std::set<Bytes> ivs;
  for (int i = 0; i < 5; ++i) {
    const Outcome out =
        tunnels.rig.send_all(kFabric, std::vector<Bytes>(64, vm_frame(8, vm_packet(8, 100))));
    ASSERT_EQ(out.sent.size(), 64U);
    for (const auto& sent : out.sent) EXPECT_TRUE(ivs.insert(first(from(sent.bytes, 14 + 20 + 8), 16)).second);
  }
  int ones = 0;
  for (const Bytes& iv : ivs) {
    for (const std::uint8_t byte : iv) ones += __builtin_popcount(byte);
  }
  const int bits = static_cast<int>(ivs.size()) * 128;
  EXPECT_NEAR(ones, bits / 2, bits / 40) << "half of the bits, within 10 standard deviations";
}

// RFC 4303 section 2.2.1, section 3.3.2.1.
TEST(Rfc4303, Section2_2_1_TheHighHalfOfTheNumberIsAuthenticatedWithHmac) {
  Tunnels tunnels(EspSuite::kAes128Sha512, true);
  const std::uint64_t boundary = std::uint64_t{1} << 32;
  EXPECT_EQ(tunnels.rig.send(kWan, tunnels.from_site(8, site_packet(8, 60), 0x7fffffff)).summary(), "sent on 0");
  EXPECT_EQ(tunnels.rig.send(kWan, tunnels.from_site(8, site_packet(8, 60), 0xfffffffe)).summary(), "sent on 0");
  std::vector<Bytes> burst;
  for (std::uint64_t number = boundary - 1; number < boundary + 5; ++number) {
    burst.push_back(tunnels.from_site(8, site_packet(8, 60), number));
  }
  EXPECT_EQ(tunnels.rig.send_all(kWan, burst).sent.size(), burst.size());
  EXPECT_EQ(tunnels.rig.send(kWan, tunnels.from_site(8, site_packet(8, 60), 9)).summary(),
            "dropped esp_authentication");
}

}  // namespace
}  // namespace simplon::test
