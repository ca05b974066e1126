// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/esp_key.h"

#include <string>

#include "platform/crypto/src/etm_key.h"

namespace simplon::crypto {
namespace {

AeadSuite aead_of(EspSuite suite) noexcept {
  switch (suite) {
    case EspSuite::kAes128Gcm16:
      return AeadSuite::kAes128Gcm16;
    case EspSuite::kAes192Gcm16:
      return AeadSuite::kAes192Gcm16;
    case EspSuite::kChaCha20Poly1305:
      return AeadSuite::kChaCha20Poly1305;
    default:
      return AeadSuite::kAes256Gcm16;
  }
}

}  // namespace

void EtmKeyDeleter::operator()(EtmKey* key) const noexcept { delete key; }

Result<EspKey> EspKey::create(EspSuite suite, std::span<const std::uint8_t> cipher_key,
                              std::span<const std::uint8_t> integrity_key, bool esn, CryptoBackend backend) {
  const EspSuiteFacts& facts = facts_of(suite);
  const std::size_t wanted = std::size_t{facts.cipher_key_bytes} + facts.salt_bytes;
  if (cipher_key.size() != wanted || integrity_key.size() != facts.integrity_key_bytes) {
    return fail(ErrorCode::kInvalidConfig,
                "keys of " + std::to_string(cipher_key.size()) + " and " + std::to_string(integrity_key.size()) +
                    " bytes do not fit " + std::string(facts.name) + ", which takes " + std::to_string(wanted) +
                    (facts.salt_bytes != 0 ? " (with the salt)" : "") + " and " +
                    std::to_string(facts.integrity_key_bytes));
  }
  if (!available(backend)) return fail(ErrorCode::kUnavailable, "ipsec-mb is not available here");
  EspKey made(suite, esn);
  if (crypto::is_aead(suite)) {
    auto key = AeadKey::create(aead_of(suite), cipher_key.first(facts.cipher_key_bytes), backend);
    if (!key) return tl::make_unexpected(key.error());
    made.aead_ = *std::move(key);
    made.hot_ = made.aead_->hot();
    std::memcpy(&made.salt_, cipher_key.data() + facts.cipher_key_bytes, sizeof made.salt_);
  } else {
    made.etm_.reset(new EtmKey(suite, cipher_key, integrity_key, esn, backend));
  }
  return made;
}

void EspKey::prefetch_etm() const noexcept {
  const std::span<const std::uint8_t> hot = etm_->hot_memory();
  for (std::size_t at = 0; at < hot.size(); at += 64) __builtin_prefetch(hot.data() + at);
}

}  // namespace simplon::crypto
