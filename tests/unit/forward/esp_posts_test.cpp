// SPDX-License-Identifier: GPL-2.0-or-later
//
// What passes between workers, by threads that do nothing else; ThreadSanitizer does most of the checking.
#include "gateway/forward/src/workers/esp_posts.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "gateway/forward/src/workers/hand_over_ring.h"

namespace simplon::forward {
namespace {

using crypto::EspBatch;
using crypto::EspKey;
using crypto::EspSuite;
using Bytes = std::vector<std::uint8_t>;

Bytes payload(std::size_t length) {
  Bytes bytes(length);
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
  return bytes;
}

/// Every suite, by threads that do nothing else.
class PostedSuite : public testing::TestWithParam<EspSuite> {};

TEST_P(PostedSuite, IsSealedAndOpenedByAnybody) {
  const auto& facts = crypto::facts_of(GetParam());
  const Bytes cipher_key = payload(std::size_t{facts.cipher_key_bytes} + facts.salt_bytes);
  const Bytes integrity_key = payload(facts.integrity_key_bytes);
  const EspKey key = EspKey::create(GetParam(), cipher_key, integrity_key, true).value();
  constexpr unsigned kWorkers = 3;
  constexpr std::size_t kPackets = 64;
  EspPosts posts(kWorkers);
  std::atomic<bool> stop{false};
  std::vector<std::thread> helpers;
  for (unsigned worker = 1; worker < kWorkers; ++worker) {
    helpers.emplace_back([&, worker] {
      EspBatch lanes;
      while (!stop.load(std::memory_order_acquire)) {
        if (!posts.help(worker, lanes)) std::this_thread::yield();
      }
    });
  }
  EspBatch batch;
  EspBatch other;
  std::vector<Bytes> packets(kPackets);
  std::vector<Bytes> same(kPackets);
  for (std::uint64_t turn = 0; turn < 20; ++turn) {
    const std::size_t plain = 16 * (1 + turn % 20 * 4);
    for (std::size_t i = 0; i < kPackets; ++i) {
      packets[i] = payload(8 + facts.layout.iv_bytes + plain + facts.layout.icv_bytes);
      same[i] = packets[i];
      batch.add(key, packets[i].data(), plain, 1 + turn * kPackets + i);
      other.add(key, same[i].data(), plain, 1 + turn * kPackets + i);
    }
    posts.run(0, batch, EspPosts::Work::kSeal);
    other.seal();
    ASSERT_EQ(packets, same) << turn;
    packets[7][8 + facts.layout.iv_bytes] ^= 1;
    posts.run(0, batch, EspPosts::Work::kOpen);
    for (std::size_t i = 0; i < kPackets; ++i) {
      ASSERT_EQ(batch[i].authentic, i != 7) << turn;
      if (i == 7) continue;
      const auto start = packets[i].begin() + 8 + facts.layout.iv_bytes;
      const Bytes expected = payload(8 + facts.layout.iv_bytes + plain);
      ASSERT_TRUE(std::equal(start, start + static_cast<std::ptrdiff_t>(plain), expected.begin() + 8 + facts.layout.iv_bytes));
    }
    batch.clear();
    other.clear();
  }
  stop = true;
  for (std::thread& thread : helpers) thread.join();
}

INSTANTIATE_TEST_SUITE_P(All, PostedSuite,
                         testing::Values(EspSuite::kAes256Gcm16, EspSuite::kChaCha20Poly1305, EspSuite::kAes256Sha384));

TEST(HandOverRing, KeepsOrderBetweenThreads) {
  HandOverRing ring;
  constexpr std::uint32_t kItems = 200'000;
  std::thread pusher([&ring] {
    for (std::uint32_t i = 0; i < kItems;) {
      if (ring.full()) {
        std::this_thread::yield();
        continue;
      }
      HandedOver item;
      item.flow_hash = i++;
      ring.push(item);
    }
  });
  std::uint32_t next = 0;
  while (next < kItems) {
    const std::size_t taken = ring.take(64, [&next](const HandedOver& item) {
      if (item.flow_hash == next) ++next;
    });
    if (taken == 0) std::this_thread::yield();
  }
  pusher.join();
  EXPECT_TRUE(ring.empty());
}

}  // namespace
}  // namespace simplon::forward
