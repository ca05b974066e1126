// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/aead.h"

#include <gtest/gtest.h>

#include <algorithm>
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

std::vector<CryptoBackend> backends() {
  std::vector<CryptoBackend> list;
  for (const CryptoBackend backend : {CryptoBackend::kIpsecMb, CryptoBackend::kOpenSsl}) {
    if (available(backend)) list.push_back(backend);
  }
  return list;
}

struct Vector {
  std::string line;
  Bytes key, nonce, associated, plain, sealed, tag;
};

Vector vector_of(std::istringstream& words, const std::string& line) {
  std::string key, nonce, associated, plain, sealed, tag;
  words >> key >> nonce >> associated >> plain >> sealed >> tag;
  return {line, hex(key), hex(nonce), hex(associated), hex(plain), hex(sealed), hex(tag)};
}

/// The lines of a file of vectors that are no comments.
std::vector<std::string> lines_of(const std::string& name) {
  std::ifstream file("tests/unit/forward/vectors/" + name);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  }
  return lines;
}

void seals_and_opens(const Vector& vector, AeadSuite suite) {
  for (const CryptoBackend backend : backends()) {
    const auto key = AeadKey::create(suite, vector.key, backend);
    ASSERT_TRUE(key.has_value()) << vector.line;
    Bytes data = vector.plain;
    Bytes tag(16);
    (*key)->seal(vector.nonce.data(), vector.associated, data, tag.data());
    EXPECT_EQ(data, vector.sealed) << vector.line;
    EXPECT_EQ(tag, vector.tag) << vector.line;
    EXPECT_TRUE((*key)->open(vector.nonce.data(), vector.associated, data, vector.tag.data())) << vector.line;
    EXPECT_EQ(data, vector.plain) << vector.line;
  }
}

void is_refused(const Vector& vector, AeadSuite suite) {
  for (const CryptoBackend backend : backends()) {
    const auto key = AeadKey::create(suite, vector.key, backend);
    ASSERT_TRUE(key.has_value()) << vector.line;
    Bytes data = vector.sealed;
    EXPECT_FALSE((*key)->open(vector.nonce.data(), vector.associated, data, vector.tag.data())) << vector.line;
  }
}

TEST(Aead, PublishedVectors) {
  const std::vector<std::string> lines = lines_of("gcm.txt");
  EXPECT_EQ(lines.size(), 6U);
  for (const std::string& line : lines) {
    std::istringstream words(line);
    const Vector vector = vector_of(words, line);
    seals_and_opens(vector, suite_of(vector.key.size()));
  }
}

TEST(Aead, WycheproofVectors) {
  for (const bool gcm : {true, false}) {
    const std::vector<std::string> lines = lines_of(gcm ? "wycheproof_aes_gcm.txt" : "wycheproof_chacha20_poly1305.txt");
    EXPECT_EQ(lines.size(), gcm ? 197U : 316U);
    for (const std::string& line : lines) {
      std::istringstream words(line);
      std::string number, verdict;
      words >> number >> verdict;
      const Vector vector = vector_of(words, line);
      const AeadSuite suite = gcm ? suite_of(vector.key.size()) : AeadSuite::kChaCha20Poly1305;
      if (verdict == "valid") {
        seals_and_opens(vector, suite);
      } else {
        ASSERT_EQ(verdict, "invalid") << line;
        is_refused(vector, suite);
      }
    }
  }
}

TEST(Aead, BackendsAgreeOnEveryLength) {
  if (!available(CryptoBackend::kIpsecMb)) {
    EXPECT_EQ(default_crypto_backend(), CryptoBackend::kOpenSsl);
    return;
  }
  std::mt19937 random(1);
  for (const AeadSuite suite : {AeadSuite::kAes128Gcm16, AeadSuite::kAes192Gcm16, AeadSuite::kAes256Gcm16,
                                AeadSuite::kChaCha20Poly1305}) {
    Bytes key_material(key_bytes(suite));
    for (auto& byte : key_material) byte = static_cast<std::uint8_t>(random());
    const auto fast = AeadKey::create(suite, key_material, CryptoBackend::kIpsecMb);
    const auto oracle = AeadKey::create(suite, key_material, CryptoBackend::kOpenSsl);
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
  for (const CryptoBackend backend : backends()) {
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

TEST(SecretKey, CopiesAndForgets) {
  const Bytes one(36, 1);
  SecretKey a{std::span<const std::uint8_t>(one)};
  SecretKey b = a;
  EXPECT_TRUE(std::ranges::equal(a.bytes(), b.bytes()));
  b = SecretKey{std::span<const std::uint8_t>(one).first(35)};
  EXPECT_TRUE(std::ranges::equal(b.bytes(), std::span(one).first(35)));
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
