// SPDX-License-Identifier: GPL-2.0-or-later
//
// AES-GCM and ChaCha20-Poly1305 through OpenSSL's EVP interface: one context per key and direction, of which only the nonce changes.
#include <openssl/evp.h>

#include <algorithm>
#include <mutex>

#include "platform/base/result.h"
#include "platform/crypto/src/aead_backends.h"
#include "platform/crypto/src/evp_context.h"

namespace simplon::crypto {
namespace {

const EVP_CIPHER* cipher(AeadSuite suite) noexcept {
  switch (suite) {
    case AeadSuite::kAes128Gcm16:
      return ::EVP_aes_128_gcm();
    case AeadSuite::kAes192Gcm16:
      return ::EVP_aes_192_gcm();
    case AeadSuite::kChaCha20Poly1305:
      return ::EVP_chacha20_poly1305();
    case AeadSuite::kAes256Gcm16:
      break;
  }
  return ::EVP_aes_256_gcm();
}

class OpenSslKey final : public AeadKey {
 public:
  OpenSslKey(AeadSuite suite, std::span<const std::uint8_t> key)
      : AeadKey(suite, {&seal_packet, &open_packet}, {}),
        encrypt_(::EVP_CIPHER_CTX_new()),
        decrypt_(::EVP_CIPHER_CTX_new()) {
    SIMPLON_CHECK(encrypt_ != nullptr && decrypt_ != nullptr);
    SIMPLON_CHECK(::EVP_EncryptInit_ex(encrypt_.get(), cipher(suite), nullptr, key.data(), nullptr) == 1);
    SIMPLON_CHECK(::EVP_DecryptInit_ex(decrypt_.get(), cipher(suite), nullptr, key.data(), nullptr) == 1);
  }

 private:
  static void seal_packet(const AeadKey& base, const std::uint8_t* nonce, std::span<const std::uint8_t> associated,
                          std::span<std::uint8_t> data, std::uint8_t* tag) noexcept {
    const auto& self = static_cast<const OpenSslKey&>(base);
    const std::scoped_lock lock(self.encrypting_);
    EVP_CIPHER_CTX* context = self.encrypt_.get();
    int length = 0;
    bool done = ::EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce) == 1;
    done = done && ::EVP_EncryptUpdate(context, nullptr, &length, associated.data(),
                                       static_cast<int>(associated.size())) == 1;
    done = done &&
           ::EVP_EncryptUpdate(context, data.data(), &length, data.data(), static_cast<int>(data.size())) == 1;
    done = done && ::EVP_EncryptFinal_ex(context, data.data() + data.size(), &length) == 1;
    done = done && ::EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kAeadTagBytes, tag) == 1;
    SIMPLON_CHECK(done);  // nothing here depends on the packet
  }
  static bool open_packet(const AeadKey& base, const std::uint8_t* nonce, std::span<const std::uint8_t> associated,
                          std::span<std::uint8_t> data, const std::uint8_t* tag) noexcept {
    const auto& self = static_cast<const OpenSslKey&>(base);
    const std::scoped_lock lock(self.decrypting_);
    EVP_CIPHER_CTX* context = self.decrypt_.get();
    int length = 0;
    std::uint8_t expected[kAeadTagBytes];
    std::copy(tag, tag + kAeadTagBytes, expected);
    std::uint8_t last[16];
    return ::EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce) == 1 &&
           ::EVP_DecryptUpdate(context, nullptr, &length, associated.data(), static_cast<int>(associated.size())) ==
               1 &&
           ::EVP_DecryptUpdate(context, data.data(), &length, data.data(), static_cast<int>(data.size())) == 1 &&
           ::EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kAeadTagBytes, expected) == 1 &&
           ::EVP_DecryptFinal_ex(context, last, &length) == 1;  // compares in constant time
  }

  CipherContext encrypt_;
  CipherContext decrypt_;
  mutable ContextLock encrypting_;
  mutable ContextLock decrypting_;
};

}  // namespace

std::unique_ptr<AeadKey> make_openssl_key(AeadSuite suite, std::span<const std::uint8_t> key) {
  return std::make_unique<OpenSslKey>(suite, key);
}

}  // namespace simplon::crypto
