// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "platform/crypto/aead.h"
#include "platform/crypto/esp_suite.h"
#include "platform/crypto/src/evp_context.h"

namespace simplon::crypto {

struct EtmSecrets;

inline constexpr std::size_t kMaxIcvBytes = 32;

/// AES-CBC or nothing, then HMAC-SHA2 over SPI, sequence number, IV and ciphertext, and with ESN over the high half of the
/// sequence number behind them (RFC 4303 section 3.3.2.1). One packet at a time here, through OpenSSL.
class EtmKey {
 public:
  /// Keys of the right length for the suite, which is no AEAD.
  EtmKey(EspSuite suite, std::span<const std::uint8_t> cipher_key, std::span<const std::uint8_t> integrity_key, bool esn,
         CryptoBackend backend);
  ~EtmKey();
  EtmKey(const EtmKey&) = delete;
  EtmKey& operator=(const EtmKey&) = delete;

  void seal(std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence) const noexcept;
  /// Decrypts only what is authentic.
  [[nodiscard]] bool open(std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence) const noexcept;

  [[nodiscard]] std::span<const std::uint8_t> hot_memory() const noexcept;
  [[nodiscard]] const EspSuiteFacts& facts() const noexcept { return facts_; }
  [[nodiscard]] bool esn() const noexcept { return esn_; }
  /// What ipsec-mb takes; its key schedules are there if the key was made for it.
  [[nodiscard]] const EtmSecrets& secrets() const noexcept { return *secrets_; }

 private:
  void authenticate(const std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence,
                    std::uint8_t* icv) const noexcept;

  const EspSuiteFacts& facts_;
  EtmSecrets* secrets_;
  CipherContext encrypt_;  // empty without encryption
  CipherContext decrypt_;
  mutable ContextLock encrypting_;
  mutable ContextLock decrypting_;
  bool esn_;
};

}  // namespace simplon::crypto
