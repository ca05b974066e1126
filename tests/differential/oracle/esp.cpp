// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/oracle/esp.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "platform/base/result.h"

namespace simplon::oracle {
namespace {

using crypto::EspSuite;

constexpr std::size_t kTag = 16;

int length(std::size_t bytes) { return static_cast<int>(bytes); }

const EVP_CIPHER* aead_of(EspSuite suite, std::size_t key_bytes) {
  if (suite == EspSuite::kChaCha20Poly1305) return EVP_chacha20_poly1305();
  return key_bytes == 16 ? EVP_aes_128_gcm() : (key_bytes == 24 ? EVP_aes_192_gcm() : EVP_aes_256_gcm());
}
const EVP_CIPHER* cbc_of(std::size_t key_bytes) {
  return key_bytes == 16 ? EVP_aes_128_cbc() : (key_bytes == 24 ? EVP_aes_192_cbc() : EVP_aes_256_cbc());
}
const EVP_MD* hash_of(std::size_t key_bytes) {  // RFC 4868 section 2.1.1: the key is as long as the hash
  return key_bytes == 32 ? EVP_sha256() : (key_bytes == 48 ? EVP_sha384() : EVP_sha512());
}

}  // namespace

struct EspCipher::Contexts {
  EVP_CIPHER_CTX* seal = EVP_CIPHER_CTX_new();
  EVP_CIPHER_CTX* open = EVP_CIPHER_CTX_new();
  Contexts() = default;
  Contexts(const Contexts&) = delete;
  Contexts& operator=(const Contexts&) = delete;
  ~Contexts() {
    EVP_CIPHER_CTX_free(seal);
    EVP_CIPHER_CTX_free(open);
  }
};

EspCipher::EspCipher(EspSuite suite, View key, View integrity_key)
    : contexts_(std::make_unique<Contexts>()), integrity_key_(copy(integrity_key)), aead_(integrity_key.empty()) {
  if (aead_) {
    salt_ = copy(key.last(4));
    const EVP_CIPHER* cipher = aead_of(suite, key.size() - 4);
    SIMPLON_CHECK(EVP_EncryptInit_ex(contexts_->seal, cipher, nullptr, key.data(), nullptr) == 1);
    SIMPLON_CHECK(EVP_DecryptInit_ex(contexts_->open, cipher, nullptr, key.data(), nullptr) == 1);
    return;
  }
  cipher_key_ = copy(key);
  icv_bytes_ = integrity_key.size() / 2;
  null_ = key.empty();
  iv_bytes_ = null_ ? 0 : 16;
  alignment_ = null_ ? 4 : 16;
}
EspCipher::~EspCipher() = default;
EspCipher::EspCipher(EspCipher&&) noexcept = default;

Bytes EspCipher::iv_of(std::uint64_t sequence) const {
  Bytes iv;
  while (iv.size() < iv_bytes_) add64(iv, iv.empty() ? sequence : ~sequence * 0x9e3779b97f4a7c15);
  return iv;
}

Bytes EspCipher::nonce(View iv) const {
  Bytes nonce = salt_;
  add(nonce, iv);
  return nonce;
}

/// RFC 4303 section 2.2.1: the high half of the number is authenticated, but not sent.
Bytes EspCipher::integrity(View packet, std::uint64_t sequence, bool esn) const {
  Bytes covered = copy(packet);
  if (esn) add32(covered, static_cast<std::uint32_t>(sequence >> 32));
  Bytes mac(64);
  unsigned written = 0;
  SIMPLON_CHECK(HMAC(hash_of(integrity_key_.size()), integrity_key_.data(), length(integrity_key_.size()),
                     covered.data(), covered.size(), mac.data(), &written) != nullptr);
  mac.resize(icv_bytes_);
  return mac;
}

namespace {

/// RFC 4106 section 5, RFC 7634 section 2.1.
Bytes associated_data(View packet, std::uint64_t sequence, bool esn) {
  Bytes associated = copy(packet.first(4));
  if (esn) add32(associated, static_cast<std::uint32_t>(sequence >> 32));
  add(associated, packet.subspan(4, 4));
  return associated;
}

}  // namespace

Bytes EspCipher::protect(Spi spi, std::uint64_t sequence, bool esn, View iv, View plain) const {
  Bytes packet;
  add32(packet, spi.value());
  add32(packet, static_cast<std::uint32_t>(sequence));
  add(packet, iv);
  int written = 0;
  EVP_CIPHER_CTX* context = contexts_->seal;
  if (aead_) {
    const Bytes associated = associated_data(packet, sequence, esn);
    Bytes sealed(plain.size() + kTag);
    SIMPLON_CHECK(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce(iv).data()) == 1);
    SIMPLON_CHECK(EVP_EncryptUpdate(context, nullptr, &written, associated.data(), length(associated.size())) == 1);
    SIMPLON_CHECK(EVP_EncryptUpdate(context, sealed.data(), &written, plain.data(), length(plain.size())) == 1);
    SIMPLON_CHECK(EVP_EncryptFinal_ex(context, sealed.data() + plain.size(), &written) == 1);
    SIMPLON_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTag, sealed.data() + plain.size()) == 1);
    add(packet, sealed);
    return packet;
  }
  Bytes cipher = copy(plain);
  if (!null_) {
    SIMPLON_CHECK(EVP_EncryptInit_ex(context, cbc_of(cipher_key_.size()), nullptr, cipher_key_.data(), iv.data()) == 1);
    SIMPLON_CHECK(EVP_CIPHER_CTX_set_padding(context, 0) == 1);
    SIMPLON_CHECK(EVP_EncryptUpdate(context, cipher.data(), &written, plain.data(), length(plain.size())) == 1);
  }
  add(packet, cipher);
  add(packet, integrity(packet, sequence, esn));
  return packet;
}

std::optional<Bytes> EspCipher::open(View packet, std::uint64_t sequence, bool esn) const {
  const View iv = packet.subspan(8, iv_bytes_);
  const View cipher = packet.subspan(8 + iv_bytes_, packet.size() - 8 - iv_bytes_ - icv_bytes_);
  const View icv = packet.last(icv_bytes_);
  Bytes plain(cipher.size());
  int written = 0;
  EVP_CIPHER_CTX* context = contexts_->open;
  if (aead_) {
    const Bytes associated = associated_data(packet, sequence, esn);
    Bytes tag = copy(icv);
    SIMPLON_CHECK(EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce(iv).data()) == 1);
    SIMPLON_CHECK(EVP_DecryptUpdate(context, nullptr, &written, associated.data(), length(associated.size())) == 1);
    SIMPLON_CHECK(EVP_DecryptUpdate(context, plain.data(), &written, cipher.data(), length(cipher.size())) == 1);
    SIMPLON_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTag, tag.data()) == 1);
    if (EVP_DecryptFinal_ex(context, plain.data() + plain.size(), &written) != 1) return std::nullopt;
    return plain;
  }
  const Bytes expected = integrity(packet.first(packet.size() - icv_bytes_), sequence, esn);
  if (!std::equal(expected.begin(), expected.end(), icv.begin())) return std::nullopt;
  if (null_) return copy(cipher);
  SIMPLON_CHECK(EVP_DecryptInit_ex(context, cbc_of(cipher_key_.size()), nullptr, cipher_key_.data(), iv.data()) == 1);
  SIMPLON_CHECK(EVP_CIPHER_CTX_set_padding(context, 0) == 1);
  SIMPLON_CHECK(EVP_DecryptUpdate(context, plain.data(), &written, cipher.data(), length(cipher.size())) == 1);
  return plain;
}

SeenNumbers::SeenNumbers(std::uint32_t window)
    : window_(std::min<std::uint64_t>((std::uint64_t{window} + 63) / 64 * 64, 4096)) {}

bool SeenNumbers::is_new(std::uint64_t number) const {
  if (number == 0) return false;  // a sender starts with 1
  if (window_ == 0 || number > highest_) return true;
  return number + window_ > highest_ && !seen_.contains(number);
}

void SeenNumbers::see(std::uint64_t number) {
  highest_ = std::max(highest_, number);
  seen_.insert(number);
  while (!seen_.empty() && *seen_.begin() + window_ <= highest_) seen_.erase(seen_.begin());
}

std::uint64_t SeenNumbers::whole(std::uint32_t low, std::uint64_t highest) const {
  const std::uint64_t width = std::max<std::uint64_t>(window_, 1);
  const std::uint64_t leftmost = highest + 1 > width ? highest + 1 - width : 0;
  std::uint64_t number = (leftmost & ~std::uint64_t{0xffffffff}) | low;
  if (number < leftmost) number += std::uint64_t{1} << 32;
  return number;
}

Bytes esp_plaintext(View packet, std::size_t alignment) {
  Bytes plain = copy(packet);
  std::size_t padding = 0;
  while ((plain.size() + 2) % alignment != 0) add8(plain, ++padding);
  add8(plain, padding);
  add8(plain, packet[0] >> 4 == 4 ? 4 : 41);
  return plain;
}

std::optional<EspContents> without_padding(View plain) {
  const std::size_t padding = plain[plain.size() - 2];
  if (padding > plain.size() - 2) return std::nullopt;
  const std::size_t end = plain.size() - 2 - padding;
  for (std::size_t i = 0; i < padding; ++i) {
    if (plain[end + i] != i + 1) return std::nullopt;
  }
  return EspContents{plain.back(), copy(plain.first(end))};
}

}  // namespace simplon::oracle
