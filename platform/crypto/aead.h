// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "platform/base/result.h"

namespace simplon::crypto {

/// AEADs with a 12-byte nonce and a 16-byte tag.
enum class AeadSuite : std::uint8_t { kAes128Gcm16, kAes192Gcm16, kAes256Gcm16, kChaCha20Poly1305 };

/// "aes256gcm16", as in an IKE proposal.
[[nodiscard]] std::string_view to_string(AeadSuite suite) noexcept;
[[nodiscard]] std::size_t key_bytes(AeadSuite suite) noexcept;

inline constexpr std::size_t kAeadTagBytes = 16;

/// Who computes, AEADs and all others. Intel's ipsec-mb is four to nine times as fast on packets; OpenSSL is everywhere, and an
/// independent implementation to test against.
enum class CryptoBackend : std::uint8_t { kIpsecMb, kOpenSsl };

/// The fastest one available here.
[[nodiscard]] CryptoBackend default_crypto_backend() noexcept;
/// In this build, and with the instructions of this processor.
[[nodiscard]] bool available(CryptoBackend backend) noexcept;

/// One expanded key. In place: ciphertext takes the place of plaintext and back.
///
/// Threads: any, after `create`. Never allocates after `create`. The expanded key is
/// overwritten on destruction and kept out of core dumps.
class AeadKey {
 public:
  /// Errors: kInvalidConfig for a key of the wrong length, kUnavailable if the backend is not available here.
  [[nodiscard]] static Result<std::unique_ptr<AeadKey>> create(AeadSuite suite, std::span<const std::uint8_t> key,
                                                               CryptoBackend backend = default_crypto_backend());
  AeadKey(const AeadKey&) = delete;
  AeadKey& operator=(const AeadKey&) = delete;
  virtual ~AeadKey() = default;

  [[nodiscard]] AeadSuite suite() const noexcept { return suite_; }

  /// Encrypts `data` and writes the tag. `nonce` has 12 bytes, `tag` kAeadTagBytes; it may follow `data`.
  void seal(const std::uint8_t* nonce, std::span<const std::uint8_t> associated, std::span<std::uint8_t> data,
            std::uint8_t* tag) const noexcept {
    functions_.seal(*this, nonce, associated, data, tag);
  }
  /// Decrypts `data` and compares the tag in constant time. When false, `data` is meaningless and must not be used.
  [[nodiscard]] bool open(const std::uint8_t* nonce, std::span<const std::uint8_t> associated,
                          std::span<std::uint8_t> data, const std::uint8_t* tag) const noexcept {
    return functions_.open(*this, nonce, associated, data, tag);
  }
  /// What of the key a packet looks at, in bytes from the beginning of the object: all up to `front`; and of a table that ends at
  /// `table_end` and has `table_bytes`, the end, kTableEntry bytes for each started kTableEntry of the packet.
  struct Hot {
    std::uint16_t front = 0;
    std::uint16_t table_end = 0;
    std::uint16_t table_bytes = 0;
  };
  static constexpr std::size_t kTableEntry = 16;
  [[nodiscard]] const Hot& hot() const noexcept { return hot_; }

 protected:
  /// Plain pointers: one indirect call per packet, as ipsec-mb's own dispatch is.
  struct Functions {
    void (*seal)(const AeadKey&, const std::uint8_t*, std::span<const std::uint8_t>, std::span<std::uint8_t>,
                 std::uint8_t*) noexcept;
    bool (*open)(const AeadKey&, const std::uint8_t*, std::span<const std::uint8_t>, std::span<std::uint8_t>,
                 const std::uint8_t*) noexcept;
  };
  AeadKey(AeadSuite suite, Functions functions, Hot hot) noexcept
      : functions_(functions), hot_(hot), suite_(suite) {}

 private:
  Functions functions_;
  Hot hot_;
  AeadSuite suite_;
};

}  // namespace simplon::crypto
