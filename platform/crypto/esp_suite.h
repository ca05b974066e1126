// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace simplon::crypto {

/// How the packets of an SA are encrypted and authenticated.
enum class EspSuite : std::uint8_t {
  // AEADs: RFC 4106, RFC 7634.
  kAes128Gcm16,
  kAes192Gcm16,
  kAes256Gcm16,
  kChaCha20Poly1305,
  // AES-CBC (RFC 3602) with HMAC-SHA2 (RFC 4868).
  kAes128Sha256,
  kAes192Sha256,
  kAes256Sha256,
  kAes128Sha384,
  kAes192Sha384,
  kAes256Sha384,
  kAes128Sha512,
  kAes192Sha512,
  kAes256Sha512,
  // Authenticated, not encrypted (RFC 2410).
  kNullSha256,
  kNullSha384,
  kNullSha512,
};

inline constexpr std::array kAllEspSuites = {
    EspSuite::kAes128Gcm16,  EspSuite::kAes192Gcm16,  EspSuite::kAes256Gcm16,  EspSuite::kChaCha20Poly1305,
    EspSuite::kAes128Sha256, EspSuite::kAes192Sha256, EspSuite::kAes256Sha256, EspSuite::kAes128Sha384,
    EspSuite::kAes192Sha384, EspSuite::kAes256Sha384, EspSuite::kAes128Sha512, EspSuite::kAes192Sha512,
    EspSuite::kAes256Sha512, EspSuite::kNullSha256,   EspSuite::kNullSha384,   EspSuite::kNullSha512};

/// What a suite adds to a packet (RFC 4303 section 2), in bytes.
struct EspLayout {
  std::uint8_t iv_bytes;
  std::uint8_t icv_bytes;
  /// The encrypted part is a multiple of it: 16 for AES-CBC, else 4. A power of two.
  std::uint8_t alignment;
  friend constexpr bool operator==(const EspLayout&, const EspLayout&) = default;
};

/// Of all AEADs: RFC 4106 sections 3.1 and 6, RFC 7634 section 2.
inline constexpr EspLayout kAeadLayout{8, 16, 4};

struct EspSuiteFacts {
  /// As in a proposal: "aes256gcm16", "aes256-sha256".
  std::string_view name;
  std::uint8_t cipher_key_bytes;
  /// Behind the cipher's key: 4 for AEADs (RFC 4106 section 8.1, RFC 7634 section 2).
  std::uint8_t salt_bytes;
  /// RFC 4868 section 2.1.1; 0 for AEADs.
  std::uint8_t integrity_key_bytes;
  EspLayout layout;
};

[[nodiscard]] const EspSuiteFacts& facts_of(EspSuite suite) noexcept;
[[nodiscard]] inline std::string_view to_string(EspSuite suite) noexcept { return facts_of(suite).name; }
[[nodiscard]] inline bool is_aead(EspSuite suite) noexcept { return suite <= EspSuite::kChaCha20Poly1305; }

}  // namespace simplon::crypto
