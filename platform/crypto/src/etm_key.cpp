// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/src/etm_key.h"

#include <array>
#include <cstring>
#include <mutex>
#include <new>

#include "platform/base/result.h"
#include "platform/crypto/secret.h"
#include "platform/crypto/src/etm_lanes.h"
#include "platform/crypto/src/etm_secrets.h"
#include "platform/wire/esp.h"

namespace simplon::crypto {
namespace {

const EVP_CIPHER* cipher(std::size_t key_bytes) noexcept {
  return key_bytes == 16 ? ::EVP_aes_128_cbc() : key_bytes == 24 ? ::EVP_aes_192_cbc() : ::EVP_aes_256_cbc();
}

/// OpenSSL's functions of one hash: a context of it can be copied, which those of EVP cannot without allocation.
template <class Context, std::size_t kBlock, std::size_t kDigest, auto kInit, auto kUpdate, auto kFinal>
struct Sha {
  using State = Context;
  static constexpr std::size_t kBlockBytes = kBlock;
  static constexpr std::size_t kDigestBytes = kDigest;
  static constexpr auto init = kInit;
  static constexpr auto update = kUpdate;
  static constexpr auto final = kFinal;
};
using Sha256 = Sha<SHA256_CTX, SHA256_CBLOCK, SHA256_DIGEST_LENGTH, ::SHA256_Init, ::SHA256_Update, ::SHA256_Final>;
using Sha384 = Sha<SHA512_CTX, SHA512_CBLOCK, SHA384_DIGEST_LENGTH, ::SHA384_Init, ::SHA384_Update, ::SHA384_Final>;
using Sha512 = Sha<SHA512_CTX, SHA512_CBLOCK, SHA512_DIGEST_LENGTH, ::SHA512_Init, ::SHA512_Update, ::SHA512_Final>;

/// RFC 2104 section 2; the key is not longer than a block.
template <class Hash>
void start(typename Hash::State& inner, typename Hash::State& outer, std::span<const std::uint8_t> key) {
  std::array<std::uint8_t, Hash::kBlockBytes> padded;
  const auto absorb = [&](typename Hash::State& state, std::uint8_t pad) {
    padded.fill(pad);
    for (std::size_t i = 0; i < key.size(); ++i) padded[i] = static_cast<std::uint8_t>(padded[i] ^ key[i]);
    SIMPLON_CHECK(Hash::init(&state) == 1 && Hash::update(&state, padded.data(), padded.size()) == 1);
  };
  absorb(inner, 0x36);
  absorb(outer, 0x5c);
  wipe(padded.data(), padded.size());
}

template <class Hash>
void finish(const typename Hash::State& inner, const typename Hash::State& outer, std::span<const std::uint8_t> data,
            std::span<const std::uint8_t> tail, std::uint8_t* icv, std::size_t icv_bytes) noexcept {
  std::uint8_t digest[Hash::kDigestBytes];
  typename Hash::State state = inner;
  bool done = Hash::update(&state, data.data(), data.size()) == 1 &&
              Hash::update(&state, tail.data(), tail.size()) == 1 && Hash::final(digest, &state) == 1;
  state = outer;
  done = done && Hash::update(&state, digest, sizeof digest) == 1 && Hash::final(digest, &state) == 1;
  SIMPLON_CHECK(done);  // nothing here depends on the packet
  std::memcpy(icv, digest, icv_bytes);
}

}  // namespace

EtmKey::EtmKey(EspSuite suite, std::span<const std::uint8_t> cipher_key, std::span<const std::uint8_t> integrity_key,
               bool esn, CryptoBackend backend)
    : facts_(facts_of(suite)), secrets_(new (allocate_locked_block()) EtmSecrets{}), esn_(esn) {
  switch (integrity_key.size()) {
    case 32:
      start<Sha256>(secrets_->of256.inner, secrets_->of256.outer, integrity_key);
      break;
    case 48:
      new (&secrets_->of512) EtmSecrets::Of512;
      start<Sha384>(secrets_->of512.inner, secrets_->of512.outer, integrity_key);
      break;
    default:
      new (&secrets_->of512) EtmSecrets::Of512;
      start<Sha512>(secrets_->of512.inner, secrets_->of512.outer, integrity_key);
      break;
  }
  if (cipher_key.empty()) return;
  encrypt_.reset(::EVP_CIPHER_CTX_new());
  decrypt_.reset(::EVP_CIPHER_CTX_new());
  SIMPLON_CHECK(encrypt_ != nullptr && decrypt_ != nullptr);
  const EVP_CIPHER* aes = cipher(cipher_key.size());
  SIMPLON_CHECK(::EVP_EncryptInit_ex(encrypt_.get(), aes, nullptr, cipher_key.data(), nullptr) == 1);
  SIMPLON_CHECK(::EVP_DecryptInit_ex(decrypt_.get(), aes, nullptr, cipher_key.data(), nullptr) == 1);
  // ESP has its own padding.
  SIMPLON_CHECK(::EVP_CIPHER_CTX_set_padding(encrypt_.get(), 0) == 1);
  SIMPLON_CHECK(::EVP_CIPHER_CTX_set_padding(decrypt_.get(), 0) == 1);
  if (backend == CryptoBackend::kIpsecMb) expand_for_lanes(cipher_key, *secrets_);
}

EtmKey::~EtmKey() { release_locked_block(secrets_); }

std::span<const std::uint8_t> EtmKey::hot_memory() const noexcept {
  return {reinterpret_cast<const std::uint8_t*>(secrets_), sizeof *secrets_};
}

void EtmKey::authenticate(const std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence,
                          std::uint8_t* icv) const noexcept {
  const Be32 high(static_cast<std::uint32_t>(sequence >> 32));
  const std::span<const std::uint8_t> data{esp, sizeof(wire::EspHeader) + facts_.layout.iv_bytes + bytes};
  const std::span<const std::uint8_t> tail{reinterpret_cast<const std::uint8_t*>(&high), esn_ ? sizeof high : 0};
  const std::size_t icv_bytes = facts_.layout.icv_bytes;
  switch (facts_.integrity_key_bytes) {
    case 32:
      return finish<Sha256>(secrets_->of256.inner, secrets_->of256.outer, data, tail, icv, icv_bytes);
    case 48:
      return finish<Sha384>(secrets_->of512.inner, secrets_->of512.outer, data, tail, icv, icv_bytes);
    default:
      return finish<Sha512>(secrets_->of512.inner, secrets_->of512.outer, data, tail, icv, icv_bytes);
  }
}

void EtmKey::seal(std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence) const noexcept {
  const std::uint8_t* iv = esp + sizeof(wire::EspHeader);
  std::uint8_t* plain = esp + sizeof(wire::EspHeader) + facts_.layout.iv_bytes;
  if (encrypt_ != nullptr) {
    const std::scoped_lock lock(encrypting_);
    int length = 0;
    const bool done = ::EVP_EncryptInit_ex(encrypt_.get(), nullptr, nullptr, nullptr, iv) == 1 &&
                      ::EVP_EncryptUpdate(encrypt_.get(), plain, &length, plain, static_cast<int>(bytes)) == 1;
    SIMPLON_CHECK(done);
  }
  authenticate(esp, bytes, sequence, plain + bytes);
}

bool EtmKey::open(std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence) const noexcept {
  const std::uint8_t* iv = esp + sizeof(wire::EspHeader);
  std::uint8_t* sealed = esp + sizeof(wire::EspHeader) + facts_.layout.iv_bytes;
  std::uint8_t icv[kMaxIcvBytes];
  authenticate(esp, bytes, sequence, icv);
  if (!equal_in_constant_time(icv, sealed + bytes, facts_.layout.icv_bytes)) return false;
  if (decrypt_ == nullptr) return true;
  const std::scoped_lock lock(decrypting_);
  int length = 0;
  return ::EVP_DecryptInit_ex(decrypt_.get(), nullptr, nullptr, nullptr, iv) == 1 &&
         ::EVP_DecryptUpdate(decrypt_.get(), sealed, &length, sealed, static_cast<int>(bytes)) == 1;
}

}  // namespace simplon::crypto
