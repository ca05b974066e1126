// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/aead.h"

#include <string>

#include "platform/crypto/src/aead_backends.h"

namespace simplon::crypto {

std::string_view to_string(AeadSuite suite) noexcept {
  switch (suite) {
    case AeadSuite::kAes128Gcm16:
      return "aes128gcm16";
    case AeadSuite::kAes192Gcm16:
      return "aes192gcm16";
    case AeadSuite::kAes256Gcm16:
      return "aes256gcm16";
    case AeadSuite::kChaCha20Poly1305:
      return "chacha20poly1305";
  }
  return "unknown";
}

std::size_t key_bytes(AeadSuite suite) noexcept {
  switch (suite) {
    case AeadSuite::kAes128Gcm16:
      return 16;
    case AeadSuite::kAes192Gcm16:
      return 24;
    case AeadSuite::kAes256Gcm16:
    case AeadSuite::kChaCha20Poly1305:
      break;
  }
  return 32;
}

bool available(CryptoBackend backend) noexcept {
  return backend == CryptoBackend::kOpenSsl || ipsec_mb_available();
}

CryptoBackend default_crypto_backend() noexcept {
  return ipsec_mb_available() ? CryptoBackend::kIpsecMb : CryptoBackend::kOpenSsl;
}

Result<std::unique_ptr<AeadKey>> AeadKey::create(AeadSuite suite, std::span<const std::uint8_t> key,
                                                 CryptoBackend backend) {
  if (key.size() != key_bytes(suite)) {
    return fail(ErrorCode::kInvalidConfig, "a key of " + std::to_string(key.size()) + " bytes does not fit " +
                                               std::string(to_string(suite)) + ", which takes " +
                                               std::to_string(key_bytes(suite)));
  }
  if (backend == CryptoBackend::kOpenSsl) return make_openssl_key(suite, key);
  auto made = make_ipsec_mb_key(suite, key);
  if (made == nullptr) return fail(ErrorCode::kUnavailable, "ipsec-mb is not available here");
  return made;
}

}  // namespace simplon::crypto
