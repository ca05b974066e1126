// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

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
  /// Errors: kInvalidConfig for a key of the wrong length, kUnavailable if the build lacks the backend.
  [[nodiscard]] static Result<EspKey> create(EspSuite suite, std::span<const std::uint8_t> cipher_key,
                                             std::span<const std::uint8_t> integrity_key, bool esn,
                                             AeadBackend backend = default_aead_backend());

  [[nodiscard]] EspSuite suite() const noexcept { return suite_; }
  [[nodiscard]] bool esn() const noexcept { return esn_; }
  [[nodiscard]] const EspLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] bool is_aead() const noexcept { return aead_ != nullptr; }
  /// Expanded key memory, to be prefetched before use. May be empty.
  [[nodiscard]] std::span<const std::uint8_t> hot_memory() const noexcept {
    return aead_ != nullptr ? aead_->hot_memory() : etm_hot_memory();
  }

  /// AEADs only. `esp` starts with SPI and sequence number; room for the IV and `bytes` of plaintext follow. Writes IV,
  /// ciphertext and ICV. The IV is the sequence number (RFC 4106 section 3.1, RFC 7634 section 2): the caller never
  /// uses one twice.
  void seal(std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence) const noexcept {
    const Be64 iv(sequence);
    std::memcpy(esp + sizeof(wire::EspHeader), &iv, sizeof iv);
    const Nonce nonce(salt_, esp);
    const AssociatedData associated(esp, sequence, esn_);
    std::uint8_t* plain = esp + kAeadClearBytes;
    aead_->seal(nonce.bytes, associated.span(), {plain, bytes}, plain + bytes);
  }
  /// AEADs only. When false, the `bytes` behind the IV are meaningless and must not be used.
  [[nodiscard]] bool open(std::uint8_t* esp, std::size_t bytes, std::uint64_t sequence) const noexcept {
    const Nonce nonce(salt_, esp);
    const AssociatedData associated(esp, sequence, esn_);
    std::uint8_t* cipher = esp + kAeadClearBytes;
    return aead_->open(nonce.bytes, associated.span(), {cipher, bytes}, cipher + bytes);
  }
  /// All others.
  [[nodiscard]] const EtmKey* etm() const noexcept { return etm_.get(); }

 private:
  static constexpr std::size_t kAeadClearBytes = sizeof(wire::EspHeader) + kAeadLayout.iv_bytes;

  /// Salt and explicit IV (RFC 4106 section 4).
  struct Nonce {
    Nonce(std::uint32_t salt, const std::uint8_t* esp) noexcept {
      std::memcpy(bytes, &salt, 4);
      std::memcpy(bytes + 4, esp + sizeof(wire::EspHeader), kAeadLayout.iv_bytes);
    }
    std::uint8_t bytes[kAeadNonceBytes];
  };
  /// SPI and sequence number, all 64 bits of it with ESN (RFC 4106 section 5, RFC 7634 section 2.1).
  class AssociatedData {
   public:
    AssociatedData(const std::uint8_t* esp, std::uint64_t sequence, bool esn) noexcept : length_(esn ? 12 : 8) {
      std::memcpy(bytes_, esp, 8);
      if (!esn) return;
      const Be64 whole(sequence);
      std::memcpy(bytes_ + 4, &whole, 8);
    }
    [[nodiscard]] std::span<const std::uint8_t> span() const noexcept { return {bytes_, length_}; }

   private:
    std::uint8_t bytes_[12];
    std::size_t length_;
  };

  [[nodiscard]] std::span<const std::uint8_t> etm_hot_memory() const noexcept;

  EspKey(EspSuite suite, bool esn) noexcept : suite_(suite), esn_(esn), layout_(facts_of(suite).layout) {}

  std::unique_ptr<AeadKey> aead_;
  std::unique_ptr<EtmKey, EtmKeyDeleter> etm_;
  std::uint32_t salt_ = 0;  // as it lies in the key
  EspSuite suite_;
  bool esn_;
  EspLayout layout_;
};

}  // namespace simplon::crypto
