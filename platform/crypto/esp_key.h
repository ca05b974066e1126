// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "platform/base/result.h"
#include "platform/crypto/aead.h"
#include "platform/crypto/esp_suite.h"
#include "platform/wire/esp.h"

namespace simplon::crypto {

class EtmKey;
struct EtmKeyDeleter {
  void operator()(EtmKey* key) const noexcept;
};

/// The expanded keys of one SA, and how they seal and open an ESP packet in place.
///
///     |<- associated data ->|      |<------------- encrypted ------------->|
///     +------+--------------+------+--------+---------+------------+-------+-----+
///     | SPI  | sequence     |  IV  | packet | padding | pad length | next  | ICV |
///     +------+--------------+------+--------+---------+------------+-------+-----+
///        4     4 (8 with ESN, high half not sent)
///
/// AEADs are done at once, packet by packet. AES-CBC with HMAC gains five times from many packets side by side: give it
/// to an EspBatch. `EspBatch` takes every suite.
///
/// Units: `sequence` is the full number in host byte order; its high half counts only with ESN.
/// Threads: any, after `create`. Never allocates after `create`. The expanded keys are
/// overwritten on destruction and kept out of core dumps.
class EspKey {
 public:
  /// `cipher_key`: with the salt behind it, as IKE derives it. `integrity_key`: empty for AEADs.
  /// Errors: kInvalidConfig for a key of the wrong length, kUnavailable if the backend is not available here.
  [[nodiscard]] static Result<EspKey> create(EspSuite suite, std::span<const std::uint8_t> cipher_key,
                                             std::span<const std::uint8_t> integrity_key, bool esn,
                                             CryptoBackend backend = default_crypto_backend());

  [[nodiscard]] EspSuite suite() const noexcept { return suite_; }
  [[nodiscard]] bool esn() const noexcept { return esn_; }
  [[nodiscard]] const EspLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] bool is_aead() const noexcept { return aead_ != nullptr; }
  /// Fetches what of the expanded keys a packet of so many bytes will look at.
  void prefetch(std::size_t bytes) const noexcept {
    if (aead_ == nullptr) return prefetch_etm();
    const auto* key = reinterpret_cast<const std::uint8_t*>(aead_.get());
    for (std::size_t at = 0; at < hot_.front; at += 64) __builtin_prefetch(key + at);
    const std::size_t entries = (bytes + AeadKey::kTableEntry - 1) / AeadKey::kTableEntry;
    const std::size_t table = std::min<std::size_t>(hot_.table_bytes, entries * AeadKey::kTableEntry);
    for (std::size_t at = (hot_.table_end - table) / 64 * 64; at < hot_.table_end; at += 64) __builtin_prefetch(key + at);
  }

  /// AEADs only. `esp` starts with SPI and sequence number; room for the IV and `bytes` of plaintext follow. Writes IV,
  /// ciphertext and ICV. The IV is the sequence number (RFC 4106 section 3.1, RFC 7634 section 2): the caller never
  /// uses one twice.
  void seal(std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence) const noexcept {
    const std::uint64_t iv = byteswap(sequence);
    std::memcpy(esp + sizeof(wire::EspHeader), &iv, sizeof iv);
    const Nonce nonce(salt_, iv);
    const AssociatedData associated(esp, sequence, esn_);
    std::uint8_t* plain = esp + kAeadClearBytes;
    aead_->seal(nonce.bytes(), associated.span(), {plain, bytes}, plain + bytes);
  }
  /// AEADs only. When false, the `bytes` behind the IV are meaningless and must not be used.
  [[nodiscard]] bool open(std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence) const noexcept {
    std::uint64_t iv;
    std::memcpy(&iv, esp + sizeof(wire::EspHeader), sizeof iv);
    const Nonce nonce(salt_, iv);
    const AssociatedData associated(esp, sequence, esn_);
    std::uint8_t* cipher = esp + kAeadClearBytes;
    return aead_->open(nonce.bytes(), associated.span(), {cipher, bytes}, cipher + bytes);
  }
  /// All others.
  [[nodiscard]] const EtmKey* etm() const noexcept { return etm_.get(); }

 private:
  static constexpr std::size_t kAeadClearBytes = sizeof(wire::EspHeader) + kAeadLayout.iv_bytes;

  /// Written by one store: the cipher reads it at once, in pieces, and would wait for several to reach the cache.
  struct alignas(16) Stored {
    using Words = std::uint64_t __attribute__((vector_size(16)));
    Stored(std::uint64_t first, std::uint64_t second) noexcept : words{first, second} {}
    [[nodiscard]] const std::uint8_t* bytes() const noexcept { return reinterpret_cast<const std::uint8_t*>(&words); }
    Words words;
  };
  /// Salt and explicit IV (RFC 4106 section 4), as they lie in memory.
  struct Nonce : Stored {
    Nonce(std::uint32_t salt, std::uint64_t iv) noexcept : Stored(salt | (iv << 32), iv >> 32) {}
  };
  /// SPI and sequence number, all 64 bits of it with ESN (RFC 4106 section 5, RFC 7634 section 2.1).
  struct AssociatedData : Stored {
    AssociatedData(const std::uint8_t* esp, std::uint64_t sequence, bool esn) noexcept
        : Stored(esn ? load_spi(esp) | (byteswap(sequence) << 32) : load_header(esp), byteswap(sequence) >> 32),
          length(esn ? 12 : 8) {}
    [[nodiscard]] std::span<const std::uint8_t> span() const noexcept { return {bytes(), length}; }
    std::size_t length;
  };
  [[nodiscard]] static std::uint64_t load_spi(const std::uint8_t* esp) noexcept {
    std::uint32_t spi;
    std::memcpy(&spi, esp, sizeof spi);
    return spi;
  }
  [[nodiscard]] static std::uint64_t load_header(const std::uint8_t* esp) noexcept {
    std::uint64_t header;
    std::memcpy(&header, esp, sizeof header);
    return header;
  }

  void prefetch_etm() const noexcept;

  EspKey(EspSuite suite, bool esn) noexcept : suite_(suite), esn_(esn), layout_(facts_of(suite).layout) {}

  std::unique_ptr<AeadKey> aead_;
  std::unique_ptr<EtmKey, EtmKeyDeleter> etm_;
  std::uint32_t salt_ = 0;  // as it lies in the key
  EspSuite suite_;
  bool esn_;
  EspLayout layout_;
  AeadKey::Hot hot_;  ///< The AEAD's: to ask it would be to wait for it.
};

}  // namespace simplon::crypto
