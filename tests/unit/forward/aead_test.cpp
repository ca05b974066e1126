// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/aead.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "platform/crypto/secret.h"

namespace simplon::crypto {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes hex(const std::string& text) {
  Bytes bytes;
  if (text == "-") return bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

AeadSuite suite_of(std::size_t key) {
  return key == 16 ? AeadSuite::kAes128Gcm16 : key == 24 ? AeadSuite::kAes192Gcm16 : AeadSuite::kAes256Gcm16;
}

std::vector<AeadBackend> backends() {
  std::vector<AeadBackend> list;
  for (const AeadBackend backend : {AeadBackend::kIpsecMb, AeadBackend::kOpenSsl}) {
    if (available(backend)) list.push_back(backend);
  }
  return list;
}

TEST(Aead, PublishedVectors) {
  std::ifstream file("tests/unit/forward/vectors/gcm.txt");
  ASSERT_TRUE(file);
  std::string line;
  int tested = 0;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string key_text, nonce_text, aad_text, plain_text, cipher_text, tag_text;
    words >> key_text >> nonce_text >> aad_text >> plain_text >> cipher_text >> tag_text;
    const Bytes key_bytes_ = hex(key_text), nonce = hex(nonce_text), aad = hex(aad_text), plain = hex(plain_text);
    for (const AeadBackend backend : backends()) {
      const auto key = AeadKey::create(suite_of(key_bytes_.size()), key_bytes_, backend);
      ASSERT_TRUE(key.has_value());
      Bytes data = plain;
      Bytes tag(16);
      (*key)->seal(nonce.data(), aad, data, tag.data());
      EXPECT_EQ(data, hex(cipher_text)) << line;
      EXPECT_EQ(tag, hex(tag_text)) << line;
      EXPECT_TRUE((*key)->open(nonce.data(), aad, data, tag.data()));
      EXPECT_EQ(data, plain);
      ++tested;
    }
  }
  EXPECT_GE(tested, 6);
}

TEST(Aead, BackendsAgreeOnEveryLength) {
  if (!available(AeadBackend::kIpsecMb)) {
    EXPECT_EQ(default_aead_backend(), AeadBackend::kOpenSsl);
    return;
  }
  std::mt19937 random(1);
  for (const AeadSuite suite : {AeadSuite::kAes128Gcm16, AeadSuite::kAes192Gcm16, AeadSuite::kAes256Gcm16,
                                AeadSuite::kChaCha20Poly1305}) {
    Bytes key_material(key_bytes(suite));
    for (auto& byte : key_material) byte = static_cast<std::uint8_t>(random());
    const auto fast = AeadKey::create(suite, key_material, AeadBackend::kIpsecMb);
    const auto oracle = AeadKey::create(suite, key_material, AeadBackend::kOpenSsl);
    ASSERT_TRUE(fast && oracle);
    for (std::size_t length = 2; length < 1700; length += length < 300 ? 1 : 37) {
      Bytes nonce(12), aad(length % 2 == 0 ? 8 : 12), data(length), tag(16), other_tag(16);
      for (Bytes* bytes : {&nonce, &aad, &data}) {
        for (auto& byte : *bytes) byte = static_cast<std::uint8_t>(random());
      }
      const Bytes plain = data;
      Bytes other = data;
      (*fast)->seal(nonce.data(), aad, data, tag.data());
      (*oracle)->seal(nonce.data(), aad, other, other_tag.data());
      ASSERT_EQ(data, other) << length;
      ASSERT_EQ(tag, other_tag) << length;
      ASSERT_TRUE((*oracle)->open(nonce.data(), aad, data, tag.data()));
      ASSERT_TRUE((*fast)->open(nonce.data(), aad, other, tag.data()));
      ASSERT_EQ(data, plain);
      ASSERT_EQ(other, plain);
    }
  }
}

TEST(Aead, EveryFlippedBitIsNoticed) {
  for (const AeadBackend backend : backends()) {
    const auto key = AeadKey::create(AeadSuite::kAes256Gcm16, Bytes(32, 7), backend);
    const Bytes nonce(12, 1), aad(8, 2);
    Bytes sealed(20, 3), tag(16);
    (*key)->seal(nonce.data(), aad, sealed, tag.data());
    const Bytes whole = [&] {
      Bytes all = nonce;
      all.insert(all.end(), aad.begin(), aad.end());
      all.insert(all.end(), sealed.begin(), sealed.end());
      all.insert(all.end(), tag.begin(), tag.end());
      return all;
    }();
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
      Bytes changed = whole;
      changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1U << (bit % 8)));
      Bytes data(changed.begin() + 20, changed.begin() + 40);
      ASSERT_FALSE((*key)->open(changed.data(), {changed.data() + 12, 8}, data, changed.data() + 40)) << bit;
    }
  }
}

TEST(Aead, RefusesKeysOfAnotherLength) {
  for (const std::size_t length : {0, 15, 16, 31, 33, 64}) {
    const auto key = AeadKey::create(AeadSuite::kAes256Gcm16, Bytes(length, 1));
    ASSERT_FALSE(key.has_value());
    EXPECT_EQ(key.error().code, ErrorCode::kInvalidConfig);
  }
}

TEST(SecretKey, ComparesAndForgets) {
  const Bytes one(36, 1);
  SecretKey a{std::span<const std::uint8_t>(one)};
  SecretKey b = a;
  EXPECT_TRUE(a.same_as(b));
  b = SecretKey{std::span<const std::uint8_t>(one).first(35)};
  EXPECT_FALSE(a.same_as(b));
  EXPECT_EQ(SecretKey{Bytes(65, 1)}.size(), 0U);

  alignas(SecretKey) std::uint8_t place[sizeof(SecretKey)];
  auto* key = new (place) SecretKey{std::span<const std::uint8_t>(one)};
  key->~SecretKey();
  int ones = 0;
  for (std::size_t i = 0; i < 36; ++i) {
    ones += *const_cast<volatile std::uint8_t*>(place + i) == 1 ? 1 : 0;
  }
  EXPECT_EQ(ones, 0);
}

}  // namespace
}  // namespace simplon::crypto
