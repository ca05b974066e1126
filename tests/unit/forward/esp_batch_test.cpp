// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/esp_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "platform/crypto/iv_source.h"

namespace simplon::crypto {
namespace {

/// Of its own items.
constexpr auto kSeal = static_cast<void (EspBatch::*)() noexcept>(&EspBatch::seal);
constexpr auto kOpen = static_cast<void (EspBatch::*)() noexcept>(&EspBatch::open);

using Bytes = std::vector<std::uint8_t>;

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  Bytes bytes(std::size_t count) {
    Bytes made(count);
    for (auto& byte : made) byte = static_cast<std::uint8_t>(engine_());
    return made;
  }
  std::mt19937& engine() { return engine_; }

 private:
  std::mt19937 engine_;
};

/// The same keys for both backends.
struct Pair {
  EspKey fast;
  EspKey oracle;
};

Pair make_keys(Random& random, EspSuite suite, bool esn) {
  const EspSuiteFacts& facts = facts_of(suite);
  const Bytes cipher = random.bytes(std::size_t{facts.cipher_key_bytes} + facts.salt_bytes);
  const Bytes integrity = random.bytes(facts.integrity_key_bytes);
  return {EspKey::create(suite, cipher, integrity, esn).value(),
          EspKey::create(suite, cipher, integrity, esn, CryptoBackend::kOpenSsl).value()};
}

struct Packet {
  Bytes esp;
  std::size_t plain_bytes;
  std::uint64_t sequence;
};

/// The receiver has the low half of the number from the packet.
void read_low_half(Packet& packet) {
  packet.sequence = packet.sequence >> 32 << 32;
  for (std::size_t i = 4; i < 8; ++i) packet.sequence |= std::uint64_t{packet.esp[i]} << (56 - 8 * i);
}

/// SPI, sequence number, IV and plaintext; the length of the plaintext is rounded up to what the suite can carry.
Packet make_packet(Random& random, EspSuite suite, std::size_t plain_bytes) {
  const EspLayout& layout = facts_of(suite).layout;
  const std::size_t unit = layout.alignment;
  plain_bytes = std::max(unit, (plain_bytes + unit - 1) / unit * unit);
  Packet packet{random.bytes(8 + layout.iv_bytes + plain_bytes + layout.icv_bytes), plain_bytes,
                std::uint64_t{random.engine()()} << 32};
  read_low_half(packet);
  return packet;
}

Bytes plain_of(const Packet& packet, EspSuite suite) {
  const auto begin = packet.esp.begin() + 8 + facts_of(suite).layout.iv_bytes;
  return {begin, begin + static_cast<std::ptrdiff_t>(packet.plain_bytes)};
}

std::string name_of(EspSuite suite) {
  std::string name(to_string(suite));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class EachSuite : public testing::TestWithParam<EspSuite> {};
INSTANTIATE_TEST_SUITE_P(Esp, EachSuite, testing::ValuesIn(kAllEspSuites),
                         [](const auto& tested) { return name_of(tested.param); });

TEST_P(EachSuite, BackendsAgreeOnEveryLengthUpTo1600) {
  const EspSuite suite = GetParam();
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const std::size_t unit = facts_of(suite).layout.alignment;
  EspBatch fast, oracle(CryptoBackend::kOpenSsl);
  std::size_t bytes = unit;
  for (bool esn = false; bytes <= 1600 + unit; esn = !esn) {
    const Pair keys = make_keys(random, suite, esn);
    std::vector<Packet> packets;
    while (packets.size() < 40 && bytes <= 1600 + unit) {
      packets.push_back(make_packet(random, suite, bytes));
      bytes += unit;
    }
    const auto run = [&](EspBatch& batch, const EspKey& key, std::vector<Packet>& on, auto what) {
      for (Packet& packet : on) batch.add(key, packet.esp.data(), packet.plain_bytes, packet.sequence);
      (batch.*what)();
      for (std::size_t i = 0; i < batch.size() && what == kOpen; ++i) {
        EXPECT_TRUE(batch[i].authentic) << on[i].plain_bytes;
      }
      batch.clear();
    };
    std::vector<Packet> ours = packets, theirs = packets;
    run(fast, keys.fast, ours, kSeal);
    run(oracle, keys.oracle, theirs, kSeal);
    for (std::size_t i = 0; i < packets.size(); ++i) {
      ASSERT_EQ(ours[i].esp, theirs[i].esp) << packets[i].plain_bytes;
      if (facts_of(suite).cipher_key_bytes != 0 && packets[i].plain_bytes >= 16) {
        ASSERT_NE(plain_of(ours[i], suite), plain_of(packets[i], suite)) << "it was not encrypted";
      }
    }
    run(fast, keys.fast, theirs, kOpen);
    run(oracle, keys.oracle, ours, kOpen);
    for (std::size_t i = 0; i < packets.size(); ++i) {
      ASSERT_EQ(plain_of(ours[i], suite), plain_of(packets[i], suite));
      ASSERT_EQ(plain_of(theirs[i], suite), plain_of(packets[i], suite));
    }
  }
}

/// One packet at each place that matters is changed among fourteen good ones; alone, too.
TEST_P(EachSuite, ChangedBytesAreRefusedAndNeighborsAreNot) {
  const EspSuite suite = GetParam();
  const EspLayout& layout = facts_of(suite).layout;
  Random random(1);
  for (const bool esn : {false, true}) {
    const Pair keys = make_keys(random, suite, esn);
    for (const bool with_oracle : {false, true}) {
      const EspKey& key = with_oracle ? keys.oracle : keys.fast;
      EspBatch batch(with_oracle ? CryptoBackend::kOpenSsl : default_crypto_backend());
      std::vector<Packet> good;
      for (std::size_t i = 0; i < 15; ++i) {
        good.push_back(make_packet(random, suite, 20 + 30 * i));
        batch.add(key, good[i].esp.data(), good[i].plain_bytes, good[i].sequence);
      }
      batch.seal();
      batch.clear();
      const std::size_t clear = 8U + layout.iv_bytes;
      const std::size_t end = clear + good[7].plain_bytes;
      std::vector<std::size_t> places = {0, 3, 4, 7, clear, clear + 1, end - 1, end, end + layout.icv_bytes - 1U};
      for (std::size_t i = 8; i < clear; ++i) places.push_back(i);
      for (const std::size_t place : places) {
        for (const bool alone : {false, true}) {
          std::vector<Packet> packets = good;
          packets[7].esp[place] ^= static_cast<std::uint8_t>(1U << (place % 8));
          read_low_half(packets[7]);
          if (alone) packets = {packets[7]};
          for (Packet& packet : packets) batch.add(key, packet.esp.data(), packet.plain_bytes, packet.sequence);
          batch.open();
          for (std::size_t i = 0; i < batch.size(); ++i) {
            ASSERT_EQ(batch[i].authentic, !alone && i != 7) << "byte " << place;
          }
          batch.clear();
        }
      }
      // The high half of the sequence number is authenticated, but not sent.
      Packet packet = good[7];
      batch.add(key, packet.esp.data(), packet.plain_bytes, packet.sequence ^ (std::uint64_t{1} << 40));
      batch.open();
      EXPECT_EQ(batch[0].authentic, !esn);
      batch.clear();
    }
  }
}

TEST_P(EachSuite, RefusesKeysOfAnotherLength) {
  const EspSuiteFacts& facts = facts_of(GetParam());
  const std::size_t cipher = std::size_t{facts.cipher_key_bytes} + facts.salt_bytes;
  const std::size_t integrity = facts.integrity_key_bytes;
  for (std::size_t a = 0; a <= 64; ++a) {
    for (const std::size_t b : {std::size_t{0}, std::size_t{16}, std::size_t{20}, integrity, integrity + 1}) {
      const auto key = EspKey::create(GetParam(), Bytes(a, 1), Bytes(b, 2), true);
      ASSERT_EQ(key.has_value(), a == cipher && b == integrity) << a << ", " << b;
      if (!key) {
        EXPECT_EQ(key.error().code, ErrorCode::kInvalidConfig);
      }
    }
  }
}

TEST(EspBatch, TakesAnyMixtureOfSuitesUpToItsCapacity) {
  Random random(2);
  std::vector<Pair> keys;
  std::vector<EspSuite> suites;
  for (const EspSuite suite : kAllEspSuites) {
    for (const bool esn : {false, true}) {
      keys.push_back(make_keys(random, suite, esn));
      suites.push_back(suite);
    }
  }
  EspBatch batch, oracle(CryptoBackend::kOpenSsl);
  for (const std::size_t count : {std::size_t{1}, EspBatch::kWorthIt - 1, EspBatch::kWorthIt, std::size_t{64}, EspBatch::kCapacity}) {
    std::vector<Packet> packets;
    std::vector<std::size_t> owner;
    for (std::size_t i = 0; i < count; ++i) {
      owner.push_back(random.engine()() % keys.size());
      packets.push_back(make_packet(random, suites[owner[i]], random.engine()() % 1500));
    }
    const std::vector<Packet> plain = packets;
    for (std::size_t i = 0; i < count; ++i) {
      batch.add(keys[owner[i]].fast, packets[i].esp.data(), packets[i].plain_bytes, packets[i].sequence);
    }
    batch.seal();
    batch.clear();
    for (std::size_t i = 0; i < count; ++i) {
      oracle.add(keys[owner[i]].oracle, packets[i].esp.data(), packets[i].plain_bytes, packets[i].sequence);
    }
    oracle.open();
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_TRUE(oracle[i].authentic) << to_string(suites[owner[i]]);
      ASSERT_EQ(plain_of(packets[i], suites[owner[i]]), plain_of(plain[i], suites[owner[i]]));
    }
    oracle.clear();
  }
}

TEST(IvSource, NeverSaysTheSameTwice) {
  IvSource one, other;
  std::set<Bytes> seen;
  for (int i = 0; i < 2000; ++i) {  // several refills
    for (IvSource* source : {&one, &other}) {
      Bytes iv(16);
      source->write(iv.data(), iv.size());
      ASSERT_TRUE(seen.insert(iv).second);
    }
  }
}

}  // namespace
}  // namespace simplon::crypto
